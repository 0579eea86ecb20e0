//! A leader that stops hands over first: the voter that has all of the log is told to stand for election, so that writers wait for
//! milliseconds and not for a silence to be noticed.
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use openraft::raft::AppendEntriesRequest;
use openraft::{CommittedLeaderId, Vote};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::base::ids::NodeId;
use crate::base::limits::peers::{ELECTION_REST, HAND_OVER_WAIT, PEER_CANVASS_WAIT};
use crate::cluster::member::Member;
use crate::cluster::peer::messages::{Ask, Said};
use crate::store::types::{LogId, TypeConfig};

impl Member {
    /// Lets another voter lead, if this node does and there is one that can. Changes wait for it meanwhile.
    pub async fn hand_over(&self) {
        if !self.leads() || self.status().voters == [self.node()] {
            return;
        }
        self.retiring().store(true, Ordering::Relaxed);
        match timeout(HAND_OVER_WAIT, self.be_followed()).await {
            Ok(Some(next)) => tracing::info!(leader = %next, "handed over"),
            Ok(None) | Err(_) => tracing::warn!("nobody took over in time: the others elect a leader by themselves"),
        }
        self.retiring().store(false, Ordering::Relaxed);
    }

    async fn be_followed(&self) -> Option<NodeId> {
        let next = self.best_successor().await?;
        self.release_voters(next).await;
        loop {
            let asked = self.peers().ask(next, &Ask::Elect, PEER_CANVASS_WAIT).await;
            if !matches!(asked, Ok(Said::Done)) {
                return None;
            }
            let mut seen = self.raft().server_metrics();
            let led = seen.wait_for(|seen| seen.current_leader.is_some_and(|leader| leader != self.node().0));
            match timeout(ELECTION_REST, led).await {
                Ok(Ok(led)) => return led.current_leader.map(NodeId),
                Ok(Err(_)) => return None,
                Err(_) => {}
            }
        }
    }

    /// A voter that has all of the log and answers, once there is one.
    async fn best_successor(&self) -> Option<NodeId> {
        let mut asked = BTreeSet::from([self.node()]);
        let mut metrics = self.raft().metrics();
        loop {
            let found = {
                let now = metrics.borrow_and_update();
                let last = now.last_log_index;
                let has_all = |node: &NodeId| {
                    let at = now.replication.as_ref().and_then(|all| all.get(&node.0)).copied().flatten();
                    at.map(|at| at.index) >= last
                };
                now.membership_config.voter_ids().map(NodeId).filter(|node| !asked.contains(node)).find(has_all)
            };
            match found {
                // It may have gone with all of the log.
                Some(node) if self.is_there(node).await => return Some(node),
                Some(node) => drop(asked.insert(node)),
                None => metrics.changed().await.ok()?,
            }
        }
    }

    async fn is_there(&self, node: NodeId) -> bool {
        let asked = self.peers().ask(node, &Ask::Canvass { last: None }, PEER_CANVASS_WAIT);
        // To reach it may take longer than to answer.
        matches!(timeout(PEER_CANVASS_WAIT, asked).await, Ok(Ok(_)))
    }

    /// Voters stand by a leader until its lease is over. A word in the name of the next one, which nobody has elected yet, has them stand
    /// by nobody: its election need not wait. Nobody's log has what the word is said to follow, so it changes no log.
    async fn release_voters(&self, next: NodeId) {
        let status = self.status();
        let word = AppendEntriesRequest::<TypeConfig> {
            vote: Vote::new(status.term + 1, next.0),
            prev_log_id: Some(LogId::new(CommittedLeaderId::default(), u64::MAX - 1)),
            entries: Vec::new(),
            leader_commit: None,
        };
        let mut told = JoinSet::new();
        for voter in status.voters.into_iter().filter(|voter| *voter != self.node() && *voter != next) {
            let (peers, word) = (self.peers().clone(), Ask::Append(word.clone()));
            told.spawn(async move { peers.ask(voter, &word, PEER_CANVASS_WAIT).await.is_ok() });
        }
        told.join_all().await;
        let _ = self.raft().append_entries(word).await;
    }
}
