//! What this node holds of the cluster: the state as of the last applied entry, and what of it is not yet handed to the stores.

use crate::{
    LEVEL,
    types::{Answer, Batch, Entry, LogId, Membership},
};
use events::{State, envelope::Recorded};
use journal::Observer;
use openraft::EntryPayload;
use std::{collections::VecDeque, io, sync::Arc};

/// Events after which what changed is handed to the stores at once (LEDGER §10).
pub(crate) const HAND_OVER_EVENTS: usize = 1_000;
/// Entries after which it is handed over though they brought no events: refused groups change the desk.
const HAND_OVER_ENTRIES: usize = 10_000;

/// Lives on the core thread; its lock is the price of `Sync` and is never contended.
pub(crate) struct Replica {
    pub state: State,
    pub applied: Option<LogId>,
    pub membership: Membership,
    observers: Vec<Box<dyn Observer>>,
    /// Leaves that history cannot be asked for yet, up to the last applied; the last `pending` of them are not even handed over.
    tail: VecDeque<Arc<[u8]>>,
    pending: usize,
    /// Entries since the last hand-over.
    entries: usize,
    closed: bool,
    /// An entry was applied in part: nothing of this may reach the stores.
    broken: bool,
    /// For openraft's suite, whose entries begin anywhere and leave gaps.
    pub skips: bool,
}

fn damage(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Replica {
    pub fn new(state: State, applied: Option<LogId>, membership: Membership) -> Replica {
        Replica {
            state,
            applied,
            membership,
            observers: Vec::new(),
            tail: VecDeque::new(),
            pending: 0,
            entries: 0,
            closed: false,
            broken: false,
            skips: false,
        }
    }

    pub fn observe(&mut self, observer: Box<dyn Observer>) {
        self.observers.push(observer);
    }

    /// Applies the next entry.
    ///
    /// # Errors
    /// It is not the next one; its level or an event of it is not known to this build: the replica must stop.
    pub fn apply(&mut self, entry: &Entry) -> io::Result<Answer> {
        self.check_next(entry)?;
        let answer = self.apply_next(entry);
        self.broken |= answer.is_err();
        answer
    }

    fn apply_next(&mut self, entry: &Entry) -> io::Result<Answer> {
        let mut records = Vec::new();
        let answer = match &entry.payload {
            EntryPayload::Blank => Answer::default(),
            EntryPayload::Membership(membership) => {
                self.membership = Membership::new(Some(entry.log_id), membership.clone());
                Answer::default()
            }
            EntryPayload::Normal(batch) => self.groups(entry.log_id.index, batch, &mut records)?,
        };
        self.applied = Some(entry.log_id);
        self.entries += 1;
        self.pending += records.len();
        self.tail.extend(records.iter().map(|record| record.leaf.clone()));
        self.tell(&records);
        Ok(answer)
    }

    /// The engine does not check this itself in a release build.
    fn check_next(&self, entry: &Entry) -> io::Result<()> {
        let next = self.applied.map_or(0, |applied| applied.index + 1);
        if self.closed || self.broken {
            return Err(io::Error::other("the journal was stopped"));
        }
        if entry.log_id.index != next && !self.skips {
            return Err(damage(format!("entry {} is to be applied where {next} is next", entry.log_id.index)));
        }
        Ok(())
    }

    fn groups(&mut self, index: u64, batch: &Batch, records: &mut Vec<Recorded>) -> io::Result<Answer> {
        let body = &batch.0;
        if body.level > LEVEL {
            return Err(damage(format!("entry {index} is of level {}, this build knows up to {LEVEL}", body.level)));
        }
        let unknown = |error| damage(format!("entry {index}: {error}"));
        let outcomes: Result<Vec<_>, _> = body.groups.iter().map(|group| self.state.apply(group, body.time, records)).collect();
        outcomes.map(Answer).map_err(unknown)
    }

    fn tell(&mut self, records: &[Recorded]) {
        if self.observers.is_empty() {
            // what is due is kept for the first who listens
            return;
        }
        let due = self.state.take_due();
        for observer in &mut self.observers {
            observer.applied(&self.state, records, &due);
        }
    }

    /// Enough has come together to be handed over at once.
    pub fn is_full(&self) -> bool {
        !self.broken && (self.pending >= HAND_OVER_EVENTS || self.entries >= HAND_OVER_ENTRIES)
    }

    /// Something has changed since the last hand-over.
    pub fn is_dirty(&self) -> bool {
        !self.broken && self.entries > 0
    }

    /// The leaves that were not handed over; they count as such now.
    pub fn take_pending(&mut self) -> Vec<Arc<[u8]>> {
        self.entries = 0;
        let pending = std::mem::take(&mut self.pending);
        self.tail.range(self.tail.len() - pending..).cloned().collect()
    }

    /// History can be asked for everything before event `n`.
    pub fn written_before(&mut self, n: u64) {
        let kept = usize::try_from(self.state.position().saturating_sub(n)).unwrap_or(usize::MAX);
        let gone = self.tail.len().saturating_sub(kept.max(self.pending));
        self.tail.drain(..gone);
    }

    /// The number of the first leaf that is here and not in history.
    pub fn tail_first(&self) -> u64 {
        self.state.position() - self.tail.len() as u64
    }

    /// Leaves from event `from` on that are here.
    pub fn tail_from(&self, from: u64, limit: usize) -> Vec<Arc<[u8]>> {
        let start = usize::try_from(from.saturating_sub(self.tail_first())).unwrap_or(usize::MAX).min(self.tail.len());
        self.tail.range(start..).take(limit).cloned().collect()
    }

    /// Nothing is applied any more.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Becomes another state: a snapshot.
    pub fn replace(&mut self, state: State, applied: Option<LogId>, membership: Membership) {
        self.state = state;
        self.applied = applied;
        self.membership = membership;
        self.tail.clear();
        self.pending = 0;
        self.entries = 0;
    }
}
