//! One process hands over to the next: the sockets first, then, once it has closed its databases, the word that they are free, then
//! its name with the service manager. Both sides of that talk, each word one byte on a socket pair. Knows nothing of databases.
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::CommandExt;
use std::process::ExitStatus;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::base::limits::HAND_OVER_WAIT;
use crate::ops::inherited::Inherited;
use crate::ops::{notify, passing};

/// Set for a process that is to take over from the one that starts it.
const TAKES_OVER: &str = "RUCHE_TAKES_OVER";
/// The program that runs, also after another took its name.
const SAME: &str = "/proc/self/exe";

/// The sockets are there.
const SOCKETS: u8 = b's';
/// Of the new one: it could be started, and waits.
const WAITING: u8 = b'w';
/// The databases are free.
const GO: u8 = b'g';
/// Of the new one: it serves.
const SERVING: u8 = b'r';
/// The service manager knows it.
const YOURS: u8 = b'y';

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum HandOverError {
    #[error("start the next process: {0}")]
    Start(#[source] io::Error),
    #[error("start the next process: {0}; the log above has what it said")]
    Ended(ExitStatus),
    #[error("start the next process: nothing was heard of it for {} seconds", HAND_OVER_WAIT.as_secs())]
    Late,
    #[error("take over from another process: {0}")]
    TakeOver(#[source] io::Error),
}

/// Which program the next process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// What has this one's name by now.
    New,
    /// The very same: after a new one failed.
    Same,
}

/// The process that takes over, seen from the one that hands over.
#[derive(Debug)]
pub struct Successor {
    child: Child,
    talk: UnixStream,
}

impl Successor {
    /// Starts it with our own arguments, and waits until it has read its configuration and has the sockets: until then nothing was
    /// given up here.
    pub async fn start(program: Program, sockets: &[OwnedFd]) -> Result<Self, HandOverError> {
        let (child, talk) = spawn(program, sockets).map_err(HandOverError::Start)?;
        let mut successor = Self { child, talk };
        successor.hear(WAITING).await?;
        Ok(successor)
    }

    /// Lets it have the databases, and waits until it serves.
    pub async fn go(&mut self) -> Result<(), HandOverError> {
        self.talk.write_all(&[GO]).await.map_err(HandOverError::Start)?;
        self.hear(SERVING).await
    }

    /// Makes it the process that the service manager watches. From here on this one has nothing to say there.
    pub async fn yield_to(&mut self) {
        if let Some(id) = self.child.id() {
            notify::hand_over(id);
        }
        // One that ended in this moment is the service manager's to start again.
        let _ = self.talk.write_all(&[YOURS]).await;
    }

    /// Returns when it has failed: as long as this process is its parent, the service manager does not see it. One that handed over in
    /// its turn ends well.
    pub async fn fails(&mut self) {
        match self.child.wait().await {
            Ok(status) if status.success() => std::future::pending().await,
            Ok(status) => tracing::error!(%status, "the process that took over has ended"),
            Err(error) => tracing::error!(%error, "failed to wait for the process that took over"),
        }
    }

    /// Ends one that failed: when this returns it holds nothing any more.
    pub async fn end(mut self) {
        if let Err(error) = self.child.kill().await {
            tracing::warn!(%error, "failed to end the next process");
        }
    }

    async fn hear(&mut self, word: u8) -> Result<(), HandOverError> {
        let heard = match timeout(HAND_OVER_WAIT, self.talk.read_u8()).await {
            Ok(heard) => heard,
            Err(_) => {
                let _ = self.child.kill().await;
                return Err(HandOverError::Late);
            }
        };
        if matches!(heard, Ok(heard) if heard == word) {
            return Ok(());
        }
        // It closed its end, or speaks another language.
        let _ = self.child.start_kill();
        Err(self.child.wait().await.map_or_else(HandOverError::Start, HandOverError::Ended))
    }
}

fn spawn(program: Program, sockets: &[OwnedFd]) -> io::Result<(Child, UnixStream)> {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| OsString::from("ruche"));
    let path = match program {
        Program::New => name.as_os_str(),
        Program::Same => OsStr::new(SAME),
    };
    let (here, there) = StdStream::pair()?;
    // Before there is anybody to read it: it fits into what the kernel holds.
    passing::send(&here, &[SOCKETS], sockets)?;
    let mut command = std::process::Command::new(path);
    command.arg0(&name).args(arguments).stdin(OwnedFd::from(there));
    command.env(TAKES_OVER, if program == Program::Same { "back" } else { "new" });
    // What the service manager told this process alone.
    for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID"] {
        command.env_remove(name);
    }
    let child = Command::from(command).spawn()?;
    here.set_nonblocking(true)?;
    Ok((child, UnixStream::from_std(here)?))
}

/// The process that hands over, seen from the one that takes over.
#[derive(Debug)]
pub struct Predecessor {
    talk: UnixStream,
    /// Whether this program runs again because a newer one failed.
    pub went_back: bool,
}

impl Predecessor {
    /// With the sockets that are handed over; None where nobody does, which is so also where this process took over long ago and
    /// became the same program anew.
    pub fn from_env() -> Result<Option<(Self, Inherited)>, HandOverError> {
        let Some(how) = std::env::var_os(TAKES_OVER) else { return Ok(None) };
        let take = || -> io::Result<_> {
            let talk = StdStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
            let mut sockets = Vec::new();
            // They were there before this process was.
            talk.set_nonblocking(true)?;
            if !matches!(passing::receive(&talk, &mut sockets), Ok(Some(SOCKETS))) {
                return Ok(None);
            }
            Ok(Some((Self { talk: UnixStream::from_std(talk)?, went_back: how == "back" }, Inherited::of(sockets))))
        };
        take().map_err(HandOverError::TakeOver)
    }

    /// Says that this process could be started, and waits until the databases are free.
    pub async fn turn(&mut self) -> Result<(), HandOverError> {
        let turn = async {
            self.talk.write_all(&[WAITING]).await?;
            self.talk.read_u8().await
        };
        match turn.await {
            Ok(GO) => Ok(()),
            Ok(_) => Err(HandOverError::TakeOver(io::Error::from(io::ErrorKind::InvalidData))),
            Err(error) => Err(HandOverError::TakeOver(error)),
        }
    }

    /// Says that this process serves, and waits until the service manager knows it. Without the other one that is so already.
    pub async fn serving(mut self) {
        let _ = self.talk.write_all(&[SERVING]).await;
        let _ = self.talk.read_u8().await;
    }
}
