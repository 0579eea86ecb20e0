//! The peer channel of this node: its listener, where it is reached, what it learns of the others.
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::cluster::adoption::{self, Joined};
use crate::cluster::inbound::Inlets;
use crate::cluster::member::Member;
use crate::cluster::peer::accept::Reception;
use crate::cluster::saying::Own;
use crate::config::Cluster;
use crate::daemon::listen::{Shown, shown};
use crate::model::nodes::Role;
use crate::ops::board::Board;
use crate::ops::inherited::Inherited;
use crate::ops::sockets::{self, SocketError};
use crate::ops::stop::Stop;
use crate::ops::tasks::{Ends, TaskResult, Tasks};
use crate::seal::keyring::Keyring;

const NAME: &str = "cluster.listen";

/// What the channel stands on.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    pub(crate) config: Cluster,
    pub(crate) deaf: BTreeSet<Role>,
    pub(crate) member: Member,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) board: Board,
    pub(crate) shown: Shown,
    pub(crate) inlets: Inlets,
    pub(crate) data_dir: PathBuf,
    pub(crate) inherited: Inherited,
    /// Bound once: a panic of the task that serves them gives no address up.
    pub(crate) bound: Arc<Mutex<Option<Vec<TcpListener>>>>,
}

/// Listens for peers, and again after a pause where the port is taken: without it the node serves, alone.
pub(crate) fn start(tasks: &Tasks, channel: Channel) {
    let kept = channel.clone();
    tasks.spawn("members", Ends::AtGiveUp, move |stop| kept.clone().keep_members(stop));
    // At once, for what nobody has taken up when the node is ready is forgotten. An error is the task's to tell.
    let _ = channel.listeners();
    tasks.spawn("peers", Ends::AtGiveUp, move |stop| channel.clone().run(stop));
}

impl Channel {
    async fn run(self, stop: Stop) -> TaskResult {
        let listeners = self.listeners()?;
        let bound: Vec<SocketAddr> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        self.shown.send_modify(|all| {
            all.retain(|listener| listener.name != NAME);
            all.extend(bound.iter().map(|address| shown(NAME, address.to_string())));
        });
        let reception = Arc::new(Reception::new(self.member.clone(), self.keyring, self.board, self.inlets));
        let serve = reception.serve(listeners, stop.clone());
        let own = || Own {
            reach: if self.config.advertise.is_empty() { reach(&bound) } else { self.config.advertise.clone() },
            moves: self.config.advertise.is_empty() && bound.iter().any(|address| address.ip().is_unspecified()),
            deaf: self.deaf.clone(),
        };
        let (served, ()) = tokio::join!(serve, self.member.say_where(own, &stop));
        if stop.is_given_up() {
            self.bound.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        served
    }

    fn listeners(&self) -> Result<Vec<TcpListener>, SocketError> {
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        let listeners = match bound.take() {
            Some(listeners) => listeners,
            None => sockets::tcp(&self.config.listen, &self.inherited)?,
        };
        let own = listeners.iter().map(TcpListener::try_clone).collect::<Result<_, _>>();
        *bound = Some(listeners);
        own.map_err(SocketError::Inherited)
    }

    /// Writes down what this node learns of the others before its state says it.
    async fn keep_members(self, stop: Stop) -> TaskResult {
        let mut learned = self.member.peers().book().learned();
        loop {
            tokio::select! {
                changed = learned.changed() => changed?,
                () = stop.give_up() => return Ok(()),
            }
            let members = learned.borrow_and_update().clone();
            adoption::keep(&self.data_dir, &Joined { node: self.member.node(), members })?;
        }
    }
}

/// Where others reach these listeners: an address of this machine stands for all of them.
fn reach(bound: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut reach = Vec::new();
    for address in bound {
        let ip = if address.ip().is_unspecified() { own_address(address.is_ipv6()) } else { Some(address.ip()) };
        reach.extend(ip.map(|ip| SocketAddr::new(ip, address.port())));
    }
    reach
}

/// The address this machine would call the outside from. Nothing is sent.
fn own_address(ipv6: bool) -> Option<IpAddr> {
    // Documentation addresses (RFC 5737, RFC 3849): routed like any other, answered by nobody.
    let (any, far): (IpAddr, IpAddr) = match ipv6 {
        true => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
        false => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((far, 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
}
