//! The log as openraft sees it. Everything that is written goes through one ordered queue to one writer; what was handed over and
//! is not yet on disk is read from the cache.

use crate::{
    cache::Cache,
    types::{Entry, Flushed, LogId, TypeConfig, Vote},
    writer::{Failure, Job, Writer},
};
use events::{codec, limits::ENTRY_BYTES_MAX};
use futures_util::{Stream, StreamExt, stream};
use journal::log::{LogBackend, LogReader};
use openraft::{
    EntryPayload, LogState, OptionalSend, RaftLogReader,
    storage::RaftLogStorage,
};
use parking_lot::Mutex;
use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::Arc,
};
use tokio::sync::oneshot;

/// Entries that are read from disk at once: a replay holds no more of them than this.
const CHUNK: u64 = 64;
/// What an entry without groups counts in the cache.
const SMALL_ENTRY_BYTES: usize = 64;

/// What core thread and writer both know; held for moments only.
#[derive(Default)]
pub(crate) struct Inner {
    pub cache: Cache,
    pub vote: Option<Vote>,
    pub committed: Option<LogId>,
    /// `committed` changed since it was last written: it rides in the next append.
    pub committed_unwritten: bool,
    pub purged: Option<LogId>,
    pub last: Option<LogId>,
}

/// The log's writing side.
pub(crate) struct Log {
    inner: Arc<Mutex<Inner>>,
    reader: LogReader,
    writer: Writer,
}

/// The log's reading side; cheap to clone.
#[derive(Clone)]
pub(crate) struct Reader {
    inner: Arc<Mutex<Inner>>,
    disk: LogReader,
}

/// What of the log openraft may ask for after it is handed over: told by the state machine.
#[derive(Clone)]
pub(crate) struct Applied(Arc<Mutex<Inner>>);

impl Applied {
    /// Everything before `index` is applied.
    pub fn before(&self, index: u64) {
        self.0.lock().cache.applied_before(index);
    }
}

/// Reads something that we wrote.
fn decode<T: serde::de::DeserializeOwned>(what: &str, bytes: &[u8]) -> io::Result<T> {
    codec::decode(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("log: {what}: {error}")))
}

/// Reads an entry and checks that it is the one that it is stored as.
pub(crate) fn decode_entry(index: u64, bytes: &[u8]) -> io::Result<Entry> {
    let entry: Entry = decode(&format!("entry {index}"), bytes)?;
    match entry.log_id.index == index {
        true => Ok(entry),
        false => Err(damage(format!("entry {index} says that it is entry {}", entry.log_id.index))),
    }
}

fn damage(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("log: {what}"))
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the log's writer has ended")
}

impl Log {
    /// Takes over an opened log.
    ///
    /// # Errors
    /// Its vote, ids or last entry cannot be read.
    pub fn new(backend: Box<dyn LogBackend>, reader: LogReader, failure: Failure) -> io::Result<Log> {
        let meta = backend.meta();
        let vote = meta.vote.map(|bytes| decode("vote", &bytes)).transpose()?;
        let committed = meta.committed.map(|bytes| decode("committed id", &bytes)).transpose()?;
        let purged: Option<LogId> = meta.purged.map(|bytes| decode("purged id", &bytes)).transpose()?;
        let last = match backend.last() {
            Some(index) => Some(read_disk(&reader, index, index + 1)?.remove(0).log_id),
            None => None,
        };
        let inner = Inner { vote, committed, purged, last: last.max(purged), ..Inner::default() };
        let inner = Arc::new(Mutex::new(inner));
        let writer = Writer::start(backend, inner.clone(), failure)?;
        Ok(Log { inner, reader, writer })
    }

    /// For the state machine.
    pub fn applied(&self) -> Applied {
        Applied(self.inner.clone())
    }

    /// For who ends the log: writes out what is queued, and joins the thread.
    pub fn writer(&self) -> Writer {
        self.writer.clone()
    }

    fn reader(&self) -> Reader {
        Reader { inner: self.inner.clone(), disk: self.reader.clone() }
    }

    async fn written(&self, make: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Job) -> io::Result<()> {
        let (done, written) = oneshot::channel();
        self.writer.send(make(done))?;
        written.await.map_err(|_| stopped())?
    }

    /// Puts entries behind the last one, in the cache and in the books.
    fn take(&self, entries: &[Entry]) -> io::Result<()> {
        let mut inner = self.inner.lock();
        for entry in entries {
            let index = entry.log_id.index;
            if inner.last.is_some_and(|last| last.index + 1 != index) {
                return Err(damage(format!("entry {index} does not follow {:?}", inner.last)));
            }
            let bytes = match &entry.payload {
                EntryPayload::Normal(batch) => batch.size(),
                _ => SMALL_ENTRY_BYTES,
            };
            inner.cache.push(entry.clone(), bytes).map_err(|next| damage(format!("entry {index} where the cache expects {next}")))?;
            inner.last = Some(entry.log_id);
        }
        Ok(())
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Reader;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let inner = self.inner.lock();
        Ok(LogState { last_purged_log_id: inner.purged, last_log_id: inner.last })
    }

    async fn get_log_reader(&mut self) -> Reader {
        self.reader()
    }

    /// On disk when it returns.
    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let bytes = codec::encode(vote);
        self.written(|done| Job::Vote { bytes, done }).await?;
        self.inner.lock().vote = Some(*vote);
        Ok(())
    }

    /// Needs no sync of its own: it rides in the next append. Lost, it costs a replay that waits for the election.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let mut inner = self.inner.lock();
        inner.committed_unwritten |= inner.committed != committed;
        inner.committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.inner.lock().committed)
    }

    /// Returns at once; `done` is called by the writer when the entries are on disk.
    async fn append<I>(&mut self, entries: I, done: Flushed) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        self.take(&entries)?;
        self.writer.send(Job::Append { entries, done })
    }

    /// Forgets all entries behind `last`; on disk when it returns.
    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        {
            let mut inner = self.inner.lock();
            inner.cache.truncate_from(last.map_or(0, |last| last.index + 1));
            inner.last = inner.last.min(last);
        }
        self.written(|done| Job::Truncate { keep: last.map(|last| last.index), done }).await
    }

    /// Does not wait for the disk: what is lost of it is purged again.
    async fn purge(&mut self, id: LogId) -> io::Result<()> {
        {
            let mut inner = self.inner.lock();
            if inner.purged >= Some(id) {
                return Ok(());
            }
            inner.purged = Some(id);
            inner.last = inner.last.max(Some(id));
            inner.cache.purge_before(id.index + 1);
        }
        self.writer.send(Job::Purge { index: id.index, id: codec::encode(&id) })
    }
}

/// Reads `from..to` from disk.
pub(crate) fn read_disk(disk: &LogReader, from: u64, to: u64) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut next = from;
    while next < to {
        let read = disk.read(next, to, ENTRY_BYTES_MAX)?;
        for (index, bytes) in &read {
            if *index != next {
                return Err(damage(format!("entry {index} where {next} is next")));
            }
            entries.push(decode_entry(*index, bytes)?);
            next += 1;
        }
        if read.is_empty() {
            return Err(damage(format!("entry {next} is not there")));
        }
    }
    Ok(entries)
}

impl Reader {
    /// `from..to` of a range, cut to what the log has. A range may begin at 0 whatever was purged; any other beginning must be there.
    fn bounds(&self, inner: &Inner, range: &impl RangeBounds<u64>) -> io::Result<(u64, u64)> {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(from) => from + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(to) => to.saturating_add(1),
            Bound::Excluded(to) => *to,
            Bound::Unbounded => u64::MAX,
        };
        let end = inner.last.map_or(0, |last| last.index + 1);
        let purged = inner.purged.map_or(0, |purged| purged.index + 1);
        let first = purged.max(self.disk.first().or(inner.cache.first()).unwrap_or(end));
        let to = to.min(end);
        if from >= to || from >= first {
            return Ok((from, to.max(from)));
        }
        match from == 0 {
            true => Ok((first.min(to), to)),
            false => Err(damage(format!("entry {from} is asked for and {first} is the first"))),
        }
    }

    /// Reads a range, from disk and cache; entries are consecutive from the first to the last that was asked for.
    fn read(&self, range: &impl RangeBounds<u64>) -> io::Result<Vec<Entry>> {
        let (from, to, cached) = {
            let inner = self.inner.lock();
            let (from, to) = self.bounds(&inner, range)?;
            (from, to, inner.cache.range(from, to).cloned().collect::<Vec<Entry>>())
        };
        let seam = cached.first().map_or(to, |entry| entry.log_id.index);
        let mut entries = match from < seam {
            true => read_disk(&self.disk, from, seam)?,
            false => Vec::new(),
        };
        entries.extend(cached);
        self.check(&entries, from, to)?;
        Ok(entries)
    }

    /// A gap here would be applied without a word.
    fn check(&self, entries: &[Entry], from: u64, to: u64) -> io::Result<()> {
        let wanted = from..to;
        match entries.iter().map(|entry| entry.log_id.index).eq(wanted) {
            true => Ok(()),
            false => Err(damage(format!("entries {from}..{to} are asked for and {:?} are there", entries.iter().map(|entry| entry.log_id.index).collect::<Vec<_>>()))),
        }
    }
}

impl RaftLogReader<TypeConfig> for Reader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(&mut self, range: RB) -> io::Result<Vec<Entry>> {
        self.read(&range)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.inner.lock().vote)
    }

    /// Stops when the bytes of one large entry are together, but not before the first.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let mut entries = self.read(&(start..end.min(start.saturating_add(CHUNK))))?;
        let mut bytes = 0;
        let fits = entries.iter().take_while(|entry| {
            let before = bytes;
            bytes += if let EntryPayload::Normal(batch) = &entry.payload { batch.size() } else { SMALL_ENTRY_BYTES };
            before == 0 || bytes <= ENTRY_BYTES_MAX
        });
        let count = fits.count();
        entries.truncate(count);
        Ok(entries)
    }

    /// Chunk by chunk: after a restart the range may be the whole log.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let reader = self.clone();
        let bounds = self.bounds(&self.inner.lock(), &range);
        let (next, to) = match bounds {
            Ok(bounds) => bounds,
            Err(error) => return stream::iter([Err(error)]).left_stream(),
        };
        let chunks = stream::unfold(next, move |next| {
            let read = (next < to).then(|| reader.read(&(next..to.min(next.saturating_add(CHUNK)))));
            let step = read.map(|read| match read {
                Ok(entries) => (next + entries.len() as u64, entries.into_iter().map(Ok).collect()),
                // nothing is asked for behind an error
                Err(error) => (to, vec![Err(error)]),
            });
            std::future::ready(step.map(|(next, items): (u64, Vec<_>)| (stream::iter(items), next)))
        });
        chunks.flatten().right_stream()
    }
}
