//! raft's way to its peers: a connection for what follows in order, one more for each copy of the state, and kept ones for single
//! questions (votes, whether this node still leads). Whatever goes wrong on a connection ends it; raft tries again after a pause that grows.
use std::future::Future;
use std::iter::successors;

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
use crate::base::limits::peers::{
    PEER_COPY_PAUSE, PEER_COPY_PAUSES_LOG2, PEER_PAUSE_FIRST, PEER_PAUSE_MAX, PEER_RPC_WAIT,
};
use crate::cluster::copies;
use crate::cluster::peer::dial::{Peers, Stream, exchange};
use crate::cluster::peer::error::PeerError;
use crate::cluster::peer::messages::{Ask, CopySaid, Said};
use crate::ops::blocking::Blocking;
use crate::store::machine::Machine;
use crate::store::types::{Peer, TypeConfig};

/// Makes the way to each peer.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) peers: Peers,
    pub(crate) blocking: Blocking,
    pub(crate) machine: Machine,
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
    copies_failed: u32,
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

impl Way {
    /// Gives it a copy of the state. What raft asked for a copy of was an older state: that is in this one.
    async fn give_copy(&mut self, vote: Vote<u64>) -> Result<SnapshotResponse<u64>, Unreachable> {
        let error = match self.copy(vote).await {
            Ok(response) => {
                self.copies_failed = 0;
                return Ok(response);
            }
            Err(error) => error,
        };
        if self.copies_failed == 0 {
            tracing::warn!(node = %self.target, "it gets no copy of the state for now: failed to {error}");
        }
        // raft would try again at once.
        for _ in 0..1 << self.copies_failed.min(PEER_COPY_PAUSES_LOG2) {
            sleep(PEER_COPY_PAUSE).await;
            self.say_who_leads(vote).await.map_err(|error| Unreachable::new(&error))?;
        }
        self.copies_failed = self.copies_failed.saturating_add(1);
        Err(Unreachable::new(&error))
    }

    /// One is made once it is known that somebody is there to take it.
    async fn copy(&self, vote: Vote<u64>) -> Result<SnapshotResponse<u64>, PeerError> {
        let Network { peers, blocking, machine } = &self.network;
        self.say_who_leads(vote).await?;
        let copied = machine.copied().await.map_err(|error| PeerError::Failed(error.to_string()))?;
        match copies::send_copy(peers, blocking, self.target, copies::Way { vote, instead: false }, copied).await? {
            CopySaid::Taken(response) => Ok(response),
            _ => Err(PeerError::Failed("take the answer to another question".into())),
        }
    }

    /// raft says nothing to who waits for a copy.
    async fn say_who_leads(&self, vote: Vote<u64>) -> Result<(), PeerError> {
        let word = AppendEntriesRequest { vote, prev_log_id: None, entries: Vec::new(), leader_commit: None };
        self.network.peers.ask(self.target, &Ask::Append(word), PEER_RPC_WAIT).await.map(drop)
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
        _snapshot: Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            given = self.give_copy(vote) => given.map_err(StreamingError::Unreachable),
        }
    }

    fn backoff(&self) -> Backoff {
        let next = |pause: &std::time::Duration| Some((*pause * 2).min(PEER_PAUSE_MAX));
        Backoff::new(successors(Some(PEER_PAUSE_FIRST), next))
    }
}
