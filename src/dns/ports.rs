//! The addresses DNS clients ask at: UDP for every thread and TCP beside it on one port. Never reads a query.
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use rustix::net::SocketType;

use crate::base::limits::{DNS_PORT_TRIES, DNS_RECEIVE_BUFFER};
use crate::ops::board::Board;
use crate::ops::inherited::Inherited;
use crate::ops::listeners;
use crate::ops::ports::{Ports, Role, Shown, Wanted};
use crate::ops::sockets::SocketError;

/// One address that is listened on.
#[derive(Debug)]
pub(crate) struct Opened {
    udp: Vec<UdpSocket>,
    tcp: TcpListener,
}

impl Opened {
    /// A thread's own descriptor of its socket: the thread may end and come again.
    pub(crate) fn udp(&self, thread: usize) -> io::Result<UdpSocket> {
        self.udp[thread].try_clone()
    }

    pub(crate) fn tcp(&self) -> io::Result<TcpListener> {
        self.tcp.try_clone()
    }
}

/// Opens what can be had at once.
pub(crate) fn open(
    addresses: &[SocketAddr],
    threads: usize,
    inherited: &Inherited,
    board: &Board,
    shown: (Shown, Role),
) -> Ports<Opened> {
    Ports::open(Wanted::all("dns.listen", addresses), inherited, board, shown, move |wanted, inherited| {
        let opened = bind(wanted.address, threads, inherited)?;
        let bound = opened.tcp.local_addr().unwrap_or(wanted.address);
        Ok((opened, bound))
    })
}

/// Both transports on one port. The one that is free for UDP may be taken for TCP: then, if any will do, another one.
fn bind(address: SocketAddr, threads: usize, inherited: &Inherited) -> Result<Opened, SocketError> {
    let mut tries = if address.port() == 0 { DNS_PORT_TRIES } else { 1 };
    loop {
        let udp = listeners::datagrams(address, threads, DNS_RECEIVE_BUFFER, inherited)?;
        let port = udp.first().and_then(|socket| socket.local_addr().ok()).map_or(address.port(), |bound| bound.port());
        tries -= 1;
        let chosen = SocketAddr::new(address.ip(), port);
        match listeners::each(chosen, 1, inherited) {
            Ok(tcp) => return Ok(Opened { udp, tcp: tcp.into_iter().next().expect("it was bound for one thread") }),
            Err(error) => {
                inherited.drop_at(chosen, SocketType::DGRAM);
                if tries == 0 || !matches!(error, SocketError::InUse(_)) {
                    return Err(error);
                }
            }
        }
    }
}
