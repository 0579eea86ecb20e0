//! From the state to what is answered from: each change redoes the zones it touches and nothing else. Runs beside the threads
//! that answer and hands them the result; never waits for them.
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::base::ids::NodeId;
use crate::base::names::ZoneName;
use crate::cluster::cookies;
use crate::dns::Plane;
use crate::dns::cookie::Cookies;
use crate::dns::name::NameBuf;
use crate::dns::zone::{Hosted, SiteHost, path};
use crate::dns::zones::{Homes, Zones};
use crate::model::serials::addresses;
use crate::model::sites::Site;
use crate::model::state::State;
use crate::ops::stop::Stop;
use crate::ops::tasks::TaskResult;
use crate::seal::Sealed;
use crate::seal::keyring::Keyring;

/// A name by its labels from the right, each ended by 0: it sorts before all below it, and they begin with it.
type Place = Box<[u8]>;

/// Follows the state.
#[derive(Debug)]
pub struct Compiler {
    node: NodeId,
    keyring: Arc<Keyring>,
    /// What was followed last.
    state: State,
    origins: BTreeMap<Place, ZoneName>,
    /// Where each host of a site is at home.
    hosts: BTreeMap<Place, NodeId>,
    zones: Zones,
}

impl Compiler {
    pub fn new(node: NodeId, keyring: Arc<Keyring>) -> Self {
        let (origins, hosts) = (BTreeMap::new(), BTreeMap::new());
        Self { node, keyring, state: State::default(), origins, hosts, zones: Zones::new() }
    }

    /// Takes up a newer state; gives what is answered from it.
    pub fn follow(&mut self, state: &State) -> Zones {
        let mut touched = BTreeSet::new();
        self.take_sites(state, &mut touched);
        let same = self.take_zones(state, &mut touched);
        for name in same.difference(&touched) {
            self.compile(state, name, false);
        }
        for name in &touched {
            self.compile(state, name, true);
        }
        self.take_nodes(state);
        self.take_cluster(state);
        self.state = state.clone();
        self.zones.clone()
    }

    /// Notes hosts that came, went or moved, and the zones they are in.
    fn take_sites(&mut self, state: &State, touched: &mut BTreeSet<ZoneName>) {
        let hosts = |site: Option<&Arc<Site>>| -> Vec<(Place, NodeId)> {
            let places = site.into_iter().flat_map(|site| site.hosts().map(|host| (place(host.as_str()), site.home)));
            places.collect()
        };
        let changed: Vec<_> = state.sites_since(&self.state.sites).map(|(old, new)| (hosts(old), hosts(new))).collect();
        let changed: Vec<_> = changed.into_iter().filter(|(old, new)| old != new).collect();
        // A host may have gone from one site to another.
        for (place, _) in changed.iter().flat_map(|(old, _)| old) {
            self.hosts.remove(place);
        }
        for (place, home) in changed.iter().flat_map(|(_, new)| new) {
            self.hosts.insert(place.clone(), *home);
        }
        let places = changed.iter().flat_map(|(old, new)| old.iter().chain(new));
        touched.extend(places.filter_map(|(place, _)| self.zone_of(place).cloned()));
    }

    /// Notes zones that came or went, and those above them, which answer for other hosts now; returns those whose hosts are the
    /// same as before.
    fn take_zones(&mut self, state: &State, touched: &mut BTreeSet<ZoneName>) -> BTreeSet<ZoneName> {
        let (mut same, mut others) = (BTreeSet::new(), Vec::new());
        for (old, new) in state.zones_since(&self.state.zones) {
            let Some(name) = old.or(new).map(|zone| zone.head.name.clone()) else { continue };
            match (old, new) {
                (Some(_), Some(_)) => drop(same.insert(name)),
                (None, _) => others.push((place(name.as_str()), name, true)),
                (_, None) => others.push((place(name.as_str()), name, false)),
            }
        }
        for (place, name, came) in &others {
            match came {
                true => drop(self.origins.insert(place.clone(), name.clone())),
                false => drop(self.origins.remove(place)),
            }
        }
        for (place, name, _) in others {
            touched.extend(parent(&place).and_then(|above| self.zone_of(above)).cloned());
            touched.insert(name);
        }
        same
    }

    fn compile(&mut self, state: &State, name: &ZoneName, hosts_changed: bool) {
        let place = place(name.as_str());
        let Some(wire) = wire(name.as_str()) else { return };
        let Some(zone) = state.zones.get(name) else { return self.zones.remove(wire.as_wire()) };
        let before = self.zones.at(wire.as_wire()).filter(|_| !hosts_changed);
        let hosts = before.map_or_else(|| self.hosts_in(&place), |before| Arc::clone(&before.hosts));
        self.zones.put(Hosted::new(Arc::clone(zone), hosts));
    }

    /// The hosts of a zone, without those of zones below it.
    fn hosts_in(&self, zone: &[u8]) -> Arc<[SiteHost]> {
        let from = (Bound::Included(zone), Bound::Unbounded);
        let mut below = self.origins.range::<[u8], _>(from).map(|(place, _)| place).peekable();
        below.next_if(|place| ***place == *zone);
        let mut child: Option<&[u8]> = None;
        let hosts = self.hosts.range::<[u8], _>(from).take_while(|(place, _)| place.starts_with(zone));
        let own = hosts.filter(|(place, _)| {
            while let Some(next) = below.next_if(|next| *next <= *place) {
                if !child.is_some_and(|child| next.starts_with(child)) {
                    child = Some(next);
                }
            }
            !child.is_some_and(|child| place.starts_with(child))
        });
        own.map(|(place, home)| SiteHost { path: place[zone.len()..].into(), home: *home }).collect()
    }

    /// The zone in which a name lies: the closest one.
    fn zone_of(&self, place: &[u8]) -> Option<&ZoneName> {
        std::iter::successors(Some(place), |place| parent(place)).find_map(|place| self.origins.get(place))
    }

    fn take_nodes(&mut self, state: &State) {
        if self.state.nodes == state.nodes {
            return;
        }
        let each = state.nodes.keys().map(|id| (*id, addresses(&state.nodes, *id))).collect();
        // Of a node that nobody has.
        let others = addresses(&state.nodes, NodeId::default());
        self.zones.homes = Arc::new(Homes { each, others });
        let name = state.nodes.get(&self.node).map(|node| node.name.as_str()).unwrap_or_default();
        self.zones.node = name.as_bytes().into();
    }

    fn take_cluster(&mut self, state: &State) {
        if cookie_key(&self.state) == cookie_key(state) {
            return;
        }
        let opened = state.cluster.as_ref().and_then(|cluster| cookies::open(cluster, &self.keyring));
        self.zones.cookies = opened.and_then(|opened| match opened {
            Ok(key) => Some(Cookies::new(&key)),
            Err(error) => {
                tracing::error!("DNS clients get no cookies: failed to {error}");
                None
            }
        });
    }
}

/// Keeps what is answered from in step with the state until the stop. What was published is what every thread answers from that
/// reads a query later: it looks after each one it was given.
pub(crate) async fn keep(plane: Arc<Plane>, stop: Stop) -> TaskResult {
    let mut view = plane.feed.view();
    // Kept until no thread has them any more: what takes long to drop is dropped here and not on a thread that answers.
    let mut old = Vec::new();
    while !stop.is_given_up() {
        let newest = Arc::clone(view.now());
        let zones = follow(&plane.compiler, &newest);
        old.push(plane.zones.send_replace(Arc::new(zones)));
        old.retain(|old| Arc::strong_count(old) > 1);
        plane.reporter.serves(0, newest.revision);
        drop(newest);
        tokio::select! {
            changed = view.changed() => if !changed { stop.give_up().await },
            () = stop.give_up() => {}
        }
    }
    Ok(())
}

fn follow(compiler: &Mutex<Compiler>, state: &State) -> Zones {
    let mut compiler = compiler.lock().unwrap_or_else(|poisoned| {
        // It panicked in the middle of a change: everything anew.
        compiler.clear_poison();
        let mut half = poisoned.into_inner();
        *half = Compiler::new(half.node, Arc::clone(&half.keyring));
        half
    });
    compiler.follow(state)
}

/// What there is to answer from at the start.
pub(crate) fn first(compiler: &Mutex<Compiler>, state: &State) -> watch::Sender<Arc<Zones>> {
    watch::Sender::new(Arc::new(follow(compiler, state)))
}

fn cookie_key(state: &State) -> Option<&Sealed> {
    state.cluster.as_ref()?.cookie_key.as_ref()
}

fn wire(name: &str) -> Option<NameBuf> {
    let mut wire = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        wire.push(u8::try_from(label.len()).ok()?);
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    NameBuf::read(&wire)
}

/// Hosts and zones have no octets in their names that a path would escape.
fn place(name: &str) -> Place {
    wire(name).map_or_else(Place::default, |name| path(&name, 0).as_bytes().into())
}

/// The place one label up; None at the root.
fn parent(place: &[u8]) -> Option<&[u8]> {
    let labels = place.strip_suffix(&[0])?;
    Some(&place[..labels.iter().rposition(|octet| *octet == 0).map_or(0, |end| end + 1)])
}
