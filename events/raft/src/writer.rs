//! The log's one writer: votes, appends, truncations and purges in the order in which they were asked for. What is queued while
//! the disk syncs becomes one commit.

use crate::{
    log::Inner,
    types::{Entry, Flushed, LogId},
};
use events::codec;
use journal::log::{LogBackend, LogOp};
use parking_lot::Mutex;
use std::{
    io,
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
};
use tokio::sync::oneshot;

/// Jobs are gathered into one commit up to this many entries; what comes behind waits for the next.
const COMMIT_ENTRIES_MAX: usize = 1_024;

/// Something to be written.
pub(crate) enum Job {
    Vote { bytes: Vec<u8>, done: oneshot::Sender<io::Result<()>> },
    Append { entries: Vec<Entry>, done: Flushed },
    Truncate { keep: Option<u64>, done: oneshot::Sender<io::Result<()>> },
    Purge { index: u64, id: Vec<u8> },
    Stop,
}

/// The first error of any store: it is told once, and stays.
#[derive(Clone)]
pub(crate) struct Failure {
    first: Arc<OnceLock<String>>,
    tell: Arc<dyn Fn(String) + Send + Sync>,
}

impl Failure {
    pub fn new(tell: Arc<dyn Fn(String) + Send + Sync>) -> Failure {
        Failure { first: Arc::default(), tell }
    }

    /// Keeps and tells the first; later ones follow from it.
    pub fn set(&self, what: String) {
        if self.first.set(what.clone()).is_ok() {
            (self.tell)(what);
        }
    }

    pub fn get(&self) -> Option<&String> {
        self.first.get()
    }
}

/// The queue to the writer.
#[derive(Clone)]
pub(crate) struct Writer {
    jobs: Sender<Job>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Writer {
    /// Starts the thread.
    pub fn start(backend: Box<dyn LogBackend>, inner: Arc<Mutex<Inner>>, failure: Failure) -> io::Result<Writer> {
        let (jobs, queue) = channel();
        let run = Run { backend, inner, failure, queue, stopping: false };
        let thread = std::thread::Builder::new().name("tollgate-log".into()).spawn(move || run.all())?;
        Ok(Writer { jobs, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    pub fn send(&self, job: Job) -> io::Result<()> {
        self.jobs.send(job).map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the log's writer has ended"))
    }

    /// Writes what is queued, and ends the thread.
    pub fn stop(&self) {
        // it has ended already: nothing is left to do
        let _ = self.jobs.send(Job::Stop);
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

/// Whom to tell of a commit.
enum Waiting {
    One(oneshot::Sender<io::Result<()>>),
    Entries(Flushed, Option<LogId>),
}

struct Run {
    backend: Box<dyn LogBackend>,
    inner: Arc<Mutex<Inner>>,
    failure: Failure,
    queue: Receiver<Job>,
    stopping: bool,
}

impl Run {
    fn all(mut self) {
        let mut ops = Vec::new();
        let mut waiting = Vec::new();
        while !self.stopping {
            let Ok(job) = self.queue.recv() else { return };
            self.take(job, &mut ops, &mut waiting);
            while ops.len() < COMMIT_ENTRIES_MAX && !self.stopping {
                let Ok(job) = self.queue.try_recv() else { break };
                self.take(job, &mut ops, &mut waiting);
            }
            self.commit(&mut ops, &mut waiting);
        }
    }

    fn take(&mut self, job: Job, ops: &mut Vec<LogOp>, waiting: &mut Vec<Waiting>) {
        match job {
            Job::Vote { bytes, done } => {
                ops.push(LogOp::Vote(bytes));
                waiting.push(Waiting::One(done));
            }
            Job::Append { entries, done } => {
                let last = entries.last().map(|entry| entry.log_id);
                ops.extend(entries.iter().map(|entry| LogOp::Append { index: entry.log_id.index, entry: codec::encode(entry) }));
                waiting.push(Waiting::Entries(done, last));
            }
            Job::Truncate { keep, done } => {
                ops.push(LogOp::TruncateAfter(keep));
                waiting.push(Waiting::One(done));
            }
            Job::Purge { index, id } => ops.extend([LogOp::PurgedId(id), LogOp::Purge(index)]),
            Job::Stop => self.stopping = true,
        }
    }

    fn commit(&mut self, ops: &mut Vec<LogOp>, waiting: &mut Vec<Waiting>) {
        if !ops.is_empty() || self.stopping {
            self.add_committed(ops);
        }
        let result = match (self.failure.get(), ops.is_empty()) {
            // the first error poisons: nothing is written behind it
            (Some(first), _) => Err(io::Error::other(first.clone())),
            (None, true) => Ok(()),
            (None, false) => self.backend.commit(ops),
        };
        ops.clear();
        if let Err(error) = &result {
            self.failure.set(format!("log: {error}"));
        }
        for one in waiting.drain(..) {
            self.answer(one, &result);
        }
    }

    /// Behind the entries, so that a torn write loses it first.
    fn add_committed(&self, ops: &mut Vec<LogOp>) {
        let mut inner = self.inner.lock();
        if let Some(committed) = inner.committed.filter(|_| inner.committed_unwritten) {
            inner.committed_unwritten = false;
            ops.push(LogOp::Committed(codec::encode(&committed)));
        }
    }

    fn answer(&self, waiting: Waiting, result: &io::Result<()>) {
        let result = result.as_ref().copied().map_err(|error| io::Error::new(error.kind(), error.to_string()));
        match waiting {
            // who asked may be gone: at the end of the process
            Waiting::One(done) => drop(done.send(result)),
            Waiting::Entries(done, last) => {
                if let (Ok(()), Some(last)) = (&result, last) {
                    self.inner.lock().cache.durable_before(last.index + 1);
                }
                done.io_completed(result);
            }
        }
    }
}
