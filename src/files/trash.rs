//! Deletes whole trees by descriptor. Never follows a link, never crosses into another file system, and needs two descriptors
//! whatever the depth of the tree.
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, RenameFlags, ResolveFlags};
use rustix::io::Errno;

use crate::base::limits::TRASH_NAMES_AT_ONCE;
use crate::files::jail::LISTED;

/// The first names in a directory, as many as asked for, without `.` and `..`.
pub(super) fn names(dir: impl AsFd, most: usize) -> Result<Vec<CString>, Errno> {
    let named = |entry: Result<rustix::fs::DirEntry, Errno>| entry.map(|entry| entry.file_name().to_owned());
    let own = |name: &Result<CString, Errno>| !name.as_ref().is_ok_and(|name| matches!(name.to_bytes(), b"." | b".."));
    Dir::read_from(dir)?.map(named).filter(own).take(most).collect()
}

/// Deletes the tree of this name; a crash in between leaves the rest of it under the same name.
pub(super) fn delete(parent: impl AsFd, name: impl AsRef<[u8]>) -> Result<(), Errno> {
    let name = CString::new(name.as_ref()).map_err(|_| Errno::INVAL)?;
    let Some(top) = unlinked(&parent, &name)? else { return Ok(()) };
    let mut next = 0;
    // Each directory found is emptied into the top one and then deleted: the tree grows flat instead of the stack deep.
    while let inside = names(&top, TRASH_NAMES_AT_ONCE)?
        && !inside.is_empty()
    {
        for name in inside {
            let Some(dir) = unlinked(&top, &name)? else { continue };
            empty(&dir, &top, &mut next)?;
            rustix::fs::unlinkat(&top, &name, AtFlags::REMOVEDIR)?;
        }
    }
    rustix::fs::unlinkat(parent, &name, AtFlags::REMOVEDIR)
}

/// Deletes the files of a directory and lifts its directories into the top one.
fn empty(dir: &OwnedFd, top: &OwnedFd, next: &mut u64) -> Result<(), Errno> {
    while let inside = names(dir, TRASH_NAMES_AT_ONCE)?
        && !inside.is_empty()
    {
        for name in inside {
            if unlinked(dir, &name)?.is_some() {
                lift(dir, &name, top, next)?;
            }
        }
    }
    Ok(())
}

/// Deletes what is no directory. A directory is opened instead, and made one that can be emptied.
fn unlinked(dir: impl AsFd, name: &CStr) -> Result<Option<OwnedFd>, Errno> {
    match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(None),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(errno),
    }
    let opened = rustix::fs::openat2(dir, name, LISTED, Mode::empty(), ResolveFlags::NO_XDEV)?;
    rustix::fs::fchmod(&opened, Mode::RWXU)?;
    Ok(Some(opened))
}

fn lift(dir: impl AsFd, name: &CStr, top: impl AsFd, next: &mut u64) -> Result<(), Errno> {
    loop {
        *next += 1;
        match rustix::fs::renameat_with(&dir, name, &top, next.to_string(), RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            lifted => return lifted,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::{CWD, OFlags};
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

    use super::*;

    fn opened(path: &std::path::Path) -> OwnedFd {
        rustix::fs::openat(CWD, path, LISTED, Mode::empty()).unwrap()
    }

    #[test]
    fn a_tree_goes_and_what_its_links_point_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["tree/a/b/c", "tree/1/1/1", "tree/2", "tree/shut/inner", "outside/inner"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        for name in ["tree/a/page", "tree/a/b/.page", "tree/shut/page", "tree/1/1/1/page", "outside/page"] {
            fs::write(at(name), "kept").unwrap();
        }
        symlink(at("outside"), at("tree/a/b/link")).unwrap();
        symlink("../outside", at("tree/link")).unwrap();
        symlink("../../outside/page", at("tree/a/page-link")).unwrap();
        rustix::fs::mkfifoat(CWD, at("tree/a/fifo"), Mode::RWXU).unwrap();
        fs::set_permissions(at("tree/shut"), fs::Permissions::from_mode(0o500)).unwrap();
        // As the daemon's user, whom a directory without the right to write keeps out.
        let parent = opened(dir.path());
        let deleted = std::thread::spawn(move || {
            let mut sets = capabilities(None)?;
            sets.effective -= CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
            set_capabilities(None, sets)?;
            delete(parent, "tree")
        });
        deleted.join().unwrap().unwrap();
        assert!(!at("tree").exists());
        assert_eq!(fs::read_to_string(at("outside/page")).unwrap(), "kept");
        assert!(at("outside/inner").exists());
        delete(opened(dir.path()), "tree").unwrap();
        symlink("outside", at("tree")).unwrap();
        delete(opened(dir.path()), "tree").unwrap();
        assert!(at("outside/page").exists() && fs::symlink_metadata(at("tree")).is_err());
    }

    /// Deeper than a path or the descriptors of a process commonly reach; wider than is held in memory.
    #[test]
    fn neither_depth_nor_width_matter() {
        // In memory where possible: a busy disk takes milliseconds for each directory.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let mut at = opened(dir.path());
        for name in std::iter::once("tree").chain(std::iter::repeat_n("d", 3_000)) {
            rustix::fs::mkdirat(&at, name, Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, name, LISTED, Mode::empty()).unwrap();
        }
        for i in 0..TRASH_NAMES_AT_ONCE + 10 {
            let flags = OFlags::CREATE | OFlags::WRONLY;
            rustix::fs::openat(&at, format!("f{i}"), flags, Mode::RUSR).unwrap();
        }
        delete(opened(dir.path()), "tree").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
