//! What a node has to do about moves, from the state alone. Pure.
use std::collections::BTreeSet;

use crate::base::ids::{NodeId, OperationId, SiteId};
use crate::base::limits::moves::MOVES_AT_ONCE;
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

/// The sites at home here that are to rest, each with its epoch and the round.
pub(crate) fn rests(state: &State, here: NodeId) -> impl Iterator<Item = (SiteId, u64, u64)> {
    state.moving.keys().filter_map(move |id| {
        let site = state.sites.get(id).filter(|site| site.home == here)?;
        match site.moving.as_ref()?.stage {
            Stage::Resting { round } => Some((site.id, site.epoch, round)),
            Stage::Copying => None,
        }
    })
}

/// Whether files of the site may lie here: it is at home here, stands by, or comes.
pub(crate) fn belongs(site: &Site, here: NodeId) -> bool {
    let comes = |moving: &Moving| moving.to == here;
    site.home == here || site.standbys.contains(&here) || site.moving.as_ref().is_some_and(comes)
}

/// Who ends a move that is to end: its destination while that is up, else the home.
pub(crate) fn ends(state: &State, site: &Site, here: NodeId) -> bool {
    let Some(moving) = &site.moving else { return false };
    let cancelled =
        state.operations.get(&moving.operation).is_some_and(|operation| operation.status == Status::Cancelling);
    let to_is_up = state.nodes.get(&moving.to).is_some_and(|node| !node.down);
    cancelled && here == if to_is_up { moving.to } else { site.home }
}
