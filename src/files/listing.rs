//! What lies in a directory of a jail, read piece by piece: a directory may have millions of names. Never follows a link: it is
//! shown as what it is. Everything here blocks.
use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Dir, FileType, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::files::jail::{Jail, JailError};

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    File,
    Dir,
    /// With what it says, which need not exist.
    Link(#[serde(with = "serde_bytes")] Vec<u8>),
    /// A FIFO, a socket or a device.
    Other,
}

/// One name of a directory, or what one path leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// As it is on the disk: any bytes but `/` and NUL.
    #[serde(with = "serde_bytes")]
    pub name: Vec<u8>,
    pub kind: Kind,
    pub len: u64,
    /// Seconds since 1970.
    pub modified: i64,
    /// The lowest nine bits of the mode.
    pub mode: u32,
}

/// A directory being read.
#[derive(Debug)]
pub struct Listing(Dir);

impl Jail {
    /// Begins to read a directory.
    pub fn list(&self, path: &str) -> Result<Listing, JailError> {
        Ok(Listing(Dir::new(self.directory(path)?)?))
    }

    /// Whether something has this name, be it a link that leads nowhere.
    pub fn has(&self, path: &str) -> Result<bool, JailError> {
        let (parent, name) = self.parent(path)?;
        match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What is true of a path, links followed as long as they stay beneath; its name is the last part.
    pub fn entry(&self, path: &str) -> Result<Entry, JailError> {
        let name = path.rsplit('/').next().unwrap_or_default();
        Ok(entry(name.as_bytes(), &self.stat(path)?, Vec::new))
    }

    /// The same, if the kernel knows the way by heart; none where it would have to wait for the disk.
    pub fn entry_at_once(&self, path: &str) -> Result<Option<Entry>, JailError> {
        let name = path.rsplit('/').next().unwrap_or_default();
        Ok(self.stat_at_once(path)?.map(|stat| entry(name.as_bytes(), &stat, Vec::new)))
    }
}

impl Listing {
    /// The next names, as many as asked for; none at the end. What goes away meanwhile is left out.
    pub fn next(&mut self, most: usize) -> Result<Vec<Entry>, JailError> {
        let mut entries = Vec::new();
        while entries.len() < most
            && let Some(read) = self.0.read()
        {
            let read = read?;
            let (name, dir) = (read.file_name(), self.0.fd()?);
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => entries.push(entry(name.to_bytes(), &stat, || target(dir, name))),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(entries)
    }
}

fn target(dir: BorrowedFd<'_>, name: &CStr) -> Vec<u8> {
    rustix::fs::readlinkat(dir, name, Vec::new()).map_or_else(|_| Vec::new(), |target| target.into_bytes())
}

fn entry(name: &[u8], stat: &Stat, target: impl FnOnce() -> Vec<u8>) -> Entry {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Link(target()),
        _ => Kind::Other,
    };
    Entry {
        name: name.to_owned(),
        kind,
        len: u64::try_from(stat.st_size).unwrap_or(0),
        modified: stat.st_mtime,
        mode: stat.st_mode & 0o777,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_is_read_in_pieces_and_links_are_links() {
        let dir = tempfile::tempdir().unwrap();
        let jail = Jail::open(dir.path()).unwrap();
        fs::create_dir_all(dir.path().join("d/inner")).unwrap();
        for number in 0..9 {
            fs::write(dir.path().join(format!("d/{number}")), "123").unwrap();
        }
        symlink("/etc/passwd", dir.path().join("d/out")).unwrap();
        let mut listing = jail.list("d").unwrap();
        let mut all = Vec::new();
        loop {
            let piece = listing.next(4).unwrap();
            assert!(piece.len() <= 4);
            if piece.is_empty() {
                break;
            }
            all.extend(piece);
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        let names: Vec<_> = all.iter().map(|entry| String::from_utf8_lossy(&entry.name).into_owned()).collect();
        assert_eq!(names, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "inner", "out"]);
        assert_eq!((all[0].len, &all[0].kind, &all[9].kind), (3, &Kind::File, &Kind::Dir));
        assert_eq!(all[10].kind, Kind::Link(b"/etc/passwd".to_vec()));
        assert!(matches!(jail.list("d/out"), Err(JailError::Outside)));
        assert!(matches!(jail.list("d/0"), Err(JailError::NotFound)));
        assert!(matches!(jail.entry("d/out"), Err(JailError::Outside)));
        assert_eq!(jail.entry("d/0").unwrap(), all[0]);
        assert_eq!(jail.entry("").unwrap().kind, Kind::Dir);
    }
}
