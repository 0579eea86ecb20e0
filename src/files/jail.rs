//! A directory opened once, and what lies beneath it handed out as descriptors: the kernel resolves every path (`openat2`),
//! so that no link, trick or race leads out. Never opens by a full path, never hands out a path, never blocks on a FIFO.
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::{Errno, ReadWriteFlags};

use crate::base::limits::JAIL_OPEN_TRIES;

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    #[error("reach the file: there is none of that name")]
    NotFound,
    #[error("reach the file: a link on its way leads out of the directory, or round in circles")]
    Outside,
    #[error("reach the file: it is neither a regular file nor a directory")]
    NotRegular,
    #[error("reach the file: its name is too long, or holds `..`, an empty part or a NUL")]
    Invalid,
    #[error("reach the file: its permissions forbid it")]
    Denied,
    #[error("reach the file: {0}")]
    Io(#[source] io::Error),
}

impl From<Errno> for JailError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::NotFound,
            // What RESOLVE_BENEATH and RESOLVE_NO_MAGICLINKS answer; a loop of links answers as the latter does.
            Errno::XDEV | Errno::LOOP => Self::Outside,
            // A socket, or a device without a driver: they cannot be opened at all.
            Errno::NXIO | Errno::NODEV => Self::NotRegular,
            Errno::NAMETOOLONG => Self::Invalid,
            Errno::ACCESS | Errno::PERM => Self::Denied,
            errno => Self::Io(errno.into()),
        }
    }
}

/// How a directory is opened whose names are read or that is synced: itself, never through a link.
pub(super) const LISTED: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The same for a directory on a way: links are followed there as long as they stay beneath.
const PARENT: OFlags = LISTED.difference(OFlags::NOFOLLOW);

/// NONBLOCK: opening a FIFO would wait for a writer; regular files do not know it.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// The directory of one site, however it is renamed meanwhile.
#[derive(Debug, Clone)]
pub struct Jail {
    root: Arc<OwnedFd>,
}

/// What a path names.
#[derive(Debug)]
pub enum Found {
    File(Opened),
    Dir,
}

/// A regular file open for reading, and what was true of it when it was opened.
#[derive(Debug)]
pub struct Opened {
    pub file: File,
    pub len: u64,
    /// Time of the last change of the content: seconds since 1970, nanoseconds.
    pub modified: (i64, u32),
    /// Time of the last change of content, name or mode: no user can set it back.
    pub changed: (i64, u32),
    pub dev: u64,
    pub ino: u64,
}

impl Jail {
    /// The directory itself may not be a link; those before it in the path are the admin's.
    pub fn open(path: &Path) -> Result<Self, JailError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self { root: Arc::new(rustix::fs::openat(CWD, path, flags, Mode::empty())?) })
    }

    /// A jail beneath an opened directory; not one part of the path may be a link.
    pub(super) fn within(dir: impl AsFd, path: &str) -> Result<Self, JailError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        Ok(Self { root: Arc::new(rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve)?) })
    }

    /// `path` is relative and decoded, its parts joined by single slashes; empty, it names the directory itself. Links are
    /// followed as long as they stay beneath.
    pub fn look(&self, path: &str) -> Result<Found, JailError> {
        let descriptor = beneath(&*self.root, checked(path)?, READ, Mode::empty())?;
        found(descriptor)
    }

    /// The same, if the kernel knows the way by heart; none where it would have to wait for the disk.
    pub fn look_at_once(&self, path: &str) -> Result<Option<Found>, JailError> {
        self.at_once(checked(path)?, READ)?.map(found).transpose()
    }

    fn at_once(&self, path: &str, flags: OFlags) -> Result<Option<OwnedFd>, JailError> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::CACHED;
        match rustix::fs::openat2(&*self.root, path, flags, Mode::empty(), resolve) {
            Ok(descriptor) => Ok(Some(descriptor)),
            // INVAL: a kernel before 5.12.
            Err(Errno::AGAIN | Errno::INTR | Errno::INVAL) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What is true of a name in the directory itself, without opening it; of a link it is that of the link. None: it cannot be said.
    pub fn state(&self, name: &str) -> Option<Stat> {
        let is_one = !name.is_empty() && !name.contains('/') && checked(name).is_ok();
        if is_one { rustix::fs::statat(&*self.root, name, AtFlags::SYMLINK_NOFOLLOW).ok() } else { None }
    }

    /// The directory in which the last part of a path is or would be, and that part.
    pub(super) fn parent<'p>(&self, path: &'p str) -> Result<(OwnedFd, &'p str), JailError> {
        let (parent, name) = halves(path)?;
        Ok((beneath(&*self.root, parent, PARENT, Mode::empty())?, name))
    }

    /// The same, if the kernel knows the way by heart.
    pub(super) fn parent_at_once<'p>(&self, path: &'p str) -> Result<Option<(OwnedFd, &'p str)>, JailError> {
        let (parent, name) = halves(path)?;
        Ok(self.at_once(parent, PARENT)?.map(|parent| (parent, name)))
    }

    /// A jail of its own for one of the directories; not one part of the path may be a link.
    pub(super) fn inner(&self, dir: &str) -> Result<Self, JailError> {
        Self::within(&*self.root, checked(dir)?)
    }

    /// A regular file or a directory, opened to change what is true of it.
    pub(super) fn node(&self, path: &str) -> Result<OwnedFd, JailError> {
        let node = beneath(&*self.root, checked(path)?, READ, Mode::empty())?;
        match FileType::from_raw_mode(rustix::fs::fstat(&node)?.st_mode) {
            FileType::RegularFile | FileType::Directory => Ok(node),
            _ => Err(JailError::NotRegular),
        }
    }

    /// A directory, to read its names.
    pub(super) fn directory(&self, path: &str) -> Result<OwnedFd, JailError> {
        Ok(beneath(&*self.root, checked(path)?, PARENT, Mode::empty())?)
    }

    /// What is true of a path, without reading it.
    pub(super) fn stat(&self, path: &str) -> Result<Stat, JailError> {
        let node = beneath(&*self.root, checked(path)?, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Ok(rustix::fs::fstat(node)?)
    }

    /// The same, if the kernel knows the way by heart.
    pub(super) fn stat_at_once(&self, path: &str) -> Result<Option<Stat>, JailError> {
        let node = self.at_once(checked(path)?, OFlags::PATH | OFlags::CLOEXEC)?;
        Ok(node.map(rustix::fs::fstat).transpose()?)
    }

    /// Opens what a path of any bytes names, without following one link and on this file system only; empty, it is the directory
    /// itself.
    pub(super) fn tree(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        resolved(&*self.root, if path.is_empty() { b"." } else { path }, flags, Mode::empty(), resolve)
    }

    /// The directory itself, to read its names.
    pub(super) fn listed(&self) -> Result<OwnedFd, JailError> {
        Ok(beneath(&*self.root, ".", LISTED, Mode::empty())?)
    }
}

impl Opened {
    /// All of a file that is not longer than this, if the page cache has it; none where the disk would have to be asked.
    pub fn all_at_once(&self, most: usize) -> Option<Vec<u8>> {
        let length = usize::try_from(self.len).ok().filter(|length| *length <= most)?;
        let mut bytes = vec![0; length];
        let read = rustix::io::preadv2(&self.file, &mut [IoSliceMut::new(&mut bytes)], 0, ReadWriteFlags::NOWAIT);
        // Shorter: somebody cut it off meanwhile, or a part of it is on the disk only.
        (length == 0 || read == Ok(length)).then_some(bytes)
    }
}

fn found(descriptor: OwnedFd) -> Result<Found, JailError> {
    let stat = rustix::fs::fstat(&descriptor)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(Found::File(opened(descriptor, &stat))),
        FileType::Directory => Ok(Found::Dir),
        _ => Err(JailError::NotRegular),
    }
}

fn opened(descriptor: OwnedFd, stat: &Stat) -> Opened {
    Opened {
        file: File::from(descriptor),
        len: u64::try_from(stat.st_size).unwrap_or(0),
        modified: (stat.st_mtime, nanos(stat.st_mtime_nsec)),
        changed: (stat.st_ctime, nanos(stat.st_ctime_nsec)),
        dev: stat.st_dev,
        ino: stat.st_ino,
    }
}

/// The kernel's type for them differs between machines; they are always below a second.
pub fn nanos(number: impl TryInto<u32>) -> u32 {
    number.try_into().unwrap_or(0)
}

/// The path if it has plain parts only; `.` for the empty one. The kernel would keep `..` inside as well: such a path is
/// refused because no honest caller has one.
fn checked(path: &str) -> Result<&str, JailError> {
    if path.is_empty() {
        return Ok(".");
    }
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    if path.contains('\0') || !path.split('/').all(plain) { Err(JailError::Invalid) } else { Ok(path) }
}

/// The directory of a path and the last part. Nobody names the directory itself.
fn halves(path: &str) -> Result<(&str, &str), JailError> {
    let (parent, name) = checked(path)?.rsplit_once('/').unwrap_or((".", path));
    if name.is_empty() { Err(JailError::Invalid) } else { Ok((parent, name)) }
}

fn beneath(root: impl AsFd, path: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    resolved(root, path.as_bytes(), flags, mode, ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)
}

fn resolved(root: impl AsFd, path: &[u8], flags: OFlags, mode: Mode, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(&root, path, flags, mode, resolve) {
            Err(Errno::INTR) => {}
            // A link with `..` while anything on the machine was renamed: the kernel cannot tell where it led.
            Err(Errno::AGAIN) if tries < JAIL_OPEN_TRIES => tries += 1,
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use rustix::fs::RenameFlags;

    use super::*;

    /// `public` is the jail; beside it lies what nobody may reach.
    fn site() -> (tempfile::TempDir, Jail) {
        let dir = tempfile::tempdir().unwrap();
        for name in ["public/sub/deep", "public-too", "outside"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        for name in ["public/page", "public/sub/page"] {
            fs::write(dir.path().join(name), "inside").unwrap();
        }
        for name in ["secret", "public-too/page", "outside/page"] {
            fs::write(dir.path().join(name), "outside").unwrap();
        }
        let jail = Jail::open(&dir.path().join("public")).unwrap();
        (dir, jail)
    }

    fn read(jail: &Jail, path: &str) -> Result<String, JailError> {
        content(jail.look(path)?)
    }

    fn content(found: Found) -> Result<String, JailError> {
        let Found::File(mut opened) = found else { return Ok("a directory".to_owned()) };
        let mut text = String::new();
        opened.file.read_to_string(&mut text).map_err(JailError::Io)?;
        Ok(text)
    }

    #[test]
    fn files_and_directories_are_found_with_what_is_true_of_them() {
        let (dir, jail) = site();
        assert_eq!(read(&jail, "").unwrap(), "a directory");
        assert_eq!(read(&jail, "sub/deep").unwrap(), "a directory");
        let Ok(Found::File(opened)) = jail.look("sub/page") else { panic!("not a file") };
        let seen = fs::metadata(dir.path().join("public/sub/page")).unwrap();
        use std::os::unix::fs::MetadataExt;
        assert_eq!((opened.len, opened.dev, opened.ino), (6, seen.dev(), seen.ino()));
        assert_eq!(opened.modified, (seen.mtime(), u32::try_from(seen.mtime_nsec()).unwrap()));
        assert_eq!(opened.changed, (seen.ctime(), u32::try_from(seen.ctime_nsec()).unwrap()));
        for missing in ["none", "sub/none", "none/page", "page/under-a-file"] {
            assert!(matches!(jail.look(missing), Err(JailError::NotFound)), "{missing}");
        }
    }

    #[test]
    fn no_link_leads_out() {
        let (dir, jail) = site();
        let at = |name: &str| dir.path().join("public").join(name);
        let absolute = dir.path().join("secret");
        symlink(&absolute, at("absolute")).unwrap();
        symlink(dir.path().join("public/page"), at("absolute-but-inside")).unwrap();
        symlink("../secret", at("relative")).unwrap();
        symlink("../public-too/page", at("same-beginning")).unwrap();
        symlink("../outside", at("middle")).unwrap();
        symlink("../../outside", at("sub/middle")).unwrap();
        symlink("sub/../../outside/page", at("out-by-a-detour")).unwrap();
        symlink("../public/page", at("out-and-in-again")).unwrap();
        symlink("middle", at("chain")).unwrap();
        symlink("/", at("root")).unwrap();
        symlink("circle", at("circle")).unwrap();
        let outside = [
            "absolute",
            "absolute-but-inside",
            "relative",
            "same-beginning",
            "middle",
            "middle/page",
            "sub/middle/page",
            "out-by-a-detour",
            "out-and-in-again",
            "chain/page",
            "root/etc/passwd",
            "circle",
        ];
        for path in outside {
            let met = read(&jail, path);
            assert!(matches!(met, Err(JailError::Outside)), "{path}: {met:?}");
            let met = jail.look_at_once(path);
            assert!(matches!(met, Err(JailError::Outside) | Ok(None)), "{path}: {met:?}");
        }
    }

    #[test]
    fn what_was_opened_before_is_opened_at_once() {
        let (_dir, jail) = site();
        assert!(matches!(jail.look("sub/page"), Ok(Found::File(_))));
        assert!(matches!(jail.look_at_once("sub/page"), Ok(Some(Found::File(_)))));
        assert!(matches!(jail.look_at_once("sub"), Ok(Some(Found::Dir))));
        assert!(matches!(jail.look_at_once("../outside/page"), Err(JailError::Invalid)));
    }

    /// Even where proc is mounted inside, its links to open files and directories of the process are dead.
    #[test]
    fn no_magic_link_is_followed() {
        let outside = tempfile::tempfile().unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&outside);
        let jail = Jail::open(Path::new("/proc")).unwrap();
        for path in [format!("self/fd/{number}"), "self/root/etc/passwd".to_owned(), "self/cwd".to_owned()] {
            let met = jail.look(&path);
            assert!(matches!(met, Err(JailError::Outside)), "{path}: {met:?}");
        }
        assert!(matches!(jail.look("self/stat"), Ok(Found::File(_))), "self is a plain link that stays beneath");
    }

    #[test]
    fn links_that_stay_beneath_are_followed() {
        let (dir, jail) = site();
        let at = |name: &str| dir.path().join("public").join(name);
        symlink("page", at("near")).unwrap();
        symlink("../page", at("sub/up")).unwrap();
        symlink("sub", at("current")).unwrap();
        symlink("current/../near", at("chain")).unwrap();
        for path in ["near", "sub/up", "current/page", "current/up", "chain"] {
            assert_eq!(read(&jail, path).unwrap(), "inside", "{path}");
        }
    }

    #[test]
    fn a_jail_is_no_link_itself() {
        let (dir, _) = site();
        symlink("outside", dir.path().join("link")).unwrap();
        assert!(Jail::open(&dir.path().join("link")).is_err());
        assert!(matches!(Jail::open(&dir.path().join("secret")), Err(JailError::NotFound)));
        assert!(matches!(Jail::open(&dir.path().join("none")), Err(JailError::NotFound)));
    }

    #[test]
    fn paths_no_honest_caller_has_are_refused() {
        let (dir, jail) = site();
        for path in
            ["/", "/page", "page/", "sub//page", ".", "./page", "sub/.", "..", "../secret", "sub/../page", "p\0e"]
        {
            assert!(matches!(jail.look(path), Err(JailError::Invalid)), "{path:?}");
        }
        let (fits, too_long) = ("n".repeat(255), "n".repeat(256));
        fs::write(dir.path().join("public").join(&fits), "inside").unwrap();
        assert_eq!(read(&jail, &fits).unwrap(), "inside");
        assert!(matches!(jail.look(&too_long), Err(JailError::Invalid)));
        let deep = |parts: usize| vec!["d"; parts].join("/");
        fs::create_dir_all(dir.path().join("public").join(deep(1000))).unwrap();
        assert!(matches!(jail.look(&deep(1000)), Ok(Found::Dir)));
        assert!(matches!(jail.look(&deep(1001)), Err(JailError::NotFound)));
        assert!(matches!(jail.look(&deep(100_000)), Err(JailError::Invalid)));
        assert_eq!(read(&jail, "...").unwrap_err().to_string(), "reach the file: there is none of that name");
    }

    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting() {
        let (dir, jail) = site();
        let at = |name: &str| dir.path().join("public").join(name);
        rustix::fs::mkfifoat(CWD, at("fifo"), Mode::from_raw_mode(0o666)).unwrap();
        let _listener = UnixListener::bind(at("socket")).unwrap();
        symlink("fifo", at("link")).unwrap();
        let mut refused = vec!["fifo", "socket", "link"];
        let device = rustix::fs::makedev(1, 5);
        match rustix::fs::mknodat(CWD, at("zero"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), device) {
            Ok(()) => refused.push("zero"),
            Err(error) => eprintln!("skipped: a device can be made by root only ({error})"),
        }
        for path in refused {
            let (jail, (tell, told)) = (jail.clone(), std::sync::mpsc::sync_channel(1));
            std::thread::spawn(move || tell.send(jail.look(path)));
            let met = told.recv_timeout(Duration::from_secs(10)).unwrap_or_else(|_| panic!("{path} keeps the thread"));
            // On a file system without devices the open itself is forbidden.
            let denied = path == "zero" && matches!(met, Err(JailError::Denied));
            assert!(denied || matches!(met, Err(JailError::NotRegular)), "{path}: {met:?}");
        }
    }

    #[test]
    fn a_file_held_open_stays_what_it_was() {
        let (dir, jail) = site();
        let Ok(Found::File(mut opened)) = jail.look("page") else { panic!("not a file") };
        crate::files::atomic::replace(&dir.path().join("public/page"), 0o644, b"the next one").unwrap();
        let mut text = String::new();
        opened.file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), opened.len), ("inside", 6));
        assert_eq!(read(&jail, "page").unwrap(), "the next one");
    }

    #[test]
    fn the_jail_is_the_directory_not_its_name() {
        let (dir, jail) = site();
        fs::rename(dir.path().join("public"), dir.path().join("moved")).unwrap();
        fs::rename(dir.path().join("outside"), dir.path().join("public")).unwrap();
        assert_eq!(read(&jail, "page").unwrap(), "inside");
    }

    /// One thread swaps a directory, and a file, with links that lead out, as fast as it can; whatever the other one opens
    /// meanwhile lies inside.
    #[test]
    fn no_race_leads_out() {
        let (dir, jail) = site();
        let at = |name: &str| dir.path().join("public").join(name);
        symlink("../outside", at("trap")).unwrap();
        symlink("../secret", at("sub/trap")).unwrap();
        symlink("sub/../sub/page", at("detour")).unwrap();
        let done = AtomicBool::new(false);
        let (mut inside, mut refused, mut wrong) = (0, 0, Vec::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let swap = |a: &str, b: &str| {
                    rustix::fs::renameat_with(CWD, at(a), CWD, at(b), RenameFlags::EXCHANGE).unwrap();
                };
                while !done.load(Ordering::Relaxed) {
                    swap("trap", "sub");
                    swap("trap", "sub");
                    swap("sub/trap", "sub/page");
                    swap("sub/trap", "sub/page");
                }
            });
            for i in 0..20_000 {
                let path = if i % 2 == 0 { "sub/page" } else { "detour" };
                let met = match jail.look_at_once(path) {
                    Ok(None) => read(&jail, path),
                    met => met.and_then(|found| content(found.unwrap())),
                };
                match met {
                    Ok(text) if text == "inside" => inside += 1,
                    Err(JailError::Outside | JailError::NotFound) => refused += 1,
                    other => wrong.push(other),
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        assert!(wrong.is_empty(), "{} of 20000, first {:?}", wrong.len(), wrong[0]);
        assert!(inside > 0 && refused > 0, "{inside} inside, {refused} refused: there was no race");
    }
}
