//! The stores of a data directory, as `apply` uses them: history and state, written by their one thread.

use crate::{
    keeper::Ear,
    types::{LogId, Membership},
    writer::Failure,
};
use events::{State, Timestamp, codec, envelope::Recorded, state::Digests, table::Change};
use journal::history::{History, HistoryReader};
use std::{io, sync::Arc};
use store::{
    Meta, Report, StateStore,
    writer::{Batch, Core, Writer},
};
use tokio::sync::oneshot;

/// Bytes of events that are read at once: a reader asks again for the rest.
pub(crate) const READ_BYTES: usize = 8 << 20;

/// Where a state is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mark {
    pub applied: Option<LogId>,
    pub membership: Membership,
    /// Events so far.
    pub n: u64,
    pub digests: Digests,
    pub time: Timestamp,
}

impl Mark {
    /// As it is stored; the tree is filled in by the writer.
    pub fn meta(&self) -> Meta {
        Meta {
            index: codec::encode(&(self.applied, &self.membership)),
            log_index: self.applied.map(|applied| applied.index),
            n: self.n,
            frontier: Vec::new(),
            digests: self.digests,
            time: self.time,
        }
    }

    /// Reads what was stored.
    ///
    /// # Errors
    /// `InvalidData`: what the state was written as of cannot be read.
    pub fn read(meta: &Meta) -> io::Result<Mark> {
        let damage = |error| io::Error::new(io::ErrorKind::InvalidData, format!("state: what it is as of: {error}"));
        let (applied, membership): (Option<LogId>, Membership) = codec::decode(&meta.index).map_err(damage)?;
        Ok(Mark { applied, membership, n: meta.n, digests: meta.digests, time: meta.time })
    }
}

/// What changed since the last hand-over.
pub(crate) struct HandOver {
    pub leaves: Vec<Arc<[u8]>>,
    pub changes: Vec<Change>,
    pub mark: Mark,
}

/// A synced state: its rows are read when they are asked for, and then are as of what is stored with them.
pub(crate) struct Stored {
    pub mark: Mark,
    rows: Arc<StateStore>,
}

/// See the module.
pub(crate) struct Stores {
    writer: Writer,
    state: Arc<StateStore>,
    history: HistoryReader,
}

impl Stores {
    /// Starts the writer behind a state that was loaded as of `stored`.
    ///
    /// # Errors
    /// History and state do not belong together.
    pub fn start(history: History, state: StateStore, stored: Option<&Meta>, ear: Ear, failure: Failure) -> io::Result<Stores> {
        let (state, reader) = (Arc::new(state), history.reader());
        let core = Core::new(history, state.clone(), stored)?;
        let tell = move |report| match report {
            Report::Written { n } => ear.written(n),
            Report::Synced(meta) => match Mark::read(&meta) {
                Ok(mark) => ear.synced(mark),
                Err(error) => failure.set(error.to_string()),
            },
            Report::Failed(why) => {
                failure.set(format!("stores: {why}"));
                ear.failed();
            }
        };
        let writer = Writer::start(core, Box::new(tell))?;
        Ok(Stores { writer, state, history: reader })
    }

    pub fn hand_over(&self, batch: HandOver) -> io::Result<()> {
        let meta = batch.mark.meta();
        self.writer.hand_over(Batch { leaves: batch.leaves, changes: batch.changes, meta })
    }

    /// Makes durable what was handed over.
    pub async fn flush(&self) -> io::Result<()> {
        let (done, flushed) = oneshot::channel();
        self.writer.flush(Box::new(|result| drop(done.send(result))))?;
        answered(flushed).await
    }

    /// Events from history; fewer than `limit` where they are many bytes.
    pub fn read(&self, from: u64, limit: usize) -> io::Result<Vec<Recorded>> {
        self.history.read(from, limit, READ_BYTES)
    }

    /// Reads history from any thread.
    pub fn reader(&self) -> HistoryReader {
        self.history.clone()
    }

    /// Reads the state's rows from any thread.
    pub fn state(&self) -> Arc<StateStore> {
        self.state.clone()
    }

    /// The synced state under this mark.
    pub fn stored(&self, mark: Mark) -> Stored {
        Stored { mark, rows: self.state.clone() }
    }

    /// Puts a snapshot in the place of the state, durable on return.
    pub async fn install(&self, snapshot: Stored) -> io::Result<(State, Mark)> {
        let Some(rows) = snapshot.rows.stored()? else { return Err(io::Error::other("a snapshot without rows")) };
        let mark = Mark::read(&rows.meta)?;
        if mark != snapshot.mark {
            return Err(io::Error::other("the snapshot was overtaken by a later one: it is asked for again"));
        }
        let state = rows.state().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let (done, replaced) = oneshot::channel();
        self.writer.replace(rows, Box::new(|result| drop(done.send(result))))?;
        answered(replaced).await?;
        Ok((state, mark))
    }

    /// Writes and syncs what was handed over, and ends the thread.
    pub fn stop(&self) {
        self.writer.stop();
    }
}

async fn answered(answer: oneshot::Receiver<Result<(), String>>) -> io::Result<()> {
    let ended = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the writer of history and state has ended");
    answer.await.map_err(ended)?.map_err(io::Error::other)
}
