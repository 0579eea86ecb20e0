//! The addresses clients come to: one that cannot be had is said on the board and tried again until it can, all of them given up
//! at the stop. Never accepts a connection.
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::api::status::Listener;
use crate::base::limits::LISTEN_RETRY;
use crate::config;
use crate::ops::board::Board;
use crate::ops::listeners;
use crate::ops::sockets::{Inherited, SocketError, is_optional};
use crate::ops::stop::Stop;

const NAME: &str = "ftp.listen";

/// All addresses of the plane.
#[derive(Debug)]
pub(crate) struct Ports {
    board: Board,
    shown: Arc<watch::Sender<Vec<Listener>>>,
    /// Not had yet.
    wanted: Mutex<Vec<SocketAddr>>,
    opened: watch::Sender<Vec<Arc<TcpListener>>>,
}

impl Ports {
    /// Opens what can be had at once.
    pub(crate) fn open(
        config: &config::Ftp,
        inherited: &mut Inherited,
        board: &Board,
        shown: Arc<watch::Sender<Vec<Listener>>>,
    ) -> Self {
        let (board, wanted) = (board.clone(), Mutex::new(config.listen.clone()));
        let ports = Self { board, shown, wanted, opened: watch::Sender::new(Vec::new()) };
        ports.wanted().retain(|address| ports.try_one(*address, inherited, &config.listen));
        ports
    }

    /// What is listened on, as it grows; empty once it was given up.
    pub(crate) fn opened(&self) -> watch::Receiver<Vec<Arc<TcpListener>>> {
        let mut opened = self.opened.subscribe();
        opened.mark_changed();
        opened
    }

    /// Tries what is missing again and again; at the stop lets go of everything, and returns when everybody has.
    pub(crate) async fn keep(&self, stop: &Stop) {
        while !self.wanted().is_empty() {
            tokio::select! {
                () = tokio::time::sleep(LISTEN_RETRY) => {}
                () = stop.give_up() => break,
            }
            self.wanted().retain(|address| self.try_one(*address, &mut Inherited::default(), &[]));
        }
        stop.give_up().await;
        self.opened.send_replace(Vec::new());
        self.opened.closed().await;
    }

    /// Whether it is still wanted afterwards.
    fn try_one(&self, address: SocketAddr, inherited: &mut Inherited, list: &[SocketAddr]) -> bool {
        let entry = format!("{NAME} {address}");
        match listeners::each(address, 1, inherited) {
            Ok(each) => {
                for listener in each {
                    let bound = listener.local_addr().unwrap_or(address);
                    let shown = Listener { name: NAME.to_owned(), address: bound.to_string() };
                    self.shown.send_modify(|list| list.push(shown));
                    self.opened.send_modify(|opened| opened.push(Arc::new(listener)));
                }
                self.board.clear(&entry);
                false
            }
            Err(SocketError::NoIpv6(address)) if is_optional(address, list) => {
                tracing::info!(%address, "not listening there: this machine has no IPv6");
                false
            }
            Err(error) => {
                self.board.yellow(&entry, format!("failed to {error}; it is tried again every few seconds"));
                true
            }
        }
    }

    fn wanted(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
