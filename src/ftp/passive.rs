//! Passive mode: a port of the range is opened for one data connection, which only the client of the control connection may
//! make. Never connects to anybody.
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout, timeout_at};

use crate::base::limits::{FTP_DATA_WAIT, FTP_PASSIVE_KEPT, FTP_PASSIVE_TRIES, FTP_RESOLVE_WAIT};
use crate::cluster::door::random;

/// Connections that wait at a passive port: the one wanted, and those of thieves before it.
const PASSIVE_BACKLOG: i32 = 16;

/// A port that waits for a client.
#[derive(Debug)]
pub(crate) struct Passive {
    listener: TcpListener,
    pub(crate) port: u16,
    /// When it is taken back.
    pub(crate) until: Instant,
}

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassiveError {
    #[error("open a port for data: all of {}-{} are taken; try again", .0.start(), .0.end())]
    Taken(RangeInclusive<u16>),
    #[error("open a port for data: {0}")]
    Io(#[from] io::Error),
    #[error("take the data connection: nobody came within {} s", FTP_DATA_WAIT.as_secs())]
    Nobody,
    #[error("find the address of {0} for passive mode: use EPSV")]
    NoAddress(String),
}

impl Passive {
    /// On the address the client came to: it has a way there.
    pub(crate) fn open(local: IpAddr, range: &RangeInclusive<u16>) -> Result<Self, PassiveError> {
        let count = u32::from(range.end() - range.start()) + 1;
        let [a, b, c, d, ..] = random();
        // From a place that cannot be guessed: whoever knows the next port may come before the client.
        let first = u32::from_be_bytes([a, b, c, d]) % count;
        for at in 0..count.min(u32::from(FTP_PASSIVE_TRIES)) {
            let port = *range.start() + ((first + at) % count) as u16;
            match listen(SocketAddr::new(local, port)) {
                Ok(listener) => return Ok(Self { listener, port, until: Instant::now() + FTP_PASSIVE_KEPT }),
                Err(Errno::ADDRINUSE) => {}
                Err(errno) => return Err(PassiveError::Io(errno.into())),
            }
        }
        Err(PassiveError::Taken(range.clone()))
    }

    /// The connection of this client, if it is there already, which is what most do; those of others are closed.
    pub(crate) fn at_once(&self, client: IpAddr) -> Result<Option<TcpStream>, PassiveError> {
        // As many as may wait: whoever comes again and again is not looked at for ever.
        for _ in 0..=PASSIVE_BACKLOG {
            match rustix::net::acceptfrom_with(&self.listener, SOCKET) {
                Ok((socket, peer)) => {
                    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                    if peer.is_some_and(|peer| is_of(peer, client)) {
                        return Ok(Some(TcpStream::from(socket)));
                    }
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(errno) => return Err(PassiveError::Io(errno.into())),
            }
        }
        Ok(None)
    }

    /// The same, waited for.
    pub(crate) async fn accept(self, client: IpAddr) -> Result<TcpStream, PassiveError> {
        let deadline = Instant::now() + FTP_DATA_WAIT;
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        loop {
            let (stream, peer) = timeout_at(deadline, listener.accept()).await.map_err(|_| PassiveError::Nobody)??;
            if is_of(peer, client) {
                return Ok(stream.into_std()?);
            }
        }
    }
}

/// Whether the client of the control connection made it. Others are counted.
fn is_of(peer: SocketAddr, client: IpAddr) -> bool {
    let is_client = peer.ip().to_canonical() == client.to_canonical();
    if !is_client {
        metrics::counter!("ruche_ftp_strange_data_connections_total").increment(1);
        tracing::info!(%peer, %client, "a data connection was not made by the client it was for");
    }
    is_client
}

const SOCKET: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

fn listen(address: SocketAddr) -> Result<TcpListener, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SOCKET, None)?;
    // The connections of before, in TIME_WAIT, do not keep a port.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    // A thief must not fill the queue before the client comes.
    rustix::net::listen(&socket, PASSIVE_BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// What 227 tells: the configured address, or the one the client came to.
pub(crate) async fn announced(host: Option<&str>, local: Ipv4Addr) -> Result<Ipv4Addr, PassiveError> {
    let Some(host) = host else { return Ok(local) };
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    let found = timeout(FTP_RESOLVE_WAIT, lookup_host((host, 0))).await;
    let v4 = |address: SocketAddr| if let IpAddr::V4(address) = address.ip() { Some(address) } else { None };
    let address = found.ok().and_then(Result::ok).and_then(|mut all| all.find_map(v4));
    address.ok_or_else(|| PassiveError::NoAddress(host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_range_is_used_up_and_said_to_be() {
        let local = IpAddr::V4(Ipv4Addr::new(127, 71, 3, 9));
        let range = 40_001..=40_003;
        let held: Vec<_> = (0..3).map(|_| Passive::open(local, &range).unwrap()).collect();
        let mut ports: Vec<_> = held.iter().map(|passive| passive.port).collect();
        ports.sort_unstable();
        assert_eq!(ports, [40_001, 40_002, 40_003]);
        let told = Passive::open(local, &range).unwrap_err().to_string();
        assert_eq!(told, "open a port for data: all of 40001-40003 are taken; try again");
        drop(held);
        assert!(Passive::open(local, &range).is_ok());
    }

    #[tokio::test]
    async fn only_the_client_itself_is_taken() {
        let local = IpAddr::V4(Ipv4Addr::new(127, 71, 3, 10));
        let passive = Passive::open(local, &(40_001..=40_100)).unwrap();
        let to = SocketAddr::new(local, passive.port);
        let connect = |from: &str| {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
            socket.connect(to)
        };
        let thief = connect("127.0.0.3").await.unwrap();
        let client = connect("127.0.0.2").await.unwrap();
        let taken = passive.accept("::ffff:127.0.0.2".parse().unwrap()).await.unwrap();
        assert_eq!(taken.peer_addr().unwrap(), client.local_addr().unwrap());
        drop(thief);
    }

    #[tokio::test]
    async fn an_address_is_announced() {
        let local = Ipv4Addr::new(192, 0, 2, 1);
        assert_eq!(announced(None, local).await.unwrap(), local);
        assert_eq!(announced(Some("192.0.2.9"), local).await.unwrap(), Ipv4Addr::new(192, 0, 2, 9));
        assert_eq!(announced(Some("localhost"), local).await.unwrap(), Ipv4Addr::LOCALHOST);
    }
}
