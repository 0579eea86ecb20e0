//! Which sites' files changed, as the kernel tells it. A directory is watched before its names are read, so that nothing between the
//! reading and the watching is missed. Never reads a file; what cannot be watched is said, not forgotten.
use std::collections::{HashMap, HashSet};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use crate::base::ids::SiteId;

/// One for each node.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// None where the kernel has no more of them: then no site is watched.
    kernel: Option<OwnedFd>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// By the kernel's number of each watched directory.
    sites: HashMap<i32, SiteId>,
    of: HashMap<SiteId, HashSet<i32>>,
    /// Sites with a directory that could not be watched.
    blind: HashSet<SiteId>,
}

/// What a directory is told for. Reading and opening are nobody's news.
const TOLD: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::EXCL_UNLINK);

impl Watch {
    pub fn open() -> Self {
        let kernel = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        let kernel = kernel.inspect_err(|errno| tracing::warn!("changes of files are not told by the kernel: {errno}"));
        Self(Arc::new(Inner { kernel: kernel.ok(), held: Mutex::default() }))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Whole after each step.
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a directory of a site; watching it again changes nothing.
    pub(super) fn add(&self, site: SiteId, dir: impl AsFd) {
        // By its descriptor: a name may lead elsewhere by now.
        let path = format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd());
        let kernel = self.0.kernel.as_ref().ok_or(Errno::NODEV);
        // Held meanwhile: what the kernel tells of it is looked up after it is known here.
        let mut held = self.held();
        match kernel.and_then(|kernel| inotify::add_watch(kernel, path, TOLD)) {
            Ok(watched) => {
                held.sites.insert(watched, site);
                held.of.entry(site).or_default().insert(watched);
            }
            Err(errno) => {
                if held.blind.insert(site) {
                    tracing::warn!(%site, "not all of its directories can be watched, it is looked at now and then: {errno}");
                }
            }
        }
    }

    /// Watches nothing of a site any more.
    pub fn forget(&self, site: SiteId) {
        let mut held = self.held();
        held.blind.remove(&site);
        for watched in held.of.remove(&site).into_iter().flatten() {
            held.sites.remove(&watched);
            if let Some(kernel) = &self.0.kernel {
                // It may have gone with its directory.
                let _ = inotify::remove_watch(kernel, watched);
            }
        }
    }

    /// The sites of which not all is watched.
    pub fn blind(&self) -> HashSet<SiteId> {
        self.held().blind.clone()
    }

    /// The sites of which something changed since the last call.
    pub fn changed(&self) -> HashSet<SiteId> {
        let mut changed = HashSet::new();
        let Some(kernel) = &self.0.kernel else { return changed };
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut reader = Reader::new(kernel, &mut buffer);
        // An error is that there is no more.
        while let Ok(event) = reader.next() {
            let mut held = self.held();
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                changed.extend(held.of.keys());
            }
            if event.events().contains(ReadFlags::IGNORED) {
                if let Some(site) = held.sites.remove(&event.wd())
                    && let Some(of) = held.of.get_mut(&site)
                {
                    of.remove(&event.wd());
                }
                continue;
            }
            changed.extend(held.sites.get(&event.wd()));
        }
        changed
    }

    /// For waiting until something changes; none where nothing is told.
    #[expect(deprecated, reason = "an owned descriptor stays the same and open, which is all that its safety is about")]
    pub fn waiter(&self) -> Option<AsyncFd<OwnedFd>> {
        let kernel = self.0.kernel.as_ref()?.try_clone().ok()?;
        AsyncFd::new(kernel).inspect_err(|error| tracing::warn!("changes of files are not waited for: {error}")).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::files::manifest::Walk;
    use crate::files::sites::SiteDirs;

    const SITE: SiteId = SiteId(7);

    #[test]
    fn what_changes_below_a_site_is_told_also_in_directories_made_since() {
        let home = tempfile::tempdir().unwrap();
        let dirs = SiteDirs::open(home.path()).unwrap();
        let watch = Watch::open();
        let walk = |site: SiteId| {
            let mut walk = Walk::watched(&dirs.jail(site).unwrap(), &watch, site);
            while walk.next(2).unwrap().is_some() {}
        };
        for site in [SITE, SiteId(8)] {
            dirs.make(site).unwrap();
            fs::create_dir(dirs.path(site).join("a")).unwrap();
            walk(site);
        }
        assert!(watch.changed().is_empty(), "a walk changes nothing");
        let root = dirs.path(SITE);
        let told = || watch.changed().into_iter().collect::<Vec<_>>();
        fs::write(root.join("a/page"), "1").unwrap();
        assert_eq!(told(), [SITE]);
        assert!(told().is_empty());
        fs::read(root.join("a/page")).unwrap();
        assert!(told().is_empty());
        fs::create_dir(root.join("a/b")).unwrap();
        assert_eq!(told(), [SITE]);
        walk(SITE);
        for change in [
            &(|| fs::write(root.join("a/b/page"), "1")) as &dyn Fn() -> std::io::Result<()>,
            &|| fs::write(root.join("a/b/page"), "2"),
            &|| fs::rename(root.join("a/b/page"), root.join("a/b/other")),
            &|| fs::remove_file(root.join("a/b/other")),
            &|| fs::remove_dir(root.join("a/b")),
        ] {
            change().unwrap();
            assert_eq!(told(), [SITE]);
        }
        assert!(watch.blind().is_empty());
        watch.forget(SITE);
        fs::write(root.join("a/page"), "2").unwrap();
        fs::write(dirs.path(SiteId(8)).join("page"), "2").unwrap();
        assert_eq!(told(), [SiteId(8)]);
    }

    #[test]
    fn what_is_not_watched_is_known() {
        let home = tempfile::tempdir().unwrap();
        let dirs = SiteDirs::open(home.path()).unwrap();
        dirs.make(SITE).unwrap();
        let watch = Watch::default();
        Walk::watched(&dirs.jail(SITE).unwrap(), &watch, SITE).next(1).unwrap();
        assert!(watch.blind().contains(&SITE) && watch.changed().is_empty() && watch.waiter().is_none());
        watch.forget(SITE);
        assert!(watch.blind().is_empty());
    }
}
