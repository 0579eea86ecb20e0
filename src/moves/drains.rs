//! Carries drains out, on the node that leads: begins the next moves where their sites fit best by then, a few at a time, and says how far
//! it is. What is to be done follows from the state, so another node that leads goes on.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::time::sleep;

use crate::base::ids::{NodeId, OperationId, SiteId};
use crate::base::limits::moves::{DRAIN_LOOK_EVERY, MOVE_PROGRESS_EVERY};
use crate::cluster::door::{Write, WriteError};
use crate::model::drains::{DrainStep, DrainTo, Next, Stay, next};
use crate::model::moves::SiteMove;
use crate::model::nodes::Node;
use crate::model::operations::{OperationFinish, OperationProgress, Status};
use crate::model::placement::{Passed, Wish, place};
use crate::model::sites::Site;
use crate::model::state::State;
use crate::model::stations::StandbyTo;
use crate::moves::stations::Unplaced;
use crate::moves::{MovesKey, Room, stations};
use crate::ops::stop::Stop;
use crate::ops::tasks::TaskResult;

/// What was said last of each drain, and when.
type Told = BTreeMap<OperationId, (Instant, String, u64)>;

pub(crate) async fn carry_out(room: Arc<Room>, stop: Stop) -> TaskResult {
    let mut view = room.moves.feed.view();
    let mut told = Told::new();
    while !stop.is_given_up() {
        let now = Arc::clone(view.now());
        let draining: Vec<_> = now.nodes.values().filter(|node| node.draining.is_some()).cloned().collect();
        let is_busy = !draining.is_empty();
        if is_busy && room.moves.member.leads() {
            told.retain(|operation, _| now.operations.contains_key(operation));
            for node in draining {
                tokio::select! {
                    () = look(&room, &now, &node, &mut told) => {}
                    () = stop.give_up() => return Ok(()),
                }
            }
        }
        drop(now);
        tokio::select! {
            changed = view.changed(), if !is_busy => if !changed { stop.give_up().await },
            // Each move makes several changes, and few of them matter here.
            () = sleep(DRAIN_LOOK_EVERY), if is_busy => {}
            () = stop.give_up() => {}
        }
    }
    Ok(())
}

async fn look(room: &Room, state: &State, node: &Node, told: &mut Told) {
    let Some(draining) = &node.draining else { return };
    let (mut waits, operation) = (None, draining.operation);
    let step = |step| MovesKey::Drain(DrainStep { node: node.id, operation, step });
    for next in next(state, node) {
        let done = match next {
            Next::Begin(_) if node.down => {
                waits = Some(format!("waiting: {} is down", node.name));
                break;
            }
            Next::Begin(site) => match begin(room, node.id, site).await {
                Err(Held::Waits(reason)) => {
                    waits = Some(reason);
                    break;
                }
                Err(Held::Stays(reason)) => write(room, step(DrainTo::Stays(Stay { site, reason }))).await,
                Ok(done) => done,
            },
            Next::Replace(site) => match stations::station(room, site, Some(node.id)).await {
                Err(Unplaced::Later(reason)) => {
                    waits = Some(format!("waiting: {reason}"));
                    break;
                }
                Err(Unplaced::Nowhere(passed)) => {
                    let reason = nowhere(&passed);
                    write(room, step(DrainTo::Stays(Stay { site, reason }))).await
                }
                Ok(()) => Ok(()),
            },
            Next::Await { site, stand_in } => match has_all(room, state, site, stand_in).await {
                true => stations::write(room, site, StandbyTo::Leave(node.id)).await,
                false => {
                    waits = stations::silent_home(state, site).map(|reason| format!("waiting: {reason}")).or(waits);
                    Ok(())
                }
            },
            Next::Stay(stay) => write(room, step(DrainTo::Stays(stay))).await,
            Next::Cancel(id) => write(room, MovesKey::Cancel(OperationFinish { id, status: Status::Cancelling })).await,
            Next::End(_) => write(room, step(DrainTo::End)).await,
        };
        if let Err(error) = done {
            // Decided on a state that is no more; the next look is at another one.
            tracing::debug!(node = %node.name, "a step of a drain failed to {error}");
        }
    }
    say(room, state, node, waits, told).await;
}

/// Why no move was begun.
enum Held {
    Stays(String),
    /// It may go later.
    Waits(String),
}

/// Begins a move of a site to where it fits best.
async fn begin(room: &Room, from: NodeId, id: SiteId) -> Result<Result<(), WriteError>, Held> {
    let moves = &room.moves;
    let waits = |error: &dyn std::fmt::Display| Held::Waits(format!("waiting: failed to {error}"));
    let sum = moves.size(id, from).await.map_err(|error| waits(&error))?;
    let boards = moves.member.boards(&moves.board).await;
    // As it is by now: those begun before count where they go.
    let state = Arc::clone(moves.feed.view().now());
    let Some(site) = state.sites.get(&id) else { return Ok(Ok(())) };
    let wish = Wish { bytes: sum.bytes, except: &[from], apart: &site.standbys };
    let placed = place(&state, &boards, wish).map_err(|passed| {
        let reason = nowhere(&passed);
        if passed.iter().any(|node| node.is_away) {
            Held::Waits(format!("waiting: {reason}"))
        } else {
            Held::Stays(reason)
        }
    })?;
    let (to, reason) = (Some(placed.node), Some(placed.reason));
    Ok(write(room, MovesKey::Begin(SiteMove { host: site.host.clone(), to, bandwidth: None, reason, hold: false }))
        .await)
}

/// Whether the copy of a site has everything that it is to have.
async fn has_all(room: &Room, state: &State, site: SiteId, node: NodeId) -> bool {
    let has_files = state.sites.get(&site).is_some_and(|site| site.has_files());
    !has_files || room.moves.standing(site, node).await.is_some_and(|standing| standing.whole)
}

fn nowhere(passed: &[Passed]) -> String {
    let each: Vec<_> = passed.iter().map(|node| format!("{}: {}", node.node, node.reason)).collect();
    let text = if each.is_empty() { "there is no other node".to_owned() } else { each.join("; ") };
    text.chars().take(150).collect()
}

async fn write(room: &Room, change: MovesKey) -> Result<(), WriteError> {
    room.moves.door.write(Write::of_system(change)).await.map(drop)
}

/// Says how far a drain is, if that has changed, not too often.
async fn say(room: &Room, state: &State, node: &Node, waits: Option<String>, told: &mut Told) {
    let Some(draining) = &node.draining else { return };
    let Some(operation) = state.operations.get(&draining.operation) else { return };
    let left = state.sites_at(node.id);
    let done = operation.total.unwrap_or(0).saturating_sub(left);
    let stands = |site: &&Arc<Site>| site.standbys.contains(&node.id) && !draining.holds(site.id);
    let stage = waits.unwrap_or_else(|| match (draining.stays.len(), state.sites.values().filter(stands).count()) {
        (0, copies @ 1..) if left == 0 => format!("{copies} copies left that stand by"),
        (0, _) => format!("{left} sites left"),
        (stay, _) => format!("{left} sites left, {stay} that stay"),
    });
    let last = told.get(&operation.id);
    let is_new =
        last.is_none_or(|(at, said, far)| (*said != stage || *far != done) && at.elapsed() >= MOVE_PROGRESS_EVERY);
    if is_new {
        let said = OperationProgress { id: operation.id, stage: stage.clone(), done, total: operation.total };
        if write(room, MovesKey::Progress(said)).await.is_ok() {
            told.insert(operation.id, (Instant::now(), stage, done));
        }
    }
}
