//! At a home: tells the standbys of its sites when files change. What they have not taken in is told again; at the start all of it, for
//! nobody watched while this node was away.
use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::base::ids::{NodeId, SiteId};
use crate::base::limits::moves::{
    STANDBY_BLIND_EVERY, STANDBY_GATHER, STANDBY_TELL_PAUSE, STANDBY_TELL_WAIT, STANDBY_TOLD_MAX,
};
use crate::model::state::State;
use crate::moves::wire::{Hello, Welcome};
use crate::moves::{Room, standing};
use crate::ops::stop::Stop;
use crate::ops::tasks::TaskResult;

/// What each standby is to be told.
type News = BTreeMap<NodeId, BTreeSet<SiteId>>;

pub(crate) async fn keep(room: Arc<Room>, stop: Stop) -> TaskResult {
    let (here, watch) = (room.moves.node, &room.moves.watch);
    let mut waiter = watch.waiter();
    let mut view = room.moves.feed.view();
    let mut known = State::default().sites;
    let (mut news, mut telling, mut busy) = (News::new(), JoinSet::new(), BTreeSet::new());
    let mut blind = Instant::now() + STANDBY_BLIND_EVERY;
    let mut later = None;
    while !stop.is_given_up() {
        let newest = Arc::clone(view.now());
        for (before, after) in newest.sites_since(&known) {
            let is_here = |site: &Arc<crate::model::sites::Site>| site.home == here && !site.standbys.is_empty();
            match (before.filter(|site| is_here(site)), after.filter(|site| is_here(site))) {
                (Some(site), None) => watch.forget(site.id),
                (None, Some(site)) => add(&mut news, &newest, here, [site.id]),
                _ => {}
            }
        }
        known = newest.sites.clone();
        if blind <= Instant::now() {
            blind = Instant::now() + STANDBY_BLIND_EVERY;
            add(&mut news, &newest, here, watch.blind());
        }
        if later.is_none_or(|at| at <= Instant::now()) {
            later = None;
            // One that is down looks for itself when it is up again; until it knows that it is told as soon as it is.
            let due =
                |node: &NodeId, _: &mut BTreeSet<SiteId>| !standing::is_down(&newest, *node) && busy.insert(*node);
            for (node, sites) in news.extract_if(.., due) {
                telling.spawn(tell(Arc::clone(&room), node, sites));
            }
        }
        let nothing_is_blind = watch.blind().is_empty();
        drop(newest);
        tokio::select! {
            changed = view.changed() => if !changed { stop.give_up().await },
            () = readable(&mut waiter) => {
                sleep(STANDBY_GATHER).await;
                add(&mut news, &Arc::clone(view.now()), here, watch.changed());
            }
            Some(told) = telling.join_next() => {
                let (node, left) = told?;
                busy.remove(&node);
                if !left.is_empty() {
                    news.entry(node).or_default().extend(left);
                    later = Some(Instant::now() + STANDBY_TELL_PAUSE);
                }
            },
            () = sleep_until(later.unwrap_or(blind).min(blind)), if later.is_some() || !nothing_is_blind => {}
            () = stop.give_up() => {}
        }
    }
    Ok(())
}

fn add(news: &mut News, state: &State, here: NodeId, changed: impl IntoIterator<Item = SiteId>) {
    for id in changed {
        let Some(site) = state.sites.get(&id).filter(|site| site.home == here) else { continue };
        for standby in &site.standbys {
            news.entry(*standby).or_default().insert(id);
        }
    }
}

/// Returns when the kernel has something to tell.
async fn readable(waiter: &mut Option<tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>>) {
    let Some(kernel) = waiter else { return pending().await };
    match kernel.readable().await {
        Ok(mut ready) => ready.clear_ready(),
        Err(_) => *waiter = None,
    }
}

/// Gives back what was not taken in.
async fn tell(room: Arc<Room>, node: NodeId, sites: BTreeSet<SiteId>) -> (NodeId, BTreeSet<SiteId>) {
    let told: Vec<SiteId> = sites.iter().copied().take(STANDBY_TOLD_MAX).collect();
    let Ok(mut bulk) = room.moves.peers.bulk(node).await else { return (node, sites) };
    let Ok(cut) = bulk.cut() else { return (node, sites) };
    let say = room.moves.blocking.run(move || {
        bulk.send(&Hello::Touched { sites: told })?;
        bulk.receive()
    });
    // Cut off, its thread ends.
    let said = timeout(STANDBY_TELL_WAIT, say).await;
    drop(cut);
    let taken = matches!(said, Ok(Ok(Ok(Welcome::Ready))));
    (node, sites.into_iter().skip(if taken { STANDBY_TOLD_MAX } else { 0 }).collect())
}
