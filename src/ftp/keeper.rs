//! Tells the gates which sites are at home here and under which epoch, change by change, and the board what is served. Never
//! opens a gate that somebody froze.
use std::sync::Arc;

use crate::base::ids::NodeId;
use crate::ftp::Plane;
use crate::model::sites::Site;
use crate::model::state::State;
use crate::ops::stop::Stop;
use crate::ops::tasks::TaskResult;

/// The epoch of a site whose files are at home here.
pub(crate) fn epoch_here(site: &Site, here: NodeId) -> Option<u64> {
    (site.home == here).then_some(site.epoch)
}

/// Follows the state until the stop.
pub(crate) async fn keep(plane: Arc<Plane>, stop: Stop) -> TaskResult {
    let mut view = plane.feed.view();
    let mut known = State::default().sites;
    while !stop.is_given_up() {
        let newest = Arc::clone(view.now());
        for (before, after) in newest.sites_since(&known) {
            let Some(site) = after.or(before) else { continue };
            let epoch = |site| epoch_here(site, plane.node);
            let (before, after) = (before.and_then(|site| epoch(site)), after.and_then(|site| epoch(site)));
            if before != after {
                // What was counted is of other files.
                plane.stores.forget(site.id);
            }
            match after {
                Some(epoch) => plane.gates.set_home(site.id, epoch, site.is_fenced()),
                None => plane.gates.remove(site.id),
            }
        }
        known = newest.sites.clone();
        plane.settled.send_replace(newest.revision);
        if let Some(reporter) = &plane.reporter {
            reporter.serves(0, newest.revision);
        }
        drop(newest);
        tokio::select! {
            changed = view.changed() => if !changed { stop.give_up().await },
            () = stop.give_up() => {}
        }
    }
    Ok(())
}
