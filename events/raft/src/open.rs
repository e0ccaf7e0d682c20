//! Opening: the stores are checked against each other, then the engine starts, and a node that is alone waits until it leads.

use crate::{
    keeper::{Ear, Keeper},
    log::Log,
    machine::Machine,
    network::Alone,
    port::{Engine, RaftJournal},
    recovery,
    replica::Replica,
    stores::{Mark, Stores},
    types::Membership,
    watch::{self, DiskWatch},
    writer::Failure,
};
use events::State;
use journal::{Clock, disk::Note, history::History, log::SegmentLog};
use openraft::{BasicNode, SnapshotPolicy};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use store::{DataDir, StateStore, state::CACHE_BYTES};
use tokio::time::sleep;

/// The engine's number of a cluster's first node: its join is event 0.
const FOUNDER: u64 = 0;
/// Entries behind the synced state that are kept for members that lag a little.
const KEPT_ENTRIES: u64 = 256;
/// How often a node that is alone looks whether it leads.
const LEAD_LOOK: Duration = Duration::from_millis(2);

/// What a journal is opened with.
pub struct Settings {
    pub clock: Arc<dyn Clock>,
    /// Told the first failure of a store: nothing that is answered afterwards could be trusted.
    pub fail_stop: Arc<dyn Fn(String) + Send + Sync>,
    /// Below so many free bytes nothing is admitted.
    pub disk_low: u64,
    /// From so many free bytes on it is admitted again.
    pub disk_ok: u64,
}

/// Heartbeats and elections as measured; `enable_leader_restore` may never be on: a leader that lost its last write would give the
/// same number to another entry.
fn config() -> openraft::Config {
    openraft::Config {
        cluster_name: "tollgate".into(),
        heartbeat_interval: 50,
        election_timeout_min: 200,
        election_timeout_max: 400,
        enable_leader_restore: Some(false),
        enable_pre_vote: Some(true),
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: KEPT_ENTRIES,
        ..openraft::Config::default()
    }
}

fn note(notes: Vec<Note>) {
    for note in notes {
        tracing::warn!(%note, "put right while opening");
    }
}

impl RaftJournal {
    /// Opens the journal of a data directory, which is locked for as long as the journal lives. Returns when a node that is alone leads
    /// and has applied its log.
    ///
    /// # Errors
    /// Damage that is found, named by its place; the disk's own errors; the engine does not start.
    pub async fn open(dir: DataDir, settings: Settings) -> io::Result<RaftJournal> {
        let Settings { clock, fail_stop, disk_low, disk_ok } = settings;
        let failure = Failure::new(fail_stop);
        let (mut log, notes) = SegmentLog::open(dir.log.clone())?;
        note(notes);
        if !log.keep_reserve()? {
            tracing::error!("the disk is full: there is no reserve for what must still be written");
        }
        let (history, notes) = History::open(dir.history.clone())?;
        note(notes);
        let rows = StateStore::open(&*dir.state, CACHE_BYTES)?;
        let (state, meta) = rows.load()?.map_or_else(|| (State::default(), None), |(state, meta)| (state, Some(meta)));
        let mark = meta.as_ref().map(Mark::read).transpose()?;
        recovery::check(&log, &history, &state, mark.as_ref())?;

        let (applied, membership) = mark.clone().map_or_else(|| (None, Membership::default()), |mark| (mark.applied, mark.membership));
        let written = state.position();
        let replica = Arc::new(Mutex::new(Replica::new(state, applied, membership)));
        let ear = Ear::new(written, mark);
        let stores = Stores::start(history, rows, meta.as_ref(), ear.clone(), failure.clone())?;
        let keeper = Arc::new(Keeper::new(replica.clone(), stores, ear, failure.clone()));
        let reader = log.reader();
        let log = Log::new(Box::new(log), reader, failure.clone())?;
        let writer = log.writer();
        let machine = Machine { replica: replica.clone(), keeper: keeper.clone(), log: log.applied(), failure: failure.clone() };
        let config = Arc::new(config().validate().map_err(io::Error::other)?);
        let engine = Engine::new(FOUNDER, config, Alone, log, machine).await.map_err(|fatal| failed(&failure, fatal))?;
        let watch = Arc::new(DiskWatch::new(disk_low, disk_ok));
        watch.look(&*dir.root);
        let tasks = vec![
            tokio::spawn(keeper.clone().run()).abort_handle(),
            tokio::spawn(purge_behind(keeper.clone(), engine.clone())).abort_handle(),
            tokio::spawn(watch::run(watch.clone(), dir.root.clone(), clock.clone())).abort_handle(),
        ];
        let stopped = AtomicBool::new(false);
        let journal = RaftJournal { engine, replica, keeper, writer, clock, failure, watch, tasks, stopped, dir: Mutex::new(Some(dir)) };
        journal.lead().await?;
        Ok(journal)
    }

    /// Founds the cluster if this is its first start, and waits until this node leads: it is its only member.
    async fn lead(&self) -> io::Result<()> {
        let fatal = |fatal: openraft::error::Fatal<_>| failed(&self.failure, fatal);
        if self.engine.is_initialized().await.map_err(fatal)? {
            self.engine.trigger().elect(false).await.map_err(fatal)?;
        } else {
            let members = BTreeMap::from([(FOUNDER, BasicNode::default())]);
            self.engine.initialize(members).await.map_err(|error| io::Error::other(error.to_string()))?;
        }
        while self.leads().is_err() {
            if let Some(why) = self.failed() {
                return Err(io::Error::other(why));
            }
            sleep(LEAD_LOOK).await;
        }
        Ok(())
    }
}

/// The first failure says more than what follows from it.
fn failed(failure: &Failure, fatal: impl std::fmt::Display) -> io::Error {
    io::Error::other(failure.get().cloned().unwrap_or_else(|| fatal.to_string()))
}

/// Tells the engine of each synced state: it is the snapshot behind which the log is purged.
async fn purge_behind(keeper: Arc<Keeper>, engine: Engine) {
    loop {
        keeper.news().await;
        if engine.trigger().snapshot().await.is_err() {
            return; // it was stopped, or failed and said so
        }
    }
}
