//! One thread's idle connections to upstreams. A connection belongs to one exchange or lies here; what lies too long is closed.
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::base::ids::SiteId;
use crate::base::limits::{PROXY_FRESH_WAIT, PROXY_IDLE_MAX, PROXY_IDLE_WAIT};
use crate::model::sites::Site;
use crate::model::state::State;
use crate::web::proxy::health::choose;
use crate::web::proxy::link::Link;
use crate::web::proxy::upstream::{Upstream, Upstreams};

/// How often idle connections are looked at while there are any.
const SWEEPS: u32 = 6;

#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) shared: Arc<Upstreams>,
    /// Held for the moment of a look, never across an await; no other thread ever takes it.
    known: Mutex<Known>,
    idle: Arc<Idle>,
}

#[derive(Debug, Default)]
struct Known {
    groups: HashMap<SiteId, Arc<Group>>,
    /// By the address of the shared upstream they are for, which they keep where it is.
    peers: HashMap<usize, Weak<Peer>>,
}

#[derive(Debug, Default)]
struct Idle {
    count: AtomicUsize,
    some: Notify,
}

/// The upstreams of one site, in the revision they were read from.
#[derive(Debug)]
pub(crate) struct Group {
    revision: u64,
    peers: Vec<Arc<Peer>>,
    turn: AtomicUsize,
}

/// One upstream, as one thread sees it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) upstream: Arc<Upstream>,
    shared: Arc<Upstreams>,
    links: Mutex<VecDeque<Link>>,
    idle: Arc<Idle>,
}

impl Pool {
    pub(crate) fn new(shared: Arc<Upstreams>) -> Self {
        Self { shared, known: Mutex::default(), idle: Arc::default() }
    }

    pub(crate) fn group(&self, site: &Site) -> Arc<Group> {
        let mut known = lock(&self.known);
        if let Some(group) = known.groups.get(&site.id).filter(|group| group.revision == site.revision) {
            return Arc::clone(group);
        }
        let peers = self.shared.of(site).into_iter().map(|upstream| self.peer(&mut known.peers, upstream)).collect();
        let group = Arc::new(Group { revision: site.revision, peers, turn: AtomicUsize::new(0) });
        known.groups.insert(site.id, Arc::clone(&group));
        known.peers.retain(|_, peer| peer.strong_count() > 0);
        group
    }

    fn peer(&self, peers: &mut HashMap<usize, Weak<Peer>>, upstream: Arc<Upstream>) -> Arc<Peer> {
        let at = Arc::as_ptr(&upstream).addr();
        if let Some(peer) = peers.get(&at).and_then(Weak::upgrade) {
            return peer;
        }
        let (shared, idle) = (Arc::clone(&self.shared), Arc::clone(&self.idle));
        let peer = Arc::new(Peer { upstream, shared, links: Mutex::default(), idle });
        peers.insert(at, Arc::downgrade(&peer));
        peer
    }

    /// Lets go of sites that are gone, once more are known than there are.
    pub(crate) fn forget(&self, state: &State) {
        let mut known = lock(&self.known);
        if known.groups.len() > state.sites.len() {
            known.groups.retain(|id, _| state.sites.contains_key(id));
        }
    }

    /// Closes what lay too long, for as long as it is polled. Sleeps while nothing lies here.
    pub(crate) async fn sweep(&self) {
        loop {
            if self.idle.count.load(Ordering::Relaxed) == 0 {
                self.idle.some.notified().await;
            }
            sleep(PROXY_IDLE_WAIT / SWEEPS).await;
            let now = Instant::now();
            self.each(|link| link.until > now);
        }
    }

    /// Closes everything idle: its places are needed.
    pub(crate) fn clear(&self) {
        self.each(|_| false);
    }

    fn each(&self, keep: impl Fn(&mut Link) -> bool) {
        let peers: Vec<_> = lock(&self.known).peers.values().filter_map(Weak::upgrade).collect();
        for peer in peers {
            let mut links = lock(&peer.links);
            let before = links.len();
            links.retain_mut(|link| keep(link));
            peer.gone(before - links.len());
        }
    }
}

impl Group {
    /// Whose turn it is among those not tried yet.
    pub(crate) fn next(&self, tried: u32) -> Option<(usize, &Arc<Peer>)> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let admits = |index: usize| {
            let health = &self.peers[index].upstream.health;
            health.is_up() || health.admits(std::time::Instant::now())
        };
        choose(self.peers.len(), turn, tried, admits).map(|index| (index, &self.peers[index]))
    }
}

impl Peer {
    /// A connection that lies here and still works, as far as is known. `fresh`: for what cannot be asked twice.
    pub(crate) fn take(&self, fresh: bool) -> Option<Link> {
        let mut links = lock(&self.links);
        let now = Instant::now();
        // The last one to be laid aside is the freshest.
        while let Some(mut link) = links.pop_back_if(|link| !fresh || link.idle + PROXY_FRESH_WAIT > now) {
            self.gone(1);
            if link.until > now && link.is_free() {
                self.shared.counts.reused.fetch_add(1, Ordering::Relaxed);
                link.moved = now;
                return Some(link);
            }
        }
        None
    }

    /// Lays a connection aside, if it is good for more. `kept`: how long the upstream says it keeps it.
    pub(crate) fn put(&self, mut link: Link, kept: Option<Duration>) {
        if !link.is_free() || self.idle.count.load(Ordering::Relaxed) >= PROXY_IDLE_MAX {
            return;
        }
        // The upstream closes it a little before we would use it last.
        let kept = kept.map_or(PROXY_IDLE_WAIT, |kept| kept.saturating_sub(PROXY_FRESH_WAIT)).min(PROXY_IDLE_WAIT);
        link.used = true;
        link.rest();
        link.idle = Instant::now();
        link.until = link.idle + kept;
        lock(&self.links).push_back(link);
        self.shared.counts.idle.fetch_add(1, Ordering::Relaxed);
        if self.idle.count.fetch_add(1, Ordering::Relaxed) == 0 {
            self.idle.some.notify_one();
        }
    }

    fn gone(&self, count: usize) {
        self.idle.count.fetch_sub(count, Ordering::Relaxed);
        self.shared.counts.idle.fetch_sub(count as u64, Ordering::Relaxed);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let left = lock(&self.links).len();
        self.gone(left);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic leaves a connection more or less in the list; each is looked at before it is used.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
