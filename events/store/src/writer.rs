//! The one writer of history and state (LEDGER §10): it takes what `apply` hands over, and syncs history before state, so that history is
//! never behind state.

#[cfg(test)]
mod tests;

use crate::{
    rows::StoreFault,
    state::{Meta, StateStore, Stored},
};
use events::table::Change;
use journal::{
    history::History,
    tree::{self, Frontier},
};
use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Both stores are synced so often while something is written.
pub const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Or after so many bytes.
pub const SYNC_BYTES: u64 = 64 << 20;
/// Batches that may wait; who hands over more waits for the disk.
const QUEUE_MAX: usize = 16;

/// What changed since the last one.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The events' leaves; the last is event `meta.n - 1`.
    pub leaves: Vec<Arc<[u8]>>,
    pub changes: Vec<Change>,
    /// The frontier is filled in here.
    pub meta: Meta,
}

/// What the writer tells, from its own thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// One batch is in history and state, up to event `n`; it can be read, and is not durable yet.
    Written { n: u64 },
    /// History and state are durable up to here: the log may be purged behind it.
    Synced(Meta),
    /// The first error. Nothing is written any more.
    Failed(String),
}

/// The writing itself, without thread or clock.
pub struct Core {
    history: History,
    state: Arc<StateStore>,
    /// The tree as of the last batch; while the log is replayed, history is ahead of it.
    frontier: Frontier,
    last: Option<Meta>,
    dirty: bool,
    unsynced_bytes: u64,
    /// On the clock of whoever calls.
    synced_at: Duration,
}

fn damaged(what: String) -> StoreFault {
    StoreFault::Damaged(journal::disk::Damage { file: "history/".into(), record: None, offset: 0, what })
}

impl Core {
    /// `stored`: what the state was loaded as of.
    ///
    /// # Errors
    /// History ends before the state, or the tree that the state holds is none.
    pub fn new(history: History, state: Arc<StateStore>, stored: Option<&Meta>) -> Result<Core, StoreFault> {
        let frontier = frontier_of(stored)?;
        history.must_reach(frontier.size()).map_err(StoreFault::Damaged)?;
        let core = Core { history, state, frontier, last: None, dirty: false, unsynced_bytes: 0, synced_at: Duration::ZERO };
        core.same_tree().map(|()| core)
    }

    /// Once history is not ahead, its tree is the state's.
    fn same_tree(&self) -> Result<(), StoreFault> {
        let len = self.frontier.size();
        if self.history.len() == len && *self.history.frontier() != self.frontier {
            return Err(damaged(format!("the tree over {len} events is not the one that the state holds")));
        }
        Ok(())
    }

    pub fn history(&self) -> &History {
        &self.history
    }

    /// Writes a batch; syncs if that is due. Answers what is durable now, if that is new.
    ///
    /// # Errors
    /// The leaves do not follow, differ from what history has, or the disk fails.
    pub fn take(&mut self, mut batch: Batch, now: Duration) -> Result<Option<Meta>, StoreFault> {
        let first = batch.meta.n.checked_sub(batch.leaves.len() as u64).filter(|first| *first == self.frontier.size());
        let first = first.ok_or_else(|| {
            damaged(format!("{} events up to {} where {} is next", batch.leaves.len(), batch.meta.n, self.frontier.size()))
        })?;
        for hash in self.history.accept(first, &batch.leaves)? {
            self.frontier.append(hash);
        }
        self.same_tree()?;
        batch.meta.frontier = self.frontier.encode();
        if !self.dirty {
            self.synced_at = self.synced_at.max(now.saturating_sub(SYNC_EVERY));
        }
        self.dirty = true;
        let rows = batch.changes.iter().map(|change| change.key.len() + change.value.as_ref().map_or(0, Vec::len) + 16);
        let bytes: usize = batch.leaves.iter().map(|leaf| leaf.len()).chain(rows).sum();
        self.unsynced_bytes += bytes as u64;
        let due = self.due(now);
        if due {
            self.history.sync()?;
        }
        self.state.write(&batch.changes, &batch.meta, due)?;
        self.last = Some(batch.meta);
        Ok(if due { self.synced(now) } else { None })
    }

    fn due(&self, now: Duration) -> bool {
        self.dirty && (now.saturating_sub(self.synced_at) >= SYNC_EVERY || self.unsynced_bytes >= SYNC_BYTES)
    }

    fn synced(&mut self, now: Duration) -> Option<Meta> {
        self.dirty = false;
        self.unsynced_bytes = 0;
        self.synced_at = now;
        self.last.clone()
    }

    /// When the next sync is due; None: there is nothing to sync.
    pub fn next_sync(&self) -> Option<Duration> {
        self.dirty.then(|| self.synced_at + SYNC_EVERY)
    }

    /// Syncs what was written, if anything was.
    pub fn sync(&mut self, now: Duration) -> Result<Option<Meta>, StoreFault> {
        if !self.dirty {
            return Ok(None);
        }
        self.history.sync()?;
        self.state.sync()?;
        Ok(self.synced(now))
    }

    /// Puts a snapshot in the place of the state. The history that belongs to it must be here already.
    pub fn replace(&mut self, stored: &Stored) -> Result<(), StoreFault> {
        let frontier = frontier_of(Some(&stored.meta))?;
        self.history.must_reach(frontier.size()).map_err(StoreFault::Damaged)?;
        let leaves = self.history.reader().leaf_hashes(frontier.size())?;
        if tree::root(&leaves) != frontier.root() {
            return Err(damaged(format!("the first {} events are not the snapshot's", frontier.size())));
        }
        self.history.sync()?;
        self.state.replace(stored)?;
        self.frontier = frontier;
        self.last = Some(stored.meta.clone());
        self.dirty = false;
        self.unsynced_bytes = 0;
        Ok(())
    }
}

fn frontier_of(stored: Option<&Meta>) -> Result<Frontier, StoreFault> {
    let Some(meta) = stored.filter(|meta| meta.n > 0) else { return Ok(Frontier::default()) };
    Frontier::decode(&meta.frontier)
        .filter(|frontier| frontier.size() == meta.n)
        .ok_or_else(|| damaged(format!("the state's tree is not one over {} events", meta.n)))
}

/// Called once, from the writer's thread.
pub type Done = Box<dyn FnOnce(Result<(), String>) + Send>;

enum Job {
    Take(Box<Batch>),
    Flush(Done),
    Replace(Box<Stored>, Done),
    Stop,
}

/// The thread and the way to it. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    jobs: SyncSender<Job>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

fn ended<E>(_: E) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the writer of history and state has ended")
}

impl Writer {
    /// Starts the thread; `tell` is called there.
    pub fn start(core: Core, tell: Box<dyn FnMut(Report) + Send>) -> io::Result<Writer> {
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let run = Run { core, tell, queue, start: Instant::now(), failed: None };
        let thread = std::thread::Builder::new().name("tollgate-store".into()).spawn(move || run.all())?;
        Ok(Writer { jobs, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Hands over a batch; waits while the queue is full.
    ///
    /// # Errors
    /// `BrokenPipe`: the writer was stopped.
    pub fn hand_over(&self, batch: Batch) -> io::Result<()> {
        self.jobs.send(Job::Take(Box::new(batch))).map_err(ended)
    }

    /// Makes durable what was handed over, and then calls `done`.
    pub fn flush(&self, done: Done) -> io::Result<()> {
        self.jobs.send(Job::Flush(done)).map_err(ended)
    }

    /// Puts a snapshot in the place of the state, and then calls `done`.
    pub fn replace(&self, stored: Stored, done: Done) -> io::Result<()> {
        self.jobs.send(Job::Replace(Box::new(stored), done)).map_err(ended)
    }

    /// Writes and syncs what was handed over, and ends the thread.
    pub fn stop(&self) {
        // It has ended already where this fails: nothing is left to do.
        let _ = self.jobs.send(Job::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

struct Run {
    core: Core,
    tell: Box<dyn FnMut(Report) + Send>,
    queue: Receiver<Job>,
    start: Instant,
    failed: Option<String>,
}

impl Run {
    fn all(mut self) {
        loop {
            match self.next_job() {
                Ok(Job::Take(batch)) => self.take(*batch),
                Ok(Job::Flush(done)) => done(self.sync()),
                Ok(Job::Replace(stored, done)) => done(self.replace(&stored)),
                Err(RecvTimeoutError::Timeout) => drop(self.sync()),
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    // An error was told when it happened.
                    let _ = self.sync();
                    return;
                }
            }
        }
    }

    fn next_job(&self) -> Result<Job, RecvTimeoutError> {
        match self.core.next_sync() {
            Some(at) if self.failed.is_none() => self.queue.recv_timeout(at.saturating_sub(self.start.elapsed())),
            _ => self.queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// The first error is told, and the last thing that is done.
    fn once<R>(&mut self, act: impl FnOnce(&mut Core, Duration) -> Result<R, StoreFault>) -> Result<R, String> {
        if let Some(first) = &self.failed {
            return Err(first.clone());
        }
        let now = self.start.elapsed();
        act(&mut self.core, now).map_err(|fault| {
            let what = fault.to_string();
            self.failed = Some(what.clone());
            (self.tell)(Report::Failed(what.clone()));
            what
        })
    }

    fn take(&mut self, batch: Batch) {
        let n = batch.meta.n;
        let Ok(synced) = self.once(|core, now| core.take(batch, now)) else { return };
        (self.tell)(Report::Written { n });
        self.tell_synced(synced);
    }

    fn sync(&mut self) -> Result<(), String> {
        let synced = self.once(Core::sync)?;
        self.tell_synced(synced);
        Ok(())
    }

    fn replace(&mut self, stored: &Stored) -> Result<(), String> {
        self.once(|core, _| core.replace(stored))
    }

    fn tell_synced(&mut self, synced: Option<Meta>) {
        if let Some(meta) = synced {
            (self.tell)(Report::Synced(meta));
        }
    }
}
