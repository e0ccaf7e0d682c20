//! The state machine as openraft sees it.

use crate::{
    keeper::Keeper,
    log::Applied,
    replica::Replica,
    stores::Stored,
    types::{LogId, Membership, SnapshotMeta, TypeConfig},
    writer::Failure,
};
use futures_util::{Stream, StreamExt};
use openraft::{
    OptionalSend, RaftSnapshotBuilder,
    storage::{EntryResponder, RaftStateMachine},
};
use parking_lot::Mutex;
use std::{io, sync::Arc};

/// The last synced state; building one copies nothing, its rows are read when they are asked for.
pub struct Snapshot(pub(crate) Stored);

type Built = openraft::alias::SnapshotOf<TypeConfig, Snapshot>;

/// Applies what is committed.
pub struct Machine {
    pub(crate) replica: Arc<Mutex<Replica>>,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) log: Applied,
    pub(crate) failure: Failure,
}

/// Gives the last synced state a name.
pub struct Builder {
    keeper: Arc<Keeper>,
    /// First makes what was applied the last synced state.
    force: bool,
}

fn current(keeper: &Keeper) -> Option<Built> {
    let stored = keeper.stored()?;
    Some(Built { meta: stored.mark.snapshot_meta(), snapshot: Snapshot(stored) })
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Snapshot;

    async fn build_snapshot(&mut self) -> io::Result<Built> {
        if self.force || self.keeper.synced().is_none() {
            self.keeper.flush().await?;
        }
        current(&self.keeper).ok_or_else(|| io::Error::other("nothing was applied that a snapshot could hold"))
    }
}

impl Machine {
    /// Applies one entry after the other; each answer is given at once.
    async fn apply_all<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            let (answer, full) = {
                let mut replica = self.replica.lock();
                (replica.apply(&entry)?, replica.is_full())
            };
            self.log.before(entry.log_id.index + 1);
            if let Some(responder) = responder {
                responder.send(answer);
            }
            if full {
                self.keeper.hand_over().await?;
            }
        }
        self.keeper.changed();
        Ok(())
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = Snapshot;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Membership)> {
        let replica = self.replica.lock();
        Ok((replica.applied, replica.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let applied = self.apply_all(entries).await;
        if let Err(error) = &applied {
            self.failure.set(format!("apply: {error}"));
        }
        applied
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder> {
        // not forced: only what is synced already, for that is what is asked after each sync
        (force || self.keeper.synced().is_some()).then(|| Builder { keeper: self.keeper.clone(), force })
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { keeper: self.keeper.clone(), force: true }
    }

    /// Takes over the rows of a snapshot. The history up to it must be here already: fetching it from a peer comes with the cluster.
    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Snapshot) -> io::Result<()> {
        let stored = snapshot.0;
        if stored.mark.snapshot_meta() != *meta {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a snapshot is not what its name says"));
        }
        let (state, mark) = self.keeper.stores().install(stored).await?;
        self.keeper.installed(mark.clone());
        self.replica.lock().replace(state, mark.applied, mark.membership);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Built>> {
        Ok(current(&self.keeper))
    }
}
