//! Who the other nodes are: their keys and where they are reached. The state says it; what a member told this node about a newer
//! state counts until this node's own state is as new.
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use openraft::metrics::RaftServerMetrics;
use tokio::sync::{Notify, watch};

use crate::base::clock::Time;
use crate::base::ids::{ClusterId, NodeId};
use crate::cluster::peer::error::PeerError;
use crate::cluster::peer::messages::{Known, Members, Why};
use crate::model::nodes::Node;
use crate::model::state::{Snapshot, State};
use crate::store::types::Peer;
use crate::tls::peer::PeerKey;

#[derive(Debug)]
pub struct Book {
    own: NodeId,
    key: PeerKey,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    learned: watch::Sender<Members>,
    /// raft's membership: a node that was removed from the state is a member until raft has let it go, or it could not be let go.
    membership: OnceLock<watch::Receiver<RaftServerMetrics<u64, Peer>>>,
    /// What each node said of itself, or where it called from, since this process started.
    told: Mutex<BTreeMap<NodeId, Vec<SocketAddr>>>,
    contact: Mutex<BTreeMap<NodeId, Instant>>,
    /// Where each called from last.
    callers: Mutex<BTreeMap<NodeId, IpAddr>>,
    /// Who answered last that this node is no member.
    denied: Mutex<BTreeSet<NodeId>>,
    was_denied: Notify,
}

impl Book {
    /// `learned`: what was told at the join, or later.
    pub fn new(own: NodeId, key: PeerKey, snapshot: watch::Receiver<Arc<Snapshot>>, learned: Members) -> Self {
        let learned = watch::Sender::new(learned);
        let (membership, told, contact, callers, denied, was_denied) = Default::default();
        Self { own, key, snapshot, learned, membership, told, contact, callers, denied, was_denied }
    }

    pub fn own(&self) -> NodeId {
        self.own
    }

    pub fn key(&self) -> &PeerKey {
        &self.key
    }

    pub fn cluster(&self) -> Option<ClusterId> {
        let state = self.snapshot.borrow().cluster.as_ref().map(|cluster| cluster.id);
        state.or_else(|| Some(self.learned.borrow().cluster).filter(|cluster| cluster.0 != 0))
    }

    /// All members, this node too.
    pub fn members(&self) -> Members {
        let snapshot = self.snapshot.borrow();
        let learned = self.learned.borrow();
        if learned.revision > snapshot.revision {
            return learned.clone();
        }
        let mut members = of_state(&snapshot);
        if let Some(own) = members.members.iter_mut().find(|known| known.node == self.own) {
            // What it is to say of itself may not be in the state yet.
            own.key = self.key.public().to_vec();
            if own.reach.is_empty() {
                own.reach = lock(&self.told).get(&self.own).cloned().unwrap_or_default();
            }
        }
        members
    }

    /// From when on raft is asked as well.
    pub(crate) fn ask_raft(&self, membership: watch::Receiver<RaftServerMetrics<u64, Peer>>) {
        // There is one raft in the life of a book.
        let _ = self.membership.set(membership);
    }

    fn in_raft<T>(&self, look: impl Fn(NodeId, &[u8]) -> Option<T>) -> Option<T> {
        let seen = self.membership.get()?.borrow();
        seen.membership_config.nodes().find_map(|(id, peer)| look(NodeId(*id), &peer.key))
    }

    fn find<T>(&self, look: impl Fn(NodeId, &[u8], &[SocketAddr]) -> Option<T>) -> Option<T> {
        let snapshot = self.snapshot.borrow();
        let learned = self.learned.borrow();
        if learned.revision > snapshot.revision {
            return learned.members.iter().find_map(|known| look(known.node, &known.key, &known.reach));
        }
        snapshot.nodes.values().find_map(|node| look(node.id, &node.key, &node.reach))
    }

    /// Whose key this is.
    pub fn who(&self, key: &[u8]) -> Option<NodeId> {
        let is_it = |node, known: &[u8]| (!key.is_empty() && known == key).then_some(node);
        self.find(|node, known, _| is_it(node, known)).or_else(|| self.in_raft(is_it))
    }

    /// Whether the state still says so: raft may have to let it go yet.
    pub(crate) fn is_member(&self, wanted: NodeId) -> bool {
        self.find(|node, _, _| (node == wanted).then_some(())).is_some()
    }

    pub fn key_of(&self, wanted: NodeId) -> Option<Vec<u8>> {
        let is_it = |node, key: &[u8]| (node == wanted && !key.is_empty()).then(|| key.to_vec());
        self.find(|node, key, _| is_it(node, key)).or_else(|| self.in_raft(is_it))
    }

    /// Where a node may be, the best guess first.
    pub fn addresses(&self, wanted: NodeId) -> Vec<SocketAddr> {
        let mut all = lock(&self.told).get(&wanted).cloned().unwrap_or_default();
        let said = self.find(|node, _, reach| (node == wanted).then(|| reach.to_vec())).unwrap_or_default();
        for address in said {
            if !all.contains(&address) {
                all.push(address);
            }
        }
        let moved = self.moved_along(&all);
        all.extend(moved);
        all
    }

    /// Where a node may be that was in one network with this one when both had other addresses: in this one's, with its old number.
    fn moved_along(&self, theirs: &[SocketAddr]) -> Vec<SocketAddr> {
        let now = lock(&self.told).get(&self.own).cloned().unwrap_or_default();
        let before = self.find(|node, _, reach| (node == self.own).then(|| reach.to_vec())).unwrap_or_default();
        let new = now.iter().filter(|address| !before.contains(address));
        let guess = |new: &SocketAddr| {
            let were_near =
                |other: &&SocketAddr| before.iter().any(|old| beside(old.ip(), other.ip()) == Some(other.ip()));
            let there = move |other: &SocketAddr| Some(SocketAddr::new(beside(new.ip(), other.ip())?, other.port()));
            theirs.iter().filter(were_near).filter_map(there).collect::<Vec<_>>()
        };
        let mut guesses: Vec<_> = new.flat_map(guess).filter(|guess| !theirs.contains(guess)).collect();
        guesses.dedup();
        guesses
    }

    /// The node said where it is.
    pub(crate) fn tell(&self, node: NodeId, reach: Vec<SocketAddr>) {
        lock(&self.told).insert(node, reach);
    }

    pub(crate) fn came_from(&self, node: NodeId, ip: IpAddr) {
        lock(&self.callers).insert(node, ip.to_canonical());
    }

    /// Whether a member calls from there, or is reached there.
    pub(crate) fn is_from(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let reached = |reach: &[SocketAddr]| reach.iter().any(|address| address.ip().to_canonical() == ip);
        lock(&self.callers).values().any(|caller| *caller == ip)
            || lock(&self.told).values().any(|reach| reached(reach))
            || self.find(|_, _, reach| reached(reach).then_some(())).is_some()
    }

    /// A member may say that this node is none.
    pub(crate) fn was_refused(&self, by: NodeId, error: &PeerError) {
        let denies = matches!(error, PeerError::Refused(Why::NotAMember | Why::OtherCluster));
        if denies && lock(&self.denied).insert(by) {
            self.was_denied.notify_one();
        }
    }

    /// Returns when another one says so.
    pub(crate) async fn until_denied(&self) {
        self.was_denied.notified().await;
    }

    /// Whether this node is a member no more: the newest it knows says so, or somebody does, and nobody has let it in since.
    pub(crate) fn is_removed(&self) -> bool {
        let founded = self.snapshot.borrow().cluster.is_some();
        founded && !self.is_member(self.own) || !lock(&self.denied).is_empty()
    }

    /// An address answered as that node: it is tried first next time.
    pub(crate) fn answered(&self, node: NodeId, at: SocketAddr) {
        self.heard(node);
        lock(&self.denied).clear();
        let mut told = lock(&self.told);
        let known = told.entry(node).or_default();
        if known.first() != Some(&at) {
            known.retain(|other| *other != at);
            known.insert(0, at);
        }
    }

    pub(crate) fn heard(&self, node: NodeId) {
        lock(&self.denied).remove(&node);
        lock(&self.contact).insert(node, Instant::now());
    }

    /// When a node last answered this one, or asked it something.
    pub(crate) fn last_heard(&self, node: NodeId) -> Option<Instant> {
        lock(&self.contact).get(&node).copied()
    }

    /// Takes up what a member said about a newer state than this node's.
    pub(crate) fn learn(&self, members: Members) {
        let newer = self.cluster() == Some(members.cluster) && members.revision > self.members().revision;
        if newer {
            self.learned.send_replace(members);
        }
    }

    /// What was learned, whenever it changes: worth keeping over a restart.
    pub fn learned(&self) -> watch::Receiver<Members> {
        self.learned.subscribe()
    }

    /// Whether somebody has a token to knock with.
    pub(crate) fn expects_somebody(&self) -> bool {
        let snapshot = self.snapshot.borrow();
        let now = Time::now().max(snapshot.time);
        snapshot.cluster.as_ref().is_some_and(|cluster| cluster.join_tokens.iter().any(|token| now < token.expires))
    }
}

/// What is beside an address, in its /24 or /64, with the last part of another one.
fn beside(near: IpAddr, last: IpAddr) -> Option<IpAddr> {
    match (near, last) {
        (IpAddr::V4(near), IpAddr::V4(last)) => {
            Some(Ipv4Addr::from_bits(near.to_bits() & !0xff | last.to_bits() & 0xff).into())
        }
        (IpAddr::V6(near), IpAddr::V6(last)) => {
            let low = u128::from(u64::MAX);
            Some(Ipv6Addr::from_bits(near.to_bits() & !low | last.to_bits() & low).into())
        }
        _ => None,
    }
}

fn of_state(state: &State) -> Members {
    let known = |node: &Arc<Node>| Known {
        node: node.id,
        name: node.name.clone(),
        key: node.key.clone(),
        reach: node.reach.clone(),
    };
    Members {
        cluster: state.cluster.as_ref().map(|cluster| cluster.id).unwrap_or_default(),
        revision: state.revision,
        members: state.nodes.values().map(known).collect(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change of what is in there is one insertion.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::peer::generate;

    #[test]
    fn who_is_heard_again_has_not_removed_this_node() {
        let (_state, snapshot) = watch::channel(Arc::new(Snapshot::default()));
        let key = PeerKey::read(&generate().unwrap()).unwrap();
        let book = Book::new(NodeId(1), key, snapshot, Members::default());
        let denied = |by| book.was_refused(NodeId(by), &PeerError::Refused(Why::NotAMember));
        assert!(!book.is_removed());
        denied(2);
        denied(3);
        book.heard(NodeId(2));
        assert!(book.is_removed(), "the third says so still");
        book.heard(NodeId(3));
        assert!(!book.is_removed());
    }
}
