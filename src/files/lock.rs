//! The lock on the data directory: one process at a time has it, and says which. Never removes the file, which would let
//! two processes lock two files of one name.
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("lock {path}: process {pid} holds it; stop that one first")]
    Held { path: PathBuf, pid: String },
    #[error("lock {path}: {cause}")]
    Io {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

/// Held until dropped; the kernel gives it up with the process, however that ends.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

/// Takes `DIR/lock`, without waiting.
pub fn acquire(dir: &Path) -> Result<DirLock, LockError> {
    let path = dir.join("lock");
    let fault = |cause: io::Error| LockError::Io { path: path.clone(), cause };
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR).map_err(|error| fault(error.into()))?;
    let mut file = File::from(opened);
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            // Enough for any number; whatever else is in the file is not worth a screen.
            let read = Read::by_ref(&mut file).take(20).read_to_string(&mut pid);
            let known = read.is_ok() && pid.trim().parse::<u32>().is_ok();
            let pid = if known { pid.trim().to_owned() } else { "unknown".to_owned() };
            return Err(LockError::Held { path, pid });
        }
        Err(error) => return Err(fault(error.into())),
    }
    // The pid is a courtesy: a full disk must not keep a node from starting.
    let _ = file.set_len(0).and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
    Ok(DirLock { _file: file })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_second_one_is_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("lock"), "4294967295 of a longer life\n").unwrap();
        let first = acquire(dir.path()).unwrap();
        let told = acquire(dir.path()).unwrap_err().to_string();
        let path = dir.path().join("lock");
        let pid = std::process::id();
        assert_eq!(told, format!("lock {}: process {pid} holds it; stop that one first", path.display()));
        drop(first);
        let again = acquire(dir.path()).unwrap();
        fs::write(&path, "rubbish").unwrap();
        assert!(acquire(dir.path()).unwrap_err().to_string().contains("process unknown holds it"));
        drop(again);
    }

    #[test]
    fn a_link_or_a_missing_directory_is_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("elsewhere", dir.path().join("lock")).unwrap();
        assert!(matches!(acquire(dir.path()), Err(LockError::Io { .. })));
        assert!(!dir.path().join("elsewhere").exists());
        assert!(matches!(acquire(&dir.path().join("none")), Err(LockError::Io { .. })));
    }
}
