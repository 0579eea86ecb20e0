//! raft's way to its peers. A cluster of one has none: whoever is asked cannot be reached.
use std::future::Future;

use openraft::error::{
    Fatal, InstallSnapshotError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, SnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, Snapshot, Vote};

use crate::store::types::{Peer, TypeConfig};

#[derive(Debug, thiserror::Error)]
#[error("reach node {0:016x}: this node knows no way to a peer")]
struct NoWay(u64);

/// Makes the way to each peer.
#[derive(Debug)]
pub(crate) struct Network;

/// The way to one peer.
#[derive(Debug)]
pub(crate) struct Way(u64);

impl Way {
    fn unreachable(&self) -> Unreachable {
        Unreachable::new(&NoWay(self.0))
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Way;

    async fn new_client(&mut self, target: u64, _node: &Peer) -> Way {
        Way(target)
    }
}

type Rpc<T, E = openraft::error::Infallible> = Result<T, RPCError<u64, Peer, RaftError<u64, E>>>;

impl RaftNetwork<TypeConfig> for Way {
    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<u64>> {
        Err(self.unreachable().into())
    }

    async fn install_snapshot(
        &mut self,
        _request: InstallSnapshotRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Rpc<InstallSnapshotResponse<u64>, InstallSnapshotError> {
        Err(self.unreachable().into())
    }

    async fn vote(&mut self, _request: VoteRequest<u64>, _option: RPCOption) -> Rpc<VoteResponse<u64>> {
        Err(self.unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote<u64>,
        _snapshot: Snapshot<TypeConfig>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        Err(self.unreachable().into())
    }
}
