//! Listening sockets: taken from the service manager where it hands them over, bound where it does not. Never accepts a
//! connection.
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::base::limits::LISTEN_BACKLOG;
use crate::ops::inherited::Inherited;

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("listen on {0}: address in use; `ss -ltunp` shows by whom: stop that, or listen elsewhere")]
    InUse(SocketAddr),
    #[error("listen on {0}: not permitted; ports below 1024 need root or CAP_NET_BIND_SERVICE")]
    NotPermitted(SocketAddr),
    #[error("listen on {0}: this machine does not have that address; `ip address` shows those it has")]
    NotHere(SocketAddr),
    #[error("listen on {0}: this machine has no IPv6; leave it out of the list")]
    NoIpv6(SocketAddr),
    #[error("listen on {0}: {1}")]
    Tcp(SocketAddr, #[source] io::Error),
    #[error("listen on {0}: another process answers there: stop it first")]
    Answered(PathBuf),
    #[error("listen on {0}: something that is no socket is in the way: move it")]
    NoSocket(PathBuf),
    #[error("listen on {0}: {1}")]
    Unix(PathBuf, #[source] io::Error),
    #[error("take over the sockets of before: {0}")]
    Inherited(#[source] io::Error),
}

/// One non-blocking listener for each address. `[::]` is left out where the machine has no IPv6 and the list has
/// something else: the defaults hold on every machine.
pub fn tcp(addresses: &[SocketAddr], inherited: &Inherited) -> Result<Vec<TcpListener>, SocketError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        match tcp_one(*address, inherited) {
            Ok(listener) => listeners.push(listener),
            Err(Errno::AFNOSUPPORT) if is_optional(*address, addresses) => {
                tracing::info!(%address, "not listening there: this machine has no IPv6");
            }
            Err(error) => return Err(tcp_fault(*address, error)),
        }
    }
    Ok(listeners)
}

/// Whether a machine without IPv6 may pass over this address of a list.
pub fn is_optional(address: SocketAddr, list: &[SocketAddr]) -> bool {
    address.is_ipv6() && address.ip().is_unspecified() && list.len() > 1
}

pub(super) fn tcp_fault(address: SocketAddr, error: Errno) -> SocketError {
    match error {
        Errno::ADDRINUSE => SocketError::InUse(address),
        Errno::ACCESS => SocketError::NotPermitted(address),
        Errno::ADDRNOTAVAIL => SocketError::NotHere(address),
        Errno::AFNOSUPPORT if address.is_ipv6() => SocketError::NoIpv6(address),
        error => SocketError::Tcp(address, error.into()),
    }
}

fn tcp_one(address: SocketAddr, inherited: &Inherited) -> Result<TcpListener, Errno> {
    if let Some(fd) = inherited.take_at(address, SocketType::STREAM, 1)?.pop() {
        rustix::io::ioctl_fionbio(&fd, true)?;
        return Ok(fd.into());
    }
    let fd = tcp_bound(address, false)?;
    rustix::net::listen(&fd, LISTEN_BACKLOG)?;
    inherited.keep(&fd)?;
    Ok(fd.into())
}

/// A socket that has the address and does not listen yet; `shared`: beside others of this user that said so too.
pub(super) fn tcp_bound(address: SocketAddr, shared: bool) -> Result<OwnedFd, Errno> {
    bound(address, SocketType::STREAM, shared)
}

/// The same for either type of socket.
pub(super) fn bound(address: SocketAddr, kind: SocketType, shared: bool) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let fd = socket(family, kind)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    if kind == SocketType::STREAM {
        // A restart must not wait for the old connections' TIME_WAIT. For datagrams it would let others in.
        sockopt::set_socket_reuseaddr(&fd, true)?;
    }
    if shared {
        sockopt::set_socket_reuseport(&fd, true)?;
    }
    rustix::net::bind(&fd, &address)?;
    Ok(fd)
}

/// A non-blocking listener on a path, open to its owner and to the group (where there is one of that name). A socket file
/// that nobody answers on is replaced; anything else in the way is left alone.
pub fn unix(path: &Path, group: &str, inherited: &Inherited) -> Result<UnixListener, SocketError> {
    let fault = |error: io::Error| SocketError::Unix(path.to_owned(), error);
    if let Some(fd) = inherited.take_path(path).map_err(|error| fault(error.into()))? {
        rustix::io::ioctl_fionbio(&fd, true).map_err(|error| fault(error.into()))?;
        return Ok(fd.into());
    }
    make_way(path)?;
    let bind = || -> Result<OwnedFd, Errno> {
        let fd = socket(AddressFamily::UNIX, SocketType::STREAM)?;
        // Bound as its owner's alone: the group comes before its permission.
        fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
        rustix::net::bind(&fd, &SocketAddrUnix::new(path)?)?;
        Ok(fd)
    };
    let fd = bind().map_err(|error| fault(error.into()))?;
    let of = fs::symlink_metadata(path).map_err(fault)?.gid();
    // In its sandbox the daemon changes no owners; the group is its own there.
    if let Some(group) = group_id(group).filter(|group| *group != of) {
        std::os::unix::fs::chown(path, None, Some(group)).map_err(fault)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(fault)?;
    rustix::net::listen(&fd, LISTEN_BACKLOG).map_err(|error| fault(error.into()))?;
    inherited.keep(&fd).map_err(|error| fault(error.into()))?;
    Ok(fd.into())
}

fn make_way(path: &Path) -> Result<(), SocketError> {
    let fault = |error: io::Error| SocketError::Unix(path.to_owned(), error);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fault(error)),
        Ok(meta) if !meta.file_type().is_socket() => return Err(SocketError::NoSocket(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::Answered(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(fault),
        Err(error) => Err(fault(error)),
    }
}

fn socket(family: AddressFamily, kind: SocketType) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(family, kind, flags, None)
}

/// The number of a group of this machine.
fn group_id(name: &str) -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_use_is_named() {
        let none = Inherited::default();
        let any = "127.0.0.1:0".parse().unwrap();
        let first = tcp(&[any], &none).unwrap();
        let taken = first[0].local_addr().unwrap();
        let told = tcp(&[any, taken], &none).unwrap_err().to_string();
        assert_eq!(
            told,
            format!("listen on {taken}: address in use; `ss -ltunp` shows by whom: stop that, or listen elsewhere")
        );
        let told = tcp(&["192.0.2.77:0".parse().unwrap()], &none).unwrap_err();
        assert!(matches!(told, SocketError::NotHere(_)), "{told}");
    }

    #[test]
    fn a_listener_does_not_block_and_leaves_ipv4_alone() {
        let none = Inherited::default();
        let listener = tcp(&["127.0.0.1:0".parse().unwrap()], &none).unwrap().remove(0);
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let port = listener.local_addr().unwrap().port();
        let both = [format!("[::]:{port}").parse().unwrap(), "127.0.0.1:0".parse().unwrap()];
        tcp(&both, &none).unwrap();
    }

    #[test]
    fn handed_over_sockets_are_known_by_their_address() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (held, plain) = (TcpListener::bind("127.0.0.1:0").unwrap(), UnixListener::bind(&path).unwrap());
        let address = held.local_addr().unwrap();
        let inherited = Inherited::of(vec![held.into(), plain.into()]);
        let taken = tcp(&[address, "127.0.0.1:0".parse().unwrap()], &inherited).unwrap();
        assert_eq!((taken[0].local_addr().unwrap(), inherited.left()), (address, 1));
        assert_eq!(taken[0].accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let taken = unix(&path, "root", &inherited).unwrap();
        assert_eq!((taken.accept().unwrap_err().kind(), inherited.left()), (io::ErrorKind::WouldBlock, 0));
    }

    #[test]
    fn only_a_dead_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (path, none) = (dir.path().join("s"), Inherited::default());
        let alive = unix(&path, "no such group", &none).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(matches!(unix(&path, "root", &none), Err(SocketError::Answered(_))));
        drop(alive);
        let again = unix(&path, "root", &none).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        drop(again);
        for name in ["file", "link"] {
            let path = dir.path().join(name);
            if name == "file" {
                fs::write(&path, "kept").unwrap();
            } else {
                std::os::unix::fs::symlink(dir.path().join("s"), &path).unwrap();
            }
            assert!(matches!(unix(&path, "root", &none), Err(SocketError::NoSocket(_))), "{name}");
            assert!(fs::symlink_metadata(&path).is_ok());
        }
        assert!(unix(Path::new(&format!("/{}", "x".repeat(200))), "root", &none).is_err());
    }
}
