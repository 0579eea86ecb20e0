//! The DNS plane: answers for the zones of the cluster over UDP and TCP. Reads snapshots; never the databases, and never asks
//! anybody else for an answer.
pub mod answer;
pub mod compile;
mod cookie;
mod counts;
mod edns;
pub mod kept;
mod lookup;
mod message;
mod name;
mod ports;
mod query;
mod tcp;
#[cfg(test)]
mod tests;

mod udp;
mod zone;
pub mod zones;

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::base::ids::NodeId;
use crate::base::limits::{DNS_TCP_CONNECTIONS_MAX, DNS_TCP_CONNECTIONS_PER_ADDRESS};
use crate::config;
use crate::dns::answer::Transport;
use crate::dns::compile::Compiler;
use crate::dns::counts::Tally;
use crate::dns::ports::Opened;
use crate::dns::zones::Zones;
use crate::ops::board::{Board, PlaneReporter};
use crate::ops::inherited::Inherited;
use crate::ops::metrics::Metrics;
use crate::ops::places::Places;
use crate::ops::ports::{Ports, Role, Shown};
use crate::ops::tasks::{Ends, Tasks};
use crate::seal::keyring::Keyring;
use crate::store::feed::Feed;

/// What all threads share.
#[derive(Debug)]
pub(crate) struct Plane {
    feed: Feed,
    compiler: Mutex<Compiler>,
    zones: watch::Sender<Arc<Zones>>,
    ports: Ports<Opened>,
    places: Arc<Places>,
    reporter: PlaneReporter,
}

/// What the plane is given.
#[derive(Debug)]
pub struct Dns<'a> {
    pub config: &'a config::Dns,
    pub node: NodeId,
    pub feed: Feed,
    /// Opens the key of cookies.
    pub keyring: Arc<Keyring>,
    pub board: &'a Board,
    pub metrics: &'a Metrics,
    pub inherited: &'a Inherited,
    /// Where `ruche status` reads what is listened on, and whether anything is to be.
    pub shown: (Shown, Role),
}

impl Dns<'_> {
    /// Opens the listeners and starts the threads. Without a listener there is no plane.
    pub fn start(self, tasks: &Tasks) {
        let listen = &self.config.listen;
        if listen.is_empty() {
            return;
        }
        let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
        let compiler = Mutex::new(Compiler::new(self.node, self.keyring));
        let zones = compile::first(&compiler, self.feed.view().now());
        let places = Places::new(
            DNS_TCP_CONNECTIONS_MAX,
            DNS_TCP_CONNECTIONS_PER_ADDRESS,
            metrics::gauge!("ruche_dns_connections"),
        );
        let plane = Arc::new(Plane {
            feed: self.feed,
            compiler,
            zones,
            ports: ports::open(listen, threads, self.inherited, self.board, self.shown),
            places,
            reporter: self.board.register_plane("dns", 1),
        });
        // The last to be told at the stop: the others have let go of what it holds.
        let ports = Arc::clone(&plane);
        tasks.spawn("dns-listeners", Ends::AtGiveUp, move |stop| {
            let plane = Arc::clone(&ports);
            async move {
                plane.ports.keep(&stop).await;
                Ok(())
            }
        });
        let keeper = Arc::clone(&plane);
        tasks.spawn("dns-zones", Ends::AtGiveUp, move |stop| compile::keep(Arc::clone(&keeper), stop));
        let mut tallies = Vec::new();
        let tally = Tally::new(Transport::Tcp);
        tallies.push(Arc::clone(&tally));
        let shared = Arc::clone(&plane);
        tasks.spawn("dns-tcp", Ends::AtDrain, move |stop| {
            tcp::run(Arc::clone(&shared), "dns-tcp", Arc::clone(&tally), stop)
        });
        for (at, index) in (0..listen.len()).flat_map(|at| (0..threads).map(move |index| (at, index))) {
            let (plane, tally) = (Arc::clone(&plane), Tally::new(Transport::Udp));
            tallies.push(Arc::clone(&tally));
            // A task's name lives as long as the process, and so do the threads.
            let name: &'static str = String::leak(format!("dns-udp-{at}-{index}"));
            tasks.spawn(name, Ends::AtGiveUp, move |stop| {
                udp::run(Arc::clone(&plane), at, index, name, Arc::clone(&tally), stop)
            });
        }
        self.metrics.collect(move |text| counts::render(&tallies, text));
    }
}
