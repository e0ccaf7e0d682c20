//! Between `apply` and the stores: hands over what changed, keeps within bounds what is on its way, and tells the engine what is
//! synced, so that the log can be purged behind it.

use crate::{
    replica::Replica,
    stores::{HandOver, Mark, Stored, Stores},
    writer::Failure,
};
use events::envelope::Recorded;
use parking_lot::Mutex;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, Semaphore};

/// What changed is handed over after this long (LEDGER §10).
const HAND_OVER_AFTER: Duration = Duration::from_millis(100);
/// Hand-overs that may be on their way; `apply` waits for the disk beyond that.
const ON_THE_WAY_MAX: usize = 8;

/// What the stores tell from their own thread.
#[derive(Default)]
pub(crate) struct Told {
    /// Events that can be read from history.
    written: AtomicU64,
    synced: Mutex<Option<Mark>>,
    /// A state was synced.
    pub news: Notify,
}

/// See the module.
pub(crate) struct Keeper {
    replica: Arc<Mutex<Replica>>,
    stores: Stores,
    told: Arc<Told>,
    room: Arc<Semaphore>,
    changed: Notify,
    failure: Failure,
}

/// What the stores call from their thread.
#[derive(Clone)]
pub(crate) struct Ear {
    pub told: Arc<Told>,
    pub room: Arc<Semaphore>,
}

impl Ear {
    pub fn new(written: u64, synced: Option<Mark>) -> Ear {
        let told = Told { written: AtomicU64::new(written), synced: Mutex::new(synced), news: Notify::new() };
        Ear { told: Arc::new(told), room: Arc::new(Semaphore::new(ON_THE_WAY_MAX)) }
    }

    /// One hand-over is in history and state, up to event `n`.
    pub fn written(&self, n: u64) {
        self.told.written.fetch_max(n, Ordering::AcqRel);
        self.room.add_permits(1);
    }

    /// Nothing is written any more: who waits for room learns it.
    pub fn failed(&self) {
        self.room.close();
    }

    /// History and state are on disk up to here.
    pub fn synced(&self, mark: Mark) {
        *self.told.synced.lock() = Some(mark);
        self.told.news.notify_one();
    }
}

impl Keeper {
    pub fn new(replica: Arc<Mutex<Replica>>, stores: Stores, ear: Ear, failure: Failure) -> Keeper {
        Keeper { replica, stores, told: ear.told, room: ear.room, changed: Notify::new(), failure }
    }

    /// Something was applied: it is handed over within a moment.
    pub fn changed(&self) {
        self.changed.notify_one();
    }

    /// Hands over what has changed, when there is room for it.
    pub async fn hand_over(&self) -> io::Result<()> {
        let room = self.room.acquire().await.map_err(io::Error::other)?;
        let batch = {
            let mut replica = self.replica.lock();
            replica.written_before(self.written());
            // a state that was never written is written even if nothing was applied: a snapshot may be asked for
            let is_unwritten = replica.applied.is_none() && self.synced().is_none();
            if !replica.is_dirty() && !is_unwritten {
                return Ok(());
            }
            let leaves = replica.take_pending();
            let changes = replica.state.settle();
            HandOver { leaves, changes, mark: Mark::of(&replica) }
        };
        // given back by the stores
        room.forget();
        self.stores.hand_over(batch)
    }

    /// Hands over what has changed, and waits until it is on disk.
    pub async fn flush(&self) -> io::Result<()> {
        self.hand_over().await?;
        self.stores.flush().await
    }

    /// Events that can be read from history.
    pub fn written(&self) -> u64 {
        self.told.written.load(Ordering::Acquire)
    }

    /// Where history and state are on disk.
    pub fn synced(&self) -> Option<Mark> {
        self.told.synced.lock().clone()
    }

    /// Waits for the next sync.
    pub async fn news(&self) {
        self.told.news.notified().await;
    }

    /// Events that are in history.
    pub fn read(&self, from: u64, limit: usize) -> io::Result<Vec<Recorded>> {
        self.stores.read(from, limit)
    }

    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// The last synced state.
    pub fn stored(&self) -> Option<Stored> {
        self.synced().map(|mark| self.stores.stored(mark))
    }

    /// Takes over a snapshot's mark.
    pub fn installed(&self, mark: Mark) {
        self.told.written.store(mark.n, Ordering::Release);
        *self.told.synced.lock() = Some(mark);
    }

    /// Ends the stores' thread.
    pub fn stop(&self) {
        self.stores.stop();
    }

    /// Hands over what is left behind, for as long as it is not aborted. No timer runs while nothing happens.
    pub async fn run(self: Arc<Self>) {
        loop {
            self.changed.notified().await;
            tokio::time::sleep(HAND_OVER_AFTER).await;
            if let Err(error) = self.hand_over().await {
                self.failure.set(format!("stores: {error}"));
                return;
            }
        }
    }
}

impl Mark {
    /// Where a replica is.
    fn of(replica: &Replica) -> Mark {
        Mark {
            applied: replica.applied,
            membership: replica.membership.clone(),
            n: replica.state.position(),
            digests: replica.state.digests(),
            time: replica.state.desk.time(),
        }
    }

    /// What openraft calls a snapshot's meta data.
    pub fn snapshot_meta(&self) -> crate::types::SnapshotMeta {
        crate::types::SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() }
    }
}
