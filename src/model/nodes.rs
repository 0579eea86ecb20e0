//! Nodes: the machines of the cluster, what they do, and where they are found.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::ids::NodeId;
use crate::base::limits::NODE_ADDRESSES_MAX;
use crate::base::names::NodeName;
use crate::model::answer::{Object, Outcome};
use crate::model::apply::Apply;
use crate::model::change::Set;
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;
use crate::model::serials;
use crate::model::sites::check_text;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Web,
    Dns,
    Ftp,
    Control,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Web, Self::Dns, Self::Ftp, Self::Control];
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeId,
    pub name: NodeName,
    pub roles: BTreeSet<Role>,
    /// Public addresses, for DNS; not how peers reach the node.
    pub addresses: Vec<IpAddr>,
    pub labels: BTreeMap<String, String>,
    /// Takes no new sites.
    pub cordoned: bool,
    pub joined: Time,
    pub revision: u64,
}

impl Node {
    pub(crate) fn new(id: NodeId, name: NodeName, joined: Time, revision: u64) -> Self {
        let roles = Role::ALL.into_iter().collect();
        Self { id, name, roles, addresses: Vec::new(), labels: BTreeMap::new(), cordoned: false, joined, revision }
    }

    pub fn takes_sites(&self) -> bool {
        !self.cordoned && self.roles.contains(&Role::Web)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSet {
    pub node: NodeId,
    pub roles: Set<BTreeSet<Role>>,
    pub addresses: Set<Vec<IpAddr>>,
    pub labels: Set<BTreeMap<String, String>>,
    pub cordoned: Set<bool>,
}

pub(crate) fn set(cx: &mut Apply<'_>, change: &NodeSet) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let old = cx.state.nodes.get(&change.node).ok_or_else(|| Refusal::not_found(Kind::Node, change.node))?;
    cx.expect(Kind::Node, &old.name, Some(old.revision))?;
    let mut node = Node::clone(old);
    change.roles.apply_to(&mut node.roles);
    change.addresses.apply_to(&mut node.addresses);
    change.labels.apply_to(&mut node.labels);
    change.cordoned.apply_to(&mut node.cordoned);
    node.revision = cx.revision;
    check(&node)?;
    let action = match change.cordoned {
        Set::To(true) => "node.cordon",
        Set::To(false) => "node.uncordon",
        Set::Keep => "node.set",
    };
    serials::node_changed(cx, &node);
    cx.put(Row::Node(node.clone()));
    Ok(Outcome::new(action, &node.name).object(Object::Node(node)))
}

fn check(node: &Node) -> Result<(), Refusal> {
    if node.addresses.len() > NODE_ADDRESSES_MAX {
        return Err(Refusal::invalid("addresses", format!("a node has {NODE_ADDRESSES_MAX} addresses at most")));
    }
    if let Some(odd) = node.addresses.iter().find(|address| address.is_unspecified() || address.is_multicast()) {
        return Err(Refusal::invalid("addresses", format!("{odd} is no address of one machine")));
    }
    if node.labels.len() > 32 {
        return Err(Refusal::invalid("labels", "a node has 32 labels at most"));
    }
    node.labels.iter().try_for_each(|(name, value)| check_text("labels", name).and(check_text("labels", value)))
}
