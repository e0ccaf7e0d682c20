//! The short log of one replica, behind a trait: entries are opaque bytes to it. It is a journal of operations; what it holds is what
//! they come to, so nothing is ever written over. Votes and what was committed and purged ride in the same files, and are told again
//! at the head of each new one, so that giving files free loses nothing.

#[cfg(test)]
mod tests;

use crate::{
    disk::{Damage, Disk, Note},
    frame::{self, Frame},
    segments::{Segments, SegmentsReader, Settings},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    io,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

/// A log that is durable. After the first error every commit fails.
pub trait LogBackend: Send {
    /// Does all of it, in order, durable on return: one write and one sync.
    ///
    /// # Errors
    /// `InvalidInput`: an entry that does not follow the last, or is too large; nothing was done. Else the disk's own: stop.
    fn commit(&mut self, ops: &[LogOp]) -> io::Result<()>;
    /// Entries `from..to`, as many as there are, up to `max_bytes` of entries but at least one if there is one.
    ///
    /// # Errors
    /// `NotFound`: `from` was purged. [`Damage`] (as `InvalidData`): what is stored is not what was written.
    fn read(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<(u64, Vec<u8>)>>;
    fn meta(&self) -> LogMeta;
    /// The index of the first entry.
    fn first(&self) -> Option<u64>;
    /// The index of the last entry.
    fn last(&self) -> Option<u64>;
}

/// One change of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOp {
    /// The entry behind the last; any index if there is none.
    Append {
        index: u64,
        entry: Vec<u8>,
    },
    /// Keeps the entries up to this one; None keeps none.
    TruncateAfter(Option<u64>),
    /// Forgets the entries up to this one.
    Purge(u64),
    Vote(Vec<u8>),
    Committed(Vec<u8>),
    PurgedId(Vec<u8>),
}

/// The single values beside the entries; opaque.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogMeta {
    pub vote: Option<Vec<u8>>,
    pub committed: Option<Vec<u8>>,
    pub purged: Option<Vec<u8>>,
}

const APPEND: u8 = 1;
const TRUNCATE: u8 = 2;
const PURGE: u8 = 3;
const VOTE: u8 = 4;
const COMMITTED: u8 = 5;
const PURGED_ID: u8 = 6;
const META: u8 = 7;

/// Behind the last entry there is always an index.
const INDEX_MAX: u64 = u64::MAX - 1;

/// What a record of the log says.
enum Said<'a> {
    Append(u64, &'a [u8]),
    Truncate(Option<u64>),
    Purge(u64),
    Vote(&'a [u8]),
    Committed(&'a [u8]),
    PurgedId(&'a [u8]),
    Meta(LogMeta),
}

/// Understands a record.
fn understand(kind: u8, body: &[u8]) -> Option<Said<'_>> {
    let number = || body.try_into().ok().map(u64::from_le_bytes);
    Some(match kind {
        APPEND => {
            let (index, entry) = body.split_first_chunk()?;
            Said::Append(u64::from_le_bytes(*index), entry)
        }
        TRUNCATE if body.is_empty() => Said::Truncate(None),
        TRUNCATE => Said::Truncate(Some(number()?)),
        PURGE => Said::Purge(number()?),
        VOTE => Said::Vote(body),
        COMMITTED => Said::Committed(body),
        PURGED_ID => Said::PurgedId(body),
        META => Said::Meta(events::codec::decode(body).ok()?),
        _ => return None,
    })
}

/// Where the entries lie: the numbers of their records.
#[derive(Default)]
struct Index {
    first: u64,
    records: VecDeque<u64>,
    /// The last entry that was purged.
    purged: Option<u64>,
}

impl Index {
    fn next(&self) -> Option<u64> {
        (!self.records.is_empty()).then(|| self.first + self.records.len() as u64)
    }

    /// False: it does not follow the last.
    fn append(&mut self, index: u64, record: u64) -> bool {
        match self.next() {
            _ if index > INDEX_MAX => return false,
            Some(next) if next != index => return false,
            Some(_) => {}
            None => self.first = index,
        }
        self.records.push_back(record);
        true
    }

    fn truncate(&mut self, last: Option<u64>) {
        let kept = last.map_or(0, |last| last.saturating_add(1).saturating_sub(self.first));
        self.records.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
    }

    fn purge(&mut self, to: u64) {
        self.purged = self.purged.max(Some(to));
        while !self.records.is_empty() && self.first <= to {
            self.records.pop_front();
            self.first += 1;
        }
    }
}

/// The log and its values as they follow from the records.
#[derive(Default)]
struct Replay {
    index: Index,
    meta: LogMeta,
}

impl Replay {
    /// Takes in the next record; an error says what is wrong with it.
    fn take(&mut self, number: u64, kind: u8, body: &[u8]) -> Result<(), String> {
        match understand(kind, body).ok_or_else(|| format!("a record of kind {kind} that cannot be read"))? {
            Said::Append(index, _) => {
                let next = self.index.next();
                if !self.index.append(index, number) {
                    return Err(format!("entry {index} where {} is next", next.unwrap_or_default()));
                }
            }
            Said::Truncate(last) => self.index.truncate(last),
            Said::Purge(to) => self.index.purge(to),
            Said::Vote(vote) => self.meta.vote = Some(vote.into()),
            Said::Committed(committed) => self.meta.committed = Some(committed.into()),
            Said::PurgedId(purged) => self.meta.purged = Some(purged.into()),
            Said::Meta(meta) => self.meta = meta,
        }
        Ok(())
    }
}

/// The log in segment files.
pub struct SegmentLog {
    segments: Segments,
    meta: LogMeta,
    reader: LogReader,
}

impl SegmentLog {
    /// Opens the log in its folder. A torn write at the very end is dropped, and noted.
    ///
    /// # Errors
    /// [`Damage`] (as `InvalidData`), or the disk's own.
    pub fn open(disk: Arc<dyn Disk>) -> io::Result<(SegmentLog, Vec<Note>)> {
        SegmentLog::open_with(disk, Settings::log())
    }

    /// With files of another size.
    pub fn open_with(disk: Arc<dyn Disk>, settings: Settings) -> io::Result<(SegmentLog, Vec<Note>)> {
        let mut replay = Replay::default();
        let folder = settings.folder;
        let mut visit = |frame: &Frame<'_>| {
            let broken = |what| Damage { file: format!("{folder}/"), record: Some(frame.number), offset: 0, what };
            replay.take(frame.number, frame.kind, frame.body).map_err(|what| io::Error::from(broken(what)))
        };
        let (segments, notes) = Segments::open(disk, settings, &mut visit)?;
        let reader = LogReader { index: Arc::new(RwLock::new(replay.index)), segments: segments.reader() };
        Ok((SegmentLog { segments, meta: replay.meta, reader }, notes))
    }

    /// Reads from another thread.
    pub fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    /// Keeps a file for a full disk; see [`Segments::keep_reserve`].
    ///
    /// # Errors
    /// The disk's own. False: there is no room for it.
    pub fn keep_reserve(&mut self) -> io::Result<bool> {
        self.segments.keep_reserve()
    }

    /// Something else (the state) proves that entry `index` was here: a log that ends before it is damaged.
    ///
    /// # Errors
    /// [`Damage`] that names the place where the log ends.
    pub fn must_reach(&self, index: u64) -> Result<(), Damage> {
        let purged = self.reader.index().purged;
        let last = self.last();
        if last.or(purged).is_some_and(|last| last >= index) {
            return Ok(());
        }
        let (file, offset) = self.segments.end();
        let what = match (last, purged) {
            (Some(last), _) => format!("the log ends with entry {last}, but the state holds entry {index}"),
            (None, Some(purged)) => format!("the log is empty behind entry {purged}, but the state holds entry {index}"),
            (None, None) => format!("the log is empty, but the state holds entry {index}"),
        };
        Err(Damage { file, record: Some(self.segments.next()), offset, what })
    }

    /// The entries follow each other, as they stand in `ops`.
    fn check(&self, ops: &[LogOp]) -> io::Result<()> {
        let (mut first, mut next) = {
            let index = self.reader.index();
            (index.first, index.next())
        };
        for op in ops {
            let (_, number, rest, numbered) = parts(op);
            if rest.len() + if numbered { number.len() } else { 0 } > frame::BODY_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("an entry or value of {} bytes", rest.len())));
            }
            match op {
                LogOp::Append { index, .. } if *index <= INDEX_MAX && next.is_none_or(|next| next == *index) => {
                    first = if next.is_none() { *index } else { first };
                    next = Some(index + 1);
                }
                LogOp::Append { index, .. } => {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("entry {index} where {next:?} is next")));
                }
                LogOp::TruncateAfter(last) => {
                    next = next.map(|next| last.map_or(0, |last| last.saturating_add(1)).min(next)).filter(|next| *next > first)
                }
                LogOp::Purge(to) => {
                    next = next.filter(|next| *next > to.saturating_add(1));
                    first = first.max(to.saturating_add(1));
                }
                LogOp::Vote(_) | LogOp::Committed(_) | LogOp::PurgedId(_) => {}
            }
        }
        Ok(())
    }

    fn take_in(&mut self, ops: &[LogOp], mut number: u64) {
        let mut index = self.reader.index.write().unwrap_or_else(PoisonError::into_inner);
        for op in ops {
            match op {
                LogOp::Append { index: at, .. } => {
                    let follows = index.append(*at, number);
                    debug_assert!(follows, "checked before it was written");
                }
                LogOp::TruncateAfter(last) => index.truncate(*last),
                LogOp::Purge(to) => index.purge(*to),
                LogOp::Vote(vote) => self.meta.vote = Some(vote.clone()),
                LogOp::Committed(committed) => self.meta.committed = Some(committed.clone()),
                LogOp::PurgedId(purged) => self.meta.purged = Some(purged.clone()),
            }
            number += 1;
        }
    }
}

/// The body of an operation's record: its parts.
fn parts(op: &LogOp) -> (u8, [u8; 8], &[u8], bool) {
    match op {
        LogOp::Append { index, entry } => (APPEND, index.to_le_bytes(), entry, true),
        LogOp::TruncateAfter(None) => (TRUNCATE, [0; 8], &[], false),
        LogOp::TruncateAfter(Some(last)) => (TRUNCATE, last.to_le_bytes(), &[], true),
        LogOp::Purge(to) => (PURGE, to.to_le_bytes(), &[], true),
        LogOp::Vote(vote) => (VOTE, [0; 8], vote, false),
        LogOp::Committed(committed) => (COMMITTED, [0; 8], committed, false),
        LogOp::PurgedId(purged) => (PURGED_ID, [0; 8], purged, false),
    }
}

impl LogBackend for SegmentLog {
    fn commit(&mut self, ops: &[LogOp]) -> io::Result<()> {
        if ops.is_empty() {
            return Ok(());
        }
        self.check(ops)?;
        let parts: Vec<_> = ops.iter().map(parts).collect();
        let bodies: Vec<[&[u8]; 2]> =
            parts.iter().map(|(_, number, rest, numbered)| [if *numbered { number } else { [].as_slice() }, rest]).collect();
        let bytes: u64 = bodies.iter().map(|[number, rest]| frame::size(number.len() + rest.len())).sum();
        let head = events::codec::encode(&self.meta);
        let head_body = [head.as_slice()];
        let purged = self.reader.index().purged.map(u64::to_le_bytes);
        let purged_body = purged.as_ref().map(|purged| [purged.as_slice()]);
        let mut records: Vec<(u8, &[&[u8]])> = Vec::with_capacity(ops.len() + 2);
        if self.segments.begin(bytes + frame::size(head.len()) + frame::size(size_of::<u64>()))? {
            records.push((META, &head_body));
            records.extend(purged_body.as_ref().map(|purged| (PURGE, purged.as_slice())));
        }
        let heads = records.len() as u64;
        records.extend(parts.iter().zip(&bodies).map(|((kind, ..), body)| (*kind, body.as_slice())));
        let number = self.segments.append(&records)?;
        self.segments.sync()?;
        self.take_in(ops, number + heads);
        if ops.iter().any(|op| matches!(op, LogOp::Purge(_) | LogOp::TruncateAfter(_))) {
            let needed = self.reader.index().records.front().copied().unwrap_or(self.segments.next());
            self.segments.purge_before(needed)?;
        }
        Ok(())
    }

    fn read(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        self.reader.read(from, to, max_bytes)
    }

    fn meta(&self) -> LogMeta {
        self.meta.clone()
    }

    fn first(&self) -> Option<u64> {
        self.reader.first()
    }

    fn last(&self) -> Option<u64> {
        self.reader.last()
    }
}

/// Reads the log while another thread commits. Cheap to clone.
#[derive(Clone)]
pub struct LogReader {
    index: Arc<RwLock<Index>>,
    segments: SegmentsReader,
}

impl LogReader {
    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index of the first entry.
    pub fn first(&self) -> Option<u64> {
        let index = self.index();
        index.next().map(|_| index.first)
    }

    /// The index of the last entry that is durable.
    pub fn last(&self) -> Option<u64> {
        self.index().next().map(|next| next - 1)
    }

    /// See [`LogBackend::read`].
    pub fn read(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let mut out: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut bytes = 0;
        while out.is_empty() || bytes < max_bytes {
            let next = from + out.len() as u64;
            let Some((record, run)) = self.run(next, to)? else { break };
            for found in self.segments.read(record, run, max_bytes - bytes)? {
                let index = from + out.len() as u64;
                match understand(found.kind, &found.body) {
                    Some(Said::Append(at, entry)) if at == index => {
                        bytes += entry.len();
                        if bytes > max_bytes && !out.is_empty() {
                            return Ok(out);
                        }
                        out.push((index, entry.to_vec()));
                    }
                    _ => {
                        return Err(Damage {
                            file: "log/".into(),
                            record: Some(found.number),
                            offset: 0,
                            what: format!("entry {index} is another record"),
                        }
                        .into());
                    }
                }
            }
        }
        Ok(out)
    }

    /// The record of an entry, and how many entries from it on stand in consecutive records.
    fn run(&self, from: u64, to: u64) -> io::Result<Option<(u64, usize)>> {
        let index = self.index();
        if from < index.first && !index.records.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("entry {from} was purged, {} is the first", index.first)));
        }
        let end = to.min(index.next().unwrap_or(0));
        if from >= end {
            return Ok(None);
        }
        let (at, end) = ((from - index.first) as usize, (end - index.first) as usize);
        let first = index.records[at];
        let run = index.records.range(at..end).zip(first..).take_while(|(record, expected)| *record == expected).count();
        Ok(Some((first, run)))
    }
}
