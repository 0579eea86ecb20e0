//! What a thread keeps of files: the directories of the sites asked for last, and the content of small files. A file is looked
//! at for each request and its content used only while it is the very same, so nothing old is ever served.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use lru::LruCache;
use rustix::fs::{FileType, Stat};

use crate::base::ids::SiteId;
use crate::base::limits::{
    WEB_CODINGS_KEPT_FOR, WEB_FILE_SETTLES, WEB_JAIL_KEPT_FOR, WEB_JAILS_KEPT, WEB_SMALL_FILES_BYTES,
    WEB_SMALL_FILES_MAX,
};
use crate::files::jail::{Jail, JailError, Opened, nanos};
use crate::web::static_files::validators::Validators;

/// A file in one state: where it lies and when it last changed, by the clock of the kernel, which nobody sets back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Known {
    dev: u64,
    ino: u64,
    len: u64,
    modified: (i64, u32),
    changed: (i64, u32),
}

impl Known {
    pub(crate) fn of(opened: &Opened) -> Self {
        let Opened { len, modified, changed, dev, ino, .. } = *opened;
        Self { dev, ino, len, modified, changed }
    }

    /// Of a regular file that was looked at and not opened.
    pub(crate) fn seen(stat: &Stat) -> Option<Self> {
        (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then_some(Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            len: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime, nanos(stat.st_mtime_nsec)),
            changed: (stat.st_ctime, nanos(stat.st_ctime_nsec)),
        })
    }

    /// Whether the next change will be seen. A time to come is none of which that is known.
    fn is_settled(&self, now: SystemTime) -> bool {
        let (seconds, nanos) = self.changed;
        let changed = SystemTime::UNIX_EPOCH + Duration::new(u64::try_from(seconds).unwrap_or(0), nanos);
        now.duration_since(changed).is_ok_and(|age| age >= WEB_FILE_SETTLES)
    }
}

#[derive(Debug)]
pub(crate) struct Caches {
    /// And when each was opened.
    jails: Mutex<LruCache<(SiteId, u64), (Jail, Instant)>>,
    files: Mutex<Files>,
}

/// A small file.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) content: Bytes,
    /// Of the file as it is.
    pub(crate) validators: Arc<Validators>,
}

#[derive(Debug)]
struct Files {
    contents: LruCache<Known, Kept>,
    bytes: usize,
    /// Those that had nothing beside them in another coding, and when.
    bare: LruCache<Known, Instant>,
}

impl Caches {
    pub(crate) fn new() -> Self {
        // They grow with what is asked for: an idle thread has neither.
        let (mut jails, mut contents) = (LruCache::unbounded(), LruCache::unbounded());
        jails.resize(WEB_JAILS_KEPT);
        contents.resize(WEB_SMALL_FILES_MAX);
        let mut bare = LruCache::unbounded();
        bare.resize(WEB_SMALL_FILES_MAX);
        Self { jails: Mutex::new(jails), files: Mutex::new(Files { contents, bytes: 0, bare }) }
    }

    /// The directory of a site in one epoch, opened if it was not lately.
    pub(crate) fn jail(
        &self,
        site: (SiteId, u64),
        now: Instant,
        open: impl FnOnce() -> Result<Jail, JailError>,
    ) -> Result<Jail, JailError> {
        let mut jails = self.jails.lock().unwrap_or_else(PoisonError::into_inner);
        match jails.get(&site) {
            Some((jail, opened)) if now.duration_since(*opened) < WEB_JAIL_KEPT_FOR => return Ok(jail.clone()),
            _ => {}
        }
        let jail = open()?;
        jails.put(site, (jail.clone(), now));
        Ok(jail)
    }

    /// Whether the file had nothing beside it a moment ago.
    pub(crate) fn is_bare(&self, file: &Known, now: Instant) -> bool {
        let mut files = self.files();
        files.bare.get(file).is_some_and(|seen| now.duration_since(*seen) < WEB_CODINGS_KEPT_FOR)
    }

    pub(crate) fn was_bare(&self, file: Known, now: Instant) {
        self.files().bare.put(file, now);
    }

    pub(crate) fn kept(&self, file: &Known) -> Option<Kept> {
        self.files().contents.get(file).cloned()
    }

    /// `now` is that of the clock that dates files.
    pub(crate) fn keep(&self, file: Known, content: Bytes, validators: Validators, now: SystemTime) {
        if !file.is_settled(now) {
            return;
        }
        let mut files = self.files();
        files.bytes += content.len();
        let kept = Kept { content, validators: Arc::new(validators.lasting(now)) };
        if let Some((_, gone)) = files.contents.push(file, kept) {
            files.bytes -= gone.content.len();
        }
        while files.bytes > WEB_SMALL_FILES_BYTES {
            let Some((_, gone)) = files.contents.pop_lru() else { return };
            files.bytes -= gone.content.len();
        }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        // One thread uses it; a panic elsewhere leaves at worst a wrong count of bytes, on the safe side.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validators() -> Validators {
        Validators { tag: Some("\"x\"".into()), modified: 1, said: None }
    }

    #[test]
    fn bounded_by_bytes_and_exact() {
        let caches = Caches::new();
        let known = |ino| Known { dev: 1, ino, len: 1, modified: (1, 1), changed: (1, 1) };
        let content = Bytes::from(vec![7; WEB_SMALL_FILES_BYTES / 4]);
        for ino in 0..10 {
            caches.keep(known(ino), content.clone(), validators(), SystemTime::now());
        }
        assert_eq!(caches.files().bytes, WEB_SMALL_FILES_BYTES / 4 * 4);
        assert!(caches.kept(&known(5)).is_none() && caches.kept(&known(9)).is_some());
        caches.keep(known(9), content.clone(), validators(), SystemTime::now());
        assert_eq!(caches.files().bytes, WEB_SMALL_FILES_BYTES / 4 * 4, "the same file counts once");
        assert!(caches.kept(&Known { changed: (1, 2), ..known(9) }).is_none(), "it was changed since");
    }

    #[test]
    fn a_file_is_kept_once_its_next_change_will_be_seen() {
        let caches = Caches::new();
        let now = SystemTime::UNIX_EPOCH + Duration::new(1000, 500_000_000);
        for (changed, kept) in [
            ((1000, 500_000_000), false),
            ((1000, 490_000_000), false),
            ((1001, 0), false),
            ((1000, 300_000_000), true),
        ] {
            let known = Known { dev: 1, ino: 1, len: 1, modified: changed, changed };
            caches.keep(known, Bytes::from_static(b"x"), validators(), now);
            assert_eq!(caches.kept(&known).is_some(), kept, "{changed:?}");
        }
    }

    #[test]
    fn a_directory_put_in_the_place_of_another_is_found() {
        let (dir, caches, begin) = (tempfile::tempdir().unwrap(), Caches::new(), Instant::now());
        let public = dir.path().join("public");
        std::fs::create_dir(&public).unwrap();
        let has_page = |now| {
            let jail = caches.jail((SiteId(7), 1), now, || Jail::open(&public)).unwrap();
            jail.look("page").is_ok()
        };
        assert!(!has_page(begin));
        std::fs::rename(&public, dir.path().join("old")).unwrap();
        std::fs::create_dir(&public).unwrap();
        std::fs::write(public.join("page"), "new").unwrap();
        assert!(has_page(begin + WEB_JAIL_KEPT_FOR));
    }
}
