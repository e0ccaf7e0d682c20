//! Verifies a data directory: each store by itself, and all of them against each other. Nothing on the disk is changed.

use crate::{
    log::read_disk,
    recovery,
    stores::Mark,
    types::{LogId, Vote},
};
use events::{State, codec, envelope::Recorded};
use journal::{
    disk::{Damage, Disk, Note, Overlay},
    log::{LogBackend, SegmentLog},
    verify::{Findings, history},
};
use std::{io, sync::Arc};
use store::{DataDir, Stored, verify::state};

/// Entries that are read at once.
const CHUNK: u64 = 64;

/// What a data directory holds, and what of it is damaged.
#[derive(Clone, Debug)]
pub struct Report {
    pub damages: Vec<Damage>,
    /// What the next start will put right by itself.
    pub notes: Vec<Note>,
    pub events: u64,
    /// The head of the tree over all events, in hexadecimal digits.
    pub head: String,
    /// The digest of the books as of the last event.
    pub books: u128,
    /// Entries in the log.
    pub entries: u64,
}

/// Goes through everything: each record, row, page, hash and head; the events give the stored state again; the log's entries give the
/// events again.
pub fn verify(dir: &DataDir) -> Report {
    let mut findings = Findings::default();
    let glass = |disk: &Arc<dyn Disk>| -> Arc<dyn Disk> { Arc::new(Overlay::new(disk.clone())) };
    let stored = state(&*glass(&dir.state), &mut findings);
    let mut replay = Replay { stored: stored.as_ref(), state: State::default(), is_whole: true };
    replay.compare(&mut findings);
    let durable = stored.as_ref().map_or(0, |stored| stored.meta.n);
    let history = history(&glass(&dir.history), durable, &mut findings, &mut |number, leaf, findings| replay.take(number, leaf, findings));
    let log = log(&glass(&dir.log), &mut findings);
    if let (Some(history), Some(log), true) = (&history, &log, findings.damages.is_empty()) {
        let checked = against_each_other(log, history, stored.as_ref());
        findings.take("", checked);
    }
    let entries = log.as_ref().map_or(0, |log| log.last().zip(log.first()).map_or(0, |(last, first)| last + 1 - first));
    let frontier = history.as_ref().map(|history| history.frontier().clone()).unwrap_or_default();
    replay.state.settle();
    let head = frontier.root().iter().map(|byte| format!("{byte:02x}")).collect();
    Report { damages: findings.damages, notes: findings.notes, events: frontier.size(), head, books: replay.state.digests().books, entries }
}

/// Folds the events, and compares with the stored state when it comes to its position.
struct Replay<'a> {
    stored: Option<&'a Stored>,
    state: State,
    is_whole: bool,
}

impl Replay<'_> {
    fn take(&mut self, number: u64, leaf: &[u8], findings: &mut Findings) {
        if !self.is_whole {
            return;
        }
        let folded = Recorded::read(leaf).and_then(|record| self.state.replay(&record));
        if let Err(error) = folded {
            findings.damaged("history/", Some(number), 0, error.to_string());
            self.is_whole = false;
        }
        self.compare(findings);
    }

    fn compare(&mut self, findings: &mut Findings) {
        let Some(stored) = self.stored.filter(|stored| stored.meta.n == self.state.position()) else { return };
        self.state.settle();
        if self.is_whole && self.state.digests().books != stored.meta.digests.books {
            findings.damaged("state/", None, 0, format!("the first {} events do not give the stored books", stored.meta.n));
        }
    }
}

/// Opens the log, which reads every record, and reads every entry and id.
fn log(disk: &Arc<dyn Disk>, findings: &mut Findings) -> Option<SegmentLog> {
    let (log, notes) = findings.take("log/", SegmentLog::open(disk.clone()))?;
    findings.notes.extend(notes);
    let end = log.last().map_or(0, |last| last + 1);
    let mut next = log.first().unwrap_or(end);
    while next < end {
        let to = end.min(next + CHUNK);
        findings.take("log/", read_disk(&log.reader(), next, to))?;
        next = to;
    }
    findings.take("log/", ids(&log))?;
    Some(log)
}

fn ids(log: &SegmentLog) -> io::Result<()> {
    let meta = log.meta();
    let damage = |what: &str, error| io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {error}"));
    meta.vote.map(|bytes| codec::decode::<Vote>(&bytes)).transpose().map_err(|error| damage("the vote", error))?;
    meta.purged.map(|bytes| codec::decode::<LogId>(&bytes)).transpose().map_err(|error| damage("the purged id", error))?;
    Ok(())
}

fn against_each_other(log: &SegmentLog, history: &journal::history::History, stored: Option<&Stored>) -> io::Result<()> {
    let Some(stored) = stored else { return recovery::check(log, history, &State::default(), None) };
    let state = stored.state().map_err(|error| io::Error::from(Damage { file: "state/".into(), record: None, offset: 0, what: error.to_string() }))?;
    recovery::check(log, history, &state, Some(&Mark::read(&stored.meta)?))
}
