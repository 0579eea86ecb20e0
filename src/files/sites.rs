//! The directories of the sites at home here: `sites/<id>/public`, made before a site is served, in the trash for a week when
//! it is gone. Works by descriptors beneath the data directory: never follows a link, never deletes what is not in the trash.
//! Everything here blocks.
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::base::clock::Time;
use crate::base::ids::SiteId;
use crate::base::limits::TRASH_KEPT;
use crate::files::jail::{Jail, JailError};
use crate::files::{jail, trash};

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
#[error("{doing} {path}: {cause}")]
pub struct SiteDirsError {
    doing: &'static str,
    path: PathBuf,
    #[source]
    cause: io::Error,
}

/// One for each data directory.
#[derive(Debug)]
pub struct SiteDirs {
    path: PathBuf,
    sites: OwnedFd,
    trash: OwnedFd,
    /// Held while something is made or discarded.
    changing: Mutex<()>,
}

impl SiteDirs {
    /// Makes `sites` and `trash` where they are missing.
    pub fn open(data_dir: &Path) -> Result<Self, SiteDirsError> {
        let opened = || {
            let data =
                rustix::fs::openat(CWD, data_dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            let (sites, trash) = (subdir(&data, "sites", 0o750)?, subdir(&data, "trash", 0o700)?);
            rustix::fs::fsync(&data)?;
            Ok(Self { path: data_dir.to_owned(), sites, trash, changing: Mutex::new(()) })
        };
        opened().map_err(|errno| fault("open the directories of sites in", data_dir, errno))
    }

    /// For people to read: whoever opens something asks for the jail.
    pub fn path(&self, site: SiteId) -> PathBuf {
        self.path.join("sites").join(site.to_string()).join("public")
    }

    /// `NotFound` before the directory was made and after it was discarded.
    pub fn jail(&self, site: SiteId) -> Result<Jail, JailError> {
        Jail::within(&self.sites, &format!("{site}/public"))
    }

    /// Where uploads grow until they are whole: beside `public`, so that nobody sees or reaches them there.
    pub(super) fn incoming(&self, site: SiteId) -> Result<OwnedFd, JailError> {
        let site = rustix::fs::openat(&self.sites, site.to_string(), jail::LISTED, Mode::empty())?;
        Ok(subdir(site, "incoming", 0o700)?)
    }

    /// The directory in which all of a site's are.
    pub(super) fn own(&self, site: SiteId) -> Result<OwnedFd, JailError> {
        Ok(rustix::fs::openat(&self.sites, site.to_string(), jail::LISTED, Mode::empty())?)
    }

    /// For people to read: where is kept what a new home of the site did not have.
    pub fn recovered(&self, site: SiteId) -> PathBuf {
        self.path.join("sites").join(site.to_string()).join("recovered")
    }

    /// The directory of a site's logs, if there is one.
    pub(super) fn logs(&self, site: SiteId) -> Result<Option<OwnedFd>, Errno> {
        let site = rustix::fs::openat(&self.sites, site.to_string(), jail::LISTED, Mode::empty());
        let logs = site.and_then(|site| rustix::fs::openat(site, "logs", jail::LISTED, Mode::empty()));
        logs.map(Some).or_else(|errno| if errno == Errno::NOENT { Ok(None) } else { Err(errno) })
    }

    /// The same, made if it is missing; none if the site is `there` no more. A proxied site has no other directory. Asked while
    /// nothing is discarded: a site that is removed then takes this with it.
    pub(super) fn make_logs(&self, site: SiteId, there: impl FnOnce() -> bool) -> Result<Option<OwnedFd>, Errno> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if !there() {
            return Ok(None);
        }
        subdir(subdir(&self.sites, site.to_string().as_str(), 0o750)?, "logs", 0o750).map(Some)
    }

    /// The directory is there, and stays after a power cut, when this returns. Nothing is written if it was there before.
    pub fn make(&self, site: SiteId) -> Result<(), SiteDirsError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.made(site).map_err(|errno| fault("make", &self.path(site), errno))
    }

    fn made(&self, site: SiteId) -> Result<(), Errno> {
        let site = subdir(&self.sites, site.to_string().as_str(), 0o750)?;
        match rustix::fs::statat(&site, "public", AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => return Ok(()),
            Ok(_) => return Err(Errno::NOTDIR),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        // It appears with its mode, under its name, in one step; what a crash left of the steps before is used.
        let public = subdir(&site, ".public.new", 0o750)?;
        // Set, not asked for at the making: the umask has no say.
        [&site, &public].into_iter().try_for_each(|dir| rustix::fs::fchmod(dir, Mode::from_raw_mode(0o750)))?;
        rustix::fs::renameat(&site, ".public.new", &site, "public")?;
        [&public, &site, &self.sites].into_iter().try_for_each(rustix::fs::fsync)
    }

    /// The sites that have a directory here, also one that nobody knows any more.
    pub fn present(&self) -> Result<Vec<SiteId>, SiteDirsError> {
        let names =
            trash::names(&self.sites, usize::MAX).map_err(|errno| fault("list", &self.path.join("sites"), errno))?;
        Ok(names.iter().filter_map(|name| name.to_str().ok()?.parse().ok()).collect())
    }

    /// Moves the whole directory of a site to the trash; nothing to do is done. `now` is the state's time: the clock of a board
    /// may stand in 1970, and what is discarded then would be swept as soon as it is set.
    pub fn discard(&self, site: SiteId, now: Time) -> Result<(), SiteDirsError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let discarded = || {
            let (from, to) = (site.to_string(), format!("{site}-{}", now.seconds()));
            match rustix::fs::renameat(&self.sites, from, &self.trash, to) {
                Err(Errno::NOENT) => return Ok(()),
                moved => moved?,
            }
            [&self.trash, &self.sites].into_iter().try_for_each(rustix::fs::fsync)
        };
        discarded().map_err(|errno| fault("move to the trash", &self.path(site), errno))
    }

    /// Moves the files of a site to the trash that is at home elsewhere now; its logs stay.
    pub fn retire(&self, site: SiteId, now: Time) -> Result<(), SiteDirsError> {
        let name = format!("{site}-{}", now.seconds());
        self.retired(site, &name).map_err(|errno| fault("move to the trash", &self.path(site), errno))
    }

    /// Deletes a copy that was never served.
    pub fn drop_copy(&self, site: SiteId) -> Result<(), SiteDirsError> {
        let name = format!("{site}-0");
        let dropped = self.retired(site, &name).and_then(|()| trash::delete(&self.trash, &name));
        dropped.map_err(|errno| fault("delete", &self.path(site), errno))
    }

    fn retired(&self, site: SiteId, name: &str) -> Result<(), Errno> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let from = match rustix::fs::openat(&self.sites, site.to_string(), jail::LISTED, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            opened => opened?,
        };
        // What keeps its logs only is here again and again, with nothing to move.
        let is_there = |part: &&str| match rustix::fs::statat(&from, *part, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(false),
            stat => stat.map(|_| true),
        };
        let mut parts = Vec::new();
        for part in ["public", "incoming"] {
            parts.extend(is_there(&part)?.then_some(part));
        }
        if parts.is_empty() {
            return Ok(());
        }
        let to = subdir(&self.trash, name, 0o700)?;
        parts.iter().try_for_each(|part| rustix::fs::renameat(&from, *part, &to, *part))?;
        [&to, &self.trash, &from].into_iter().try_for_each(rustix::fs::fsync)
    }

    /// A site's own directory, made where that is wanted.
    pub(super) fn opened(&self, site: SiteId, make: bool) -> Result<Option<OwnedFd>, SiteDirsError> {
        let name = site.to_string();
        let opened = match make {
            true => subdir(&self.sites, &name, 0o750).map(Some),
            false => match rustix::fs::openat(&self.sites, name, jail::LISTED, Mode::empty()) {
                Err(Errno::NOENT) => Ok(None),
                opened => opened.map(Some),
            },
        };
        opened.map_err(|errno| self.fault("open", site, errno))
    }

    pub(super) fn fault(&self, doing: &'static str, site: SiteId, errno: Errno) -> SiteDirsError {
        fault(doing, &self.path(site), errno)
    }

    /// Bytes that are free on the disk for this process.
    pub fn room(&self) -> Result<u64, SiteDirsError> {
        let disk =
            rustix::fs::fstatvfs(&self.sites).map_err(|errno| fault("look at the disk of", &self.path, errno))?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Deletes what is in the trash for longer than a week, and says how many sites that were. One that resists does not keep
    /// the others; the first fault is told at the end. Names that are not of the trash's own making stay.
    pub fn sweep(&self, now: Time) -> Result<usize, SiteDirsError> {
        let path = self.path.join("trash");
        let names = trash::names(&self.trash, usize::MAX).map_err(|errno| fault("list", &path, errno))?;
        let expired = |name: &&str| discarded_at(name).is_some_and(|then| then.plus(TRASH_KEPT) <= now);
        let (mut swept, mut first) = (0, None);
        for name in names.iter().filter_map(|name| name.to_str().ok()).filter(expired) {
            match trash::delete(&self.trash, name) {
                Ok(()) => swept += 1,
                Err(errno) => first = first.or(Some(fault("delete", &path.join(name), errno))),
            }
        }
        first.map_or(Ok(swept), Err)
    }
}

/// `<id>-<seconds since 1970>`.
fn discarded_at(name: &str) -> Option<Time> {
    let (site, seconds) = name.split_once('-')?;
    site.parse::<SiteId>().ok()?;
    seconds.parse::<u64>().ok()?.checked_mul(1000).map(Time)
}

/// Opens a directory, made if it is missing; a link of that name is an error.
pub(super) fn subdir(parent: impl AsFd, name: impl Arg + Copy, mode: u32) -> Result<OwnedFd, Errno> {
    match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(Errno::EXIST) => rustix::fs::openat(parent, name, jail::LISTED, Mode::empty()),
        Err(errno) => Err(errno),
    }
}

fn fault(doing: &'static str, path: &Path, errno: Errno) -> SiteDirsError {
    SiteDirsError { doing, path: path.to_owned(), cause: errno.into() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::files::jail::Found;

    const SITE: SiteId = SiteId(0xab);
    const DAY: u64 = 24 * 3600 * 1000;

    fn home() -> (tempfile::TempDir, SiteDirs) {
        let dir = tempfile::tempdir().unwrap();
        let dirs = SiteDirs::open(dir.path()).unwrap();
        (dir, dirs)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn count(path: impl AsRef<Path>) -> usize {
        fs::read_dir(path).unwrap().count()
    }

    #[test]
    fn a_site_is_made_once_with_its_mode_whatever_was_left() {
        let (dir, dirs) = home();
        let path = dirs.path(SITE);
        assert_eq!(path, dir.path().join("sites/00000000000000ab/public"));
        assert!(matches!(dirs.jail(SITE), Err(JailError::NotFound)));
        // Each step of an earlier try that was cut short.
        for left in [None, Some(""), Some(".public.new")] {
            if let Some(left) = left {
                fs::remove_dir_all(path.parent().unwrap()).unwrap();
                fs::create_dir_all(path.parent().unwrap().join(left)).unwrap();
            }
            assert!(matches!(dirs.jail(SITE), Err(JailError::NotFound)), "{left:?}");
            dirs.make(SITE).unwrap();
            assert!(matches!(dirs.jail(SITE).unwrap().look(""), Ok(Found::Dir)));
            assert_eq!(count(path.parent().unwrap()), 1, "{left:?}");
        }
        fs::write(path.join("page"), "kept").unwrap();
        dirs.make(SITE).unwrap();
        SiteDirs::open(dir.path()).unwrap().make(SITE).unwrap();
        assert_eq!(fs::read_to_string(path.join("page")).unwrap(), "kept");
        assert_eq!([mode(&path), mode(path.parent().unwrap())], [0o750; 2]);
        assert_eq!([mode(&dir.path().join("sites")), mode(&dir.path().join("trash"))], [0o750, 0o700]);
    }

    #[test]
    fn a_link_is_never_a_site() {
        let (dir, dirs) = home();
        let at = |site: SiteId| dirs.path(site).parent().unwrap().to_owned();
        fs::create_dir_all(dir.path().join("elsewhere/public")).unwrap();
        symlink("../elsewhere", at(SiteId(1))).unwrap();
        fs::create_dir(at(SiteId(2))).unwrap();
        symlink("../../elsewhere", dirs.path(SiteId(2))).unwrap();
        fs::create_dir(at(SiteId(3))).unwrap();
        fs::write(dirs.path(SiteId(3)), "").unwrap();
        // Nor one to another site, which would stay beneath.
        dirs.make(SITE).unwrap();
        symlink(SITE.to_string(), at(SiteId(4))).unwrap();
        fs::create_dir(at(SiteId(5))).unwrap();
        symlink(format!("../{SITE}/public"), dirs.path(SiteId(5))).unwrap();
        for site in [1, 2, 3, 4, 5].map(SiteId) {
            assert!(dirs.jail(site).is_err(), "{site}");
            let told = dirs.make(site).unwrap_err().to_string();
            assert!(told.starts_with(&format!("make {}: ", dirs.path(site).display())), "{told}");
        }
        fs::remove_dir(dir.path().join("trash")).unwrap();
        symlink("elsewhere", dir.path().join("trash")).unwrap();
        assert!(SiteDirs::open(dir.path()).is_err());
    }

    /// Whoever swaps `sites` by its path swaps nothing for the one that holds it open.
    #[test]
    fn the_directory_is_held_not_its_name() {
        let (dir, dirs) = home();
        dirs.make(SITE).unwrap();
        fs::write(dirs.path(SITE).join("page"), "").unwrap();
        fs::rename(dir.path().join("sites"), dir.path().join("old")).unwrap();
        fs::create_dir_all(dirs.path(SITE)).unwrap();
        assert!(matches!(dirs.jail(SITE).unwrap().look("page"), Ok(Found::File(_))));
        dirs.discard(SITE, Time(0)).unwrap();
        assert!(!dir.path().join("old/00000000000000ab").exists() && dirs.path(SITE).exists());
    }

    #[test]
    fn what_is_discarded_stays_a_week_and_a_visitor_keeps_what_is_open() {
        let (dir, dirs) = home();
        let then = Time(100 * DAY + 999);
        dirs.make(SITE).unwrap();
        fs::write(dirs.path(SITE).join("page"), "").unwrap();
        let jail = dirs.jail(SITE).unwrap();
        assert_eq!(dirs.present().unwrap(), [SITE]);
        dirs.discard(SITE, then).unwrap();
        dirs.discard(SITE, then).unwrap();
        assert!(dirs.present().unwrap().is_empty());
        assert!(matches!(dirs.jail(SITE), Err(JailError::NotFound)));
        assert!(matches!(jail.look("page"), Ok(Found::File(_))));
        assert!(dir.path().join("trash/00000000000000ab-8640000/public/page").exists());
        // What is not of the trash's own making, or lies in the future of a wrong clock, stays.
        for kept in ["notes", "00000000000000ab", "00000000000000ab-x", "00000000000000ab-99999999999", "ab-0"] {
            fs::create_dir(dir.path().join("trash").join(kept)).unwrap();
        }
        assert_eq!(dirs.sweep(Time(107 * DAY - 1)).unwrap(), 0);
        assert_eq!(dirs.sweep(Time(107 * DAY)).unwrap(), 1);
        assert!(jail.look("page").is_err());
        assert_eq!(count(dir.path().join("trash")), 5);
    }

    #[test]
    fn what_a_move_leaves_behind_goes_once_and_the_logs_stay() {
        let (dir, dirs) = home();
        dirs.make(SITE).unwrap();
        dirs.make_logs(SITE, || true).unwrap();
        for seconds in [1, 2, 3] {
            dirs.retire(SITE, Time(seconds * 1000)).unwrap();
            dirs.drop_copy(SITE).unwrap();
            assert_eq!(count(dir.path().join("trash")), 1, "at {seconds}");
        }
        assert!(dir.path().join("trash/00000000000000ab-1/public").exists());
        assert_eq!(dirs.present().unwrap(), [SITE]);
        assert!(dirs.logs(SITE).unwrap().is_some());
    }

    #[test]
    fn an_id_discarded_twice_has_two_places_in_the_trash() {
        let (dir, dirs) = home();
        for seconds in [1, 2] {
            dirs.make(SITE).unwrap();
            dirs.discard(SITE, Time(seconds * 1000)).unwrap();
        }
        dirs.make(SITE).unwrap();
        assert!(dirs.discard(SITE, Time(2000)).is_err(), "in the same second the first one is not overwritten");
        assert!(dirs.jail(SITE).is_ok());
        assert_eq!(count(dir.path().join("trash")), 2);
    }

    #[test]
    fn one_site_that_resists_does_not_keep_the_others() {
        let (dir, dirs) = home();
        let trash = dir.path().join("trash");
        for name in ["0000000000000001-0", "0000000000000003-0"] {
            fs::create_dir(trash.join(name)).unwrap();
        }
        // A mounted file system is somebody else's: its files are not deleted, its mount point cannot be.
        fs::create_dir(trash.join("0000000000000002-0")).unwrap();
        let mount = trash.join("0000000000000002-0/mounted");
        fs::create_dir(&mount).unwrap();
        let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&mount).status();
        if !mounted.is_ok_and(|status| status.success()) {
            eprintln!("skipped: a file system can be mounted by root only");
            return;
        }
        fs::write(mount.join("kept"), "").unwrap();
        let told = dirs.sweep(Time(8 * DAY)).map_or_else(|error| error.to_string(), |swept| format!("{swept} swept"));
        let kept = mount.join("kept").exists();
        assert!(std::process::Command::new("umount").arg(&mount).status().unwrap().success());
        assert!(
            kept && told.starts_with(&format!("delete {}: ", trash.join("0000000000000002-0").display())),
            "{told}"
        );
        assert_eq!(count(&trash), 1);
        assert_eq!(dirs.sweep(Time(8 * DAY)).unwrap(), 1);
    }
}
