//! Whether this node's state is that of the others: compared a while after something changed, with the leader, or by the leader with
//! the other voters. Who is alone with its state says so, and takes a copy of the leader's; what it had is kept aside.
use openraft::RaftMetrics;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::base::clock::Time;
use crate::base::ids::NodeId;
use crate::base::limits::peers::{COMPARE_AFTER, COMPARE_RETRY, COMPARE_TRIES, PEER_COPY_WAIT, PEER_LOOK_WAIT};
use crate::cluster::copies::{Way, send_copy};
use crate::cluster::look::Look;
use crate::cluster::member::Member;
use crate::cluster::peer::messages::{Ask, CopyHead, CopySaid, Said};
use crate::ops::board::Board;
use crate::ops::stop::Stop;
use crate::store::copy::Copied;
use crate::store::types::Peer;

/// On the board.
const AGREEMENT: &str = "agreement";

impl Member {
    /// Compares after changes, until the node stops.
    pub(crate) async fn keep_agreed(&self, board: &Board, stop: &Stop) {
        let mut snapshot = self.snapshot();
        loop {
            tokio::select! {
                () = sleep(COMPARE_AFTER) => {}
                () = stop.give_up() => return,
            }
            snapshot.borrow_and_update();
            let others = self.status().voters.len() + self.status().learners.len() > 1;
            if others && self.is_alone().await {
                tracing::error!("this node's state is not that of the others at the same revision");
                board.red(AGREEMENT, "DIVERGED: the state is not that of the others; it is taken from the leader");
                self.retake().await;
                if self.is_alone().await {
                    // It is tried again, whether or not anything changes.
                    continue;
                }
                board.green(AGREEMENT, "the state was taken from the leader, what it was before is set aside");
            }
            tokio::select! {
                changed = snapshot.changed() => if changed.is_err() { return },
                () = stop.give_up() => return,
            }
        }
    }

    /// Whether the others have another state than this node, and one and the same.
    async fn is_alone(&self) -> bool {
        let voters = self.status().voters;
        let asked: Vec<NodeId> = match self.leader() {
            Some(leader) if leader != self.node() => vec![leader],
            Some(_) => voters.iter().copied().filter(|voter| *voter != self.node()).collect(),
            None => return false,
        };
        let Some(seen) = self.compared(&asked).await else { return false };
        if seen.1.iter().all(|other| *other == seen.0) {
            return false;
        }
        // Before anything is given up for it, everybody is asked: somebody else may be the odd one.
        let all = voters.into_iter().filter(|voter| *voter != self.node());
        let all: Vec<NodeId> = all.chain(asked).collect();
        self.compared(&all).await.is_some_and(|(own, others)| alone(&own, &others))
    }

    /// This node's state and that of others at the same revision; none where they do not meet.
    async fn compared(&self, others: &[NodeId]) -> Option<(String, Vec<String>)> {
        for _ in 0..COMPARE_TRIES {
            let now = self.now();
            let (revision, own) = (now.revision, format!("{:032x}", now.hash));
            let mut asked = JoinSet::new();
            for node in others.iter().copied() {
                let peers = self.peers().clone();
                asked.spawn(async move {
                    match peers.ask(node, &Ask::Look, PEER_LOOK_WAIT).await {
                        Ok(Said::Look(look)) => Some(*look),
                        Ok(_) | Err(_) => None,
                    }
                });
            }
            let looks = asked.join_all().await;
            let looks: Vec<Look> = looks.into_iter().flatten().collect();
            if !looks.is_empty() && looks.iter().all(|look| look.revision == revision) {
                return Some((own, looks.into_iter().map(|look| look.hash).collect()));
            }
            sleep(COMPARE_RETRY).await;
        }
        None
    }

    /// Has the leader send a copy of its state, and lets it take the place of this node's.
    async fn retake(&self) {
        let leader = match self.leader() {
            Some(leader) if leader == self.node() => return self.hand_over().await,
            Some(leader) => leader,
            None => return,
        };
        let aside = self.machine().dir().join(format!("set-aside-{}", Time::now().seconds()));
        *self.retaking().lock().await = Some(aside.clone());
        let said = self.peers().ask(leader, &Ask::Copy, 10 * PEER_COPY_WAIT).await;
        *self.retaking().lock().await = None;
        match said {
            Ok(Said::Done) => {
                tracing::warn!(folder = %aside.display(), "the state was taken from the leader; what it was before is kept there");
            }
            Ok(Said::Failed(text)) => tracing::warn!("the state stays wrong, and is taken later: failed to {text}"),
            Ok(_) => tracing::warn!("the state stays wrong, and is taken later"),
            Err(error) => tracing::warn!("the state stays wrong, and is taken later: failed to {error}"),
        }
    }

    /// Another node's state is wrong: it gets a copy of this one's.
    pub(crate) async fn give_copy(&self, to: NodeId) -> Said {
        let copy = match self.machine().copied().await {
            Ok(copy) if self.leads() => copy,
            Ok(_) => return Said::NotLeader,
            Err(error) => return Said::Failed(error.to_string()),
        };
        let vote = self.raft().metrics().borrow().vote;
        match send_copy(self.peers(), self.blocking(), to, Way { vote, instead: true }, copy).await {
            Ok(_) => Said::Done,
            Err(error) => Said::Failed(error.to_string()),
        }
    }

    /// The copy that was asked for has come.
    pub(crate) async fn take_over(&self, head: CopyHead, copied: Box<Copied>) -> CopySaid {
        let Some(aside) = self.retaking().lock().await.take() else {
            return CopySaid::Failed("take a copy that nobody asked for".into());
        };
        let meta = head.meta;
        let index = meta.last_log_id.map(|last| last.index);
        let applied = |seen: &RaftMetrics<u64, Peer>| seen.last_applied.map(|at| at.index) >= index;
        let waited = self.raft().wait(Some(PEER_COPY_WAIT)).metrics(applied, "applied").await;
        if let Err(error) = waited {
            return CopySaid::Failed(error.to_string());
        }
        match self.machine().replace(&meta, copied, &mut self.log(), aside).await {
            Ok(()) => CopySaid::Retaken,
            Err(error) => CopySaid::Failed(error.to_string()),
        }
    }
}

/// Whether the others agree, and not with this one.
fn alone(own: &str, others: &[String]) -> bool {
    others.first().is_some_and(|first| first != own && others.iter().all(|other| other == first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_differs_from_all_others_is_wrong_and_nobody_else() {
        for (others, wrong) in [
            (&["b"][..], true),
            (&["b", "b"], true),
            (&["a", "b"], false),
            (&["b", "c"], false),
            (&["a"], false),
            (&[], false),
        ] {
            let others: Vec<String> = others.iter().map(|other| (*other).to_owned()).collect();
            assert_eq!(alone("a", &others), wrong, "{others:?}");
        }
    }
}
