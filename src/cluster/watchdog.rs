//! Who looks after the leader. Silence alone disturbs nobody: whoever has heard nothing for longer than the lease asks the other voters
//! first whether they would follow, and only then stands for election. A node that was frozen itself blames nobody.
use std::time::{Duration, Instant};

use openraft::ServerState;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use crate::base::limits::peers::{
    BROKEN_PAST_LEASE, ELECTION_REST, HEARTBEAT_EVERY, LEADER_LEASE, OVERRUN_MAX, PEER_CANVASS_WAIT, RANK_STEP,
    SILENCE_PAST_LEASE,
};
use crate::cluster::door::random;
use crate::cluster::member::Member;
use crate::cluster::peer::messages::{Ask, Said};
use crate::cluster::voice::Heard;
use crate::ops::stop::Stop;
use crate::store::types::LogId;

impl Member {
    /// Keeps a leader there: says that it is there where this node leads, stands for election where nobody does.
    pub(crate) async fn keep_a_leader(&self, stop: &Stop) {
        let mut seen = self.raft().server_metrics();
        loop {
            let (state, others) = {
                let seen = seen.borrow_and_update();
                (seen.state, seen.membership_config.nodes().count() > 1)
            };
            let pause = match state {
                // Nobody waits for the heartbeats of a lone leader.
                _ if !others => None,
                ServerState::Leader => {
                    let _ = self.raft().trigger().heartbeat().await;
                    Some(Instant::now() + HEARTBEAT_EVERY)
                }
                ServerState::Follower | ServerState::Candidate => Some(self.patience()),
                ServerState::Learner | ServerState::Shutdown => None,
            };
            tokio::select! {
                changed = seen.changed() => if changed.is_err() { return },
                () = self.voice().news() => {}
                () = until(pause), if pause.is_some() => {
                    if state != ServerState::Leader {
                        self.silence(pause.unwrap_or_else(Instant::now)).await;
                    }
                }
                () = stop.give_up() => return,
            }
        }
    }

    /// Until when the leader's silence is nothing odd.
    fn patience(&self) -> Instant {
        let status = self.status();
        let voters = status.voters.iter().filter(|voter| Some(**voter) != status.leader);
        let rank = voters.take_while(|voter| **voter != self.node()).count();
        self.voice().heard().patience(rank as u32)
    }

    /// The alarm rang that was set for `due`.
    async fn silence(&self, due: Instant) {
        if due.elapsed() > OVERRUN_MAX {
            return self.voice().listen_anew();
        }
        if self.patience() > Instant::now() {
            return;
        }
        if self.is_wanted().await && self.raft().trigger().elect().await.is_ok() {
            tracing::info!("the leader is silent: this node stands for election");
        }
        // Whatever comes of it, the next try is not at once, and not together with that of somebody else.
        let chance = Duration::from_millis(u64::from(random()[0]));
        self.voice().rest_until(Instant::now() + ELECTION_REST + chance);
    }

    /// Whether a majority of the voters would vote for this node.
    async fn is_wanted(&self) -> bool {
        let status = self.status();
        let last = self.last_log().await;
        let mut asked = JoinSet::new();
        for voter in status.voters.iter().copied().filter(|voter| *voter != self.node()) {
            let peers = self.peers().clone();
            asked.spawn(async move {
                matches!(peers.ask(voter, &Ask::Canvass { last }, PEER_CANVASS_WAIT).await, Ok(Said::Canvass(true)))
            });
        }
        let needed = status.voters.len() / 2 + 1;
        let mut wanted = 1;
        let count = async {
            while wanted < needed {
                match asked.join_next().await {
                    Some(Ok(true)) => wanted += 1,
                    Some(_) => {}
                    None => return,
                }
            }
        };
        let _ = timeout(PEER_CANVASS_WAIT, count).await;
        wanted >= needed
    }

    /// Whether this node would vote for who has a log up to `last`.
    pub(crate) async fn would_vote(&self, last: Option<LogId>) -> bool {
        let heard = self.voice().heard();
        let leads = self.status().leader == Some(self.node()) && self.has_quorum();
        !leads && heard.at.elapsed() >= LEADER_LEASE && last >= self.last_log().await
    }
}

impl Heard {
    fn patience(&self, rank: u32) -> Instant {
        let past = if self.broken { BROKEN_PAST_LEASE } else { SILENCE_PAST_LEASE };
        let due = self.at + LEADER_LEASE + past + RANK_STEP * rank;
        self.rests.map_or(due, |rests| rests.max(due))
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_borne_longer_by_the_later_ones_and_shorter_after_a_break() {
        let at = Instant::now();
        let heard = Heard { at, from: None, broken: false, rests: None };
        assert_eq!(heard.patience(0), at + LEADER_LEASE + SILENCE_PAST_LEASE);
        assert_eq!(heard.patience(2), heard.patience(0) + 2 * RANK_STEP);
        let broken = Heard { broken: true, ..heard };
        assert!(at + LEADER_LEASE < broken.patience(0) && broken.patience(0) < heard.patience(0));
        // One heartbeat that is late is no silence.
        assert!(heard.patience(0) > at + HEARTBEAT_EVERY + OVERRUN_MAX);
    }
}
