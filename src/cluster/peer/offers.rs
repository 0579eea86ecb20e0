//! A node that others cannot call, behind NAT or a firewall, keeps connections to each of them over which they ask. The side that made
//! one proves who it is, says what for, and listens; whoever takes it begins as on any connection of its own making.
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::base::ids::NodeId;
use crate::base::limits::peers::{
    HIDDEN_ASK_EVERY, OFFER_ALIVE_ASKED, OFFER_ALIVE_EVERY, OFFER_ALIVE_WAIT, OFFERS_KEPT, OFFERS_MAX,
    PEER_CONNECT_WAIT, PEER_PAUSE_MAX, PEER_STRANGER_FRAME_MAX, REACHED_ASK_EVERY, REACHED_RETRY_MAX, REACHED_WAIT,
};
use crate::cluster::peer::accept::{Called, Reception};
use crate::cluster::peer::dial::Peers;
use crate::cluster::peer::error::PeerError;
use crate::cluster::peer::frames::{receive, send};
use crate::cluster::peer::messages::{Ask, Class, Opened, Said};
use crate::ops::alive::{is_silent, notice_death};

/// Connections that others made, for this node to ask over, the newest last.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    sockets: Mutex<BTreeMap<NodeId, Vec<std::net::TcpStream>>>,
    came: Notify,
}

impl Offers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Vec<std::net::TcpStream>>> {
        // Each change of it is one insertion or removal.
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a node is reached over what it offers.
    pub(crate) fn has(&self, node: NodeId) -> bool {
        self.lock().contains_key(&node)
    }

    /// Whether such a node has nothing on offer: it has started again, or lost all of them.
    pub(crate) fn lacks(&self, node: NodeId) -> bool {
        self.lock().get(&node).is_some_and(|sockets| !sockets.iter().any(is_silent))
    }

    /// The newest one of a node, which is waited for while it replaces what was taken; none of a node that offers none.
    pub(crate) async fn take(&self, node: NodeId) -> Option<TcpStream> {
        let deadline = Instant::now() + PEER_CONNECT_WAIT;
        loop {
            let mut came = pin!(self.came.notified());
            came.as_mut().enable();
            {
                let mut all = self.lock();
                let sockets = all.get_mut(&node)?;
                sockets.retain(|socket| is_silent(socket));
                if let Some(socket) = sockets.pop() {
                    return TcpStream::from_std(socket).ok();
                }
            }
            timeout_at(deadline, came).await.ok()?;
        }
    }

    /// Returns when a node offers something.
    pub(crate) async fn until(&self, node: NodeId) {
        loop {
            let mut came = pin!(self.came.notified());
            came.as_mut().enable();
            if self.has(node) {
                return;
            }
            came.await;
        }
    }

    /// It can be called.
    pub(crate) fn forget(&self, node: NodeId) {
        self.lock().remove(&node);
    }

    /// Closes those of who is a member no more.
    pub(crate) fn retain(&self, members: &BTreeSet<NodeId>) {
        self.lock().retain(|node, _| members.contains(node));
    }

    /// The next process of this node is to be offered some as well; what this one still does needs few.
    pub(crate) fn thin_out(&self) {
        for sockets in self.lock().values_mut() {
            sockets.drain(..sockets.len().saturating_sub(1));
        }
    }

    /// Puts one aside. The other side has said its last word on what it was proved with.
    async fn put(&self, node: NodeId, mut proved: Called) -> Result<(), PeerError> {
        let Opened::Welcome = receive(&mut proved, PEER_STRANGER_FRAME_MAX).await? else { return Ok(()) };
        let socket = proved.into_inner().0.into_std()?;
        notice_death(&socket, OFFER_ALIVE_EVERY, OFFER_ALIVE_ASKED, OFFER_ALIVE_WAIT).map_err(io::Error::from)?;
        {
            let mut all = self.lock();
            let sockets = all.entry(node).or_default();
            sockets.retain(|socket| is_silent(socket));
            if sockets.len() >= OFFERS_MAX {
                // What came long ago may be dead and not know it.
                sockets.remove(0);
            }
            sockets.push(socket);
        }
        self.came.notify_waiters();
        Ok(())
    }
}

impl Peers {
    /// Makes a connection for another node to ask over.
    async fn offer(&self, to: NodeId) -> Result<TcpStream, PeerError> {
        let mut proved = self.dial(to, Class::Offer).await?;
        send(&mut proved, &Opened::Welcome).await?;
        let socket = proved.into_inner().0;
        notice_death(&socket, OFFER_ALIVE_EVERY, OFFER_ALIVE_ASKED, OFFER_ALIVE_WAIT).map_err(io::Error::from)?;
        Ok(socket)
    }
}

impl Reception {
    /// Takes a connection that another node offers.
    pub(crate) async fn take_offer(&self, node: NodeId, proved: Called) -> Result<(), PeerError> {
        let peers = self.member.peers();
        let put = timeout(PEER_CONNECT_WAIT, peers.offers().put(node, proved)).await.map_err(|_| PeerError::Late)?;
        if !peers.book().is_member(node) {
            // It was removed meanwhile, and those of the others were closed before this one came.
            peers.offers().forget(node);
        }
        put
    }

    /// Sees to it that every member reaches this node. `taken`: where connections go over which one of them begins to ask.
    pub(crate) async fn be_reached(self: Arc<Self>, taken: mpsc::Sender<(TcpStream, SocketAddr)>) {
        let peers = self.member.peers();
        let (mut snapshot, mut learned) = (self.member.snapshot(), peers.book().learned());
        let mut kept: BTreeMap<NodeId, JoinSet<()>> = BTreeMap::new();
        loop {
            let seen = snapshot.borrow_and_update().nodes.clone();
            learned.mark_unchanged();
            let members = peers.book().members().members.into_iter().map(|known| known.node);
            let others: BTreeSet<NodeId> = members.filter(|node| *node != peers.book().own()).collect();
            kept.retain(|node, _| others.contains(node));
            peers.retain(&others);
            for node in others {
                kept.entry(node).or_insert_with(|| {
                    let mut keeper = JoinSet::new();
                    keeper.spawn(be_reached_by(node, peers.clone(), taken.clone()));
                    keeper
                });
            }
            tokio::select! {
                changed = snapshot.wait_for(|now| !now.nodes.ptr_eq(&seen)) => if changed.is_err() { return },
                changed = learned.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Has one member say whether it can call this node, and offers it connections while it cannot.
async fn be_reached_by(node: NodeId, peers: Peers, taken: mpsc::Sender<(TcpStream, SocketAddr)>) {
    let mut offers = JoinSet::new();
    let (mut hidden, mut pause) = (false, PEER_PAUSE_MAX);
    loop {
        if hidden {
            fill(&mut offers, node, &peers, &taken);
        }
        match peers.ask(node, &Ask::Reach, REACHED_WAIT).await {
            Ok(Said::Reached(true)) => {
                hidden = false;
                offers.shutdown().await;
            }
            Ok(Said::Reached(false)) => {
                if !std::mem::replace(&mut hidden, true) {
                    tracing::info!(%node, "it cannot call this node, which keeps connections to it instead");
                }
                fill(&mut offers, node, &peers, &taken);
            }
            // It knows this node no more, or not yet.
            Err(PeerError::Unreached(error)) if matches!(*error, PeerError::Refused(_)) => {
                sleep(REFUSED_PAUSE).await;
                continue;
            }
            // It is away, or too old to understand.
            Ok(_) | Err(_) => {
                sleep(pause).await;
                // Who was reached before is waited for; else nobody may be waiting.
                pause = if hidden { PEER_PAUSE_MAX } else { (2 * pause).min(REACHED_RETRY_MAX) };
                continue;
            }
        }
        pause = PEER_PAUSE_MAX;
        tokio::select! {
            () = sleep(if hidden { HIDDEN_ASK_EVERY } else { REACHED_ASK_EVERY }) => {}
            Some(_) = offers.join_next() => sleep(RETRY).await,
        }
    }
}

fn fill(offers: &mut JoinSet<()>, node: NodeId, peers: &Peers, taken: &mpsc::Sender<(TcpStream, SocketAddr)>) {
    while offers.try_join_next().is_some() {}
    while offers.len() < OFFERS_KEPT {
        offers.spawn(keep_offering(node, peers.clone(), taken.clone()));
    }
}

/// Replaces an offer each time it is taken, until one is refused, or closed.
async fn keep_offering(node: NodeId, peers: Peers, taken: mpsc::Sender<(TcpStream, SocketAddr)>) {
    while let Ok(socket) = peers.offer(node).await {
        let Ok(from) = socket.peer_addr() else { return };
        if !matches!(socket.peek(&mut [0]).await, Ok(1..)) || taken.send((socket, from)).await.is_err() {
            return;
        }
    }
}

/// Pause before another offer takes the place of one that came to nothing.
const RETRY: Duration = Duration::from_millis(200);
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
