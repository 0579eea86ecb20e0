//! The FTP plane: takes uploads and gives files back to their owners (RFC 959, 2228, 2389, 2428, 3659, 4217), on an engine of its
//! own. Reads snapshots and files beneath a jail; never the databases, and never opens a connection to
//! anybody but the home of a site elsewhere.
mod access;
mod ascii;
mod asks;
mod backoff;
mod commands;
mod crypt;
mod fault;
mod files;
mod flows;
mod guest;
mod home;
mod keeper;
mod line;
mod link;
mod listen;
mod listing;
mod login;
mod passive;
mod paths;
mod reply;
mod session;
mod stores;
mod stream;
mod transfer;

use std::net::{SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::base::ids::NodeId;
use crate::base::limits::peers::CARRIED_BEHIND_WAIT;
use crate::base::limits::{
    FTP_CONNECTIONS_MAX, FTP_CONNECTIONS_PER_ADDRESS, FTP_FILE_WORK_AT_ONCE, FTP_STRANGERS_MAX, FTP_TRANSFERS_MAX,
};
use crate::cluster::door::Door;
use crate::cluster::inbound::Arrivals;
use crate::cluster::peer::dial::Peers;
use crate::config;
use crate::files::gate::Gates;
use crate::files::sites::SiteDirs;
use crate::ftp::fault::busy;
use crate::ftp::login::{Logins, Rehash};
use crate::ftp::reply::Reply;
use crate::ftp::stores::Stores;
use crate::model::state::Snapshot;
use crate::ops::blocking::Blocking;
use crate::ops::board::{Board, PlaneReporter};
use crate::ops::descriptors;
use crate::ops::inherited::Inherited;
use crate::ops::listeners;
use crate::ops::places::Places;
use crate::ops::ports::{Ports, Role, Shown, Wanted};
use crate::ops::strangers::Strangers;
use crate::ops::tasks::{Ends, Tasks};
use crate::store::feed::Feed;

/// What all sessions share.
#[derive(Debug)]
struct Plane {
    node: NodeId,
    feed: Feed,
    tls: Arc<ServerConfig>,
    data_tls: Arc<ServerConfig>,
    dirs: Arc<SiteDirs>,
    gates: Gates,
    blocking: Blocking,
    passive_ports: RangeInclusive<u16>,
    passive_host: Option<String>,
    ports: Ports<TcpListener>,
    places: Arc<Places>,
    strangers: Strangers,
    logins: Logins,
    stores: Arc<Stores>,
    file_work: Semaphore,
    transfers: Semaphore,
    /// None where nobody can come.
    reporter: Option<PlaneReporter>,
    /// The revision by which the gates are set.
    settled: watch::Sender<u64>,
    peers: Peers,
    /// Operations of sessions on other nodes.
    arrivals: Arrivals,
}

/// What the plane is given.
#[derive(Debug)]
pub struct Ftp<'a> {
    pub config: &'a config::Ftp,
    pub node: NodeId,
    pub feed: Feed,
    /// With the certificates, for whatever name a client knows the node by; no protocol is negotiated.
    pub tls: Arc<ServerConfig>,
    pub dirs: Arc<SiteDirs>,
    pub gates: Gates,
    pub blocking: Blocking,
    /// For imported hashes of passwords.
    pub door: Door<Rehash>,
    pub board: &'a Board,
    pub inherited: &'a Inherited,
    pub peers: Peers,
    /// What sessions on other nodes ask of the files here.
    pub arrivals: Arrivals,
    /// Where `ruche status` reads what is listened on, and whether anything is to be.
    pub shown: (Shown, Role),
}

impl Ftp<'_> {
    /// Opens the listeners and starts the threads of the sessions. Without a listener there are those of other nodes.
    pub fn start(self, tasks: &Tasks) {
        let config = self.config;
        // A session has a control connection, a data connection, a file and two directories.
        let most = FTP_CONNECTIONS_MAX.min(descriptors::raise() / 8);
        let plane = Arc::new(Plane {
            node: self.node,
            feed: self.feed,
            data_tls: Arc::new(silent(&self.tls)),
            tls: self.tls,
            dirs: self.dirs,
            gates: self.gates,
            blocking: self.blocking,
            passive_ports: config.passive_ports.clone(),
            passive_host: config.passive_host.clone(),
            ports: open(&config.listen, self.inherited, self.board, self.shown),
            places: Places::new(most, FTP_CONNECTIONS_PER_ADDRESS, metrics::gauge!("ruche_ftp_connections")),
            strangers: Strangers::new(FTP_STRANGERS_MAX.min(most)),
            logins: Logins::new(self.door),
            stores: Arc::default(),
            file_work: Semaphore::new(FTP_FILE_WORK_AT_ONCE),
            transfers: Semaphore::new(FTP_TRANSFERS_MAX),
            reporter: (!config.listen.is_empty()).then(|| self.board.register_plane("ftp", 1)),
            settled: watch::Sender::new(0),
            peers: self.peers,
            arrivals: self.arrivals,
        });
        let ports = Arc::clone(&plane);
        // Before the sessions, so that at the stop it is told after them: it waits until they have let go.
        tasks.spawn("ftp-listeners", Ends::AtGiveUp, move |stop| {
            let plane = Arc::clone(&ports);
            async move {
                plane.ports.keep(&stop).await;
                Ok(())
            }
        });
        let keeper = Arc::clone(&plane);
        tasks.spawn("ftp-gates", Ends::AtGiveUp, move |stop| keeper::keep(Arc::clone(&keeper), stop));
        tasks.spawn("ftp", Ends::AtDrain, move |stop| listen::run(Arc::clone(&plane), stop));
    }
}

/// Opens what can be listened on at once.
fn open(list: &[SocketAddr], inherited: &Inherited, board: &Board, shown: (Shown, Role)) -> Ports<TcpListener> {
    Ports::open(Wanted::all("ftp.listen", list), inherited, board, shown, |wanted, inherited| {
        let each = listeners::each(wanted.address, 1, inherited)?;
        let listener = each.into_iter().next().expect("it was bound for one thread");
        let bound = listener.local_addr().unwrap_or(wanted.address);
        Ok((listener, bound))
    })
}

/// For data connections: nothing is sent but the handshake and the data. A client that has sent a small file closes at once,
/// and a ticket that arrives then turns its end into a reset. Sessions are resumed from the tickets of control connections.
fn silent(tls: &ServerConfig) -> ServerConfig {
    let mut config = tls.clone();
    config.send_tls13_tickets = 0;
    config
}

impl Plane {
    /// The newest snapshot: nobody keeps one, for an idle session would keep an old state in memory.
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(self.feed.view().now())
    }

    /// Waits a while until this node knows a revision, and its gates are set by it; whether they are.
    async fn catches_up(&self, revision: u64) -> bool {
        if *self.settled.borrow() >= revision {
            return true;
        }
        let mut settled = self.settled.subscribe();
        let caught_up = timeout(CARRIED_BEHIND_WAIT, settled.wait_for(|settled| *settled >= revision)).await;
        caught_up.is_ok_and(|settled| settled.is_ok())
    }

    /// Works with files, off the threads of the sessions, after those who asked before.
    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Reply> {
        let _turn = self.file_work.acquire().await.map_err(busy)?;
        self.blocking.run(work).await.map_err(busy)
    }
}
