//! One zone as it is answered from: the packed records of the state as they lie there, its SOA, and the hosts of sites in it.
//! Finds what stands at a name and what lies above it; never writes a message.
use std::sync::Arc;

use crate::base::ids::NodeId;
use crate::base::limits::{DNS_SITE_TTL, NAME_WIRE_MAX};
use crate::dns::name::NameBuf;
use crate::model::chunk::Packed;
use crate::model::zones::Zone;
use crate::rr::{Name, RecordType};

/// A host of a site in the zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SiteHost {
    /// The labels below the apex as keys of records have them, without the end of the owner.
    pub(crate) path: Box<[u8]>,
    pub(crate) home: NodeId,
}

/// A zone, ready to be asked.
#[derive(Debug)]
pub(crate) struct Hosted {
    pub(crate) zone: Arc<Zone>,
    origin: Name,
    labels: usize,
    soa: Box<[u8]>,
    soa_ttl: u32,
    negative_ttl: u32,
    /// In the order of their paths.
    pub(crate) hosts: Arc<[SiteHost]>,
}

/// The labels below the apex from the right, each ended by 0: what the keys of a name and of all below it begin with.
pub(crate) struct Path {
    bytes: [u8; 2 * NAME_WIRE_MAX],
    len: usize,
}

/// What a name has.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Node<'z> {
    /// The set of the type that was asked for.
    pub(crate) wanted: Option<Packed<'z>>,
    pub(crate) a: Option<Packed<'z>>,
    pub(crate) aaaa: Option<Packed<'z>>,
    pub(crate) ns: Option<Packed<'z>>,
    pub(crate) cname: Option<Packed<'z>>,
    pub(crate) dname: Option<Packed<'z>>,
    first: Option<Packed<'z>>,
    home: Option<NodeId>,
}

/// What there is to say about a name.
pub(crate) enum Found<'z> {
    /// The name itself.
    Here(Node<'z>),
    /// A wildcard stands for it (RFC 4592).
    Wildcard(Node<'z>),
    /// It lies in a zone that was delegated, `labels` from the left below or at the cut.
    Cut {
        ns: Packed<'z>,
        labels: usize,
    },
    /// It lies below a DNAME, `labels` from the left.
    Dname {
        set: Packed<'z>,
        labels: usize,
    },
    Nothing,
}

impl<'z> Node<'z> {
    /// Where the site of this name is at home, if the zone itself does not say where the name leads.
    pub(crate) fn site(&self) -> Option<NodeId> {
        let own = self.a.is_some() || self.aaaa.is_some() || self.cname.is_some();
        self.home.filter(|_| !own)
    }

    /// Any one set (RFC 8482 section 4.1).
    pub(crate) fn any(&self) -> Option<(RecordType, Packed<'z>)> {
        self.first.map(|set| (rtype(&set), set))
    }

    fn take(&mut self, set: Packed<'z>, wanted: RecordType) {
        let rtype = rtype(&set);
        self.first = self.first.or(Some(set));
        if rtype == wanted {
            self.wanted = Some(set);
        }
        match rtype {
            RecordType::A => self.a = Some(set),
            RecordType::AAAA => self.aaaa = Some(set),
            RecordType::NS => self.ns = Some(set),
            RecordType::CNAME => self.cname = Some(set),
            RecordType::DNAME => self.dname = Some(set),
            _ => {}
        }
    }
}

/// A key ends with the type.
fn rtype(set: &Packed<'_>) -> RecordType {
    RecordType(set.key.last_chunk().map_or(0, |two| u16::from_be_bytes(*two)))
}

impl Path {
    fn new() -> Self {
        Self { bytes: [0; 2 * NAME_WIRE_MAX], len: 0 }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// One label more; the labels of one name fit, were all their octets escaped.
    fn push(&mut self, label: &[u8]) {
        for octet in label {
            match octet {
                0 | 1 => self.put(&[1, octet + 1]),
                octet => self.put(&[*octet]),
            }
        }
        self.put(&[0]);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

/// The labels of a name below a number of its rightmost ones.
pub(crate) fn path(name: &NameBuf, above: usize) -> Path {
    let mut path = Path::new();
    (0..name.labels().saturating_sub(above)).rev().for_each(|label| path.push(name.label(label)));
    path
}

impl Hosted {
    pub(crate) fn new(zone: Arc<Zone>, hosts: Arc<[SiteHost]>) -> Self {
        let (origin, soa) = (zone.head.origin(), zone.soa());
        let data = soa.data(zone.head.serial).into();
        let labels = origin.labels().count();
        // RFC 2308 section 5.
        let negative_ttl = soa.ttl.min(soa.minimum);
        Self { zone, origin, labels, soa: data, soa_ttl: soa.ttl, negative_ttl, hosts }
    }

    pub(crate) fn origin(&self) -> &Name {
        &self.origin
    }

    pub(crate) fn labels(&self) -> usize {
        self.labels
    }

    /// Wire data of the SOA.
    pub(crate) fn soa(&self) -> &[u8] {
        &self.soa
    }

    pub(crate) fn soa_ttl(&self) -> u32 {
        self.soa_ttl
    }

    /// Its TTL where it says that something is not there.
    pub(crate) fn negative_ttl(&self) -> u32 {
        self.negative_ttl
    }

    /// The TTL of addresses that stand for a site.
    pub(crate) fn site_ttl(&self) -> u32 {
        self.zone.head.ttl.min(DNS_SITE_TTL)
    }

    /// Whether the wire form of a name is at or below the apex.
    pub(crate) fn holds(&self, name: &NameBuf) -> bool {
        name.is_under(self.origin.as_wire(), self.labels)
    }

    /// Looks for a name of this zone, from the apex down: what is above it decides first.
    pub(crate) fn find(&self, name: &NameBuf, wanted: RecordType) -> Found<'_> {
        let below = name.labels().saturating_sub(self.labels);
        let mut path = Path::new();
        let mut node = self.node(path.as_bytes(), wanted).unwrap_or_default();
        for depth in 0..below {
            let labels = below - depth;
            if let Some(set) = node.dname {
                return Found::Dname { set, labels };
            }
            let parent = path.len;
            path.push(name.label(labels - 1));
            node = match self.node(path.as_bytes(), wanted) {
                Some(node) => node,
                None => {
                    path.len = parent;
                    path.push(b"*");
                    return self.node(path.as_bytes(), wanted).map_or(Found::Nothing, Found::Wildcard);
                }
            };
            // What the parent has to say about a child's key is its own (RFC 4035 section 3.1.4.1).
            if let Some(ns) = node.ns.filter(|_| labels > 1 || wanted != RecordType::DS) {
                return Found::Cut { ns, labels: labels - 1 };
            }
        }
        Found::Here(node)
    }

    /// What stands at a path; None where neither the name nor one below it is there.
    pub(crate) fn node(&self, path: &[u8], wanted: RecordType) -> Option<Node<'_>> {
        let at = self.hosts.partition_point(|host| *host.path < *path);
        let host = self.hosts.get(at).filter(|host| host.path.starts_with(path));
        let mut sets = self.zone.sets_from(path).take_while(|set| set.key.starts_with(path)).peekable();
        if sets.peek().is_none() && host.is_none() {
            return None;
        }
        let home = host.filter(|host| host.path.len() == path.len()).map(|host| host.home);
        let mut node = Node { home, ..Node::default() };
        // Those of the name itself come first: 0 ends the owner, and no label begins with it.
        sets.take_while(|set| set.key.get(path.len()) == Some(&0)).for_each(|set| node.take(set, wanted));
        Some(node)
    }
}
