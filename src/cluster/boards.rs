//! What nodes tell each other of themselves beside the log: who serves what, who has a copy, whether this node can be counted on. Asked
//! when somebody wants to know, never kept.
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::base::ids::NodeId;
use crate::base::limits::peers::{
    PEER_LOOK_WAIT, PEER_PAUSE_FIRST, PEER_SERVED_WAIT, QUORUM_SILENCE, READY_BEHIND_MAX,
};
use crate::cluster::member::Member;
use crate::cluster::peer::messages::{Ask, Said};
use crate::model::nodes::Node;
use crate::model::placement::Boards;
use crate::ops::board::Board;

impl Member {
    /// Waits until all of these nodes that are up serve a revision, each on every plane; false at the deadline.
    pub async fn all_serve(
        &self,
        revision: u64,
        board: &Board,
        deadline: Instant,
        meant: impl Fn(&Node) -> bool + Send + Sync,
    ) -> bool {
        let mut asked = JoinSet::new();
        for node in self.now().nodes.values().filter(|node| meant(node)) {
            let (member, board, node) = (self.clone(), board.clone(), node.id);
            asked.spawn(async move { member.one_serves(node, revision, &board, deadline).await });
        }
        while let Some(serves) = asked.join_next().await {
            if !matches!(serves, Ok(true)) {
                return false;
            }
        }
        true
    }

    async fn one_serves(&self, node: NodeId, revision: u64, board: &Board, deadline: Instant) -> bool {
        if node == self.node() {
            return self.serves(revision, board, deadline).await;
        }
        while Instant::now() < deadline {
            // Nobody comes to who is down.
            if self.now().nodes.get(&node).is_none_or(|node| node.down) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now()).min(PEER_SERVED_WAIT + PEER_LOOK_WAIT);
            match self.peers().ask(node, &Ask::Served(revision), left).await {
                Ok(Said::Served(true)) => return true,
                Ok(Said::Served(false)) => {}
                Ok(_) | Err(_) => sleep(PEER_PAUSE_FIRST).await,
            }
        }
        false
    }

    /// Whether this node serves a revision by then.
    pub(crate) async fn serves(&self, revision: u64, board: &Board, deadline: Instant) -> bool {
        let mut snapshot = self.snapshot();
        let known = snapshot.wait_for(|snapshot| snapshot.revision >= revision);
        let known = tokio::time::timeout_at(deadline, known).await.is_ok_and(|known| known.is_ok());
        known && board.wait_served(revision, deadline).await
    }

    /// What the nodes that are up say of themselves where a site is to be placed.
    pub async fn boards(&self, board: &Board) -> Boards {
        let mut looks = JoinSet::new();
        for node in self.now().nodes.values().filter(|node| !node.down).map(|node| node.id) {
            let (member, board) = (self.clone(), board.clone());
            looks.spawn(async move { (node, member.look_at(node, &board).await) });
        }
        let said = looks.join_all().await.into_iter();
        said.filter_map(|(node, look)| Some((node, look?.facts()?))).collect()
    }

    /// Where one node decides alone: whether another one has all that is in the log by now, as soon as it has or when the time is over.
    /// None where a majority had it before anything was answered, or nobody else is there.
    pub async fn has_second_copy(&self, wait: Duration) -> Option<bool> {
        let status = self.status();
        if status.voters.len() != 1 || self.now().nodes.len() < 2 {
            return None;
        }
        if !self.leads() {
            // What it answers for it has applied itself.
            return Some(true);
        }
        let others = status.learners.iter();
        let lately =
            |node: &&NodeId| self.peers().book().last_heard(**node).is_some_and(|at| at.elapsed() < QUORUM_SILENCE);
        if !others.clone().any(|node| lately(&node)) {
            return Some(false);
        }
        let (wanted, mut seen) = (status.applied_index, self.raft().metrics());
        let copied = seen.wait_for(|seen| {
            let mut others = seen.replication.iter().flatten().filter(|(node, _)| **node != self.node().0);
            others.any(|(_, at)| at.map(|at| at.index) >= wanted)
        });
        Some(timeout(wait, copied).await.is_ok_and(|copied| copied.is_ok()))
    }

    /// Why this node is not to be counted on, as far as the cluster goes. What was committed it serves all the same.
    pub async fn unready(&self) -> Option<String> {
        let Some(leader) = self.leader() else {
            return Some("raft: no leader: nothing can be changed".into());
        };
        if leader == self.node() {
            let confirmed = timeout(PEER_LOOK_WAIT, self.raft().ensure_linearizable()).await;
            let quorum = self.has_quorum() && confirmed.is_ok_and(|confirmed| confirmed.is_ok());
            return (!quorum).then(|| "raft: no quorum: nothing can be changed".into());
        }
        match self.peers().ask(leader, &Ask::ReadIndex, PEER_LOOK_WAIT).await {
            Ok(Said::Index(index)) => {
                let behind = index.unwrap_or(0).saturating_sub(self.status().applied_index.unwrap_or(0));
                (behind > READY_BEHIND_MAX).then(|| format!("raft: far behind the leader: {behind} entries"))
            }
            Ok(_) => Some("raft: no quorum: nothing can be changed".into()),
            Err(error) => Some(format!("raft: no leader is heard: failed to {error}")),
        }
    }
}
