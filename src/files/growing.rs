//! A file that grows beside a site until it is whole, and then takes its place in one step; in its place at once where nobody can see
//! the site yet. Never leaves anything behind but after
//! a crash, and that is swept by the next one who comes. Everything here blocks.
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::base::limits::TRASH_NAMES_AT_ONCE;
use crate::files::trash;

/// Nobody sees it yet; dropped, it leaves nothing.
#[derive(Debug)]
pub(super) struct Growing {
    dir: Arc<OwnedFd>,
    name: Vec<u8>,
    pub(super) file: File,
    /// It grows where it is to be.
    is_there: bool,
    /// It is whole, and where it is to be.
    placed: bool,
}

impl Growing {
    /// The name is nobody else's.
    pub(super) fn begin(incoming: &Arc<OwnedFd>, name: String, mode: u32) -> Result<Self, Errno> {
        Self::made(incoming, name.as_bytes(), mode, false)
    }

    /// Where nothing has this name, and nobody looks.
    pub(super) fn begin_there(dir: &Arc<OwnedFd>, name: &[u8], mode: u32) -> Result<Self, Errno> {
        Self::made(dir, name, mode, true)
    }

    fn made(dir: &Arc<OwnedFd>, name: &[u8], mode: u32, is_there: bool) -> Result<Self, Errno> {
        // Read as well: `Order` may.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(mode))?);
        Ok(Self { dir: Arc::clone(dir), name: name.to_owned(), file, is_there, placed: false })
    }

    /// Gives it its place, and takes that of a file that has it.
    pub(super) fn place(&mut self, dir: impl AsFd, name: &[u8]) -> Result<(), Errno> {
        if !self.is_there {
            rustix::fs::renameat(&self.dir, self.name.as_slice(), dir, name)?;
        }
        self.placed = true;
        Ok(())
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        if !self.placed {
            // What resists is swept by the next one who comes.
            let _ = rustix::fs::unlinkat(&self.dir, self.name.as_slice(), AtFlags::empty());
        }
    }
}

/// Takes away what a crash left.
pub(super) fn sweep(incoming: &OwnedFd) -> Result<(), Errno> {
    while let left = trash::names(incoming, TRASH_NAMES_AT_ONCE)?
        && !left.is_empty()
    {
        left.iter().try_for_each(|name| rustix::fs::unlinkat(incoming, name, AtFlags::empty()))?;
    }
    Ok(())
}
