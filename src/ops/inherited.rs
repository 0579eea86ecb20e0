//! Sockets that outlive a process: those that were handed to this one, by the service manager or by the process before it, and copies
//! of those it listens on, for whoever comes after it. Never accepts a connection and never reads a datagram.
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, SocketType, sockopt};

use crate::ops::sockets::SocketError;
use crate::ops::{notify, passing};

/// Sockets are known by their address, not by the name they were handed over with. The default one has none, and keeps none.
#[derive(Debug, Clone, Default)]
pub struct Inherited(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// Nobody has taken them yet.
    left: Vec<OwnedFd>,
    /// Copies of what is listened on; none where nobody comes after us.
    kept: Option<Vec<OwnedFd>>,
    /// Whether the service manager keeps copies too.
    stored: bool,
}

impl Inherited {
    /// Takes what `LISTEN_FDS` announces. The descriptors are copied (the originals stay open until the process ends, as
    /// the service manager's own do) because adopting a number is not safe.
    pub fn from_env() -> Result<Self, SocketError> {
        let numbers = sd_notify::listen_fds().map_err(SocketError::Inherited)?;
        passing::copies(&numbers.collect::<Vec<RawFd>>()).map(Self::of).map_err(SocketError::Inherited)
    }

    pub fn of(left: Vec<OwnedFd>) -> Self {
        Self(Arc::new(Mutex::new(Inner { left, kept: Some(Vec::new()), stored: false })))
    }

    /// Has the service manager keep what is listened on, now and from now on, and forget what nobody wants any more: it would
    /// hold an address on which nobody answers.
    pub fn store(&self) {
        let mut inner = self.lock();
        for socket in inner.left.drain(..) {
            notify::forget(&name(&socket));
        }
        inner.stored = true;
        for socket in inner.kept.iter().flatten() {
            notify::store(&name(socket), socket);
        }
    }

    /// Copies of what is listened on, for the next process.
    pub fn kept(&self) -> Result<Vec<OwnedFd>, Errno> {
        self.lock().kept.iter().flatten().map(copy).collect()
    }

    /// Lets go of the copies: the addresses are free when those who listen have let go too.
    pub fn let_go(&self) {
        let mut inner = self.lock();
        inner.left.clear();
        inner.kept = None;
    }

    /// Lets go of the copies, also of the service manager's: whoever listens there next begins anew.
    pub fn withdraw(&self) {
        for socket in self.lock().kept.iter().flatten() {
            notify::forget(&name(socket));
        }
        self.let_go();
    }

    /// Keeps a copy of a socket that is listened on.
    pub(super) fn keep(&self, socket: &OwnedFd) -> Result<(), Errno> {
        let mut inner = self.lock();
        let stored = inner.stored;
        if let Some(kept) = &mut inner.kept {
            kept.push(copy(socket)?);
            if stored {
                notify::store(&name(socket), socket);
            }
        }
        Ok(())
    }

    /// Lets go of the copies of those at an address that could not be used after all.
    pub fn drop_at(&self, address: SocketAddr, kind: SocketType) {
        let mut inner = self.lock();
        let Some(kept) = &mut inner.kept else { return };
        let gone = kept.extract_if(.., |socket| is_at(socket, address, kind));
        gone.for_each(|socket| notify::forget(&name(&socket)));
    }

    /// Those at an address, `most` of them at most.
    pub(super) fn take_at(&self, address: SocketAddr, kind: SocketType, most: usize) -> Result<Vec<OwnedFd>, Errno> {
        self.take(most, |socket| address.port() != 0 && is_at(socket, address, kind))
    }

    /// The one at a path.
    pub(super) fn take_path(&self, path: &Path) -> Result<Option<OwnedFd>, Errno> {
        let same = |socket: &OwnedFd| bound_path(socket).is_some_and(|at| at == path.as_os_str().as_encoded_bytes());
        Ok(self.take(1, same)?.pop())
    }

    fn take(&self, most: usize, same: impl Fn(&OwnedFd) -> bool) -> Result<Vec<OwnedFd>, Errno> {
        // Datagrams are not accepted, and there is nothing to listen for.
        let listens = |socket: &OwnedFd| {
            sockopt::socket_type(socket) == Ok(SocketType::DGRAM) || sockopt::socket_acceptconn(socket) == Ok(true)
        };
        let mut inner = self.lock();
        let mut taken = Vec::new();
        while let Some(at) = inner.left.iter().position(|socket| taken.len() < most && listens(socket) && same(socket))
        {
            // Those of one address keep their order: each may have connections that wait.
            taken.push(inner.left.remove(at));
        }
        if let Some(kept) = &mut inner.kept {
            for socket in &taken {
                kept.push(copy(socket)?);
            }
        }
        Ok(taken)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        self.lock().left.len()
    }
}

fn copy(socket: impl AsFd) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(socket, 0)
}

fn is_at(socket: &OwnedFd, address: SocketAddr, kind: SocketType) -> bool {
    bound(socket) == Some(address) && sockopt::socket_type(socket) == Ok(kind)
}

fn bound(socket: &OwnedFd) -> Option<SocketAddr> {
    rustix::net::getsockname(socket).ok().and_then(|bound| SocketAddr::try_from(bound).ok())
}

fn bound_path(socket: &OwnedFd) -> Option<Vec<u8>> {
    let bound = rustix::net::getsockname(socket).ok().and_then(|bound| SocketAddrUnix::try_from(bound).ok())?;
    Some(bound.path()?.to_bytes().to_vec())
}

/// What the service manager shows: no colon, nothing but ASCII, and the same for all sockets of one address.
fn name(socket: &OwnedFd) -> String {
    let kind = if sockopt::socket_type(socket) == Ok(SocketType::DGRAM) { "udp" } else { "tcp" };
    match bound(socket) {
        Some(address) => format!("{kind} {address}").replace(':', "."),
        None => "unix".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn what_is_taken_is_kept_for_the_next_one_until_it_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let datagrams = UdpSocket::bind(address).unwrap();
        let inherited = Inherited::of(vec![listener.into(), datagrams.into()]);
        assert!(inherited.kept().unwrap().is_empty());
        let taken = inherited.take_at(address, SocketType::STREAM, 4).unwrap();
        assert_eq!((taken.len(), inherited.left(), inherited.kept().unwrap().len()), (1, 1, 1));
        let taken = inherited.take_at(address, SocketType::DGRAM, 4).unwrap();
        assert_eq!((taken.len(), inherited.left(), inherited.kept().unwrap().len()), (1, 0, 2));
        drop(taken);
        assert!(UdpSocket::bind(address).is_err(), "the copy holds the address");
        inherited.let_go();
        UdpSocket::bind(address).unwrap();
        inherited.keep(&TcpListener::bind("127.0.0.1:0").unwrap().into()).unwrap();
        assert!(inherited.kept().unwrap().is_empty(), "nothing is kept afterwards");
    }

    #[test]
    fn names_are_what_the_service_manager_takes() {
        let v6 = UdpSocket::bind("[::1]:0").unwrap();
        let port = v6.local_addr().unwrap().port();
        assert_eq!(name(&v6.into()), format!("udp [..1].{port}"));
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = v4.local_addr().unwrap().port();
        assert_eq!(name(&v4.into()), format!("tcp 127.0.0.1.{port}"));
    }
}
