//! What a site's directory holds, told name by name so that somebody else can have the same: and the content of its files, where
//! there is any between the holes. Never follows a link, never leaves the file system of the site. Everything here blocks.
use std::fmt;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{AtFlags, Dir, FileType, OFlags, SeekFrom, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::base::ids::SiteId;
use crate::files::jail::{Jail, LISTED};
use crate::files::watch::Watch;

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
#[error("read {}: {cause}", String::from_utf8_lossy(path))]
pub struct ManifestError {
    path: Vec<u8>,
    cause: Errno,
}

impl ManifestError {
    pub(super) fn at(path: &[u8]) -> impl FnOnce(Errno) -> Self {
        move |cause| Self { path: path.to_owned(), cause }
    }
}

/// One name of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Any bytes but `/` and NUL.
    #[serde(with = "serde_bytes")]
    pub name: Vec<u8>,
    pub what: What,
    pub traits: Traits,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    File(Content),
    Dir,
    /// With what it says.
    Link(#[serde(with = "serde_bytes")] Vec<u8>),
}

/// A regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    pub len: u64,
    pub inode: u64,
    /// Names it has.
    pub links: u64,
    /// When its content or what is true of it changed last, which nobody can set: seconds since 1970, nanoseconds.
    pub changed: (i64, u32),
}

/// What is true of a name beside its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traits {
    pub mode: u32,
    /// Seconds since 1970, nanoseconds.
    pub modified: (i64, u32),
    pub uid: u32,
    pub gid: u32,
}

/// Some of the names of one directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Relative to the site; empty: its root.
    #[serde(with = "serde_bytes")]
    pub dir: Vec<u8>,
    /// Of the root itself.
    pub own: Option<Traits>,
    pub entries: Vec<Entry>,
    /// FIFOs, sockets, devices and mounted file systems, which do not go along.
    pub odd: u64,
    /// Nothing more comes of this directory.
    pub whole: bool,
}

/// A walk over all directories of a site, each read once. Keeps the paths of those not read yet.
#[derive(Debug)]
pub struct Walk {
    jail: Jail,
    todo: Vec<Vec<u8>>,
    /// With the device it is on.
    reading: Option<(Vec<u8>, Dir, u64)>,
    watched: Option<(Watch, SiteId)>,
}

impl Walk {
    pub fn new(jail: &Jail) -> Self {
        Self { jail: jail.clone(), todo: vec![Vec::new()], reading: None, watched: None }
    }

    /// The same; from here on it is told when something changes that was walked over.
    pub fn watched(jail: &Jail, watch: &Watch, site: SiteId) -> Self {
        Self { watched: Some((watch.clone(), site)), ..Self::new(jail) }
    }

    /// The next names, `most` at a time; none at the end. What goes away meanwhile is left out.
    pub fn next(&mut self, most: usize) -> Result<Option<Piece>, ManifestError> {
        let Some((dir, mut names, device)) =
            self.reading.take().map_or_else(|| self.open(), |going| Ok(Some(going)))?
        else {
            return Ok(None);
        };
        let own = dir.is_empty().then(|| names.stat().map(|stat| traits(&stat)));
        let own = own.transpose().map_err(ManifestError::at(&dir))?;
        let mut piece = Piece { dir, own, entries: Vec::new(), odd: 0, whole: false };
        while piece.entries.len() < most {
            let Some(read) = names.read() else {
                piece.whole = true;
                break;
            };
            let read = read.map_err(ManifestError::at(&piece.dir))?;
            let name = read.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let path = joined(&piece.dir, name);
            match names.fd().and_then(|dir| entry(dir, name, device)) {
                Ok(Some(entry)) => piece.entries.push(entry),
                Ok(None) => piece.odd += 1,
                Err(Errno::NOENT) => {}
                Err(cause) => return Err(ManifestError { path, cause }),
            }
        }
        let dirs = piece.entries.iter().filter(|entry| entry.what == What::Dir);
        self.todo.extend(dirs.map(|entry| joined(&piece.dir, &entry.name)));
        if !piece.whole {
            self.reading = Some((piece.dir.clone(), names, device));
        }
        Ok(Some(piece))
    }

    /// The next directory that is still there.
    fn open(&mut self) -> Result<Option<(Vec<u8>, Dir, u64)>, ManifestError> {
        while let Some(dir) = self.todo.pop() {
            let opened = self.jail.tree(&dir, LISTED).and_then(|opened| {
                let device = rustix::fs::fstat(&opened)?.st_dev;
                if let Some((watch, site)) = &self.watched {
                    watch.add(*site, &opened);
                }
                Ok((Dir::new(opened)?, device))
            });
            match opened {
                Ok((names, device)) => return Ok(Some((dir, names, device))),
                // It went, or became something else.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !dir.is_empty() => {}
                Err(cause) => return Err(ManifestError::at(&dir)(cause)),
            }
        }
        Ok(None)
    }
}

/// A path of one more part.
pub fn joined(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_owned() } else { [dir, b"/", name].concat() }
}

/// None for what does not go along.
fn entry(dir: impl AsFd, name: &[u8], device: u64) -> Result<Option<Entry>, Errno> {
    let stat = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let what = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => What::File(content(&stat)),
        FileType::Directory if stat.st_dev == device => What::Dir,
        FileType::Symlink => What::Link(rustix::fs::readlinkat(&dir, name, Vec::new())?.into_bytes()),
        _ => return Ok(None),
    };
    Ok(Some(Entry { name: name.to_owned(), what, traits: traits(&stat) }))
}

pub(super) fn content(stat: &Stat) -> Content {
    Content {
        len: u64::try_from(stat.st_size).unwrap_or(0),
        inode: stat.st_ino,
        links: stat.st_nlink as _,
        changed: (stat.st_ctime, u32::try_from(stat.st_ctime_nsec).unwrap_or(0)),
    }
}

pub(super) fn traits(stat: &Stat) -> Traits {
    Traits {
        mode: stat.st_mode & 0o7777,
        modified: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
        uid: stat.st_uid,
        gid: stat.st_gid,
    }
}

/// A file whose content is told.
#[derive(Debug)]
pub struct Source {
    file: File,
    pub content: Content,
    pub traits: Traits,
    /// It has no hole.
    dense: bool,
    at: u64,
}

impl Source {
    /// None: there is no regular file of that name (any more).
    pub fn open(jail: &Jail, path: &[u8]) -> Result<Option<Self>, ManifestError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = match jail.tree(path, flags) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO | Errno::NODEV) => return Ok(None),
            opened => opened.map_err(ManifestError::at(path))?,
        };
        let stat = rustix::fs::fstat(&opened).map_err(ManifestError::at(path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let (content, traits) = (content(&stat), traits(&stat));
        let dense = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512) >= content.len;
        Ok(Some(Self { file: opened.into(), content, traits, dense, at: 0 }))
    }

    /// The next stretch that is no hole: where it begins, and its length.
    pub fn stretch(&mut self) -> Result<Option<(u64, u64)>, Errno> {
        if self.at >= self.content.len {
            return Ok(None);
        }
        if self.dense {
            let begin = std::mem::replace(&mut self.at, self.content.len);
            return Ok(Some((begin, self.content.len - begin)));
        }
        let begin = match rustix::fs::seek(&self.file, SeekFrom::Data(self.at)) {
            Ok(begin) => begin,
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => return Ok(None),
            // A file system that knows no holes.
            Err(Errno::INVAL) => self.at,
            Err(errno) => return Err(errno),
        };
        let end = rustix::fs::seek(&self.file, SeekFrom::Hole(begin)).unwrap_or(self.content.len);
        let end = end.min(self.content.len);
        self.at = end;
        Ok((begin < end).then_some((begin, end - begin)))
    }

    /// Fills the buffer from there, with zeros where the file has become shorter.
    pub fn read(&self, at: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], at + done as u64)? {
                0 => {
                    buffer[done..].fill(0);
                    break;
                }
                read => done += read,
            }
        }
        Ok(())
    }

    /// Over all of it, holes included, in pieces of the size of the buffer.
    pub fn digest(&self, buffer: &mut [u8]) -> std::io::Result<u128> {
        let (mut digest, mut at) = (Digest::default(), 0);
        while at < self.content.len {
            let wanted = usize::try_from(self.content.len - at).unwrap_or(usize::MAX).min(buffer.len());
            self.read(at, &mut buffer[..wanted])?;
            digest.update(at, &buffer[..wanted]);
            at += wanted as u64;
        }
        Ok(digest.value())
    }

    /// Whether nothing of it has changed since it was opened.
    pub fn is_steady(&self) -> bool {
        rustix::fs::fstat(&self.file).is_ok_and(|stat| {
            let now = content(&stat);
            (now.len, now.changed) == (self.content.len, self.content.changed)
        })
    }
}

/// The hash of content, piece by piece: both sides cut alike.
#[derive(Clone, Default)]
pub struct Digest(Xxh3);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.value())
    }
}

impl Digest {
    /// The next piece, and where it stands.
    pub fn update(&mut self, at: u64, bytes: &[u8]) {
        self.0.update(&at.to_be_bytes());
        self.0.update(bytes);
    }

    pub fn value(&self) -> u128 {
        self.0.digest128()
    }
}

/// What a walk adds up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    pub files: u64,
    pub dirs: u64,
    /// Lengths of files.
    pub bytes: u64,
    pub odd: u64,
}

impl Sum {
    pub fn of(jail: &Jail) -> Result<Self, ManifestError> {
        let (mut walk, mut sum) = (Walk::new(jail), Self::default());
        while let Some(piece) = walk.next(1024)? {
            sum.add(&piece);
        }
        Ok(sum)
    }

    pub fn add(&mut self, piece: &Piece) {
        self.odd += piece.odd;
        for entry in &piece.entries {
            match &entry.what {
                // A file of several names is copied once.
                What::File(content) => {
                    self.files += 1;
                    self.bytes = self.bytes.saturating_add(content.len / content.links.max(1));
                }
                What::Dir => self.dirs += 1,
                What::Link(_) => {}
            }
        }
    }
}
