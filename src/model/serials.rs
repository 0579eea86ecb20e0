//! Serials: which zones move when something outside them changes their answers, because a site's host without records of its own
//! is answered with the addresses of nodes; and what is remembered of a removed zone. Never looks at time by itself.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::ids::NodeId;
use crate::base::limits::GONE_SERIALS_MAX;
use crate::base::names::{Host, ZoneName};
use crate::model::apply::Apply;
use crate::model::chunk;
use crate::model::cluster::Cluster;
use crate::model::nodes::Node;
use crate::model::row::Row;
use crate::model::sites::Site;
use crate::model::zones::Zone;
use crate::rr::{Name, RecordType};

/// The nodes of a cluster by their id.
pub type Nodes = OrdMap<NodeId, Arc<Node>>;

/// The serial of a zone that was removed while its serial was ahead of time: made again it must not fall back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneSerial {
    pub zone: ZoneName,
    pub serial: u32,
}

/// The public addresses that lead to a site: those of its home if that takes visitors, else those of all nodes that do.
pub fn addresses(nodes: &Nodes, home: NodeId) -> Vec<IpAddr> {
    let takes = |node: &&Arc<Node>| node.takes_visitors() && !node.addresses.is_empty();
    let open = |node: &&Arc<Node>| takes(node) && !node.down;
    if let Some(home) = nodes.get(&home).filter(open) {
        return home.addresses.clone();
    }
    let all = |open: &dyn Fn(&&Arc<Node>) -> bool| -> Vec<IpAddr> {
        nodes.values().filter(open).flat_map(|node| node.addresses.iter().copied()).collect()
    };
    let up = all(&open);
    // Never none: where all are said to be down it is the saying that is wrong.
    if up.is_empty() { all(&takes) } else { up }
}

impl Zone {
    /// Whether the zone itself says where a name is: then a site of that name adds nothing.
    pub fn says_where(&self, owner: &Name) -> bool {
        let origin = self.head.origin();
        let own = [RecordType::A, RecordType::CNAME, RecordType::AAAA];
        own.iter().any(|rtype| self.find(&chunk::key(owner, &origin, *rtype)).is_some())
    }
}

/// Moves the zones in which a site's hosts came or went.
pub(crate) fn site_changed(cx: &mut Apply<'_>, before: Option<&Site>, after: Option<&Site>) {
    let leads = |site: Option<&Site>| -> BTreeSet<(Host, NodeId)> {
        site.map(|site| site.hosts().map(|host| (host, site.home)).collect()).unwrap_or_default()
    };
    let (before, after) = (leads(before), leads(after));
    let changed = before.symmetric_difference(&after).map(|(host, _)| host.clone());
    move_zones(cx, changed);
}

/// Moves the zones of the sites to which other addresses lead once a node is what it becomes.
pub(crate) fn node_changed(cx: &mut Apply<'_>, after: &Node) {
    let mut nodes = cx.state.nodes.clone();
    nodes.insert(after.id, Arc::new(after.clone()));
    let mut differs = BTreeMap::new();
    let mut hosts = Vec::new();
    for site in cx.state.sites.values() {
        let other = |home| addresses(&cx.state.nodes, home) != addresses(&nodes, home);
        if *differs.entry(site.home).or_insert_with(|| other(site.home)) {
            hosts.extend(site.hosts());
        }
    }
    move_zones(cx, hosts.into_iter());
}

fn move_zones(cx: &mut Apply<'_>, hosts: impl Iterator<Item = Host>) {
    let mut moved = BTreeMap::new();
    for host in hosts {
        let Some(zone) = cx.state.zone_above(host.as_str()) else { continue };
        let Ok(owner) = Name::parse(&format!("{host}."), None) else { continue };
        if !zone.says_where(&owner) {
            moved.entry(zone.head.name.clone()).or_insert_with(|| zone.head.moved(cx.revision, cx.time));
        }
    }
    moved.into_values().for_each(|head| cx.put(Row::Zone(head)));
}

/// Moves the zone above one that comes or goes: which of them answers for the sites' hosts below changes with it.
pub(crate) fn move_parent(cx: &mut Apply<'_>, zone: &ZoneName) {
    let parent = zone.as_str().split_once('.').and_then(|(_, above)| cx.state.zone_above(above));
    if let Some(head) = parent.map(|parent| parent.head.moved(cx.revision, cx.time)) {
        cx.put(Row::Zone(head));
    }
}

/// Keeps the serial of a zone that is removed, if a new one of the same name could get a lower one.
pub(crate) fn keep(cx: &mut Apply<'_>, zone: &Zone) {
    let Some(cluster) = cx.state.cluster.as_ref().filter(|_| is_ahead(zone.head.serial, cx.time)) else { return };
    let mut cluster = Cluster { revision: cx.revision, ..Cluster::clone(cluster) };
    let gone = GoneSerial { zone: zone.head.name.clone(), serial: zone.head.serial };
    cluster.gone_serials.retain(|old| old.zone != gone.zone && is_ahead(old.serial, cx.time));
    cluster.gone_serials.push(gone);
    let over = cluster.gone_serials.len().saturating_sub(GONE_SERIALS_MAX);
    cluster.gone_serials.drain(..over);
    cx.put(Row::Cluster(cluster));
}

/// The serial that a zone of this name had when it was removed, if that matters still.
pub(crate) fn gone(cx: &Apply<'_>, zone: &ZoneName) -> Option<u32> {
    let gone = cx.state.cluster.as_ref()?.gone_serials.iter().find(|gone| gone.zone == *zone)?;
    Some(gone.serial)
}

/// Whether a serial is not yet overtaken by time (RFC 1982 section 3.2).
fn is_ahead(serial: u32, time: Time) -> bool {
    serial.wrapping_sub(time.seconds() as u32) < 1 << 31
}
