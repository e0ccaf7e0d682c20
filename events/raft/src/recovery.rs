//! What the three stores prove of each other when they are opened (LEDGER §10): a log that ends below what state or history hold was
//! cut, and the events that its entries make must be those that history has. Found before anything is written.

use crate::{
    log::read_disk,
    replica::Replica,
    stores::Mark,
    types::{LogId, Membership},
};
use events::{State, codec};
use journal::{
    disk::Damage,
    history::{History, HistoryReader},
    log::{LogBackend, SegmentLog},
};
use std::{io, sync::Arc};

/// Entries that are read at once.
const CHUNK: u64 = 64;
/// Bytes of leaves that are read at once.
const COMPARE_BYTES: usize = 1 << 20;

fn damage(file: &str, record: Option<u64>, what: String) -> io::Error {
    Damage { file: file.into(), record, offset: 0, what }.into()
}

/// Checks log and history against the state that was loaded as of `mark`.
///
/// # Errors
/// [`Damage`] (as `InvalidData`) that names the place, or the disk's own.
pub(crate) fn check(log: &SegmentLog, history: &History, state: &State, mark: Option<&Mark>) -> io::Result<()> {
    let applied = mark.and_then(|mark| mark.applied).map(|applied| applied.index);
    history.must_reach(state.position())?;
    if let Some(applied) = applied {
        log.must_reach(applied)?;
    }
    committed(log)?;
    let next = applied.map_or(0, |applied| applied + 1);
    if let Some(first) = log.first().filter(|first| *first > next) {
        let what = format!("the log begins with entry {first}, but the state ends before entry {next}");
        return Err(damage("log/", None, what));
    }
    let replica = Replica::new(state.clone(), mark.and_then(|mark| mark.applied), mark.map_or_else(Membership::default, |mark| mark.membership.clone()));
    prove(log, &history.reader(), replica, next)
}

/// What was committed was durable before the log said so.
fn committed(log: &SegmentLog) -> io::Result<()> {
    let meta = log.meta();
    let id = |bytes: Option<Vec<u8>>| -> io::Result<Option<LogId>> {
        let unread = |error| damage("log/", None, format!("an id that cannot be read: {error}"));
        bytes.map(|bytes| codec::decode::<LogId>(&bytes)).transpose().map_err(unread)
    };
    let purged = id(meta.purged)?.map(|id| id.index);
    match id(meta.committed)? {
        Some(committed) if log.last().max(purged).is_none_or(|last| last < committed.index) => {
            Err(damage("log/", None, format!("the log ends before entry {}, which it says is committed", committed.index)))
        }
        _ => Ok(()),
    }
}

/// Applies entries to a copy of the state until it has all the events that history has.
fn prove(log: &SegmentLog, history: &HistoryReader, mut replica: Replica, mut next: u64) -> io::Result<()> {
    let end = log.last().map_or(next, |last| last + 1);
    while replica.state.position() < history.len() {
        if next >= end {
            let what = format!("the log ends before entry {next} with {} events, but the history holds {}", replica.state.position(), history.len());
            return Err(damage("log/", None, what));
        }
        let entries = read_disk(&log.reader(), next, end.min(next + CHUNK))?;
        let first = replica.state.position();
        for entry in &entries {
            replica.apply(entry)?;
        }
        compare(history, first, &replica.take_pending())?;
        replica.written_before(replica.state.position());
        next += entries.len() as u64;
    }
    Ok(())
}

/// The leaves that history has of these are the same.
fn compare(history: &HistoryReader, first: u64, leaves: &[Arc<[u8]>]) -> io::Result<()> {
    let known = usize::try_from(history.len().saturating_sub(first)).unwrap_or(usize::MAX).min(leaves.len());
    let mut done = 0;
    while done < known {
        let from = first + done as u64;
        for (number, stored) in (from..).zip(history.leaves(from, known - done, COMPARE_BYTES)?) {
            if stored[..] != leaves[done][..] {
                return Err(damage("history/", Some(number), "the event differs from what the log says".into()));
            }
            done += 1;
        }
    }
    Ok(())
}
