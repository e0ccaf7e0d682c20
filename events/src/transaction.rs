//! What is appended: transactions of guards, events and notes, all or nothing, in groups (LEDGER §1–2).

use crate::{Boot, CallId, Event, KeyId, NodeId, NoteId, StreamId, codec::Undecodable, envelope::Principal, limits};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What must hold in `apply` for a transaction to be taken. Guards change only with the cluster's level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Guard {
    /// The stream has exactly so many events.
    Version(StreamId, u64),
    /// The key lets calls in, and nothing that binds its calls changed after this policy position.
    Current { key: KeyId, policy: u64 },
    /// What the events of the transaction hold fits into every hard budget that they name.
    Fits,
    /// The idempotency key of the admission is free.
    Unclaimed,
    /// The call is open.
    HoldOpen(CallId),
}

/// An event as it is proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    pub stream: StreamId,
    pub principal: Principal,
    pub policy: u64,
    /// [`Event::encode`].
    body: Vec<u8>,
    #[serde(skip)]
    made_from: MadeFrom,
}

/// The event that a body was encoded from, in the process that did it: there it need not be decoded again. The body alone counts.
#[derive(Clone, Debug, Default)]
struct MadeFrom(Option<Arc<Event>>);

impl PartialEq for MadeFrom {
    fn eq(&self, _other: &MadeFrom) -> bool {
        true
    }
}

impl Eq for MadeFrom {}

impl Proposal {
    pub fn new(event: Event, principal: Principal, policy: u64) -> Proposal {
        let event = Arc::new(event);
        Proposal { stream: event.stream(), principal, policy, body: event.encode(), made_from: MadeFrom(Some(event)) }
    }

    /// Bytes that came from elsewhere.
    pub fn read(stream: StreamId, principal: Principal, policy: u64, body: Vec<u8>) -> Proposal {
        Proposal { stream, principal, policy, body, made_from: MadeFrom(None) }
    }

    /// What is stored and hashed, as it is.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The event that the body stands for.
    ///
    /// # Errors
    /// The body cannot be read.
    pub fn event(&self) -> Result<Arc<Event>, Undecodable> {
        match &self.made_from.0 {
            Some(event) => Ok(event.clone()),
            None => Event::decode(self.stream, &self.body).map(Arc::new),
        }
    }
}

/// All or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    pub guards: Vec<Guard>,
    pub events: Vec<Proposal>,
    /// None forgets the note.
    pub notes: Vec<(NoteId, Option<Vec<u8>>)>,
}

impl Transaction {
    /// Bytes that it takes in a group, about.
    pub fn size(&self) -> usize {
        let events: usize = self.events.iter().map(|event| event.body.len() + 48).sum();
        let notes: usize = self.notes.iter().map(|(_, note)| note.as_ref().map_or(0, Vec::len) + 16).sum();
        events + notes + self.guards.len() * 32 + 16
    }

    /// What is too big or cannot be read fails alone, before it enters a group.
    pub fn check(&self) -> Result<(), Undecodable> {
        if self.events.len() > limits::TRANSACTION_EVENTS_MAX || self.size() > limits::TRANSACTION_BYTES_MAX {
            return Err(Undecodable(format!("a transaction of {} events and {} bytes is too big", self.events.len(), self.size())));
        }
        self.events.iter().try_for_each(|proposal| proposal.event().map(drop))
    }
}

/// Which group of which Scribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sequence {
    pub node: NodeId,
    pub boot: Boot,
    pub lane: u16,
    /// Counts the groups of a lane from 1.
    pub seq: u64,
}

/// What one Scribe sends at once. A keeper's group has no sequence: its guards make it safe to send again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub sequence: Option<Sequence>,
    /// None: taken out by the Gate, or unfit; its place is kept, for outcomes go by index.
    pub transactions: Vec<Option<Transaction>>,
}

/// What became of one transaction: one byte in a session's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Taken,
    /// Taken out before it was proposed.
    TakenOut,
    /// `Version` failed, or a call's session is not the group's.
    Conflict,
    /// `Current` failed.
    Stale,
    /// `Fits` failed at this budget of the path, and would fail with nothing held.
    Exceeded(u8),
    /// `Fits` failed at this budget of the path because of what is held.
    Held(u8),
    /// `Unclaimed` failed.
    Claimed,
    /// `HoldOpen` failed.
    NotOpen,
    /// A record for a call that is neither open nor an orphan: no trace.
    Duplicate,
}

impl Outcome {
    pub fn to_byte(self) -> u8 {
        match self {
            Outcome::Taken => 0,
            Outcome::TakenOut => 1,
            Outcome::Conflict => 2,
            Outcome::Stale => 3,
            Outcome::Claimed => 4,
            Outcome::NotOpen => 5,
            Outcome::Duplicate => 6,
            Outcome::Exceeded(level) => 0x40 | (level & 0x1f),
            Outcome::Held(level) => 0x60 | (level & 0x1f),
        }
    }

    pub fn from_byte(byte: u8) -> Option<Outcome> {
        Some(match byte {
            0 => Outcome::Taken,
            1 => Outcome::TakenOut,
            2 => Outcome::Conflict,
            3 => Outcome::Stale,
            4 => Outcome::Claimed,
            5 => Outcome::NotOpen,
            6 => Outcome::Duplicate,
            0x40..0x60 => Outcome::Exceeded(byte & 0x1f),
            0x60..0x80 => Outcome::Held(byte & 0x1f),
            _ => return None,
        })
    }
}

/// What became of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupOutcome {
    /// One outcome a transaction, by index in the group as it was sent; for the last group again they come from memory.
    Done(Vec<Outcome>),
    /// Older than the last: ignored.
    Late,
    /// The session has ended, or is not this one.
    Fenced,
    /// Not the next one: the sender is broken.
    Gap { expected: u64 },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_read_back() {
        let levels = (0..32).flat_map(|level| [Outcome::Exceeded(level), Outcome::Held(level)]);
        let plain =
            [Outcome::Taken, Outcome::TakenOut, Outcome::Conflict, Outcome::Stale, Outcome::Claimed, Outcome::NotOpen, Outcome::Duplicate];
        for outcome in plain.into_iter().chain(levels) {
            assert_eq!(Outcome::from_byte(outcome.to_byte()), Some(outcome));
        }
    }
}
