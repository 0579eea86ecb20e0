//! A copy of a site's directory that becomes the same as another one: names made, replaced and taken away, files appear whole.
//! Never follows a link, never touches a site that is at home here: who opens one knows that nobody else writes. Blocks.
use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use xxhash_rust::xxh3::xxh3_64;

use crate::base::ids::SiteId;
use crate::base::limits::moves::COPY_SYNCED_EACH;
use crate::files::aside::Aside;
use crate::files::growing;
use crate::files::jail::{Jail, JailError, LISTED};
use crate::files::manifest::{Content, Digest, Piece, Source, Traits, What, content, joined, traits};
use crate::files::sites::{SiteDirs, SiteDirsError};
use crate::files::trash;

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    #[error(transparent)]
    Dirs(#[from] SiteDirsError),
    #[error(transparent)]
    Jail(#[from] JailError),
    #[error("copy: the disk is full")]
    DiskFull,
    #[error("copy {}: {cause}", String::from_utf8_lossy(path))]
    Path { path: Vec<u8>, cause: Errno },
}

fn at(path: &[u8]) -> impl FnOnce(Errno) -> ReplicaError {
    move |cause| match cause {
        Errno::NOSPC | Errno::DQUOT => ReplicaError::DiskFull,
        cause => ReplicaError::Path { path: path.to_owned(), cause },
    }
}

/// What is still missing of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// Its content; `alike`: what is here has its length and time, and may well be the same.
    Content { path: Vec<u8>, len: u64, alike: bool },
    /// Another name of a file that comes under that one.
    Name { path: Vec<u8>, of: Vec<u8> },
}

impl Missing {
    /// Bytes that are to come, as far as can be told.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Content { len, alike: false, .. } => *len,
            Self::Content { .. } | Self::Name { .. } => 0,
        }
    }
}

/// While it is copied.
const OWNER_ONLY: u32 = 0o600;

#[derive(Debug)]
pub struct Replica {
    jail: Jail,
    incoming: Arc<OwnedFd>,
    made: u64,
    /// By the hash of its path, which content of the other side a file here was made of.
    marks: HashMap<u64, u64>,
    /// The first name of each file with several.
    several: HashMap<u64, Vec<u8>>,
    /// The directory into which a file was put last.
    last: Option<(Vec<u8>, Arc<OwnedFd>)>,
    /// Directories, and what is to be true of them once nothing is put into them any more.
    dirs: Vec<(Vec<u8>, Traits)>,
    unsynced: Unsynced,
    /// Files grow in their places.
    is_unseen: bool,
    /// Where that goes which is replaced or taken away; none: it is deleted.
    aside: Option<Aside>,
}

/// What is not on the disk yet. A few files are synced one by one: others may have much to write to the same disk, and a site rests.
#[derive(Debug, Default)]
struct Unsynced {
    files: Vec<OwnedFd>,
    dirs: BTreeSet<Vec<u8>>,
    /// Too much for that, or nobody knows.
    all: bool,
}

impl Unsynced {
    fn file(&mut self, file: impl AsFd) {
        match file.as_fd().try_clone_to_owned() {
            Ok(file) if !self.all && self.files.len() < COPY_SYNCED_EACH => self.files.push(file),
            _ => *self = Self { all: true, ..Self::default() },
        }
    }

    /// One with names that came or went, or of which something else is true.
    fn dir(&mut self, path: &[u8]) {
        if self.dirs.len() >= COPY_SYNCED_EACH {
            self.all = true;
        }
        if !self.all {
            self.dirs.insert(path.to_owned());
        }
    }
}

/// A file that nobody sees yet; dropped, it leaves nothing.
#[derive(Debug)]
pub struct Growing {
    grown: growing::Growing,
    /// Where what was written ends.
    end: u64,
    digest: Digest,
}

impl Replica {
    /// Makes the directory where it is missing, and sweeps what a crash left.
    pub fn open(dirs: &SiteDirs, site: SiteId) -> Result<Self, ReplicaError> {
        dirs.make(site)?;
        let (jail, incoming) = (dirs.jail(site)?, dirs.incoming(site)?);
        growing::sweep(&incoming).map_err(at(b"incoming"))?;
        let incoming = Arc::new(incoming);
        let (marks, several, dirs) = (HashMap::new(), HashMap::new(), Vec::new());
        let unsynced = Unsynced { all: true, ..Unsynced::default() };
        Ok(Self { jail, incoming, made: 0, marks, several, last: None, dirs, unsynced, is_unseen: false, aside: None })
    }

    /// Nobody serves it before it is whole, whatever happens meanwhile: files that are not here yet may grow in their places, which takes
    /// a quarter less work where they are small.
    pub fn set_unseen(&mut self, is_unseen: bool) {
        self.is_unseen = is_unseen;
    }

    /// The same of files that were at home here: what is replaced or taken away is kept in a folder of this name.
    pub fn open_and_keep(dirs: &SiteDirs, site: SiteId, folder: String) -> Result<Self, ReplicaError> {
        let aside = Some(Aside::new(dirs.own(site)?, folder));
        Ok(Self { aside, ..Self::open(dirs, site)? })
    }

    /// From here on nothing is kept; says in which folder how much was, if anything.
    pub fn kept(&mut self) -> Option<(String, u64)> {
        self.aside.take().and_then(Aside::kept)
    }

    /// Keeps what stands at a path, where that is kept.
    fn make_way(&mut self, dir: &OwnedFd, path: &[u8]) -> Result<(), Errno> {
        let Some(aside) = &mut self.aside else { return Ok(()) };
        self.unsynced.all = true;
        aside.keep(dir, split(path).1, path)
    }

    /// What a file that is here adds up to, as `Source::digest`; none: there is no such file.
    pub fn digest(&self, path: &[u8], buffer: &mut [u8]) -> Option<u128> {
        Source::open(&self.jail, path).ok()??.digest(buffer).ok()
    }

    /// Makes the directories and links of a piece, and says what is missing of its files.
    pub fn compare(&mut self, piece: &Piece) -> Result<Vec<Missing>, ReplicaError> {
        let dir = self.dir(&piece.dir)?;
        let mut missing = Vec::new();
        // Directories come and go while names are compared.
        self.last = None;
        self.dirs.extend(piece.own.map(|own| (Vec::new(), own)));
        for entry in &piece.entries {
            let path = joined(&piece.dir, &entry.name);
            let here = match rustix::fs::statat(&dir, entry.name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Some(stat),
                Err(Errno::NOENT) => None,
                Err(cause) => return Err(at(&path)(cause)),
            };
            match &entry.what {
                What::Dir => {
                    if here.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) != FileType::Directory) {
                        self.make_way(&dir, &path).map_err(at(&path))?;
                    }
                    if made_dir(&dir, &entry.name, here.as_ref()).map_err(at(&path))? {
                        self.unsynced.dir(&piece.dir);
                    }
                    self.dirs.push((path, entry.traits));
                }
                What::Link(target) => {
                    if self.link(&dir, &path, here.as_ref(), target).map_err(at(&path))? {
                        self.unsynced.dir(&piece.dir);
                    }
                }
                What::File(content) => missing.extend(self.file(path, content, &entry.traits, here.as_ref())),
            }
        }
        Ok(missing)
    }

    fn file(&mut self, path: Vec<u8>, there: &Content, wanted: &Traits, here: Option<&Stat>) -> Option<Missing> {
        if there.links > 1 {
            match self.several.get(&there.inode) {
                Some(of) if *of != path => return Some(Missing::Name { path, of: of.clone() }),
                Some(_) => {}
                None => drop(self.several.insert(there.inode, path.clone())),
            }
        }
        let here = here.filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        let alike = here.is_some_and(|stat| {
            let (now, is) = (content(stat), traits(stat));
            now.len == there.len && is.modified == wanted.modified
        });
        let known = self.marks.get(&xxh3_64(&path)) == Some(&mark(there));
        let same = alike && known && here.is_some_and(|stat| traits(stat).mode == wanted.mode);
        (!same).then_some(Missing::Content { path, len: there.len, alike })
    }

    /// Whether it had to be made.
    fn link(&mut self, dir: &OwnedFd, path: &[u8], here: Option<&Stat>, target: &[u8]) -> Result<bool, Errno> {
        let name = split(path).1;
        let is_link = here.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
        if is_link && rustix::fs::readlinkat(dir, name, Vec::new())?.as_bytes() == target {
            return Ok(false);
        }
        self.make_way(dir, path)?;
        let new = self.name();
        rustix::fs::symlinkat(target, &self.incoming, &new)?;
        instead(dir, name, || rustix::fs::renameat(&self.incoming, &new, dir, name)).map(|()| true)
    }

    /// Takes away what a directory has beside these names.
    pub fn prune(&mut self, dir: &[u8], names: &HashSet<Vec<u8>>) -> Result<(), ReplicaError> {
        let opened = self.dir(dir)?;
        let listed = self.jail.tree(dir, LISTED).and_then(Dir::new).map_err(at(dir))?;
        for read in listed {
            let read = read.map_err(at(dir))?;
            let name = read.file_name().to_bytes();
            if matches!(name, b"." | b"..") || names.contains(name) {
                continue;
            }
            let path = joined(dir, name);
            self.make_way(&opened, &path).map_err(at(&path))?;
            trash::delete(&opened, name).map_err(at(&path))?;
            self.unsynced.dir(dir);
        }
        Ok(())
    }

    /// A directory of the replica, which its owner may change while it is copied.
    fn dir(&self, dir: &[u8]) -> Result<OwnedFd, ReplicaError> {
        self.jail.tree(dir, LISTED).map_err(at(dir))
    }

    /// Begins a file.
    pub fn begin(&mut self, path: &[u8]) -> Result<Growing, ReplicaError> {
        let (dir, name) = split(path);
        let there = match self.is_unseen {
            true => {
                let opened = self.parent(dir)?;
                let there = growing::Growing::begin_there(&opened, name, OWNER_ONLY);
                self.last = Some((dir.to_owned(), opened));
                there
            }
            false => Err(Errno::EXIST),
        };
        let grown = match there {
            Err(Errno::EXIST) => {
                let name = self.name();
                growing::Growing::begin(&self.incoming, name, OWNER_ONLY)
            }
            there => there,
        };
        Ok(Growing { grown: grown.map_err(at(path))?, end: 0, digest: Digest::default() })
    }

    /// Puts a file that is whole in its place.
    pub fn finish(
        &mut self,
        path: &[u8],
        mut growing: Growing,
        (content, wanted): (&Content, &Traits),
    ) -> Result<(), ReplicaError> {
        let grown = &mut growing.grown;
        if growing.end != content.len {
            rustix::fs::ftruncate(&grown.file, content.len).map_err(at(path))?;
        }
        dress(&grown.file, wanted).map_err(at(path))?;
        let (dir, name) = split(path);
        let opened = self.parent(dir)?;
        self.make_way(&opened, path).map_err(at(path))?;
        instead(&opened, name, || grown.place(&opened, name)).map_err(at(path))?;
        self.unsynced.file(&grown.file);
        self.unsynced.dir(dir);
        self.last = Some((dir.to_owned(), opened));
        self.marks.insert(xxh3_64(path), mark(content));
        Ok(())
    }

    /// The directory of a file, which is often that of the one before.
    fn parent(&mut self, dir: &[u8]) -> Result<Arc<OwnedFd>, ReplicaError> {
        match self.last.take() {
            Some((last, opened)) if last == dir => Ok(opened),
            _ => self.dir(dir).map(Arc::new),
        }
    }

    /// What is here is the same after all.
    pub fn keep(&mut self, path: &[u8], content: &Content, wanted: &Traits) -> Result<(), ReplicaError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = self.jail.tree(path, flags).map_err(at(path))?;
        dress(&file, wanted).map_err(at(path))?;
        self.unsynced.file(file);
        self.marks.insert(xxh3_64(path), mark(content));
        Ok(())
    }

    /// Gives a file another name. Nothing where the file went meanwhile: the next pass finds out.
    pub fn name_too(&mut self, path: &[u8], of: &[u8]) -> Result<(), ReplicaError> {
        let ((from_dir, from), (dir, name)) = (split(of), split(path));
        let (from_dir, dir) = (self.dir(from_dir)?, self.dir(dir)?);
        let stat = |dir: &OwnedFd, name: &[u8]| rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok();
        let Some(file) = stat(&from_dir, from) else { return Ok(()) };
        if stat(&dir, name).is_some_and(|there| there.st_ino == file.st_ino) {
            return Ok(());
        }
        let new = self.name();
        rustix::fs::linkat(&from_dir, from, &self.incoming, &new, AtFlags::empty()).map_err(at(path))?;
        self.unsynced.dir(split(path).0);
        self.make_way(&dir, path).map_err(at(path))?;
        instead(&dir, name, || rustix::fs::renameat(&self.incoming, &new, &dir, name)).map_err(at(path))
    }

    /// Ends a pass: directories are given what is to be true of them, the innermost first.
    pub fn settle(&mut self) -> Result<(), ReplicaError> {
        self.several.clear();
        self.last = None;
        for (path, wanted) in std::mem::take(&mut self.dirs).into_iter().rev() {
            match self.jail.tree(&path, LISTED) {
                Ok(dir) => {
                    let is = rustix::fs::fstat(&dir).map(|stat| traits(&stat)).map_err(at(&path))?;
                    if is != wanted {
                        dress(dir, &wanted).map_err(at(&path))?;
                        self.unsynced.dir(&path);
                    }
                }
                Err(Errno::NOENT) => {}
                Err(cause) => return Err(at(&path)(cause)),
            }
        }
        Ok(())
    }

    /// Everything is on the disk when this returns.
    pub fn sync(&mut self) -> Result<(), ReplicaError> {
        let Unsynced { files, dirs, all } = std::mem::take(&mut self.unsynced);
        if all {
            return rustix::fs::syncfs(&self.incoming)
                .map_err(at(b"incoming"))
                .inspect_err(|_| self.unsynced.all = true);
        }
        let synced = files.iter().try_for_each(rustix::fs::fsync).map_err(at(b"a file")).and_then(|()| {
            dirs.iter().try_for_each(|dir| match self.jail.tree(dir, LISTED).and_then(rustix::fs::fsync) {
                // It went again, and the one it was in is among them.
                Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
                synced => synced.map_err(at(dir)),
            })
        });
        synced.inspect_err(|_| self.unsynced.all = true)
    }

    fn name(&mut self) -> String {
        self.made += 1;
        format!("copy-{}", self.made)
    }
}

impl Growing {
    pub fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), ReplicaError> {
        self.digest.update(at, bytes);
        self.end = self.end.max(at + bytes.len() as u64);
        self.grown.file.write_all_at(bytes, at).map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::NOSPC | Errno::DQUOT) | None => ReplicaError::DiskFull,
            Some(cause) => ReplicaError::Path { path: b"incoming".to_vec(), cause },
        })
    }

    /// Over all pieces written, each with where it stands.
    pub fn digest(&self) -> u128 {
        self.digest.value()
    }
}

/// Gives something its place, also that of a directory.
fn instead(dir: &OwnedFd, name: &[u8], mut place: impl FnMut() -> Result<(), Errno>) -> Result<(), Errno> {
    match place() {
        Err(Errno::ISDIR) => {
            trash::delete(dir, name)?;
            place()
        }
        placed => placed,
    }
}

/// Which content of the other side this is.
fn mark(content: &Content) -> u64 {
    let parts = [content.len, content.inode, content.changed.0.cast_unsigned(), u64::from(content.changed.1)];
    xxh3_64(&parts.map(u64::to_be_bytes).concat())
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let slash = path.iter().rposition(|byte| *byte == b'/');
    slash.map_or((&b""[..], path), |slash| (&path[..slash], &path[slash + 1..]))
}

/// A directory of this name that can be filled, whatever was there; whether it had to be made.
fn made_dir(dir: &OwnedFd, name: &[u8], here: Option<&Stat>) -> Result<bool, Errno> {
    let is_dir = here.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
    if here.is_some() && !is_dir {
        match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    if !is_dir {
        return rustix::fs::mkdirat(dir, name, Mode::RWXU).map(|()| true);
    }
    let mode = here.map_or(0, |stat| stat.st_mode & 0o7777);
    match mode & 0o700 {
        0o700 => Ok(false),
        _ => rustix::fs::chmodat(dir, name, Mode::from_raw_mode(mode | 0o700), AtFlags::empty()).map(|()| false),
    }
}

/// Whoever is not root keeps files as their own.
fn dress(file: impl AsFd, wanted: &Traits) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(&file)?;
    if (stat.st_uid, stat.st_gid) != (wanted.uid, wanted.gid) {
        match rustix::fs::fchown(&file, Some(Uid::from_raw(wanted.uid)), Some(Gid::from_raw(wanted.gid))) {
            Ok(()) | Err(Errno::PERM | Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    rustix::fs::fchmod(&file, Mode::from_raw_mode(wanted.mode))?;
    let time = |(seconds, nanos): (i64, u32)| Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    let modified = time(wanted.modified);
    rustix::fs::futimens(file, &Timestamps { last_access: modified, last_modification: modified })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::Path;

    use super::*;
    use crate::files::manifest::Walk;

    const SITE: SiteId = SiteId(7);

    /// One pass from one directory to the other, without a network; the paths that were fetched.
    fn pass(from: &Jail, replica: &mut Replica) -> Vec<String> {
        let (mut walk, mut missing, mut names) = (Walk::new(from), Vec::new(), HashSet::new());
        while let Some(piece) = walk.next(3).unwrap() {
            missing.extend(replica.compare(&piece).unwrap());
            names.extend(piece.entries.into_iter().map(|entry| entry.name));
            if piece.whole {
                replica.prune(&piece.dir, &names).unwrap();
                names.clear();
            }
        }
        let mut fetched = Vec::new();
        for missing in &missing {
            let Missing::Content { path, .. } = missing else { continue };
            fetched.push(String::from_utf8_lossy(path).into_owned());
            let mut source = Source::open(from, path).unwrap().unwrap();
            let mut growing = replica.begin(path).unwrap();
            while let Some((at, len)) = source.stretch().unwrap() {
                let mut bytes = vec![0; len as usize];
                source.read(at, &mut bytes).unwrap();
                growing.write(at, &bytes).unwrap();
            }
            replica.finish(path, growing, (&source.content, &source.traits)).unwrap();
        }
        for missing in &missing {
            if let Missing::Name { path, of } = missing {
                replica.name_too(path, of).unwrap();
            }
        }
        replica.settle().unwrap();
        replica.sync().unwrap();
        fetched.sort();
        fetched
    }

    #[test]
    fn what_did_not_come_whole_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = SiteDirs::open(dir.path()).unwrap();
        let incoming = dirs.path(SITE).with_file_name("incoming");
        let mut replica = Replica::open(&dirs, SITE).unwrap();
        let mut growing = replica.begin(b"page").unwrap();
        growing.write(0, b"half of it").unwrap();
        assert_eq!(fs::read_dir(&incoming).unwrap().count(), 1);
        drop(growing);
        assert_eq!(fs::read_dir(&incoming).unwrap().count(), 0);
        // Nor where it grows in its place; what has the name is not touched before the new one is whole.
        replica.set_unseen(true);
        drop(replica.begin(b"page").unwrap());
        assert!(!dirs.path(SITE).join("page").exists());
        fs::write(dirs.path(SITE).join("old"), "old").unwrap();
        let growing = replica.begin(b"old").unwrap();
        assert_eq!(fs::read_to_string(dirs.path(SITE).join("old")).unwrap(), "old");
        drop(growing);
        assert!(dirs.path(SITE).join("old").exists());
        // What a crash left goes with the next one who comes.
        fs::write(incoming.join("copy-1"), "half of it").unwrap();
        Replica::open(&dirs, SITE).unwrap();
        assert_eq!((fs::read_dir(&incoming).unwrap().count(), dirs.path(SITE).join("page").exists()), (0, false));
    }

    fn tree(root: &Path) -> Vec<String> {
        let mut seen = Vec::new();
        let mut todo = vec![root.to_owned()];
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                let stat = path.symlink_metadata().unwrap();
                let name = path.strip_prefix(root).unwrap().to_owned();
                let what = match stat.file_type() {
                    kind if kind.is_dir() => "dir".to_owned(),
                    kind if kind.is_symlink() => format!("{:?}", fs::read_link(&path).unwrap()),
                    _ => format!("{:?} {}", fs::read(&path).unwrap(), stat.nlink()),
                };
                let time = if stat.is_symlink() { (0, 0) } else { (stat.mtime(), stat.mtime_nsec()) };
                let mode = if stat.is_symlink() { 0 } else { stat.mode() };
                seen.push(format!("{name:?} {what} {mode:o} {time:?}"));
                if stat.is_dir() {
                    todo.push(path);
                }
            }
        }
        seen.sort();
        seen
    }

    #[test]
    fn whatever_changes_into_whatever_the_copy_follows() {
        [true, false].into_iter().for_each(the_copy_follows);
    }

    fn the_copy_follows(is_unseen: bool) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("from");
        let at = |name: &str| root.join(name);
        fs::create_dir_all(at("a/b/c")).unwrap();
        fs::write(at("a/one"), "1").unwrap();
        fs::hard_link(at("a/one"), at("a/b/two")).unwrap();
        fs::write(at("a/b/c/deep"), "deep").unwrap();
        fs::write(at("page"), "page").unwrap();
        symlink("/etc", at("out")).unwrap();
        for number in 0..9 {
            fs::write(at(&format!("n{number}")), "n").unwrap();
        }
        let from = Jail::open(&root).unwrap();
        let dirs = SiteDirs::open(dir.path()).unwrap();
        let mut replica = Replica::open(&dirs, SITE).unwrap();
        replica.set_unseen(is_unseen);
        let there = dirs.path(SITE);
        assert_eq!(pass(&from, &mut replica).len(), 12);
        assert_eq!(tree(&there), tree(&root));
        assert_eq!(pass(&from, &mut replica), [""; 0], "nothing has changed");

        // A file becomes a directory, a directory a file, a link both ways; a name goes, a mode and a time change.
        fs::remove_file(at("n0")).unwrap();
        fs::create_dir(at("n0")).unwrap();
        fs::write(at("n0/inner"), "inner").unwrap();
        fs::remove_dir_all(at("a/b/c")).unwrap();
        fs::write(at("a/b/c"), "was a directory").unwrap();
        fs::remove_file(at("out")).unwrap();
        fs::write(at("out"), "was a link").unwrap();
        fs::remove_file(at("n1")).unwrap();
        symlink("n2", at("n1")).unwrap();
        fs::remove_file(at("n3")).unwrap();
        fs::set_permissions(at("n4"), fs::Permissions::from_mode(0o604)).unwrap();
        fs::set_permissions(at("a"), fs::Permissions::from_mode(0o700)).unwrap();
        // The same length and the same time, other content.
        let time = fs::metadata(at("page")).unwrap().modified().unwrap();
        fs::write(at("page"), "egap").unwrap();
        fs::File::options().write(true).open(at("page")).unwrap().set_modified(time).unwrap();
        assert_eq!(pass(&from, &mut replica), ["a/b/c", "n0/inner", "n4", "out", "page"]);
        assert_eq!(tree(&there), tree(&root));

        // What the copy has and the other side has not goes, also where somebody else put it.
        fs::create_dir_all(there.join("more/of/it")).unwrap();
        fs::write(there.join("more/file"), "").unwrap();
        pass(&from, &mut replica);
        assert_eq!(tree(&there), tree(&root));
    }

    #[test]
    fn a_copy_never_follows_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("from");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(root.join("sub/file"), "new").unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "old").unwrap();
        let dirs = SiteDirs::open(dir.path()).unwrap();
        let mut replica = Replica::open(&dirs, SITE).unwrap();
        symlink(&outside, dirs.path(SITE).join("sub")).unwrap();
        pass(&Jail::open(&root).unwrap(), &mut replica);
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "old");
        assert_eq!(fs::read_to_string(dirs.path(SITE).join("sub/file")).unwrap(), "new");
        // And the side that is copied from tells of a link, not of what it leads to.
        symlink(&outside, root.join("link")).unwrap();
        assert!(Source::open(&Jail::open(&root).unwrap(), b"link/file").unwrap().is_none());
        assert!(Source::open(&Jail::open(&root).unwrap(), b"link").unwrap().is_none());
    }

    #[test]
    fn what_was_at_home_here_is_kept_and_not_thrown_away() {
        let (home, far) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (dirs, there) = (SiteDirs::open(home.path()).unwrap(), SiteDirs::open(far.path()).unwrap());
        dirs.make(SITE).unwrap();
        there.make(SITE).unwrap();
        let (here, from) = (dirs.path(SITE), there.path(SITE));
        for (root, text) in [(&here, "mine"), (&from, "theirs")] {
            fs::create_dir_all(root.join("a/b")).unwrap();
            fs::write(root.join("a/changed"), text).unwrap();
        }
        fs::write(here.join("a/b/only"), "mine").unwrap();
        fs::create_dir_all(here.join("gone/deep")).unwrap();
        fs::write(here.join("gone/deep/file"), "mine").unwrap();
        // Names that are something else there, and a link that would lead out of the folder.
        symlink("/etc", here.join("l")).unwrap();
        fs::create_dir(from.join("l")).unwrap();
        fs::write(from.join("l/passwd"), "theirs").unwrap();
        fs::create_dir(here.join("was-dir")).unwrap();
        fs::write(from.join("was-dir"), "theirs").unwrap();
        let mut replica = Replica::open_and_keep(&dirs, SITE, "3-100".into()).unwrap();
        pass(&there.jail(SITE).unwrap(), &mut replica);
        let kept = dirs.recovered(SITE).join("3-100");
        assert_eq!(replica.kept(), Some(("3-100".to_owned(), 5)));
        for (name, text) in [("a/changed", "mine"), ("a/b/only", "mine"), ("gone/deep/file", "mine")] {
            assert_eq!(fs::read_to_string(kept.join(name)).unwrap(), text, "{name}");
        }
        assert_eq!(fs::read_link(kept.join("l")).unwrap(), Path::new("/etc"));
        assert!(kept.join("was-dir").is_dir());
        assert_eq!(fs::read_to_string(here.join("a/changed")).unwrap(), "theirs");
        assert_eq!(fs::read_to_string(here.join("was-dir")).unwrap(), "theirs");
        assert!(!here.join("gone").exists() && !here.join("a/b/only").exists());
        // From here on nothing is kept.
        fs::write(from.join("a/changed"), "again").unwrap();
        pass(&there.jail(SITE).unwrap(), &mut replica);
        assert_eq!((fs::read_to_string(here.join("a/changed")).unwrap().as_str(), replica.kept()), ("again", None));
        // Nothing to keep leaves no folder.
        fs::remove_file(here.join("a/changed")).unwrap();
        fs::remove_file(here.join("was-dir")).unwrap();
        fs::remove_file(here.join("l/passwd")).unwrap();
        let mut other = Replica::open_and_keep(&dirs, SITE, "4-100".into()).unwrap();
        pass(&there.jail(SITE).unwrap(), &mut other);
        assert!(other.kept().is_none() && !dirs.recovered(SITE).join("4-100").exists());
    }
}
