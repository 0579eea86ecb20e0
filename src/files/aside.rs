//! Where a node keeps what the new home of a site did not have: beside the site's files, under the names it had, never served. Made
//! when the first thing is kept. Never follows a link.
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use crate::files::sites::subdir;

#[derive(Debug)]
pub(super) struct Aside {
    /// The directory of the site.
    site: OwnedFd,
    name: String,
    made: Option<OwnedFd>,
    kept: u64,
}

impl Aside {
    pub(super) fn new(site: OwnedFd, name: String) -> Self {
        Self { site, name, made: None, kept: 0 }
    }

    /// Its name and how many things it keeps, if any.
    pub(super) fn kept(self) -> Option<(String, u64)> {
        (self.kept > 0).then_some((self.name, self.kept))
    }

    /// Takes in what has this name in a directory, if anything has.
    pub(super) fn keep(&mut self, dir: impl AsFd, name: &[u8], path: &[u8]) -> Result<(), Errno> {
        match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => {}
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno),
        }
        let top = match self.made.take() {
            Some(made) => made,
            None => subdir(subdir(&self.site, "recovered", 0o700)?, &self.name, 0o700)?,
        };
        // Where a parent of that name is kept that is no directory, it goes to the top.
        let parent = parent(&top, path).or_else(|_| top.try_clone().map_err(|_| Errno::MFILE))?;
        let number = self.kept;
        let kept = rustix::fs::renameat_with(&dir, name, &parent, name, RenameFlags::NOREPLACE).or_else(|errno| {
            if errno != Errno::EXIST {
                return Err(errno);
            }
            let other = [name, format!("~{number}").as_bytes()].concat();
            let fits = if other.len() <= 255 { other } else { format!("~{number}").into_bytes() };
            rustix::fs::renameat_with(&dir, name, &parent, fits, RenameFlags::NOREPLACE)
        });
        self.made = Some(top);
        self.kept += u64::from(kept.is_ok());
        kept
    }
}

fn parent(top: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut at = top.try_clone().map_err(|_| Errno::MFILE)?;
    let mut parts: Vec<_> = path.split(|byte| *byte == b'/').collect();
    parts.pop();
    for part in parts {
        at = subdir(&at, part, 0o700)?;
    }
    Ok(at)
}
