//! What openraft is told of our data: an entry is a batch of groups, its answer their outcomes.

use events::{
    Timestamp,
    transaction::{Group, GroupOutcome, Outcome},
};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

openraft::declare_raft_types!(
    /// Ids of nodes are `u64`; terms and indices stay inside this crate.
    pub TypeConfig: D = Batch, R = Answer
);

pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type Membership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Flushed = openraft::storage::IOFlushed<TypeConfig>;

/// What one entry of the log carries. Cheap to clone: the log's cache, the writer and `apply` share it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch(pub Arc<Body>);

/// See [`Batch`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// The entry's time; `apply` takes the later of it and the last one.
    pub time: Timestamp,
    /// The cluster's level that the entry was written at.
    pub level: u32,
    pub groups: Vec<Group>,
}

impl Batch {
    pub fn new(time: Timestamp, level: u32, groups: Vec<Group>) -> Batch {
        Batch(Arc::new(Body { time, level, groups }))
    }

    /// Bytes that it takes, about.
    pub fn size(&self) -> usize {
        self.0.groups.iter().map(group_size).sum::<usize>() + 32
    }
}

/// Bytes that a group takes in an entry, about.
pub fn group_size(group: &Group) -> usize {
    group.transactions.iter().map(|place| place.as_ref().map_or(1, |transaction| transaction.size())).sum::<usize>() + 32
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({self})")
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} groups at {}", self.0.groups.len(), self.0.time.0)
    }
}

/// The outcomes of an entry's groups, in order. It crosses no wire today; openraft asks for a form that could.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Plain>", into = "Vec<Plain>")]
pub struct Answer(pub Vec<GroupOutcome>);

/// [`GroupOutcome`] as plain data.
#[derive(Serialize, Deserialize)]
enum Plain {
    Done(Vec<u8>),
    Late,
    Fenced,
    Gap(u64),
}

impl From<Answer> for Vec<Plain> {
    fn from(answer: Answer) -> Vec<Plain> {
        let plain = |outcome| match outcome {
            GroupOutcome::Done(outcomes) => Plain::Done(outcomes.into_iter().map(Outcome::to_byte).collect()),
            GroupOutcome::Late => Plain::Late,
            GroupOutcome::Fenced => Plain::Fenced,
            GroupOutcome::Gap { expected } => Plain::Gap(expected),
        };
        answer.0.into_iter().map(plain).collect()
    }
}

impl From<Vec<Plain>> for Answer {
    fn from(plain: Vec<Plain>) -> Answer {
        let outcome = |plain| match plain {
            // a byte of a later build reads as a conflict: it was not taken, and is asked again
            Plain::Done(bytes) => {
                GroupOutcome::Done(bytes.into_iter().map(|byte| Outcome::from_byte(byte).unwrap_or(Outcome::Conflict)).collect())
            }
            Plain::Late => GroupOutcome::Late,
            Plain::Fenced => GroupOutcome::Fenced,
            Plain::Gap(expected) => GroupOutcome::Gap { expected },
        };
        Answer(plain.into_iter().map(outcome).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::codec;

    #[test]
    fn answers_and_batches_read_back() {
        let answer = Answer(vec![
            GroupOutcome::Done(vec![Outcome::Taken, Outcome::Held(3)]),
            GroupOutcome::Late,
            GroupOutcome::Fenced,
            GroupOutcome::Gap { expected: 9 },
        ]);
        assert_eq!(codec::decode::<Answer>(&codec::encode(&answer)).unwrap(), answer);
        let batch = Batch::new(Timestamp(7), 1, vec![Group::default()]);
        assert_eq!(codec::decode::<Batch>(&codec::encode(&batch)).unwrap(), batch);
    }
}
