//! The addresses visitors come to: each opened for every thread, one that cannot be had said on the board and tried again until
//! it can, all of them given up at the stop. Never accepts a connection.
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::api::status::Listener;
use crate::base::limits::LISTEN_RETRY;
use crate::config;
use crate::ops::board::Board;
use crate::ops::listeners;
use crate::ops::sockets::{Inherited, SocketError, is_optional};
use crate::ops::stop::Stop;

/// Where HTTPS is when the configuration does not say.
const HTTPS: u16 = 443;

/// One address that is listened on.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) secure: bool,
    each: Vec<TcpListener>,
}

impl Opened {
    /// A thread's own descriptor of its listener: the thread may end and come again.
    pub(crate) fn listener(&self, thread: usize) -> io::Result<TcpListener> {
        self.each[thread].try_clone()
    }
}

#[derive(Debug, Clone, Copy)]
struct Wanted {
    secure: bool,
    address: SocketAddr,
}

impl Wanted {
    fn name(self) -> String {
        format!("{} {}", if self.secure { "web.https" } else { "web.http" }, self.address)
    }
}

/// All addresses of the plane.
#[derive(Debug)]
pub(crate) struct Ports {
    threads: usize,
    board: Board,
    shown: Arc<watch::Sender<Vec<Listener>>>,
    /// Not had yet.
    wanted: Mutex<Vec<Wanted>>,
    opened: watch::Sender<Vec<Arc<Opened>>>,
    /// The first of the configured HTTPS addresses, and its port.
    first: Option<SocketAddr>,
    https_port: AtomicU16,
}

impl Ports {
    /// Opens what can be had at once.
    pub(crate) fn open(
        config: &config::Web,
        threads: usize,
        inherited: &mut Inherited,
        board: &Board,
        shown: Arc<watch::Sender<Vec<Listener>>>,
    ) -> Self {
        let first = config.https.first().copied();
        let configured = first.map(|address| address.port()).filter(|port| *port != 0);
        let wanted =
            |list: &[SocketAddr], secure| list.iter().map(move |&address| Wanted { secure, address }).collect();
        let lists: [Vec<Wanted>; 2] = [wanted(&config.http, false), wanted(&config.https, true)];
        let ports = Self {
            threads,
            board: board.clone(),
            shown,
            wanted: Mutex::new(lists.concat()),
            opened: watch::Sender::new(Vec::new()),
            first,
            https_port: AtomicU16::new(configured.unwrap_or(HTTPS)),
        };
        ports.wanted().retain(|wanted| {
            let list = if wanted.secure { &config.https } else { &config.http };
            ports.try_one(*wanted, inherited, list)
        });
        ports
    }

    /// What is listened on, as it grows; empty once it was given up.
    pub(crate) fn opened(&self) -> watch::Receiver<Vec<Arc<Opened>>> {
        let mut opened = self.opened.subscribe();
        opened.mark_changed();
        opened
    }

    /// The port that visitors without TLS are sent to.
    pub(crate) fn https_port(&self) -> u16 {
        self.https_port.load(Ordering::Relaxed)
    }

    /// Returns at the stop when the threads' own descriptors are the last: whoever comes until then finds somebody who accepts.
    pub(crate) async fn given_up(&self, stop: &Stop) {
        stop.give_up().await;
        let mut opened = self.opened.subscribe();
        tokio::select! {
            _ = opened.wait_for(Vec::is_empty) => {}
            _ = stop.drain() => {}
        }
    }

    /// Tries what is missing again and again; at the stop lets go of everything, and returns when every thread has too.
    pub(crate) async fn keep(&self, stop: &Stop) {
        while !self.wanted().is_empty() {
            tokio::select! {
                () = tokio::time::sleep(LISTEN_RETRY) => {}
                () = stop.give_up() => break,
            }
            self.wanted().retain(|wanted| self.try_one(*wanted, &mut Inherited::default(), &[]));
        }
        stop.give_up().await;
        self.opened.send_replace(Vec::new());
        self.opened.closed().await;
    }

    /// Whether it is still wanted afterwards.
    fn try_one(&self, wanted: Wanted, inherited: &mut Inherited, list: &[SocketAddr]) -> bool {
        let name = wanted.name();
        match listeners::each(wanted.address, self.threads, inherited) {
            Ok(each) => {
                let bound = each.first().and_then(|listener| listener.local_addr().ok()).unwrap_or(wanted.address);
                if wanted.secure && self.first == Some(wanted.address) {
                    self.https_port.store(bound.port(), Ordering::Relaxed);
                }
                let (kind, _) = name.split_once(' ').unwrap_or((&name, ""));
                let shown = Listener { name: kind.to_owned(), address: bound.to_string() };
                self.shown.send_modify(|list| list.push(shown));
                self.board.clear(&name);
                self.opened.send_modify(|opened| opened.push(Arc::new(Opened { secure: wanted.secure, each })));
                false
            }
            Err(SocketError::NoIpv6(address)) if is_optional(address, list) => {
                tracing::info!(%address, "not listening there: this machine has no IPv6");
                false
            }
            Err(error) => {
                self.board.yellow(&name, format!("failed to {error}; it is tried again every few seconds"));
                true
            }
        }
    }

    fn wanted(&self) -> std::sync::MutexGuard<'_, Vec<Wanted>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
