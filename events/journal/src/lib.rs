//! The journal's port, and what needs no runtime: the in-memory journal, segments, history, the hash tree, the conformance suite.
//! Pure but for the ports [`disk::Disk`] and [`Clock`], which others implement.

pub mod backup;
pub mod disk;
pub mod frame;
pub mod history;
pub mod log;
pub mod memory;
pub mod segments;
pub mod suite;
pub mod tree;
pub mod verify;

use events::{
    State, StreamId, Timestamp,
    envelope::Recorded,
    transaction::{Group, GroupOutcome},
};
use std::{fmt, pin::Pin};

/// A future without a runtime's name in it.
pub type Future<'a, T> = Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;

/// The one replicated log. All of it runs on the core thread; [`Journal::view`] is called there only.
pub trait Journal: Send + Sync {
    /// Appends groups as one entry, in order. Answers one outcome a group, once the entry is durable on a quorum and applied here.
    ///
    /// A transaction that is too big or cannot be read fails alone ([`events::transaction::Outcome::TakenOut`]) and never enters the entry.
    fn append(&self, groups: Vec<Group>) -> Future<'_, Result<Vec<GroupOutcome>, AppendFault>>;
    /// Shows the state as of the last applied entry.
    fn view(&self, look: &mut dyn FnMut(&State));
    /// Events from a position on, at most so many; fewer at the end.
    fn read(&self, from: u64, limit: usize) -> Future<'_, Result<Vec<Recorded>, ReadFault>>;
    /// Reads what is in the history, from any thread: it may be a moment behind what is applied.
    fn reader(&self) -> std::sync::Arc<dyn Reader>;
    /// Calls the observer after each applied entry, on the core thread, in order, from now on.
    fn observe(&self, observer: Box<dyn Observer>);
    /// Whether appending may work: there is a leader, and this node has applied what it must have.
    fn health(&self) -> Health;
    /// Writes out what is not yet on disk, and ends. Nothing is appended afterwards.
    fn stop(&self) -> Future<'_, ()>;
}

/// The history as followers read it, from any thread. Reading waits for the disk.
pub trait Reader: Send + Sync {
    /// Events that can be read.
    fn end(&self) -> u64;
    /// Events from a position on, at most so many; fewer at the end, or where they are many bytes.
    fn read(&self, from: u64, limit: usize) -> Result<Vec<Recorded>, ReadFault>;
    /// The state as of one moment, for a backup. The events before it are in the history by then.
    fn taken(&self) -> Result<backup::Taken, ReadFault> {
        Err(ReadFault("this journal is in memory only".into()))
    }
}

/// Follows what is applied. Must be quick and must not call back into the journal.
pub trait Observer: Send {
    /// `due`: streams whose keepers have something to do.
    fn applied(&mut self, state: &State, records: &[Recorded], due: &[StreamId]);
}

/// How the journal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Ready,
    /// No leader is known, or it is still catching up: may pass.
    Waiting(String),
    /// Less disk than `disk_low` is free: facts are taken, admissions are not.
    DiskLow,
    /// A store failed: the process must end.
    Failed(String),
}

/// Why an append has no outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendFault {
    /// Surely not appended; may be sent again.
    NotAppended(String),
    /// It may have been appended: send it again under the same sequence until it is answered.
    Unclear(String),
    /// A store failed or the journal was stopped: the process must end.
    Stopped(String),
}

impl fmt::Display for AppendFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppendFault::NotAppended(why) => write!(f, "not appended: {why}"),
            AppendFault::Unclear(why) => write!(f, "unclear whether appended: {why}"),
            AppendFault::Stopped(why) => write!(f, "the journal has stopped: {why}"),
        }
    }
}

impl std::error::Error for AppendFault {}

/// Why events cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFault(pub String);

impl fmt::Display for ReadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the history cannot be read: {}", self.0)
    }
}

impl std::error::Error for ReadFault {}

/// The wall clock.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// Looks at the state and brings something back.
pub fn look<R>(journal: &dyn Journal, look: impl FnOnce(&State) -> R) -> R {
    let mut look = Some(look);
    let mut found = None;
    journal.view(&mut |state| found = look.take().map(|look| look(state)));
    found.expect("view calls its argument once")
}

/// Takes out what is too big or cannot be read, before it enters an entry.
pub fn check_at_the_door(groups: &mut [Group]) {
    for place in groups.iter_mut().flat_map(|group| group.transactions.iter_mut()) {
        if place.as_ref().is_some_and(|transaction| transaction.check().is_err()) {
            *place = None;
        }
    }
}
