//! The addresses visitors come to, each opened for every thread, and the port that those without TLS are sent to. Never accepts a
//! connection.
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::config;
use crate::ops::board::Board;
use crate::ops::inherited::Inherited;
use crate::ops::listeners;
use crate::ops::ports::{Ports, Role, Shown, Wanted};

/// Where HTTPS is when the configuration does not say.
const HTTPS: u16 = 443;
const SECURE: &str = "web.https";

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

/// The port of the first of the configured HTTPS addresses, once it is known.
#[derive(Debug, Clone)]
pub(crate) struct HttpsPort(Arc<AtomicU16>);

impl HttpsPort {
    pub(crate) fn now(&self) -> u16 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Opens what can be had at once.
pub(crate) fn open(
    config: &config::Web,
    threads: usize,
    inherited: &Inherited,
    board: &Board,
    shown: (Shown, Role),
) -> (Ports<Opened>, HttpsPort) {
    let first = config.https.first().copied();
    let configured = first.map(|address| address.port()).filter(|port| *port != 0);
    let https_port = HttpsPort(Arc::new(AtomicU16::new(configured.unwrap_or(HTTPS))));
    let wanted = Wanted::all("web.http", &config.http).chain(Wanted::all(SECURE, &config.https));
    let told = https_port.clone();
    let ports = Ports::open(wanted, inherited, board, shown, move |wanted, inherited| {
        let each = listeners::each(wanted.address, threads, inherited)?;
        let bound = each.first().and_then(|listener| listener.local_addr().ok()).unwrap_or(wanted.address);
        let secure = wanted.name == SECURE;
        if secure && first == Some(wanted.address) {
            told.0.store(bound.port(), Ordering::Relaxed);
        }
        Ok((Opened { secure, each }, bound))
    });
    (ports, https_port)
}
