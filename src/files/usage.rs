//! What a site's files take, against its quota: the sum of the lengths of its regular files, as a listing adds them up. A file
//! with two names counts twice, since either name may go alone; directories and links count nothing. Counts what it is told:
//! what others than `write` change is found by the next scan.
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, Dir, FileType, Mode, ResolveFlags};
use rustix::io::Errno;

use crate::files::jail::{Jail, JailError, LISTED};

/// Completes "failed to …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("store {bytes} bytes more: {used} of {quota} are used, uploads under way among them")]
pub struct QuotaExceeded {
    pub bytes: u64,
    pub used: u64,
    pub quota: u64,
}

/// The use of one site.
#[derive(Debug, Clone)]
pub struct Usage {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug)]
struct Counts {
    used: u64,
    /// Of uploads that are not visible yet.
    reserved: u64,
    /// None: as much as the disk holds.
    quota: Option<u64>,
}

/// Bytes that are promised to an upload; given back when dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    usage: Usage,
    bytes: u64,
}

impl Usage {
    /// What lies in a directory now, all of it read: blocks.
    pub fn of(jail: &Jail, quota: Option<u64>) -> Result<Self, JailError> {
        Ok(Self { counts: Arc::new(Mutex::new(Counts { used: scan(jail)?, reserved: 0, quota })) })
    }

    /// Whether anybody else counts with it.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.counts) > 1
    }

    /// Bytes of all files that are visible.
    pub fn used(&self) -> u64 {
        self.lock().used
    }

    /// A quota below the use deletes nothing: it refuses what would come.
    pub fn set_quota(&self, quota: Option<u64>) {
        self.lock().quota = quota;
    }

    /// Nothing is promised yet; `Reservation::grow` asks for bytes.
    pub(super) fn reservation(&self) -> Reservation {
        Reservation { usage: self.clone(), bytes: 0 }
    }

    /// Changes files, one caller at a time, by a function that answers how many bytes it freed.
    pub(super) fn freeing<E>(&self, by: impl FnOnce() -> Result<u64, E>) -> Result<(), E> {
        let mut counts = self.lock();
        counts.used = counts.used.saturating_sub(by()?);
        Ok(())
    }

    /// Nothing is left half changed by a panic.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    pub(super) fn grow(&mut self, bytes: u64) -> Result<(), QuotaExceeded> {
        let mut counts = self.usage.lock();
        let used = counts.used.saturating_add(counts.reserved);
        if let Some(quota) = counts.quota.filter(|quota| used.saturating_add(bytes) > *quota) {
            return Err(QuotaExceeded { bytes, used, quota });
        }
        counts.reserved += bytes;
        self.bytes += bytes;
        Ok(())
    }

    /// As `Usage::freeing`; the bytes promised are used from then on, and only then is what they replace given back.
    pub(super) fn settle<E>(mut self, by: impl FnOnce() -> Result<u64, E>) -> Result<(), E> {
        let usage = self.usage.clone();
        let mut counts = usage.lock();
        // On an error the lock must be free before the drop takes it.
        let freed = match by() {
            Ok(freed) => freed,
            Err(error) => {
                drop(counts);
                return Err(error);
            }
        };
        counts.used = counts.used.saturating_sub(freed).saturating_add(self.bytes);
        counts.reserved -= std::mem::take(&mut self.bytes);
        drop(counts);
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.usage.lock().reserved -= self.bytes;
        }
    }
}

/// A directory on the way down, and where to go on in it.
struct Level {
    place: (u64, u64),
    offset: i64,
}

/// Adds up the files of a site by reading all its directories: blocks. Needs two descriptors and a few bytes a level, however
/// deep or wide the tree is; mounted file systems and directories that may not be read count nothing.
pub(super) fn scan(jail: &Jail) -> Result<u64, JailError> {
    let (mut used, mut above) = (0, Vec::new());
    let mut entries = Dir::new(jail.listed()?)?;
    loop {
        if let Some((inner, offset)) = next_directory(&mut entries, &mut used)? {
            let stat = entries.stat()?;
            above.push(Level { place: (stat.st_dev, stat.st_ino), offset });
            entries = Dir::new(inner)?;
            continue;
        }
        let Some(level) = above.pop() else { return Ok(used) };
        let parent = rustix::fs::openat(entries.fd()?, "..", LISTED, Mode::empty())?;
        let stat = rustix::fs::fstat(&parent)?;
        if level.place != (stat.st_dev, stat.st_ino) {
            // Moved away meanwhile: what lies above it is not the site.
            return Err(Errno::STALE.into());
        }
        entries = Dir::new(parent)?;
        entries.seek(level.offset)?;
    }
}

/// Adds up the files up to the next directory, which is opened; with it comes where to go on after it.
fn next_directory(entries: &mut Dir, used: &mut u64) -> Result<Option<(OwnedFd, i64)>, Errno> {
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let (name, dir) = (entry.file_name(), entries.fd()?);
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            stat => stat?,
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => *used += u64::try_from(stat.st_size).unwrap_or(0),
            FileType::Directory => match rustix::fs::openat2(dir, name, LISTED, Mode::empty(), ResolveFlags::NO_XDEV) {
                Ok(inner) => return Ok(Some((inner, entry.offset()))),
                Err(Errno::NOENT | Errno::ACCESS | Errno::XDEV) => {}
                Err(errno) => return Err(errno),
            },
            _ => {}
        }
    }
    Ok(None)
}
