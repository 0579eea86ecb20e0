//! The web plane: serves sites to visitors over HTTP and HTTPS, on a thread for each core. Reads snapshots and files; never
//! the databases, never another node's state, and never waits for the cluster.
mod answer;
mod asked;
mod auth;
pub mod body;
mod carried;
mod conn;
mod counts;
mod felt;
mod frames;
mod framing;
mod hosts;
mod listen;
pub mod log;
mod options;
mod pages;
mod ports;
mod proxy;
mod pulse;
mod redirect;
pub mod route;
mod secure;
mod sent;
mod sites;
pub mod static_files;
mod switch;
mod threads;

use std::sync::{Arc, Mutex};

use rustls::ServerConfig;

use crate::base::ids::NodeId;
use crate::base::limits::{
    PROXY_CONNECTIONS_MAX, WEB_CONNECTIONS_MAX, WEB_CONNECTIONS_PER_ADDRESS, WEB_DESCRIPTORS_LEFT,
};
use crate::cluster::inbound::Arrivals;
use crate::cluster::peer::dial::Peers;
use crate::config;
use crate::files::logs::Bounds;
use crate::files::sites::SiteDirs;
use crate::ops::blocking::Blocking;
use crate::ops::board::{Board, PlaneReporter};
use crate::ops::descriptors;
use crate::ops::inherited::Inherited;
use crate::ops::metrics::Metrics;
use crate::ops::places::Places;
use crate::ops::ports::{Ports, Role, Shown};
use crate::ops::tasks::{Ends, Tasks};
use crate::store::feed::Feed;
use crate::store::local::Local;
use crate::web::auth::Gatekeeper;
use crate::web::counts::Tallies;
use crate::web::listen::Alive;
use crate::web::log::Log;
use crate::web::log::writer::{Flushes, Task, Writer};
use crate::web::ports::{HttpsPort, Opened};
use crate::web::proxy::upstream::Upstreams;

/// What all threads share.
#[derive(Debug)]
struct Plane {
    node: NodeId,
    feed: Feed,
    tls: Arc<ServerConfig>,
    dirs: Arc<SiteDirs>,
    blocking: Blocking,
    board: Board,
    ports: Ports<Opened>,
    https_port: HttpsPort,
    places: Arc<Places>,
    tallies: Arc<Tallies>,
    upstreams: Arc<Upstreams>,
    local: Local,
    log: Arc<Log>,
    gatekeeper: Gatekeeper,
    arrivals: Arrivals,
    /// How many serve; on the board the directories count as one more.
    threads: usize,
    reporter: PlaneReporter,
}

/// What the plane is given.
#[derive(Debug)]
pub struct Web<'a> {
    pub config: &'a config::Web,
    pub node: NodeId,
    pub feed: Feed,
    /// With the certificates and the protocols to offer.
    pub tls: Arc<ServerConfig>,
    pub dirs: Arc<SiteDirs>,
    pub blocking: Blocking,
    pub board: &'a Board,
    pub metrics: &'a Metrics,
    pub local: Local,
    /// Who wants the access logs to be written at once.
    pub flushes: Flushes,
    /// The way to the homes of other sites, and the visitors that other nodes carry here.
    pub peers: Peers,
    pub arrivals: Arrivals,
    pub inherited: &'a Inherited,
    /// Where `ruche status` reads what is listened on, and whether anything is to be.
    pub shown: (Shown, Role),
}

impl Web<'_> {
    /// Opens the listeners and starts the threads. Without a listener there is no plane.
    pub fn start(self, tasks: &Tasks) {
        let (config, board) = (self.config, self.board);
        if config.http.is_empty() && config.https.is_empty() {
            return;
        }
        let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
        let descriptors = descriptors::raise().saturating_sub(WEB_DESCRIPTORS_LEFT);
        // Of every three connections one may be to an upstream.
        let most = PROXY_CONNECTIONS_MAX.min(descriptors / 3);
        let upstreams = Upstreams::new(self.blocking.clone(), most, self.node, self.peers);
        let most = WEB_CONNECTIONS_MAX.min(descriptors - descriptors / 3);
        let tallies = Arc::new(Tallies::default());
        let (ports, https_port) = ports::open(config, threads, self.inherited, board, self.shown);
        let plane = Arc::new(Plane {
            node: self.node,
            feed: self.feed,
            tls: self.tls,
            dirs: self.dirs,
            blocking: self.blocking,
            board: board.clone(),
            ports,
            https_port,
            places: Places::new(most, WEB_CONNECTIONS_PER_ADDRESS, metrics::gauge!("ruche_web_connections")),
            tallies: Arc::clone(&tallies),
            upstreams: Arc::clone(&upstreams),
            local: self.local,
            log: Arc::new(Log::new(threads)),
            gatekeeper: Gatekeeper::new(),
            arrivals: self.arrivals,
            threads,
            reporter: board.register_plane("web", threads + 1),
        });
        self.metrics.collect(move |text| tallies.render(text));
        self.metrics.collect(move |text| upstreams.render(text));
        let ports = Arc::clone(&plane);
        // Before the threads, so that at the stop it is told after them: it waits until they have let go.
        tasks.spawn("listeners", Ends::AtGiveUp, move |stop| {
            let plane = Arc::clone(&ports);
            async move {
                plane.ports.keep(&stop).await;
                Ok(())
            }
        });
        let keeper = Arc::clone(&plane);
        tasks.spawn("sites", Ends::AtGiveUp, move |stop| sites::keep(Arc::clone(&keeper), stop));
        let alive = keep_logs(&plane, self.flushes, tasks);
        for index in 0..threads {
            let plane = Arc::clone(&plane);
            // A task's name lives as long as the process, and so do the threads.
            let name: &'static str = String::leak(format!("web-{index}"));
            let alive = Alive::clone(&alive);
            tasks.spawn(name, Ends::AtDrain, move |stop| {
                let alive = Alive::clone(&alive);
                let running = threads::run(Arc::clone(&plane), index, name, stop);
                async move {
                    let ended = running.await;
                    drop(alive);
                    ended
                }
            });
        }
    }
}

/// Starts the task that writes the access logs. It ends after those who hold what it gives.
fn keep_logs(plane: &Arc<Plane>, flushes: Flushes, tasks: &Tasks) -> Alive {
    let (alive, threads) = tokio::sync::mpsc::channel(1);
    let writer = Writer::new(Arc::clone(&plane.dirs), &plane.feed, Bounds::default());
    let task = Task {
        log: Arc::clone(&plane.log),
        writer: Arc::new(Mutex::new(writer)),
        blocking: plane.blocking.clone(),
        flushes,
        tallies: Arc::clone(&plane.tallies),
        local: plane.local.clone(),
        threads,
    };
    tasks.spawn_once("access-logs", Ends::AtDrain, move |stop| async move {
        task.run(stop).await;
        Ok(())
    });
    alive
}
