//! On the node that leads: chooses the standbys of sites that ask for a number of them, and those in the place of others that are to leave.
use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use crate::base::ids::{NodeId, SiteId};
use crate::base::limits::moves::STATION_LOOK_EVERY;
use crate::cluster::door::{Write, WriteError};
use crate::model::placement::{Passed, Wish, place};
use crate::model::state::State;
use crate::model::stations::{StandbyStep, StandbyTo, Stationed, lacks};
use crate::moves::{MovesKey, Room};
use crate::ops::stop::Stop;
use crate::ops::tasks::TaskResult;

/// Why no standby was placed.
pub(crate) enum Unplaced {
    Nowhere(Vec<Passed>),
    Later(String),
}

pub(crate) async fn man(room: Arc<Room>, stop: Stop) -> TaskResult {
    let mut view = room.moves.feed.view();
    let mut known = State::default().sites;
    let (mut lacking, mut due) = (BTreeSet::new(), Instant::now());
    while !stop.is_given_up() {
        let newest = Arc::clone(view.now());
        for (before, after) in newest.sites_since(&known) {
            match after.filter(|site| lacks(site) > 0) {
                Some(site) if lacking.insert(site.id) => due = Instant::now(),
                Some(_) => {}
                None => lacking.retain(|id| before.or(after).is_none_or(|site| site.id != *id)),
            }
        }
        known = newest.sites.clone();
        drop(newest);
        if !lacking.is_empty() && due <= Instant::now() {
            due = Instant::now() + STATION_LOOK_EVERY;
            let lacking = if room.moves.member.leads() { lacking.clone() } else { BTreeSet::new() };
            for site in lacking {
                tokio::select! {
                    placed = station(&room, site, None) => if let Err(Unplaced::Later(reason)) = placed {
                        tracing::debug!(%site, "no standby is placed: {reason}");
                    },
                    () = stop.give_up() => return Ok(()),
                }
            }
        }
        tokio::select! {
            changed = view.changed() => if !changed { stop.give_up().await },
            () = sleep_until(due), if !lacking.is_empty() => {}
            () = stop.give_up() => {}
        }
    }
    Ok(())
}

/// Places one standby more of a site where it fits best.
pub(crate) async fn station(room: &Room, id: SiteId, instead: Option<NodeId>) -> Result<(), Unplaced> {
    let moves = &room.moves;
    let before = room.newest();
    let Some(home) = before.sites.get(&id).map(|site| site.home) else { return Ok(()) };
    if let Some(reason) = silent_home(&before, id) {
        return Err(Unplaced::Later(reason));
    }
    let later = |error: &dyn std::fmt::Display| Unplaced::Later(format!("failed to {error}"));
    let sum = moves.size(id, home).await.map_err(|error| later(&error))?;
    let boards = moves.member.boards(&moves.board).await;
    let state = room.newest();
    let Some(site) = state.sites.get(&id) else { return Ok(()) };
    let except: Vec<NodeId> = site.standbys.iter().copied().chain([site.home]).collect();
    let stay: Vec<NodeId> = except.iter().copied().filter(|node| Some(*node) != instead).collect();
    let wish = Wish { bytes: sum.bytes, except: &except, apart: &stay };
    let placed = place(&state, &boards, wish).map_err(Unplaced::Nowhere)?;
    let stationed = Stationed { node: placed.node, reason: placed.reason, instead };
    write(room, id, StandbyTo::Place(stationed)).await.map_err(|error| later(&error))
}

/// Says so where no copy can be made now, since the site's home is down.
pub(crate) fn silent_home(state: &State, site: SiteId) -> Option<String> {
    let site = state.sites.get(&site)?;
    let home = state.nodes.get(&site.home).filter(|home| home.down)?;
    Some(format!("{}, the home of {}, is down", home.name, site.host))
}

pub(crate) async fn write(room: &Room, site: SiteId, step: StandbyTo) -> Result<(), WriteError> {
    room.moves.door.write(Write::of_system(MovesKey::Stand(StandbyStep { site, step }))).await.map(drop)
}
