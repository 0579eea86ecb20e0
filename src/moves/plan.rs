//! What a node has to do about moves, from the state alone. Pure.
use std::collections::BTreeSet;

use crate::base::ids::{NodeId, OperationId, SiteId};
use crate::base::limits::moves::{COPIES_AT_ONCE, MOVES_AT_ONCE};
use crate::model::moves::{Moving, Stage};
use crate::model::operations::Status;
use crate::model::sites::Site;
use crate::model::state::State;

/// The moves this node carries out now: its own among the first ones of the cluster, the oldest first, one at a time. Those that
/// cannot go on, since a machine is away, keep nobody waiting.
pub(crate) fn pulls(state: &State, here: NodeId) -> Vec<(SiteId, OperationId)> {
    let up = |node: &NodeId| state.nodes.get(node).is_some_and(|node| !node.down);
    let mut under_way: Vec<_> = state
        .moving
        .iter()
        .filter_map(|(site, (operation, to))| {
            let home = state.sites.get(site)?.home;
            let started = state.operations.get(operation)?.started;
            (up(to) && up(&home)).then_some((started, *operation, *site, *to, home))
        })
        .collect();
    under_way.sort_unstable();
    let (mut busy, mut own) = (BTreeSet::new(), Vec::new());
    let mut places = MOVES_AT_ONCE;
    for (_, operation, site, to, home) in under_way {
        if places == 0 {
            break;
        }
        if !busy.contains(&to) && !busy.contains(&home) {
            busy.extend([to, home]);
            places -= 1;
            own.extend((to == here).then_some((site, operation)));
        }
    }
    own
}

/// How many copies of sites that stand by here may be fetched beside the moves.
pub(crate) fn looks(state: &State, here: NodeId) -> usize {
    COPIES_AT_ONCE.saturating_sub(pulls(state, here).len())
}

/// The sites at home here that are to rest, each with its epoch and the round.
pub(crate) fn rests(state: &State, here: NodeId) -> impl Iterator<Item = (SiteId, u64, u64)> {
    state.moving.keys().filter_map(move |id| {
        let site = state.sites.get(id).filter(|site| site.home == here)?;
        match site.moving.as_ref()?.stage {
            Stage::Resting { round } => Some((site.id, site.epoch, round)),
            Stage::Copying | Stage::Held => None,
        }
    })
}

/// Whether files of the site may lie here: it is at home here, stands by, or comes.
pub(crate) fn belongs(site: &Site, here: NodeId) -> bool {
    let comes = |moving: &Moving| moving.to == here;
    site.home == here || site.standbys.contains(&here) || site.moving.as_deref().is_some_and(comes)
}

/// Who ends a move that is to end: its destination while that is up, else the home.
pub(crate) fn ends(state: &State, site: &Site, here: NodeId) -> bool {
    let Some(moving) = &site.moving else { return false };
    let cancelled =
        state.operations.get(&moving.operation).is_some_and(|operation| operation.status == Status::Cancelling);
    let to_is_up = state.nodes.get(&moving.to).is_some_and(|node| !node.down);
    cancelled && here == if to_is_up { moving.to } else { site.home }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Time;
    use crate::base::names::NodeName;
    use crate::model::effect::Stored;
    use crate::model::nodes::Node;
    use crate::model::operations::Operation;
    use crate::model::row::Row;
    use crate::model::tests::world::stored_site;

    /// Sites on their way, the oldest first: from where to where.
    fn state(ways: &[(u64, u64)], down: &[u64]) -> State {
        let mut state = State::default();
        let mut put = |row| state.put(&Stored::new(row));
        for id in 1..=6 {
            let name = NodeName::parse(&format!("pi-{id}")).unwrap();
            put(Row::Node(Node { down: down.contains(&id), ..Node::new(NodeId(id), name, Time(1), 1) }));
        }
        for (id, (home, to)) in (1..).zip(ways) {
            let operation = OperationId(100 - id);
            let moving = Moving {
                operation,
                to: NodeId(*to),
                stage: Stage::Copying,
                bandwidth: None,
                reason: None,
                hold: false,
            };
            let site = stored_site(id, &format!("s{id}.example"));
            put(Row::Site(Site { home: NodeId(*home), moving: Some(moving.into()), ..site }.into()));
            let (action, subject, stage) = ("site.move".into(), "s".into(), "s".into());
            let (status, started) = (Status::Running, Time(id));
            let (account, total, ended) = (None, None, None);
            put(Row::Operation(Operation {
                id: operation,
                action,
                subject,
                account,
                stage,
                done: 0,
                total,
                status,
                started,
                ended,
                revision: 1,
            }));
        }
        state
    }

    fn sites(state: &State, here: u64) -> Vec<u64> {
        pulls(state, NodeId(here)).into_iter().map(|(site, _)| site.0).collect()
    }

    #[test]
    fn a_node_has_one_copy_at_a_time_and_the_cluster_few() {
        let all = state(&[(1, 2), (1, 3), (4, 3), (5, 6)], &[]);
        assert_eq!([2, 3, 6].map(|here| sites(&all, here)), [vec![1], vec![3], vec![]]);
        assert_eq!(sites(&all, 1), [0; 0]);
        let rest = state(&[(1, 2), (2, 1), (1, 2)], &[]);
        assert_eq!([1, 2].map(|here| sites(&rest, here)), [vec![], vec![1]]);
    }

    #[test]
    fn a_move_takes_the_place_of_a_copy_that_stands_by() {
        // A move that waits for its turn takes none.
        let all = state(&[(1, 2), (3, 4), (5, 6)], &[]);
        assert_eq!([1, 2, 4, 6].map(|here| looks(&all, NodeId(here))), [2, 1, 1, 2]);
    }

    #[test]
    fn who_is_away_keeps_nobody_waiting() {
        for away in [1, 2] {
            let all = state(&[(1, 2), (1, 2), (3, 4), (5, 6)], &[away]);
            assert_eq!([2, 4, 6].map(|here| sites(&all, here)), [vec![], vec![3], vec![4]], "{away}");
        }
    }

    #[test]
    fn a_cancelled_move_is_ended_by_its_destination_or_else_by_the_home() {
        for (down, who) in [(&[][..], 2), (&[2][..], 1)] {
            let mut state = state(&[(1, 2)], down);
            let site = state.sites[&SiteId(1)].clone();
            assert!((1..=3).all(|here| !ends(&state, &site, NodeId(here))));
            let mut operation = Operation::clone(&state.operations[&OperationId(99)]);
            operation.status = Status::Cancelling;
            state.put(&Stored::new(Row::Operation(operation)));
            let all: Vec<_> = (1..=3).filter(|here| ends(&state, &site, NodeId(*here))).collect();
            assert_eq!(all, [who]);
        }
    }
}
