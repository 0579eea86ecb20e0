//! At a home: says of sites that were written without a lease, and are no more, that this node knows it. Until it has said so nobody
//! takes its place by himself: cut off, it would not know that it must not write.
use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::{Instant, sleep};

use crate::base::limits::moves::MOVE_PAUSE_FIRST;
use crate::base::limits::peers::SITE_LEASE_WAIT;
use crate::cluster::door::Write;
use crate::model::standbys::SiteFenced;
use crate::model::state::State;
use crate::moves::{MovesKey, Room};
use crate::ops::stop::Stop;
use crate::ops::tasks::TaskResult;

pub(crate) async fn confirm(room: Arc<Room>, stop: Stop) -> TaskResult {
    let moves = &room.moves;
    let mut view = moves.feed.view();
    let mut known = State::default().sites;
    let mut unsaid = BTreeMap::new();
    while !stop.is_given_up() {
        let newest = Arc::clone(view.now());
        for (before, after) in newest.sites_since(&known) {
            let here = after.filter(|site| site.home == moves.node);
            match here.and_then(|site| Some((site.id, site.unconfirmed?))) {
                Some((site, since)) => unsaid.insert(site, since),
                None => before.or(after).and_then(|site| unsaid.remove(&site.id)),
            };
        }
        known = newest.sites.clone();
        let until = Instant::now() + SITE_LEASE_WAIT;
        // Once the planes have seen it, so that nothing is written any more without a lease.
        if !unsaid.is_empty() && moves.member.serves(newest.revision, &moves.board, until).await {
            for (site, since) in &unsaid {
                let change = MovesKey::Fenced(SiteFenced { site: *site, since: *since });
                if let Err(error) = moves.door.write(Write::of_system(change)).await {
                    tracing::debug!(%site, "it is said again that it is fenced: failed to {error}");
                }
            }
        }
        drop(newest);
        tokio::select! {
            changed = view.changed() => if !changed { stop.give_up().await },
            () = sleep(MOVE_PAUSE_FIRST), if !unsaid.is_empty() => {}
            () = stop.give_up() => {}
        }
    }
    Ok(())
}
