//! All zones as they are answered from at one moment, found by name. Immutable: a change makes another one that shares what did not
//! change. Never looks at the state.
use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use crate::base::ids::NodeId;
use crate::base::limits::DNS_ZONE_SHARDS;
use crate::dns::cookie::Cookies;
use crate::dns::message::Value;
use crate::dns::name::NameBuf;
use crate::dns::zone::Hosted;
use crate::rr::RecordType;

/// What all transports answer from.
#[derive(Debug, Clone)]
pub struct Zones {
    /// Each a small table, so that a change copies little.
    shards: Vec<Arc<HashSet<Entry>>>,
    /// Labels of the deepest zone there ever was: a name with many more is not looked up by each of its parents.
    deepest: usize,
    pub(crate) homes: Arc<Homes>,
    /// Absent until the cluster has its key.
    pub(crate) cookies: Option<Cookies>,
    /// What this node says it is (RFC 5001).
    pub(crate) node: Arc<[u8]>,
}

/// Where the sites of each node are reached.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Homes {
    pub(crate) each: HashMap<NodeId, Vec<IpAddr>>,
    /// For the sites of a node that is not known.
    pub(crate) others: Vec<IpAddr>,
}

impl Homes {
    /// The addresses of a family, as data of records.
    pub(crate) fn of(&self, home: NodeId, rtype: RecordType) -> impl Iterator<Item = Value<'_>> {
        let all = self.each.get(&home).unwrap_or(&self.others);
        all.iter().filter_map(move |address| match (address, rtype) {
            (IpAddr::V4(v4), RecordType::A) => Some(Value::V4(v4.octets())),
            (IpAddr::V6(v6), RecordType::AAAA) => Some(Value::V6(v6.octets())),
            _ => None,
        })
    }
}

/// A zone under its name in wire form.
#[derive(Debug, Clone)]
struct Entry(Arc<Hosted>);

impl Borrow<[u8]> for Entry {
    fn borrow(&self) -> &[u8] {
        self.0.origin().as_wire()
    }
}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let name: &[u8] = self.borrow();
        name.hash(hasher);
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0.origin() == other.0.origin()
    }
}

impl Eq for Entry {}

impl Zones {
    /// Without a zone.
    pub(crate) fn new() -> Self {
        let shards = std::iter::repeat_with(Arc::default).take(DNS_ZONE_SHARDS).collect();
        Self { shards, deepest: 0, homes: Arc::default(), cookies: None, node: Arc::default() }
    }

    pub(crate) fn put(&mut self, zone: Hosted) {
        let zone = Entry(Arc::new(zone));
        self.deepest = self.deepest.max(zone.0.labels());
        let shard = Arc::make_mut(&mut self.shards[shard_of(zone.borrow())]);
        shard.replace(zone);
    }

    pub(crate) fn remove(&mut self, origin: &[u8]) {
        let shard = Arc::make_mut(&mut self.shards[shard_of(origin)]);
        shard.remove(origin);
        if shard.is_empty() {
            shard.shrink_to_fit();
        }
    }

    #[cfg(test)]
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Hosted>> {
        self.shards.iter().flat_map(|shard| shard.iter()).map(|entry| &entry.0)
    }

    pub(crate) fn at(&self, origin: &[u8]) -> Option<&Arc<Hosted>> {
        self.shards[shard_of(origin)].get(origin).map(|entry| &entry.0)
    }

    /// The zone that answers for a name and a type: the closest one, but what a parent says of its child is the parent's, where
    /// it is here too (RFC 4035 section 3.1.4.1).
    pub(crate) fn find(&self, name: &NameBuf, rtype: RecordType) -> Option<&Arc<Hosted>> {
        let closest = self.closest(name, 0)?;
        let at_apex = closest.labels() == name.labels();
        let parent = (rtype == RecordType::DS && at_apex).then(|| self.closest(name, 1)).flatten();
        parent.or(Some(closest))
    }

    fn closest(&self, name: &NameBuf, skip: usize) -> Option<&Arc<Hosted>> {
        let first = skip.max(name.labels().saturating_sub(self.deepest));
        (first..name.labels()).find_map(|labels| self.at(name.without(labels)))
    }
}

/// FNV-1a: names that are made to meet cost their makers' own changes a little more.
fn shard_of(origin: &[u8]) -> usize {
    let hash = origin
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x100_0000_01b3));
    (hash >> 32) as usize % DNS_ZONE_SHARDS
}
