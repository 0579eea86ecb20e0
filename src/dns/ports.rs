//! The addresses DNS clients ask at: UDP for every thread and TCP beside it on one port. One that cannot be had is said on the board
//! and tried again until it can; all of them are given up at the stop. Never reads a query.
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::api::status::Listener;
use crate::base::limits::{DNS_PORT_TRIES, DNS_RECEIVE_BUFFER, LISTEN_RETRY};
use crate::ops::board::Board;
use crate::ops::listeners;
use crate::ops::sockets::{Inherited, SocketError, is_optional};
use crate::ops::stop::Stop;

const NAME: &str = "dns.listen";

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

/// What is listened on by the place of each address in the configuration.
type All = Vec<Option<Arc<Opened>>>;

#[derive(Debug)]
pub(crate) struct Ports {
    addresses: Vec<SocketAddr>,
    threads: usize,
    board: Board,
    shown: Arc<watch::Sender<Vec<Listener>>>,
    /// Not had yet, by their places.
    wanted: Mutex<Vec<usize>>,
    opened: watch::Sender<All>,
}

impl Ports {
    /// Opens what can be had at once.
    pub(crate) fn open(
        addresses: &[SocketAddr],
        threads: usize,
        inherited: &mut Inherited,
        board: &Board,
        shown: Arc<watch::Sender<Vec<Listener>>>,
    ) -> Self {
        let ports = Self {
            addresses: addresses.to_vec(),
            threads,
            board: board.clone(),
            shown,
            wanted: Mutex::new((0..addresses.len()).collect()),
            opened: watch::Sender::new(vec![None; addresses.len()]),
        };
        ports.wanted().retain(|at| ports.try_one(*at, inherited));
        ports
    }

    /// What is listened on, as it grows; nothing any more once it was given up.
    pub(crate) fn opened(&self) -> watch::Receiver<All> {
        let mut opened = self.opened.subscribe();
        opened.mark_changed();
        opened
    }

    /// One address, as soon as it is listened on.
    pub(crate) async fn one(&self, at: usize) -> Option<Arc<Opened>> {
        let mut opened = self.opened.subscribe();
        let all = opened.wait_for(|all| all[at].is_some()).await.ok()?;
        all[at].clone()
    }

    /// Tries what is missing again and again; at the stop lets go of everything.
    pub(crate) async fn keep(&self, stop: &Stop) {
        while !self.wanted().is_empty() {
            tokio::select! {
                () = tokio::time::sleep(LISTEN_RETRY) => {}
                () = stop.give_up() => break,
            }
            self.wanted().retain(|at| self.try_one(*at, &mut Inherited::default()));
        }
        stop.give_up().await;
        self.opened.send_modify(|all| all.iter_mut().for_each(|one| *one = None));
    }

    /// Whether it is still wanted afterwards.
    fn try_one(&self, at: usize, inherited: &mut Inherited) -> bool {
        let address = self.addresses[at];
        let name = format!("{NAME} {address}");
        match self.bind(address, inherited) {
            Ok(opened) => {
                let bound = opened.tcp.local_addr().unwrap_or(address);
                self.shown
                    .send_modify(|list| list.push(Listener { name: NAME.to_owned(), address: bound.to_string() }));
                self.board.clear(&name);
                self.opened.send_modify(|all| all[at] = Some(Arc::new(opened)));
                false
            }
            Err(SocketError::NoIpv6(address)) if is_optional(address, &self.addresses) => {
                tracing::info!(%address, "not listening there: this machine has no IPv6");
                false
            }
            Err(error) => {
                self.board.yellow(&name, format!("failed to {error}; it is tried again every few seconds"));
                true
            }
        }
    }

    /// Both transports on one port. The one that is free for UDP may be taken for TCP: then, if any will do, another one.
    fn bind(&self, address: SocketAddr, inherited: &mut Inherited) -> Result<Opened, SocketError> {
        let mut tries = if address.port() == 0 { DNS_PORT_TRIES } else { 1 };
        loop {
            let udp = listeners::datagrams(address, self.threads, DNS_RECEIVE_BUFFER)?;
            let port =
                udp.first().and_then(|socket| socket.local_addr().ok()).map_or(address.port(), |bound| bound.port());
            tries -= 1;
            match listeners::each(SocketAddr::new(address.ip(), port), 1, inherited) {
                Ok(tcp) => {
                    return Ok(Opened { udp, tcp: tcp.into_iter().next().expect("it was bound for one thread") });
                }
                Err(SocketError::InUse(_)) if tries > 0 => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn wanted(&self) -> MutexGuard<'_, Vec<usize>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
