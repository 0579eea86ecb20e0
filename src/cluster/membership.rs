//! The leader sees to it that raft's membership follows the state's: who joined becomes a learner, one of them a voter where one is
//! wanted, who was removed goes. It also states which nodes are down. One step at a time, each decided from what is there, so
//! whoever leads next goes on.
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use openraft::ChangeMembers;
use tokio::time::sleep;

use crate::base::clock::since_boot;
use crate::base::ids::NodeId;
use crate::base::limits::peers::{DOWN_AFTER, TEND_EVERY, UP_AFTER, VOTER_LAG_MAX, VOTERS};
use crate::cluster::member::Member;
use crate::cluster::propose;
use crate::model::change::Change;
use crate::model::nodes::NodeHealth;
use crate::ops::stop::Stop;
use crate::store::types::Peer;

/// What the leader sees.
#[derive(Debug, Clone, Default)]
struct Seen {
    own: NodeId,
    /// The nodes of the state, and which of them are down.
    nodes: BTreeMap<NodeId, bool>,
    voters: BTreeSet<NodeId>,
    /// All of raft's membership.
    members: BTreeSet<NodeId>,
    /// Learners that have nearly all of the log.
    caught_up: BTreeSet<NodeId>,
    /// Those that cannot be called: two of them do not reach each other.
    hidden: BTreeSet<NodeId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Learn(NodeId),
    Vote(BTreeSet<NodeId>),
    Forget(NodeId),
    /// Somebody who votes is to lead in the place of this node, which does not any more.
    Follow,
}

/// What is to be done next; nothing once all is as it should be.
fn plan(seen: &Seen) -> Option<Step> {
    if seen.nodes.is_empty() {
        // Before the founding.
        return None;
    }
    if let Some(node) = seen.nodes.keys().find(|node| !seen.members.contains(node)) {
        return Some(Step::Learn(*node));
    }
    let voters = voters(seen);
    if voters != seen.voters {
        return Some(Step::Vote(voters));
    }
    if !voters.contains(&seen.own) {
        return Some(Step::Follow);
    }
    seen.members.iter().find(|node| !seen.nodes.contains_key(node)).map(|node| Step::Forget(*node))
}

/// The leader, then those who vote already and are up, then who is up and has the log, then the same of those that cannot be called, then
/// voters that are down: a majority of those who are there decides, and nobody is replaced without need.
fn voters(seen: &Seen) -> BTreeSet<NodeId> {
    let up = |node: &NodeId| seen.nodes.get(node) == Some(&false);
    let down = |node: &NodeId| seen.nodes.get(node) == Some(&true);
    // A leader that was removed is followed by another one.
    let own = Some(seen.own).filter(|own| seen.nodes.contains_key(own));
    let standing = seen.voters.iter().copied().filter(up);
    let rising = seen.caught_up.iter().copied().filter(up);
    let absent = seen.voters.iter().copied().filter(down);
    let mut able: Vec<NodeId> = Vec::new();
    let (hidden, called): (Vec<_>, Vec<_>) = standing.chain(rising).partition(|node| seen.hidden.contains(node));
    for node in own.into_iter().chain(called).chain(hidden).chain(absent) {
        if !able.contains(&node) {
            able.push(node);
        }
    }
    let count = VOTERS.into_iter().find(|voters| *voters <= able.len()).unwrap_or_default();
    able.into_iter().take(count).collect()
}

impl Member {
    /// Tends the membership wherever this node leads.
    pub(crate) async fn tend_members(&self, stop: &Stop) {
        let mut seen = self.raft().server_metrics();
        let mut snapshot = self.snapshot();
        let mut health = Health::default();
        loop {
            let leads = seen.borrow_and_update().current_leader == Some(self.node().0);
            let alone = snapshot.borrow_and_update().nodes.len() <= 1 && self.status().voters == [self.node()];
            if leads {
                self.leases().leads(self.status().term, since_boot());
                self.tend(&mut health).await;
            } else {
                health = Health::default();
            }
            tokio::select! {
                changed = seen.changed() => if changed.is_err() { return },
                // A lone leader has nobody to look after, and looks when somebody joins.
                changed = snapshot.changed(), if leads && alone => if changed.is_err() { return },
                () = sleep(TEND_EVERY), if leads && !alone => {}
                () = stop.give_up() => return,
            }
        }
    }

    async fn tend(&self, health: &mut Health) {
        let seen = self.see();
        if let Some(step) = plan(&seen) {
            tracing::info!(?step, "changing the membership");
            let raft = self.raft();
            let done = match step {
                Step::Learn(node) => {
                    let key = self.now().nodes.get(&node).map(|node| node.key.clone()).unwrap_or_default();
                    raft.add_learner(node.0, Peer { key }, false).await
                }
                Step::Vote(voters) => {
                    let voters: BTreeSet<u64> = voters.into_iter().map(|node| node.0).collect();
                    raft.change_membership(voters, true).await
                }
                Step::Follow => return self.hand_over().await,
                Step::Forget(node) => {
                    raft.change_membership(ChangeMembers::RemoveNodes(BTreeSet::from([node.0])), true).await
                }
            };
            if let Err(error) = done {
                tracing::warn!("it is tried again: failed to change the membership: {error}");
            }
        }
        let silent = |node: NodeId| self.peers().book().last_heard(node);
        for (node, down) in health.judge(&seen, silent, Instant::now()) {
            tracing::info!(%node, down, "stating how a node is");
            if let Err(error) = propose::as_leader(self, Change::NodeHealth(NodeHealth { node, down })).await {
                tracing::warn!(%node, "how it is could not be stated: failed to {error}");
            }
        }
    }

    fn see(&self) -> Seen {
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow();
        let ids = |ids: &mut dyn Iterator<Item = u64>| ids.map(NodeId).collect::<BTreeSet<_>>();
        let membership = &metrics.membership_config;
        let enough = metrics.last_log_index.unwrap_or_default().saturating_sub(VOTER_LAG_MAX);
        let replicated = metrics.replication.iter().flatten();
        let near = replicated.filter(|(_, at)| at.is_some_and(|at| at.index >= enough));
        let (now, offers) = (self.now(), self.peers().offers());
        Seen {
            own: self.node(),
            nodes: now.nodes.values().map(|node| (node.id, node.down)).collect(),
            hidden: now.nodes.keys().copied().filter(|node| offers.has(*node)).collect(),
            voters: ids(&mut membership.voter_ids()),
            members: ids(&mut membership.nodes().map(|(id, _)| *id)),
            caught_up: near.map(|(id, _)| NodeId(*id)).collect(),
        }
    }
}

/// What a leader remembers of the others since it leads.
#[derive(Debug, Default)]
struct Health {
    /// Since when each node is looked at.
    since: BTreeMap<NodeId, Instant>,
    /// Since when a node that is said to be down was heard again without a gap.
    back: BTreeMap<NodeId, Instant>,
    /// When they were judged last.
    judged: Option<Instant>,
}

impl Health {
    /// Which nodes are not as the state says.
    fn judge(&mut self, seen: &Seen, heard: impl Fn(NodeId) -> Option<Instant>, now: Instant) -> Vec<(NodeId, bool)> {
        if self.judged.replace(now).is_some_and(|judged| now.saturating_duration_since(judged) > GAP) {
            // This node was frozen or busy: it has not listened, and blames nobody.
            self.since.clear();
        }
        self.since.retain(|node, _| seen.nodes.contains_key(node));
        let mut news = Vec::new();
        for (node, down) in &seen.nodes {
            let since = *self.since.entry(*node).or_insert(now);
            let heard = if *node == seen.own { Some(now) } else { heard(*node) };
            let silence = now.saturating_duration_since(heard.map_or(since, |heard| heard.max(since)));
            if !down {
                self.back.remove(node);
                if silence > DOWN_AFTER {
                    news.push((*node, true));
                }
            } else if silence > GAP || heard.is_none() {
                self.back.remove(node);
            } else if now.saturating_duration_since(*self.back.entry(*node).or_insert(now)) >= UP_AFTER
                || *node == seen.own
            {
                news.push((*node, false));
            }
        }
        news
    }
}

/// Silence that several heartbeats have not ended.
const GAP: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().map(|id| NodeId(*id)).collect()
    }

    fn seen(up: &[u64], down: &[u64], voters: &[u64], members: &[u64], caught_up: &[u64]) -> Seen {
        let all = up.iter().map(|id| (*id, false)).chain(down.iter().map(|id| (*id, true)));
        Seen {
            own: NodeId(1),
            nodes: all.map(|(id, down)| (NodeId(id), down)).collect(),
            voters: ids(voters),
            members: ids(members),
            caught_up: ids(caught_up),
            hidden: BTreeSet::new(),
        }
    }

    #[test]
    fn the_membership_follows_the_state_one_step_at_a_time() {
        let vote = |voters: &[u64]| Some(Step::Vote(ids(voters)));
        for (seen, step) in [
            (seen(&[1], &[], &[1], &[1], &[]), None),
            (seen(&[1, 2], &[], &[1], &[1], &[]), Some(Step::Learn(NodeId(2)))),
            // A second copy, no second vote.
            (seen(&[1, 2], &[], &[1], &[1, 2], &[2]), None),
            (seen(&[1, 2, 3], &[], &[1], &[1, 2], &[2]), Some(Step::Learn(NodeId(3)))),
            (seen(&[1, 2, 3], &[], &[1], &[1, 2, 3], &[2]), None),
            (seen(&[1, 2, 3], &[], &[1], &[1, 2, 3], &[2, 3]), vote(&[1, 2, 3])),
            (seen(&[1, 2, 3, 4], &[], &[1, 2, 3], &[1, 2, 3, 4], &[4]), None),
            (seen(&[1, 2, 3, 4, 5], &[], &[1, 2, 3], &[1, 2, 3, 4, 5], &[4]), None),
            (seen(&[1, 2, 3, 4, 5], &[], &[1, 2, 3], &[1, 2, 3, 4, 5], &[4, 5]), vote(&[1, 2, 3, 4, 5])),
            (seen(&[1, 2, 3], &[4, 5], &[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5], &[2, 3]), None),
            (seen(&[1, 2, 3, 4], &[], &[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5], &[2, 3, 4]), vote(&[1, 2, 3])),
            // One that is down is replaced by one that is up, or stays.
            (seen(&[1, 2, 4], &[3], &[1, 2, 3], &[1, 2, 3, 4], &[4]), vote(&[1, 2, 4])),
            (seen(&[1, 2], &[3], &[1, 2, 3], &[1, 2, 3], &[2]), None),
            // Down and not caught up is no voter.
            (seen(&[1, 2], &[3], &[1], &[1, 2, 3], &[2]), None),
            // Removed: first from the voters, then at all; two are left, and one of them votes.
            (seen(&[1, 2], &[], &[1, 2, 3], &[1, 2, 3], &[2]), vote(&[1])),
            (seen(&[1, 2], &[], &[1], &[1, 2, 3], &[2]), Some(Step::Forget(NodeId(3)))),
            (seen(&[1, 2, 4], &[], &[1, 2, 3], &[1, 2, 3, 4], &[4]), vote(&[1, 2, 4])),
            // The leader itself was removed.
            (seen(&[2], &[], &[1], &[1, 2], &[2]), vote(&[2])),
            (seen(&[2], &[], &[2], &[1, 2], &[2]), Some(Step::Follow)),
            (seen(&[2, 3, 4], &[], &[1, 2, 3], &[1, 2, 3, 4], &[2, 3, 4]), vote(&[2, 3, 4])),
        ] {
            assert_eq!(plan(&seen), step, "{seen:?}");
        }
    }

    #[test]
    fn who_cannot_be_called_votes_only_where_there_are_too_few_others() {
        for (all, voters, hidden, wanted) in [
            (&[1, 2, 3][..], &[1][..], &[3][..], &[1, 2, 3][..]),
            (&[1, 2, 3, 4], &[1], &[2], &[1, 3, 4]),
            (&[1, 2, 3, 4], &[1, 2, 3], &[2, 3], &[1, 2, 4]),
            (&[1, 2, 3, 4], &[1, 2, 3], &[1], &[1, 2, 3]),
        ] {
            let seen = Seen { hidden: ids(hidden), ..seen(all, &[], voters, all, all) };
            assert_eq!(super::voters(&seen), ids(wanted), "{seen:?}");
        }
    }

    #[test]
    fn a_node_is_down_after_ten_seconds_and_up_after_thirty_without_a_gap() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut health = Health::default();
        let (all_up, two_down) = (seen(&[1, 2], &[], &[1], &[1, 2], &[]), seen(&[1], &[2], &[1], &[1, 2], &[]));
        // Who has just begun to lead has heard nobody yet, nor has a node spoken that has just joined.
        assert_eq!(health.judge(&all_up, |_| None, at(0)), []);
        let mut silent = |now: u64| health.judge(&all_up, |_| None, at(now));
        assert_eq!([3, 6, 9, 10].map(&mut silent), [const { Vec::new() }; 4]);
        assert_eq!(silent(11), [(NodeId(2), true)]);
        // A leader that was frozen has heard nobody for long, and begins anew.
        assert_eq!(silent(30), []);
        assert_eq!(silent(31), []);
        let mut health = Health::default();
        // Back at 20, silent from 40 to 50, and heard from then on.
        for now in 13..110 {
            let heard = match now {
                ..20 => Some(at(5)),
                40..50 => Some(at(39)),
                now => Some(at(now)),
            };
            let news = health.judge(&two_down, |_| heard, at(now));
            assert_eq!(!news.is_empty(), now >= 80, "{now}: {news:?}");
        }
    }
}
