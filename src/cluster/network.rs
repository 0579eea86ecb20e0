//! raft's way to its peers: a connection for what follows in order, one more for each copy of the state, and kept ones for single
//! questions (votes, whether this node still leads). Whatever goes wrong on a connection ends it; raft tries again after a pause that grows.
use std::future::Future;
use std::iter::successors;
use std::time::Duration;

use openraft::error::{
    Fatal, InstallSnapshotError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, SnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, Snapshot, Vote};
use tokio::time::sleep;

use crate::base::ids::NodeId;
use crate::base::limits::peers::{PEER_PAUSE_FIRST, PEER_PAUSE_MAX, PEER_RPC_WAIT};
use crate::cluster::copies;
use crate::cluster::peer::dial::{Peers, Stream, exchange};
use crate::cluster::peer::error::PeerError;
use crate::cluster::peer::messages::{Ask, CopySaid, Said};
use crate::ops::blocking::Blocking;
use crate::store::types::{Peer, TypeConfig};

/// Makes the way to each peer.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) peers: Peers,
    pub(crate) blocking: Blocking,
}

/// The way to one peer.
pub(crate) struct Way {
    target: NodeId,
    network: Network,
    stream: Option<Stream>,
    /// Answers so far.
    answers: u64,
    /// It has not answered the last time; said once.
    silent: bool,
    /// Copies in a row that it did not get.
    copies_failed: usize,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Way;

    async fn new_client(&mut self, target: u64, _node: &Peer) -> Way {
        Way { target: NodeId(target), network: self.clone(), stream: None, answers: 0, silent: false, copies_failed: 0 }
    }
}

impl Way {
    /// The connection is laid aside only after a whole answer: who stops waiting takes it along.
    async fn ask(&mut self, ask: &Ask) -> Result<Said, Unreachable> {
        let peers = &self.network.peers;
        let asked = async {
            let mut stream = match self.stream.take() {
                Some(stream) => stream,
                None => peers.kept_or_open(self.target).await?,
            };
            let said = exchange(&mut stream, ask, PEER_RPC_WAIT).await?;
            Ok((said, stream))
        };
        let asked: Result<(Said, Stream), PeerError> = asked.await;
        let failed = match asked {
            Ok((Said::Failed(text), _)) => PeerError::Failed(text),
            Ok((said, stream)) => {
                peers.book().heard(self.target);
                self.stream = Some(stream);
                self.answers += 1;
                if std::mem::take(&mut self.silent) {
                    tracing::info!(node = %self.target, "it answers again");
                }
                return Ok(said);
            }
            Err(error) => error,
        };
        if !std::mem::replace(&mut self.silent, true) {
            tracing::warn!(node = %self.target, "it is tried again and again: failed to {failed}");
        }
        Err(Unreachable::new(&failed))
    }
}

/// raft makes a way for each single question: the next one goes over the same connection. One that carried more was a leader's, and its
/// end tells the others that the leader is gone.
impl Drop for Way {
    fn drop(&mut self) {
        if self.answers == 1
            && let Some(stream) = self.stream.take()
        {
            self.network.peers.keep(self.target, stream);
        }
    }
}

fn odd() -> Unreachable {
    Unreachable::new(&PeerError::Failed("it answered another question".into()))
}

type Rpc<T, E = openraft::error::Infallible> = Result<T, RPCError<u64, Peer, RaftError<u64, E>>>;

impl RaftNetwork<TypeConfig> for Way {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<u64>> {
        match self.ask(&Ask::Append(request)).await? {
            Said::Append(response) => Ok(response),
            _ => Err(odd().into()),
        }
    }

    async fn install_snapshot(
        &mut self,
        _request: InstallSnapshotRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Rpc<InstallSnapshotResponse<u64>, InstallSnapshotError> {
        // Copies go as a whole; this is the other way of openraft, which nothing here calls.
        Err(odd().into())
    }

    async fn vote(&mut self, request: VoteRequest<u64>, _option: RPCOption) -> Rpc<VoteResponse<u64>> {
        match self.ask(&Ask::Vote(request)).await? {
            Said::Vote(response) => Ok(response),
            _ => Err(odd().into()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote<u64>,
        snapshot: Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        let sent = async {
            let Network { peers, blocking } = &self.network;
            let way = copies::Way { vote, instead: false };
            let failed = match copies::send_copy(peers, blocking, self.target, way, snapshot).await {
                Ok(CopySaid::Taken(response)) => {
                    self.copies_failed = 0;
                    return Ok(response);
                }
                Ok(_) => odd(),
                Err(error) => Unreachable::new(&error),
            };
            // raft's own pause does not grow here, and the next copy is made anew.
            sleep(pauses().nth(self.copies_failed).unwrap_or(PEER_PAUSE_MAX)).await;
            self.copies_failed += 1;
            Err(StreamingError::Unreachable(failed))
        };
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sent => sent,
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(pauses())
    }
}

/// Between one try and the next.
fn pauses() -> impl Iterator<Item = Duration> + Send {
    successors(Some(PEER_PAUSE_FIRST), |pause| Some((*pause * 2).min(PEER_PAUSE_MAX)))
}
