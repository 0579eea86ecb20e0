//! What this node answers the other members.
use openraft::raft::AppendEntriesResponse;
use tokio::time::{Instant, timeout};

use crate::base::clock::Time;
use crate::base::ids::NodeId;
use crate::base::limits::NODE_ADDRESSES_MAX;
use crate::base::limits::peers::{PEER_LOOK_WAIT, PEER_RPC_WAIT, PEER_SERVED_WAIT};
use crate::base::version::version;
use crate::cluster::look::{Disk, Look};
use crate::cluster::member::Member;
use crate::cluster::peer::messages::{Ask, Said};
use crate::model::LEVEL;
use crate::ops::board::Board;

impl Member {
    /// Answers a question of a member.
    pub(crate) async fn answer(&self, from: NodeId, ask: Ask, board: &Board) -> Said {
        match ask {
            // Who asked waits no longer either.
            Ask::Append(request) => match timeout(PEER_RPC_WAIT, self.raft().append_entries(request)).await {
                Ok(Ok(response)) => {
                    // Somebody who leads no more is not the leader's voice.
                    if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
                        self.voice().hear(from);
                    }
                    Said::Append(response)
                }
                Ok(Err(error)) => Said::Failed(error.to_string()),
                Err(_) => Said::Failed("take up entries in time".to_owned()),
            },
            Ask::Vote(request) => {
                self.raft().vote(request).await.map_or_else(|error| Said::Failed(error.to_string()), Said::Vote)
            }
            Ask::Canvass { last } => Said::Canvass(self.would_vote(last).await),
            Ask::Elect => self.follow_on(from).await,
            Ask::Write(envelopes) if self.leads() => Said::Written(self.door().hand_over(envelopes).await),
            Ask::Write(_) => Said::NotLeader,
            Ask::ReadIndex => self.read_at().await.map_or(Said::NotLeader, Said::Index),
            Ask::Lease => self.give_lease(from).await.map_or(Said::NotLeader, Said::Index),
            Ask::Tell { mut reach } => {
                reach.truncate(NODE_ADDRESSES_MAX);
                self.peers().book().tell(from, reach);
                Said::Done
            }
            Ask::Members => Said::Members(self.peers().book().members()),
            Ask::Keyring => self.give_keyring(from),
            Ask::Errand(asked) => self.answer_errand(&asked),
            Ask::Copy => self.give_copy(from).await,
            Ask::Reach => Said::Reached(self.peers().can_call(from).await),
            Ask::Look => Said::Look(Box::new(self.look(board).await)),
            Ask::Served(revision) => {
                Said::Served(self.serves(revision, board, Instant::now() + PEER_SERVED_WAIT).await)
            }
        }
    }

    /// The leader goes and wants this node in its place.
    async fn follow_on(&self, from: NodeId) -> Said {
        if self.leader().is_some_and(|leader| leader != from) {
            return Said::NotLeader;
        }
        match self.raft().trigger().elect().await {
            Ok(()) => Said::Done,
            Err(error) => Said::Failed(error.to_string()),
        }
    }

    /// How a node is, if it says so in time.
    pub async fn look_at(&self, node: NodeId, board: &Board) -> Option<Look> {
        if node == self.node() {
            return Some(self.look(board).await);
        }
        match self.peers().ask(node, &Ask::Look, PEER_LOOK_WAIT).await {
            Ok(Said::Look(look)) => Some(*look),
            Ok(_) | Err(_) => None,
        }
    }

    /// How this node is.
    async fn look(&self, board: &Board) -> Look {
        let dir = self.dir().to_owned();
        let (disk, load) =
            self.blocking().run(move || (rustix::fs::statvfs(dir).ok(), load())).await.unwrap_or_default();
        let (now, status) = (self.now(), self.status());
        Look {
            node: self.node(),
            version: version().into(),
            level: LEVEL,
            revision: now.revision,
            hash: format!("{:032x}", now.hash),
            applied: status.applied_index,
            leader: status.leader,
            term: status.term,
            served: board.view().planes.into_iter().map(|plane| (plane.name, plane.served)).collect(),
            clock: Time::now().0,
            disk: disk.map(|disk| Disk { free: disk.f_bavail * disk.f_frsize, size: disk.f_blocks * disk.f_frsize }),
            load,
            keyring: self.keyring().map(|keyring| keyring.fingerprint()).unwrap_or_default(),
        }
    }
}

/// Percent of the processors that had work in the last minute (proc(5), `/proc/loadavg`). Blocks.
fn load() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    let waiting: f64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    let processors = std::thread::available_parallelism().ok()?.get();
    // A cast saturates.
    Some((waiting * 100.0 / processors as f64) as u32)
}
