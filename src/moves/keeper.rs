//! Follows the state: begins the moves that are this node's, lets sites rest and wake, and takes away what is at home elsewhere.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::base::ids::{OperationId, SiteId};
use crate::base::limits::moves::{MOVE_LOOK_EVERY, REST_LOOK, REST_WAIT, STRAY_GRACE};
use crate::files::hold::Hold;
use crate::model::moves::Step;
use crate::model::operations::Status;
use crate::model::state::State;
use crate::moves::mover::Mover;
use crate::moves::{Room, plan};
use crate::ops::stop::Stop;
use crate::ops::tasks::TaskResult;

pub(crate) async fn keep(room: Arc<Room>, stop: Stop) -> TaskResult {
    let mut view = room.moves.feed.view();
    let mut known = State::default().sites;
    let mut strays = present(&room).await?;
    let mut movers: JoinSet<OperationId> = JoinSet::new();
    let mut active = BTreeMap::new();
    let mut steps = JoinSet::new();
    while !stop.is_given_up() {
        let newest = Arc::clone(view.now());
        for (before, after) in newest.sites_since(&known) {
            if let (Some(before), Some(after)) = (before, after)
                && plan::belongs(before, room.moves.node)
                && !plan::belongs(after, room.moves.node)
            {
                strays.insert(after.id, Instant::now());
            }
        }
        known = newest.sites.clone();
        for (site, round) in room.rests.follow(&newest, room.moves.node) {
            steps.spawn(still(Arc::clone(&room), site, round));
        }
        for (site, operation) in plan::pulls(&newest, room.moves.node) {
            // What one leaves behind is taken away before another one of the same site begins.
            if !active.values().any(|moving| *moving == site)
                && let Some(alone) = room.copying.enter(site)
            {
                active.insert(operation, site);
                let mover = Mover::new(Arc::clone(&room), site, operation).run(stop.clone());
                movers.spawn(async move {
                    mover.await;
                    drop(alone);
                    operation
                });
            }
        }
        if steps.is_empty() {
            late(&room, &newest, &active).into_iter().for_each(|(site, operation, step)| {
                let room = Arc::clone(&room);
                steps.spawn(async move { drop(room.step(site, operation, step).await) });
            });
        }
        retire(&room, &newest, (&mut strays, &active)).await;
        let busy = !newest.moving.is_empty() || !active.is_empty() || !room.rests.is_empty() || !strays.is_empty();
        drop(newest);
        tokio::select! {
            changed = view.changed() => if !changed { stop.give_up().await },
            Some(ended) = movers.join_next() => match ended {
                Ok(operation) => drop(active.remove(&operation)),
                // It is not known which one: all that are still there begin again.
                Err(_) => {
                    movers.shutdown().await;
                    active.clear();
                }
            },
            Some(_) = steps.join_next() => {}
            () = sleep(MOVE_LOOK_EVERY), if busy => {}
            () = stop.give_up() => {}
        }
    }
    movers.shutdown().await;
    // Uploads go on in this process while the next one serves.
    room.moves.gates.hand_over(&room.moves.dirs);
    room.rests.keep_closed();
    Ok(())
}

/// Every directory here may be one that is left over.
async fn present(room: &Room) -> Result<BTreeMap<SiteId, Instant>, Box<dyn std::error::Error + Send + Sync>> {
    let dirs = Arc::clone(&room.moves.dirs);
    let now = Instant::now();
    Ok(room.moves.blocking.run(move || dirs.present()).await??.into_iter().map(|site| (site, now)).collect())
}

/// Waits until nobody writes to a site that is to rest; has it wake where that takes too long.
async fn still(room: Arc<Room>, site: SiteId, round: u64) {
    match rested(&room, site).await {
        Ok(hold) => room.rests.still(site, round, hold),
        Err(reason) => {
            tracing::info!("the site is written again: {reason}");
            let operation = room.moves.feed.view().now().moving.get(&site).map(|(operation, _)| *operation);
            if let Some(operation) = operation {
                drop(room.step(site, operation, Step::Wake { round }).await);
            }
        }
    }
}

/// Returns when nobody writes to a site, in this process or in the one before it, and no power cut undoes that it rests.
async fn rested(room: &Room, site: SiteId) -> Result<Option<Hold>, String> {
    let deadline = Instant::now() + REST_WAIT;
    room.moves.gates.emptied(site, deadline).await.map_err(|error| error.to_string())?;
    let is_shared = room.moves.shared_until.is_some_and(|until| Instant::now() < until);
    let hold = if is_shared { Some(alone(room, site, deadline).await?) } else { None };
    room.moves.member.settle().await?;
    Ok(hold)
}

/// Waits until the process before this one writes to a site no more; it cannot again while this is held.
async fn alone(room: &Room, site: SiteId, deadline: Instant) -> Result<Hold, String> {
    loop {
        let dirs = Arc::clone(&room.moves.dirs);
        let held = room.moves.blocking.run(move || dirs.hold_alone(site)).await.map_err(|error| error.to_string())?;
        if let Some(hold) = held.map_err(|error| format!("failed to {error}"))? {
            return Ok(hold);
        }
        if Instant::now() > deadline {
            return Err("uploads are under way in the process before this one".to_owned());
        }
        sleep(REST_LOOK).await;
    }
}

/// Steps that nobody else takes: sites that rested for too long, and moves that are to end and that nobody carries out.
fn late(room: &Room, state: &State, active: &BTreeMap<OperationId, SiteId>) -> Vec<(SiteId, OperationId, Step)> {
    let overdue = room.rests.overdue().into_iter().filter_map(|(site, round)| {
        let (operation, _) = state.moving.get(&site)?;
        Some((site, *operation, Step::Wake { round }))
    });
    let unwanted = state.moving.iter().filter(|(id, (operation, _))| {
        let site = state.sites.get(*id);
        !active.contains_key(operation) && site.is_some_and(|site| plan::ends(state, site, room.moves.node))
    });
    overdue.chain(unwanted.map(|(site, (operation, _))| (*site, *operation, Step::End(Status::Cancelled)))).collect()
}

/// Moves files to the trash of sites that are at home elsewhere, once those who read them had time to finish.
async fn retire(
    room: &Room,
    state: &State,
    (strays, active): (&mut BTreeMap<SiteId, Instant>, &BTreeMap<OperationId, SiteId>),
) {
    // Of a site that nobody knows nothing is touched.
    strays.retain(|id, _| state.sites.get(id).is_some_and(|site| !plan::belongs(site, room.moves.node)));
    let due = strays
        .iter()
        .filter(|(id, since)| since.elapsed() >= STRAY_GRACE && !active.values().any(|moving| moving == *id));
    let due: Vec<_> = due.map(|(id, _)| *id).collect();
    for site in due {
        let (dirs, now) = (Arc::clone(&room.moves.dirs), state.time);
        match room.moves.blocking.run(move || dirs.retire(site, now)).await {
            Ok(Ok(())) => drop(strays.remove(&site)),
            failed => {
                let reason = failed.map_or_else(
                    |error| error.to_string(),
                    |done| done.err().map_or_else(String::new, |error| error.to_string()),
                );
                tracing::warn!("failed to {reason}; it is tried again");
                strays.insert(site, Instant::now());
            }
        }
    }
}
