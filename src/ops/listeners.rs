//! One address listened on by several threads. Each has a socket of its own and the kernel deals out the connections and the
//! datagrams, so no thread takes another's lock. Never accepts a connection and never reads a datagram.
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use rustix::net::{SocketType, sockopt};

use crate::base::limits::LISTEN_BACKLOG;
use crate::ops::inherited::Inherited;
use crate::ops::sockets::{SocketError, bound, tcp_bound, tcp_fault};

/// A non-blocking listener for each thread, all on one address; with port 0 all on the port the first one got.
pub fn each(address: SocketAddr, threads: usize, inherited: &Inherited) -> Result<Vec<TcpListener>, SocketError> {
    let each = || {
        let handed = inherited.take_at(address, SocketType::STREAM, threads)?;
        if handed.is_empty() {
            let sockets = bind_each(address, threads)?;
            sockets.iter().try_for_each(|socket| inherited.keep(socket))?;
            return Ok(sockets);
        }
        for socket in &handed {
            rustix::io::ioctl_fionbio(socket, true)?;
            sockopt::set_tcp_nodelay(socket, true)?;
        }
        complete(handed, threads, inherited, || {
            let socket = tcp_bound(address, true)?;
            sockopt::set_tcp_nodelay(&socket, true)?;
            rustix::net::listen(&socket, LISTEN_BACKLOG)?;
            Ok(socket)
        })
    };
    let sockets = each().map_err(|error| tcp_fault(address, error))?;
    Ok(sockets.into_iter().map(TcpListener::from).collect())
}

/// Who had them before may have had fewer threads. Those that lack are bound beside the others; where they are of another user,
/// none may be put there, and the threads share what there is.
fn complete(
    mut sockets: Vec<OwnedFd>,
    threads: usize,
    inherited: &Inherited,
    another: impl Fn() -> Result<OwnedFd, Errno>,
) -> Result<Vec<OwnedFd>, Errno> {
    for at in 0..threads.saturating_sub(sockets.len()) {
        sockets.push(match another() {
            Ok(socket) => {
                inherited.keep(&socket)?;
                socket
            }
            Err(_) => rustix::io::fcntl_dupfd_cloexec(&sockets[at], 0)?,
        });
    }
    Ok(sockets)
}

/// SO_REUSEPORT would let us in beside a leftover server of the same user, which then takes a share of the visitors. So the
/// first socket is bound without it, as the proof that nobody listens there, and opened to the others only then: it keeps the
/// address all the time. None listens before all are bound, so no connection is dealt to a socket that fails later.
fn bind_each(address: SocketAddr, threads: usize) -> Result<Vec<OwnedFd>, Errno> {
    let first = tcp_bound(address, false)?;
    let bound = rustix::net::getsockname(&first)?;
    let address = SocketAddr::try_from(bound)?;
    sockopt::set_socket_reuseport(&first, true)?;
    let mut sockets = vec![first];
    for _ in 1..threads {
        sockets.push(tcp_bound(address, true)?);
    }
    for socket in &sockets {
        // Accepted connections inherit it.
        sockopt::set_tcp_nodelay(socket, true)?;
        rustix::net::listen(socket, LISTEN_BACKLOG)?;
    }
    Ok(sockets)
}

/// A blocking socket for datagrams for each thread, all on one address; with port 0 all on the port the first one got.
/// `waiting`: bytes the kernel may hold for one of them.
pub fn datagrams(
    address: SocketAddr,
    threads: usize,
    waiting: usize,
    inherited: &Inherited,
) -> Result<Vec<UdpSocket>, SocketError> {
    let each = || {
        let handed = inherited.take_at(address, SocketType::DGRAM, threads)?;
        if handed.is_empty() {
            let sockets = datagrams_each(address, threads, waiting)?;
            sockets.iter().try_for_each(|socket| inherited.keep(socket))?;
            return Ok(sockets);
        }
        let set = |socket| prepared(address, waiting, socket);
        let handed = handed.into_iter().map(set).collect::<Result<_, _>>()?;
        complete(handed, threads, inherited, || set(bound(address, SocketType::DGRAM, true)?))
    };
    let sockets = each().map_err(|error| tcp_fault(address, error))?;
    Ok(sockets.into_iter().map(UdpSocket::from).collect())
}

/// As with connections the first socket proves that nobody else is there.
fn datagrams_each(address: SocketAddr, threads: usize, waiting: usize) -> Result<Vec<OwnedFd>, Errno> {
    let first = bound(address, SocketType::DGRAM, false)?;
    let address = SocketAddr::try_from(rustix::net::getsockname(&first)?)?;
    sockopt::set_socket_reuseport(&first, true)?;
    let mut sockets = vec![first];
    for _ in 1..threads {
        sockets.push(bound(address, SocketType::DGRAM, true)?);
    }
    sockets.into_iter().map(|socket| prepared(address, waiting, socket)).collect()
}

fn prepared(address: SocketAddr, waiting: usize, socket: OwnedFd) -> Result<OwnedFd, Errno> {
    // The kernel gives as much of it as the machine allows.
    sockopt::set_socket_recv_buffer_size(&socket, waiting)?;
    rustix::io::ioctl_fionbio(&socket, false)?;
    // What anybody says about the path to a client (ICMP, easily forged) makes no answer go out in fragments.
    if address.is_ipv6() {
        sockopt::set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::OMIT)?;
    } else {
        sockopt::set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::OMIT)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::ErrorKind;
    use std::net::TcpStream;

    use super::*;

    fn any(host: &str) -> SocketAddr {
        format!("{host}:0").parse().unwrap()
    }

    #[test]
    fn each_thread_gets_connections_on_one_port_without_delay() {
        for host in ["127.0.0.1", "[::1]"] {
            let listeners = each(any(host), 3, &Inherited::default()).unwrap();
            let address = listeners[0].local_addr().unwrap();
            assert!(listeners.iter().all(|listener| listener.local_addr().unwrap() == address));
            let clients: Vec<_> = (0..64).map(|_| TcpStream::connect(address).unwrap()).collect();
            let mut accepted = 0;
            let mut used = HashSet::new();
            for (thread, listener) in listeners.iter().enumerate() {
                loop {
                    match listener.accept() {
                        Ok((stream, _)) => {
                            assert!(stream.nodelay().unwrap());
                            accepted += 1;
                            used.insert(thread);
                        }
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            assert_eq!((accepted, used.len()), (clients.len(), 3));
        }
    }

    #[test]
    fn a_server_that_was_left_running_is_seen_though_it_shares_its_port() {
        let none = Inherited::default();
        let left = each(any("127.0.0.1"), 2, &none).unwrap();
        let address = left[0].local_addr().unwrap();
        assert!(matches!(each(address, 2, &none), Err(SocketError::InUse(told)) if told == address));
        // Also beside one that means all addresses, and as soon as a single one of its sockets is left.
        let all = SocketAddr::new("0.0.0.0".parse().unwrap(), address.port());
        let one = left.into_iter().next_back();
        assert!(matches!(each(all, 2, &none), Err(SocketError::InUse(_))));
        drop(one);
        each(all, 2, &none).unwrap();
    }

    #[test]
    fn each_thread_gets_datagrams_on_one_port_and_a_leftover_server_is_seen() {
        for host in ["127.0.0.1", "[::1]"] {
            let sockets = datagrams(any(host), 3, 1 << 16, &Inherited::default()).unwrap();
            let address = sockets[0].local_addr().unwrap();
            for _ in 0..64 {
                UdpSocket::bind(any(host)).unwrap().send_to(b"?", address).unwrap();
            }
            let mut used = 0;
            for socket in &sockets {
                socket.set_nonblocking(true).unwrap();
                used += u32::from(socket.recv(&mut [0; 8]).is_ok());
            }
            assert_eq!(used, 3);
            assert!(
                matches!(datagrams(address, 2, 1 << 16, &Inherited::default()), Err(SocketError::InUse(told)) if told == address)
            );
        }
    }

    #[test]
    fn an_inherited_socket_is_shared_by_the_threads() {
        let handed = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = handed.local_addr().unwrap();
        let inherited = Inherited::of(vec![handed.into()]);
        let listeners = each(address, 2, &inherited).unwrap();
        assert_eq!(inherited.left(), 0);
        let _client = TcpStream::connect(address).unwrap();
        let (stream, _) = listeners[1].accept().expect("either thread may take the connection");
        assert!(stream.nodelay().unwrap());
        assert_eq!(listeners[0].accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn connections_of_before_do_not_keep_the_address() {
        let none = Inherited::default();
        let before = each(any("127.0.0.1"), 2, &none).unwrap();
        let address = before[0].local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let served = before.iter().find_map(|listener| listener.accept().ok()).unwrap();
        drop(before);
        each(address, 2, &none).unwrap();
        drop((client, served));
    }
}
