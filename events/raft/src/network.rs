//! The way to other members. There are none yet, so nobody can be reached; the transport comes with the cluster.

use crate::{machine::Snapshot, types::TypeConfig, types::Vote};
use openraft::{
    AnyError, OptionalSend,
    error::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{RPCOption, RaftNetworkFactory, RaftNetworkV2},
    raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse},
};

/// Makes connections to nowhere.
pub(crate) struct Alone;

/// A member that cannot be reached. Every answer is immediate, so every call is bounded.
pub(crate) struct Nobody;

fn unreachable() -> Unreachable<TypeConfig> {
    Unreachable::new(&AnyError::error("this node has no transport to other members"))
}

impl RaftNetworkFactory<TypeConfig> for Alone {
    type Network = Nobody;

    async fn new_client(&mut self, _target: u64, _node: &openraft::BasicNode) -> Nobody {
        Nobody
    }
}

impl RaftNetworkV2<TypeConfig> for Nobody {
    type SnapshotData = Snapshot;

    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(RPCError::Unreachable(unreachable()))
    }

    async fn vote(&mut self, _rpc: VoteRequest<TypeConfig>, _option: RPCOption) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(RPCError::Unreachable(unreachable()))
    }

    /// Not left to the default, which grants.
    async fn pre_vote(
        &mut self,
        _rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(RPCError::Unreachable(unreachable()))
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: openraft::alias::SnapshotOf<TypeConfig, Snapshot>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        Err(StreamingError::Unreachable(unreachable()))
    }
}
