//! The access logs of the sites: `sites/<id>/logs/access.log`, appended to in whole lines, set aside each day or past a size,
//! deleted when they were kept long enough, read from the end. By descriptors, never through a link. Everything here blocks.
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, mem};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::base::clock::Time;
use crate::base::ids::SiteId;
use crate::base::limits::{LOG_READ_BYTES_MAX, SITE_LOG_BYTES_MAX, SITE_LOG_FILES_MAX, SITE_LOG_KEPT};
use crate::files::sites::SiteDirs;
use crate::files::trash;

const NAME: &str = "access.log";
/// Of one that was set aside: followed by when, so that names sort by age.
const ASIDE: &str = "access.log.";

/// When a log is set aside and deleted; tests have less.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub bytes: u64,
    pub files: usize,
    pub kept: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: SITE_LOG_BYTES_MAX, files: SITE_LOG_FILES_MAX, kept: SITE_LOG_KEPT }
    }
}

/// The logs of all sites.
#[derive(Debug, Clone)]
pub struct Logs {
    dirs: Arc<SiteDirs>,
    bounds: Bounds,
}

/// The log of one site, open to be written.
#[derive(Debug)]
pub struct SiteLog {
    dir: OwnedFd,
    file: File,
    len: u64,
    /// Days since 1970 of the last line.
    day: u64,
    /// What was written last lacks its end: a write was cut short.
    torn: bool,
}

impl Logs {
    pub fn new(dirs: Arc<SiteDirs>, bounds: Bounds) -> Self {
        Self { dirs, bounds }
    }

    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Opens a site's log, made if it is missing; none if the site is `there` no more.
    pub fn open(&self, site: SiteId, there: impl FnOnce() -> bool) -> io::Result<Option<SiteLog>> {
        let Some(dir) = self.dirs.make_logs(site, there)? else { return Ok(None) };
        SiteLog::open(dir).map(Some)
    }

    /// Deletes what was kept long enough.
    pub fn expire(&self, site: SiteId, now: Time) -> io::Result<()> {
        match self.dirs.logs(site)? {
            Some(dir) => expire(&dir, now, &self.bounds),
            None => Ok(()),
        }
    }

    /// The last lines, or those after a place in the log, and the place after them.
    pub fn read(&self, site: SiteId, lines: usize, after: Option<Place>) -> io::Result<(Vec<String>, Place)> {
        match (self.dirs.logs(site)?, after) {
            (None, _) => Ok((Vec::new(), Place::default())),
            (Some(dir), None) => last(&dir, lines),
            (Some(dir), Some(place)) => following(&dir, lines, place),
        }
    }
}

impl SiteLog {
    fn open(dir: OwnedFd) -> io::Result<Self> {
        let flags =
            OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::openat(&dir, NAME, flags, Mode::from_raw_mode(0o640))?);
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(Errno::INVAL.into());
        }
        let mut end = [b'\n'];
        if let Some(at) = meta.len().checked_sub(1) {
            file.read_exact_at(&mut end, at)?;
        }
        let modified = std::os::unix::fs::MetadataExt::mtime(&meta);
        let day = Time(u64::try_from(modified).unwrap_or(0).saturating_mul(1000)).days();
        Ok(Self { dir, file, len: meta.len(), day, torn: end != [b'\n'] })
    }

    /// Somebody deleted the file or its directory.
    pub fn is_gone(&self) -> bool {
        rustix::fs::fstat(&self.file).map_or(true, |stat| stat.st_nlink == 0)
    }

    /// Appends whole lines, in one write; what was there before is set aside if it is of another day or too large. After an
    /// error some of them may be there.
    pub fn append(&mut self, lines: &[u8], now: Time, bounds: &Bounds) -> io::Result<()> {
        if self.len > 0 && (self.day != now.days() || self.len + lines.len() as u64 > bounds.bytes) {
            self.set_aside(now)?;
            expire(&self.dir, now, bounds)?;
        }
        let ended;
        let bytes = match mem::take(&mut self.torn) {
            true => {
                ended = [b"\n", lines].concat();
                ended.as_slice()
            }
            false => lines,
        };
        let mut written = 0;
        while written < bytes.len() {
            match rustix::io::write(&self.file, &bytes[written..]) {
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    self.torn = written > 0 && bytes[written - 1] != b'\n';
                    return Err(errno.into());
                }
            }
        }
        self.len += written as u64;
        self.day = now.days();
        Ok(())
    }

    fn set_aside(&mut self, now: Time) -> io::Result<()> {
        let mut seconds = now.seconds();
        loop {
            match rustix::fs::renameat_with(&self.dir, NAME, &self.dir, aside(seconds), RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => seconds += 1,
                Err(errno) if errno != Errno::NOENT => return Err(errno.into()),
                _ => break,
            }
        }
        *self = Self::open(rustix::io::dup(&self.dir)?)?;
        Ok(())
    }
}

/// Twelve digits: names sort by age until the year 33658.
fn aside(seconds: u64) -> String {
    format!("{ASIDE}{seconds:012}")
}

/// Those set aside, the oldest first, with when.
fn asides(dir: &OwnedFd) -> io::Result<Vec<(u64, String)>> {
    let names = trash::names(dir, usize::MAX)?;
    let mut found: Vec<(u64, String)> = names
        .iter()
        .filter_map(|name| name.to_str().ok())
        .filter_map(|name| Some((name.strip_prefix(ASIDE)?.parse().ok()?, name.to_owned())))
        .collect();
    found.sort();
    Ok(found)
}

fn expire(dir: &OwnedFd, now: Time, bounds: &Bounds) -> io::Result<()> {
    let found = asides(dir)?;
    // The one that is written counts as well.
    let over = (found.len() + 1).saturating_sub(bounds.files);
    let old = |seconds: u64| Time(seconds.saturating_mul(1000)).plus(bounds.kept) <= now;
    for (at, (seconds, name)) in found.iter().enumerate() {
        if at < over || old(*seconds) {
            match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
    // Of a site that nobody visits any more.
    match rustix::fs::statat(dir, NAME, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if old(u64::try_from(stat.st_mtime).unwrap_or(0)) => {
            Ok(rustix::fs::unlinkat(dir, NAME, AtFlags::empty())?)
        }
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// A place between two lines of a site's log, whatever its file is called meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    ino: u64,
    offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.ino, self.offset)
    }
}

/// Failed to read a place in a log.
#[derive(Debug, thiserror::Error)]
#[error("it is not the `next` of an answer of this log")]
pub struct PlaceError;

impl FromStr for Place {
    type Err = PlaceError;
    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let (ino, offset) = text.split_once('-').ok_or(PlaceError)?;
        let number = |text: &str| u64::from_str_radix(text, 16).map_err(|_| PlaceError);
        Ok(Self { ino: number(ino)?, offset: number(offset)? })
    }
}

/// The files of a log, the oldest first, as far as they are regular ones.
fn files(dir: &OwnedFd) -> io::Result<Vec<(File, u64, u64)>> {
    let mut names: Vec<String> = asides(dir)?.into_iter().map(|(_, name)| name).collect();
    names.push(NAME.to_owned());
    let mut files = Vec::new();
    for name in names {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match rustix::fs::openat(dir, &name, flags, Mode::empty()) {
            Ok(file) => {
                let file = File::from(file);
                let meta = file.metadata()?;
                if meta.is_file() {
                    files.push((file, std::os::unix::fs::MetadataExt::ino(&meta), meta.len()));
                }
            }
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(files)
}

fn last(dir: &OwnedFd, most: usize) -> io::Result<(Vec<String>, Place)> {
    let files = files(dir)?;
    let mut place = Place::default();
    let (mut lines, mut left) = (VecDeque::new(), LOG_READ_BYTES_MAX);
    for (at, (file, ino, len)) in files.iter().enumerate().rev() {
        let first = len.saturating_sub(left as u64);
        let bytes = read(file, first, left)?;
        left = left.saturating_sub(bytes.len());
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if at + 1 == files.len() {
            place = Place { ino: *ino, offset: first + whole as u64 };
        }
        let mut found: Vec<_> = split(&bytes[..whole]);
        if first > 0 && !found.is_empty() {
            // Its beginning was not read.
            found.remove(0);
        }
        for line in found.into_iter().rev().take(most - lines.len()) {
            lines.push_front(line);
        }
        if lines.len() == most || left == 0 {
            break;
        }
    }
    Ok((lines.into(), place))
}

fn following(dir: &OwnedFd, most: usize, mut place: Place) -> io::Result<(Vec<String>, Place)> {
    let files = files(dir)?;
    let from = match files.iter().position(|(_, ino, len)| *ino == place.ino && place.offset <= *len) {
        Some(at) => at,
        None => {
            // It was kept long enough: on with the newest.
            let at = files.len().saturating_sub(1);
            place = Place { ino: files.get(at).map_or(0, |(_, ino, _)| *ino), offset: 0 };
            at
        }
    };
    let (mut lines, mut left) = (Vec::new(), LOG_READ_BYTES_MAX);
    for (file, ino, _) in files.iter().skip(from) {
        if *ino != place.ino {
            place = Place { ino: *ino, offset: 0 };
        }
        let bytes = read(file, place.offset, left)?;
        let full = bytes.len() == left;
        for line in bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            if lines.len() == most {
                return Ok((lines, place));
            }
            place.offset += line.len() as u64;
            lines.push(text(line));
        }
        left = left.saturating_sub(bytes.len());
        if full {
            break;
        }
    }
    Ok((lines, place))
}

fn split(bytes: &[u8]) -> Vec<String> {
    bytes.split_inclusive(|byte| *byte == b'\n').map(text).collect()
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line)).into_owned()
}

fn read(file: &File, from: u64, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; most];
    let mut filled = 0;
    while filled < most {
        match file.read_at(&mut bytes[filled..], from + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    const SITE: SiteId = SiteId(0xab);
    const DAY: u64 = 86_400_000;
    const NOW: Time = Time(20_000 * DAY);

    fn logs(bounds: Bounds) -> (tempfile::TempDir, Logs, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::new(Arc::new(SiteDirs::open(dir.path()).unwrap()), bounds);
        let path = dir.path().join("sites/00000000000000ab/logs");
        (dir, logs, path)
    }

    fn names(path: &PathBuf) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Opened at a day of our own: files are dated by the machine.
    fn open(logs: &Logs) -> SiteLog {
        let mut log = logs.open(SITE, || true).unwrap().unwrap();
        log.day = NOW.days();
        log
    }

    #[test]
    fn lines_are_appended_and_set_aside_by_size_and_day() {
        let bounds = Bounds { bytes: 10, files: 3, ..Bounds::default() };
        let (_dir, logs, path) = logs(bounds);
        assert!(logs.open(SITE, || false).unwrap().is_none() && !path.exists());
        let mut log = open(&logs);
        for line in [b"one\n", b"two\n"] {
            log.append(line, NOW, &bounds).unwrap();
        }
        assert_eq!(
            (names(&path), fs::read_to_string(path.join(NAME)).unwrap()),
            (vec![NAME.into()], "one\ntwo\n".into())
        );
        for line in ["three\n", "four\n"] {
            log.append(line.as_bytes(), NOW, &bounds).unwrap();
        }
        log.append(b"5\n", Time(NOW.0 + DAY), &bounds).unwrap();
        assert_eq!(names(&path).len(), 3, "the fourth is too many: {:?}", names(&path));
        assert_eq!(fs::read_to_string(path.join(NAME)).unwrap(), "5\n");
        let (lines, place) = logs.read(SITE, 10, None).unwrap();
        assert_eq!(lines, ["three", "four", "5"].map(String::from), "{:?}", names(&path));
        assert_eq!(logs.read(SITE, 2, None).unwrap().0, ["four", "5"]);
        assert_eq!(logs.read(SITE, 2, Some(place)).unwrap(), (vec![], place));
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(path.join(NAME)).unwrap().permissions().mode() & 0o137, 0);
    }

    #[test]
    fn a_reader_follows_over_what_was_set_aside() {
        let bounds = Bounds { bytes: 8, ..Bounds::default() };
        let (_dir, logs, _) = logs(bounds);
        assert_eq!(logs.read(SITE, 10, None).unwrap(), (vec![], Place::default()));
        let mut log = open(&logs);
        let mut place = Place::default();
        let mut seen = Vec::new();
        for number in 0..20 {
            log.append(format!("{number}\n").as_bytes(), NOW, &bounds).unwrap();
            if number % 7 == 0 {
                // Cut short in between, and one at a time.
                for _ in 0..30 {
                    let (lines, next) = logs.read(SITE, 1, Some(place)).unwrap();
                    seen.extend(lines);
                    place = next.to_string().parse().unwrap();
                }
            }
        }
        assert!(
            seen.iter().map(String::as_str).eq((0..15)
                .map(|n| n.to_string())
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str)),
            "{seen:?}"
        );
        let nobodys = Place { ino: u64::MAX, offset: 7 };
        assert!(!logs.read(SITE, 10, Some(nobodys)).unwrap().0.is_empty());
        assert!("x".parse::<Place>().is_err() && "1-x".parse::<Place>().is_err());
    }

    #[test]
    fn what_was_kept_long_enough_is_deleted() {
        let bounds = Bounds { kept: Duration::from_secs(14 * 86_400), ..Bounds::default() };
        let (_dir, logs, path) = logs(bounds);
        let mut log = open(&logs);
        for days in 0..5 {
            log.append(b"x\n", Time(NOW.0 + days * DAY), &bounds).unwrap();
        }
        assert_eq!(names(&path).len(), 5);
        fs::write(path.join("notes"), "mine").unwrap();
        logs.expire(SITE, Time(NOW.0 + 16 * DAY)).unwrap();
        assert_eq!(names(&path).len(), 2 + 1 + 1, "{:?}", names(&path));
        // The one that is written is dated by the machine, which is far in the future of these days.
        logs.expire(SITE, Time::now().plus(Duration::from_secs(15 * 86_400))).unwrap();
        assert_eq!(names(&path), ["notes"]);
        assert!(log.is_gone());
        logs.expire(SiteId(1), NOW).unwrap();
    }

    #[test]
    fn a_line_cut_short_is_ended_before_the_next() {
        let (_dir, logs, path) = logs(Bounds::default());
        drop(open(&logs));
        fs::write(path.join(NAME), "whole\nhal").unwrap();
        let mut log = open(&logs);
        log.append(b"next\n", NOW, &Bounds::default()).unwrap();
        assert_eq!(fs::read_to_string(path.join(NAME)).unwrap(), "whole\nhal\nnext\n");
    }

    #[test]
    fn a_link_is_never_a_log() {
        let (dir, logs, path) = logs(Bounds::default());
        drop(open(&logs));
        fs::remove_file(path.join(NAME)).unwrap();
        fs::write(dir.path().join("secret"), "secret\n").unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), path.join(NAME)).unwrap();
        assert!(logs.open(SITE, || true).is_err());
        assert!(logs.read(SITE, 10, None).is_err());
        fs::remove_dir_all(&path).unwrap();
        std::os::unix::fs::symlink(dir.path(), &path).unwrap();
        assert!(logs.open(SITE, || true).is_err() && logs.read(SITE, 10, None).is_err());
    }
}
