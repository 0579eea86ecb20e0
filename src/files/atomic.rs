//! Atomic replace: after a crash or a power cut the file is the old one or the new one, never torn. Never follows a link.
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
#[error("replace {path}: {cause}")]
pub struct AtomicError {
    path: PathBuf,
    #[source]
    cause: io::Error,
}

/// Writes the whole file anew with exactly this mode. When it returns, name and content are on the disk. A link of that
/// name is replaced itself, not what it points to; a directory of that name is an error.
pub fn replace(path: &Path, mode: u32, content: &[u8]) -> Result<(), AtomicError> {
    let replaced = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            replace_in(parent, Path::new(name), mode, content)
        }
        _ => Err(io::Error::from(Errno::ISDIR)),
    };
    replaced.map_err(|cause| AtomicError { path: path.to_owned(), cause })
}

fn replace_in(parent: &Path, name: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let dir = rustix::fs::openat(CWD, parent, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // One name for each file: what a crash left there is taken away by the next try.
    let temporary = Path::new(&format!(".{}.new", name.display())).to_owned();
    match rustix::fs::unlinkat(&dir, &temporary, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(&dir, &temporary, flags, Mode::RUSR | Mode::WUSR)?);
    let written = (|| {
        file.write_all(content)?;
        // Set, not asked for at the opening: the umask has no say.
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        file.sync_all()?;
        rustix::fs::renameat(&dir, &temporary, &dir, name)?;
        Ok(())
    })();
    if written.is_err() {
        let _ = rustix::fs::unlinkat(&dir, &temporary, AtFlags::empty());
        return written;
    }
    Ok(rustix::fs::fsync(&dir)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_file_is_new_with_its_mode_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyring");
        fs::write(dir.path().join(".keyring.new"), "left by a crash").unwrap();
        for (mode, content) in [(0o600, "old"), (0o664, "new")] {
            replace(&path, mode, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        }
        assert_eq!(names(dir.path()), ["keyring"]);
    }

    #[test]
    fn a_link_is_replaced_and_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (dir.path().join("keyring"), dir.path().join("elsewhere"));
        fs::write(&elsewhere, "kept").unwrap();
        symlink(&elsewhere, &path).unwrap();
        symlink(&elsewhere, dir.path().join(".keyring.new")).unwrap();
        replace(&path, 0o600, b"new").unwrap();
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "kept");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
    }

    #[test]
    fn what_cannot_be_replaced_stays_and_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d");
        fs::create_dir(&path).unwrap();
        let told = replace(&path, 0o600, b"new").unwrap_err().to_string();
        assert!(told.starts_with(&format!("replace {}: ", path.display())), "{told}");
        assert_eq!(names(dir.path()), ["d"]);
        assert!(replace(&dir.path().join("no/such"), 0o600, b"").is_err());
        assert!(replace(Path::new("/"), 0o600, b"").is_err());
    }

    /// A reader at any moment finds one of the contents whole.
    #[test]
    fn a_reader_never_sees_a_torn_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let contents = [vec![b'a'; 100_000], vec![b'b'; 100_000]];
        replace(&path, 0o600, &contents[0]).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for i in 0..50 {
                    replace(&path, 0o600, &contents[i % 2]).unwrap();
                }
            });
            while !writer.is_finished() {
                let seen = fs::read(&path).unwrap();
                assert!(contents.contains(&seen), "{} bytes", seen.len());
            }
        });
    }
}
