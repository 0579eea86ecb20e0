//! The directories of the sites at home here: made before the board says that a site is served, put in the trash when it is
//! gone, the trash swept. Follows the state from change to change; what fails is tried again. Never touches a site's files.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use crate::base::clock::Time;
use crate::base::ids::{NodeId, SiteId};
use crate::base::limits::{SITE_DIRS_RETRY, TRASH_SWEEP_EVERY};
use crate::files::sites::{SiteDirs, SiteDirsError};
use crate::model::sites::Site;
use crate::model::state::State;
use crate::ops::stop::Stop;
use crate::ops::tasks::TaskResult;
use crate::web::Plane;

const ENTRY: &str = "site-directories";

/// What is to be done about a site's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Todo {
    Make,
    Discard,
}

/// Whether the site's files are kept here.
fn is_kept(site: &Site, here: NodeId) -> bool {
    site.home == here && site.has_files()
}

/// What a change of a site asks for. A site that stops serving files keeps them: it may go back to it.
fn todo(before: Option<&Site>, after: Option<&Site>, here: NodeId) -> Option<Todo> {
    match (before, after) {
        (_, Some(site)) if is_kept(site, here) => Some(Todo::Make),
        (Some(site), None) if site.home == here => Some(Todo::Discard),
        _ => None,
    }
}

/// Whether what just changed can be served. A site that is gone needs no directory, whatever becomes of its files; one whose
/// directory could not be made before is told on the board, and holds up nobody else's changes.
fn is_served(changed: &BTreeSet<SiteId>, waiting: &BTreeMap<SiteId, Todo>) -> bool {
    !changed.iter().any(|id| waiting.get(id) == Some(&Todo::Make))
}

/// Keeps the directories in step with the state until the stop.
pub(crate) async fn keep(plane: Arc<Plane>, stop: Stop) -> TaskResult {
    let mut view = plane.feed.view();
    let mut known = State::default().sites;
    let mut waiting = BTreeMap::new();
    let mut retry = None;
    let mut sweep = Instant::now();
    tell_orphans(&plane, view.now()).await?;
    while !stop.is_given_up() {
        let newest = Arc::clone(view.now());
        let mut changed = BTreeSet::new();
        for (before, after) in newest.sites_since(&known) {
            let Some(id) = before.or(after).map(|site| site.id) else { continue };
            if let Some(todo) = todo(before.map(AsRef::as_ref), after.map(AsRef::as_ref), plane.node) {
                waiting.insert(id, todo);
                changed.insert(id);
                retry = None;
            }
            if after.is_none() {
                plane.tallies.forget(id);
                plane.local.forget(id);
            }
        }
        known = newest.sites.clone();
        if !waiting.is_empty() && retry.is_none_or(|at| at <= Instant::now()) {
            retry = work(&plane, &mut waiting, newest.time).await;
        }
        if is_served(&changed, &waiting) {
            plane.reporter.serves(plane.threads, newest.revision);
        }
        if sweep <= Instant::now() {
            sweep = Instant::now() + TRASH_SWEEP_EVERY;
            swept(&plane, newest.time).await;
        }
        drop(newest);
        tokio::select! {
            changed = view.changed() => if !changed { stop.give_up().await },
            () = sleep_until(retry.unwrap_or(sweep).min(sweep)) => {}
            () = stop.give_up() => {}
        }
    }
    Ok(())
}

/// Does what waits; returns when to try again what failed.
async fn work(plane: &Plane, waiting: &mut BTreeMap<SiteId, Todo>, now: Time) -> Option<Instant> {
    let (dirs, todo) = (Arc::clone(&plane.dirs), std::mem::take(waiting));
    let done = plane.blocking.run({
        let todo = todo.clone();
        move || each(&dirs, todo, now)
    });
    let fault = match done.await {
        Ok((failed, fault)) => {
            *waiting = failed;
            fault.map(|fault| fault.to_string())
        }
        Err(error) => {
            *waiting = todo;
            Some(error.to_string())
        }
    };
    match fault {
        None => {
            plane.board.clear(ENTRY);
            None
        }
        Some(fault) => {
            let count = waiting.len();
            plane.board.yellow(ENTRY, format!("failed to {fault} ({count} sites wait); it is tried again"));
            Some(Instant::now() + SITE_DIRS_RETRY)
        }
    }
}

/// Those that failed, and the first fault.
fn each(dirs: &SiteDirs, todo: BTreeMap<SiteId, Todo>, now: Time) -> (BTreeMap<SiteId, Todo>, Option<SiteDirsError>) {
    let (mut failed, mut first) = (BTreeMap::new(), None);
    for (id, todo) in todo {
        let done = match todo {
            Todo::Make => dirs.make(id),
            Todo::Discard => dirs.discard(id, now),
        };
        if let Err(error) = done {
            failed.insert(id, todo);
            first = first.or(Some(error));
        }
    }
    (failed, first)
}

async fn swept(plane: &Plane, now: Time) {
    let dirs = Arc::clone(&plane.dirs);
    match plane.blocking.run(move || dirs.sweep(now)).await {
        Ok(Ok(0)) => {}
        Ok(Ok(sites)) => tracing::info!(sites, "deleted the files of sites removed a week ago"),
        Ok(Err(error)) => tracing::warn!("failed to {error}"),
        Err(error) => tracing::warn!("failed to {error}"),
    }
}

/// Directories that belong to no site are left where they are: a state put back from an old copy must not cost files.
async fn tell_orphans(plane: &Plane, state: &State) -> TaskResult {
    let dirs = Arc::clone(&plane.dirs);
    let present = plane.blocking.run(move || dirs.present()).await??;
    let orphans: Vec<_> = present.iter().filter(|id| !state.sites.contains_key(*id)).collect();
    if let Some(first) = orphans.first() {
        let path = plane.dirs.path(**first).display().to_string();
        tracing::warn!(
            count = orphans.len(),
            first = path,
            "directories of sites that do not exist; remove them by hand"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sites::Handler;
    use crate::model::tests::world::stored_site as site;

    #[test]
    fn a_directory_is_made_for_files_at_home_and_goes_with_its_site_only() {
        let here = NodeId(1);
        let files = site(1, "a.example");
        let redirect =
            Site { handler: Handler::Redirect { to: "https://b.example".into(), status: 308 }, ..files.clone() };
        let far = Site { home: NodeId(2), ..files.clone() };
        for (before, after, expected) in [
            (None, Some(&files), Some(Todo::Make)),
            (Some(&files), Some(&files), Some(Todo::Make)),
            (Some(&redirect), Some(&files), Some(Todo::Make)),
            (Some(&far), Some(&files), Some(Todo::Make)),
            (None, Some(&redirect), None),
            (Some(&files), Some(&redirect), None),
            (None, Some(&far), None),
            // A move has its own way with the files.
            (Some(&files), Some(&far), None),
            (Some(&files), None, Some(Todo::Discard)),
            (Some(&redirect), None, Some(Todo::Discard)),
            (Some(&far), None, None),
        ] {
            assert_eq!(todo(before, after, here), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn files_that_cannot_be_moved_to_the_trash_hold_up_no_write() {
        let waiting = |todo: &[Todo]| todo.iter().enumerate().map(|(id, todo)| (SiteId(id as u64), *todo)).collect();
        let changed = |ids: &[u64]| ids.iter().map(|id| SiteId(*id)).collect();
        assert!(is_served(&changed(&[0]), &waiting(&[])));
        assert!(is_served(&changed(&[0, 1]), &waiting(&[Todo::Discard, Todo::Discard])));
        assert!(!is_served(&changed(&[1]), &waiting(&[Todo::Discard, Todo::Make])));
        assert!(is_served(&changed(&[2]), &waiting(&[Todo::Discard, Todo::Make])), "another site's trouble");
    }
}
