//! Writing to a site: uploads that appear whole or not at all, and the changes of names, each with a permit and counted against
//! the quotas. Never writes into a file that can be seen, never follows a link in the last part of a path. Everything here
//! blocks.
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, Stat, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use crate::base::ids::SiteId;
use crate::files::gate::Permit;
use crate::files::growing::{self, Growing};
use crate::files::jail::{Found, Jail, JailError};
use crate::files::order::Order;
use crate::files::sites::SiteDirs;
use crate::files::usage::{QuotaExceeded, Reservation, Usage};

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    Path(#[from] JailError),
    #[error(transparent)]
    Quota(#[from] QuotaExceeded),
    #[error("change the file: something else of that name is there")]
    Exists,
    #[error("change the file: it is a directory")]
    IsDirectory,
    #[error("remove the directory: it is not empty")]
    NotEmpty,
    #[error("store the file: the disk is full")]
    DiskFull,
    #[error("store the file: a part of it was lost before")]
    Incomplete,
    #[error("store the file: what is there has {length} bytes only")]
    Beyond { length: u64 },
    #[error("change the file: the permit is for another site")]
    Permit,
    #[error("change the file: {0}")]
    Io(#[source] io::Error),
}

impl From<Errno> for WriteError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::EXIST => Self::Exists,
            Errno::ISDIR => Self::IsDirectory,
            Errno::NOTEMPTY => Self::NotEmpty,
            Errno::NOSPC | Errno::DQUOT => Self::DiskFull,
            // A directory moved into itself.
            Errno::INVAL => Self::Path(JailError::Invalid),
            // Only what opens a path meets the edge of a jail.
            Errno::XDEV => Self::Io(errno.into()),
            errno => Self::Path(errno.into()),
        }
    }
}

/// A new file: the web server's group may read it.
const NEW_FILE: u32 = 0o640;
/// What the owner of files and of directories always may.
const FILE_OWNER: u32 = 0o600;
const DIRECTORY_OWNER: u32 = 0o700;

/// Names what grows, with the number of the process: no two uploads have the same name, whatever became of the first.
static UPLOADS: AtomicU64 = AtomicU64::new(0);

/// The one way to write to a site: its owner opens one for each site and process, or the count is not right. Clones, and
/// those for a directory of the site, share its count.
#[derive(Debug, Clone)]
pub struct Writer {
    site: SiteId,
    jail: Jail,
    incoming: Arc<OwnedFd>,
    order: Order,
    usage: Usage,
    /// Of who writes, beside the site's.
    own: Option<Usage>,
}

/// A file that nobody sees yet; dropped, it leaves nothing.
#[derive(Debug)]
pub struct Upload {
    site: SiteId,
    parent: OwnedFd,
    name: String,
    incoming: Arc<OwnedFd>,
    order: Order,
    /// None before there is something to write.
    growing: Option<Growing>,
    reservation: Reservation,
    own: Option<Reservation>,
    /// What is still to be copied of the file that goes on.
    before: Option<io::Take<File>>,
    broken: bool,
}

impl Writer {
    /// Sweeps what a crash left of uploads, and counts what the site's files take.
    pub fn open(dirs: &SiteDirs, site: SiteId, quota: Option<u64>) -> Result<Self, WriteError> {
        let (jail, incoming) = (dirs.jail(site)?, dirs.incoming(site)?);
        // What the process before this one still writes there is no rest of a crash.
        if let Ok(Some(_alone)) = dirs.hold_alone(site) {
            growing::sweep(&incoming)?;
        }
        let usage = Usage::of(&jail, quota)?;
        let order = Order::of(&incoming);
        Ok(Self { site, jail, incoming: Arc::new(incoming), order, usage, own: None })
    }

    /// The same site for somebody who sees one directory of it only, which is made if it is missing, and may have a use of
    /// their own. Not one part of its path may be a link.
    pub fn within(&self, permit: &Permit, dir: &str) -> Result<Self, WriteError> {
        permitted(permit, self.site)?;
        let ends = dir.match_indices('/').map(|(end, _)| end).chain((!dir.is_empty()).then_some(dir.len()));
        for end in ends {
            match self.mkdir(permit, &dir[..end]) {
                Ok(()) | Err(WriteError::Exists) => {}
                Err(error) => return Err(error),
            }
        }
        let jail = if dir.is_empty() { self.jail.clone() } else { self.jail.inner(dir)? };
        Ok(Self { jail, ..self.clone() })
    }

    /// Counts what is written against this use as well.
    pub fn counted(self, own: Option<Usage>) -> Self {
        Self { own, ..self }
    }

    /// What can be read of what is written here.
    pub fn jail(&self) -> &Jail {
        &self.jail
    }

    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Begins a file that will take this place, or replace the file there.
    pub fn upload(&self, path: &str) -> Result<Upload, WriteError> {
        let (parent, name) = self.jail.parent(path)?;
        let mut upload = self.upload_into(parent, name);
        upload.grown()?;
        Ok(upload)
    }

    /// The same without waiting for the disk, if the kernel knows the directory by heart. What has the name is seen only when
    /// there is something to write: what is a directory refuses then.
    pub fn upload_at_once(&self, path: &str) -> Result<Option<Upload>, WriteError> {
        Ok(self.jail.parent_at_once(path)?.map(|(parent, name)| self.upload_into(parent, name)))
    }

    fn upload_into(&self, parent: OwnedFd, name: &str) -> Upload {
        let (incoming, growing) = (Arc::clone(&self.incoming), None);
        let (reservation, own) = (self.usage.reservation(), self.own.as_ref().map(Usage::reservation));
        let (name, before, broken) = (name.to_owned(), None, false);
        let (site, order) = (self.site, self.order);
        Upload { site, parent, name, incoming, order, growing, reservation, own, before, broken }
    }

    /// Begins a file that goes on from so many bytes of the one that is there, or from all of it: it is copied, by
    /// `Upload::copy`, because nobody may see it half written.
    pub fn resume(&self, path: &str, from: Option<u64>) -> Result<Upload, WriteError> {
        let (file, length) = match self.jail.look(path) {
            Ok(Found::File(opened)) => (opened.file, opened.len),
            Ok(Found::Dir) => return Err(WriteError::IsDirectory),
            Err(JailError::NotFound) if from.is_none() => return self.upload(path),
            Err(error) => return Err(error.into()),
        };
        let kept = from.unwrap_or(length);
        if kept > length {
            return Err(WriteError::Beyond { length });
        }
        let mut upload = self.upload(path)?;
        upload.reserve(kept)?;
        upload.before = Some(file.take(kept));
        Ok(upload)
    }

    /// Sets when the content was changed, in seconds since 1970, of a file or a directory.
    pub fn set_modified(&self, permit: &Permit, path: &str, seconds: i64) -> Result<(), WriteError> {
        permitted(permit, self.site)?;
        let node = self.jail.node(path)?;
        let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let last_modification = Timespec { tv_sec: seconds, tv_nsec: 0 };
        Ok(rustix::fs::futimens(node, &Timestamps { last_access, last_modification })?)
    }

    /// Sets who may read and write a file or enter a directory. The owner keeps what uploads and listings need, and
    /// nobody gets more than the owner of a web site can want: no set-uid, no writing for everybody.
    pub fn set_mode(&self, permit: &Permit, path: &str, wanted: u32) -> Result<u32, WriteError> {
        permitted(permit, self.site)?;
        let node = self.jail.node(path)?;
        let owner = if is_directory(&rustix::fs::fstat(&node)?) { DIRECTORY_OWNER } else { FILE_OWNER };
        let mode = (wanted & 0o775) | owner;
        rustix::fs::fchmod(node, Mode::from_raw_mode(mode))?;
        Ok(mode)
    }

    /// Gives a file or a directory another place; a file there is replaced, an empty directory by a directory.
    pub fn rename(&self, permit: &Permit, from: &str, to: &str) -> Result<(), WriteError> {
        permitted(permit, self.site)?;
        let ((old, from), (new, to)) = (self.jail.parent(from)?, self.jail.parent(to)?);
        self.freeing(|| {
            let moved = looked(&old, from)?.ok_or(JailError::NotFound)?;
            let Some(replaced) = looked(&new, to)? else {
                return rustix::fs::renameat(&old, from, &new, to).map(|()| 0).map_err(WriteError::from);
            };
            if is_directory(&moved) != is_directory(&replaced) {
                return Err(WriteError::Exists);
            }
            if place(&moved) != place(&replaced) {
                rustix::fs::renameat(&old, from, &new, to)?;
                return Ok(file_length(&replaced));
            }
            // Two names of one file: the system would keep both.
            if is_directory(&moved)
                || (from == to && place(&rustix::fs::fstat(&old)?) == place(&rustix::fs::fstat(&new)?))
            {
                return Ok(0);
            }
            rustix::fs::unlinkat(&old, from, AtFlags::empty())?;
            Ok(file_length(&replaced))
        })?;
        rustix::fs::fsync(&new)?;
        Ok(rustix::fs::fsync(&old)?)
    }

    /// Removes a file or a link. A power cut may undo it.
    pub fn remove(&self, permit: &Permit, path: &str) -> Result<(), WriteError> {
        permitted(permit, self.site)?;
        let (parent, name) = self.jail.parent(path)?;
        self.freeing(|| {
            let length = length(Some(&looked(&parent, name)?.ok_or(JailError::NotFound)?))?;
            rustix::fs::unlinkat(&parent, name, AtFlags::empty())?;
            Ok(length)
        })
    }

    /// On the disk when it returns: a file uploaded into it must not lose its way.
    pub fn mkdir(&self, permit: &Permit, path: &str) -> Result<(), WriteError> {
        permitted(permit, self.site)?;
        let (parent, name) = self.jail.parent(path)?;
        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o750))?;
        Ok(rustix::fs::fsync(&parent)?)
    }

    /// Removes an empty directory. A power cut may undo it.
    pub fn rmdir(&self, permit: &Permit, path: &str) -> Result<(), WriteError> {
        permitted(permit, self.site)?;
        let (parent, name) = self.jail.parent(path)?;
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTDIR) => Err(WriteError::Exists),
            removed => Ok(removed?),
        }
    }

    fn freeing(&self, by: impl FnOnce() -> Result<u64, WriteError>) -> Result<(), WriteError> {
        let Some(own) = &self.own else { return self.usage.freeing(by) };
        // The site's count first, then that of one of its users: always in this order.
        self.usage.freeing(|| {
            let mut freed = 0;
            own.freeing(|| {
                freed = by()?;
                Ok::<_, WriteError>(freed)
            })?;
            Ok(freed)
        })
    }
}

impl Upload {
    /// Adds to the end, if the quotas allow for all of it. After an error the upload can only be given up.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if self.before.is_some() || std::mem::replace(&mut self.broken, true) {
            return Err(WriteError::Incomplete);
        }
        self.reserve(bytes.len() as u64)?;
        self.grown()?.file.write_all(bytes).map_err(io_fault)?;
        self.broken = false;
        Ok(())
    }

    /// Whether something of the file that goes on is still to be copied.
    pub fn is_copying(&self) -> bool {
        self.before.is_some()
    }

    /// Copies a piece of the file that goes on; true when there is nothing more of it to copy.
    pub fn copy(&mut self, most: u64) -> Result<bool, WriteError> {
        let Some(mut before) = self.before.take() else { return Ok(true) };
        let wanted = before.limit().min(most);
        let copied = io::copy(&mut before.by_ref().take(wanted), &mut self.grown()?.file).map_err(io_fault);
        if !copied.as_ref().is_ok_and(|copied| *copied == wanted) {
            self.broken = true;
            // Fewer: somebody cut it off meanwhile.
            return copied.and(Err(WriteError::Incomplete));
        }
        if before.limit() > 0 {
            self.before = Some(before);
        }
        Ok(self.before.is_none())
    }

    /// Puts the file into its place, its content on the disk before. A crash leaves what was there or all of the new file;
    /// a power cut within the next seconds may do so too, though the file was seen.
    pub fn commit(mut self, permit: &Permit) -> Result<(), WriteError> {
        permitted(permit, self.site)?;
        if self.broken || self.before.is_some() {
            return Err(WriteError::Incomplete);
        }
        let order = self.order;
        order.settle(&self.grown()?.file).map_err(io_fault)?;
        let Self { parent, name, growing, reservation, own, .. } = self;
        let mut growing = growing.ok_or(WriteError::Incomplete)?;
        let mut place = || {
            let replaced = length(looked(&parent, &name)?.as_ref())?;
            growing.place(&parent, name.as_bytes())?;
            Ok::<_, WriteError>(replaced)
        };
        match own {
            None => reservation.settle(place),
            Some(own) => reservation.settle(|| {
                let mut replaced = 0;
                own.settle(|| {
                    replaced = place()?;
                    Ok::<_, WriteError>(replaced)
                })?;
                Ok(replaced)
            }),
        }
    }

    /// The file that grows, made when it is first asked for.
    fn grown(&mut self) -> Result<&mut Growing, WriteError> {
        let growing = match self.growing.take() {
            Some(growing) => growing,
            None => {
                let there = looked(&self.parent, &self.name)?;
                length(there.as_ref())?;
                begun(&self.incoming, there.as_ref())?
            }
        };
        Ok(self.growing.insert(growing))
    }

    fn reserve(&mut self, bytes: u64) -> Result<(), WriteError> {
        self.reservation.grow(bytes)?;
        self.own.as_mut().map_or(Ok(()), |own| own.grow(bytes))?;
        Ok(())
    }
}

/// In place of what is there.
fn begun(incoming: &Arc<OwnedFd>, there: Option<&Stat>) -> Result<Growing, WriteError> {
    let name = format!("{}-{}", std::process::id(), UPLOADS.fetch_add(1, Ordering::Relaxed));
    let growing = Growing::begin(incoming, name, NEW_FILE)?;
    // Who shut a file to others does not open it by writing it anew.
    if let Some(mode) = there.filter(|stat| is_file(stat)).map(mode)
        && mode != NEW_FILE
    {
        rustix::fs::fchmod(&growing.file, Mode::from_raw_mode(mode | FILE_OWNER))?;
    }
    Ok(growing)
}

fn io_fault(error: io::Error) -> WriteError {
    Errno::from_io_error(&error).map_or(WriteError::Io(error), WriteError::from)
}

fn permitted(permit: &Permit, site: SiteId) -> Result<(), WriteError> {
    if permit.site() == site { Ok(()) } else { Err(WriteError::Permit) }
}

/// What has this name; a link itself, not what it points to.
fn looked(parent: &OwnedFd, name: &str) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// What it counts; a directory is refused.
fn length(stat: Option<&Stat>) -> Result<u64, WriteError> {
    match stat {
        Some(stat) if is_directory(stat) => Err(WriteError::IsDirectory),
        stat => Ok(stat.map_or(0, file_length)),
    }
}

fn file_length(stat: &Stat) -> u64 {
    if is_file(stat) { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 }
}

fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn mode(stat: &Stat) -> u32 {
    stat.st_mode & 0o777
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn place(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests;
