//! Nodes: the machines of the cluster, what they do, where they are found, and whether they are up.
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::ids::NodeId;
use crate::base::limits::{NODE_ADDRESSES_MAX, NODE_KEY_MAX};
use crate::base::names::NodeName;
use crate::model::answer::{Object, Outcome};
use crate::model::apply::Apply;
use crate::model::change::Set;
use crate::model::drains::Draining;
use crate::model::operations::{self, Status};
use crate::model::refusal::{Kind, Refusal};
use crate::model::rotation;
use crate::model::row::Row;
use crate::model::serials;
use crate::model::sites::{Site, check_text};
use crate::model::standbys;

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
    /// The public key its peer channel is known by (RFC 7250, DER); empty until it has said so.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "serde_bytes")]
    pub key: Vec<u8>,
    /// Where other nodes reach it, as it said last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reach: Vec<SocketAddr>,
    /// The newest level its program knows; 0: it has not said.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub knows: u32,
    /// The leader has heard nothing of it for a while.
    #[serde(default, skip_serializing_if = "is_up")]
    pub down: bool,
    /// What it has no listener for, whatever its roles are.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub deaf: BTreeSet<Role>,
    /// Its sites are moving away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<Draining>,
    pub revision: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_up(down: &bool) -> bool {
    !down
}

impl Node {
    pub(crate) fn new(id: NodeId, name: NodeName, joined: Time, revision: u64) -> Self {
        Self {
            id,
            name,
            roles: Role::ALL.into_iter().collect(),
            addresses: Vec::new(),
            labels: BTreeMap::new(),
            cordoned: false,
            joined,
            key: Vec::new(),
            reach: Vec::new(),
            knows: 0,
            down: false,
            deaf: BTreeSet::new(),
            draining: None,
            revision,
        }
    }

    /// Whether it has the role and listens for it.
    pub fn takes_visitors(&self) -> bool {
        self.roles.contains(&Role::Web) && !self.deaf.contains(&Role::Web)
    }

    /// Why no site may come here now; absent: one may.
    pub fn closed(&self) -> Option<&'static str> {
        match self {
            node if !node.roles.contains(&Role::Web) => Some("does not have the role web"),
            node if !node.takes_visitors() => Some("listens for no visitors: its `[web]` has no address"),
            node if node.down => Some("is down"),
            node if node.cordoned => Some("is cordoned"),
            _ => None,
        }
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

/// What a node says of itself: the key it is known by, where it is reached, which levels it knows, what it does not listen for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSays {
    pub node: NodeId,
    #[serde(with = "serde_bytes")]
    pub key: Vec<u8>,
    pub reach: Vec<SocketAddr>,
    pub knows: u32,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub deaf: BTreeSet<Role>,
}

/// The leader states that a node is down, or up again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeHealth {
    pub node: NodeId,
    pub down: bool,
}

/// Takes a node out of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRemove {
    pub node: NodeId,
    /// With its disk: every secret that it could open is replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}

pub(crate) fn says(cx: &mut Apply<'_>, change: &NodeSays) -> Result<Outcome, Refusal> {
    cx.by_the_cluster()?;
    let old = known(cx, change.node)?;
    check_said(cx, change.node, &change.key, &change.reach)?;
    if !old.key.is_empty() && old.key != change.key {
        return Err(Refusal::invalid("key", "a node is its key: with another one it joins as another node"));
    }
    let mut node = Node::clone(old);
    node.key.clone_from(&change.key);
    node.reach.clone_from(&change.reach);
    node.knows = change.knows;
    node.deaf.clone_from(&change.deaf);
    node.revision = cx.revision;
    serials::node_changed(cx, &node);
    cx.put(Row::Node(node.clone()));
    Ok(Outcome::new("node.says", &node.name))
}

/// A key is one node's, and small; addresses can be reached.
pub(crate) fn check_said(cx: &Apply<'_>, id: NodeId, key: &[u8], reach: &[SocketAddr]) -> Result<(), Refusal> {
    if key.is_empty() || key.len() > NODE_KEY_MAX {
        return Err(Refusal::invalid("key", "expected a public key"));
    }
    if cx.state.nodes.values().any(|node| node.id != id && node.key == key) {
        return Err(Refusal::exists(Kind::Node, "of that key"));
    }
    if reach.len() > NODE_ADDRESSES_MAX {
        return Err(Refusal::invalid("reach", format!("a node has {NODE_ADDRESSES_MAX} addresses at most")));
    }
    Ok(())
}

pub(crate) fn health(cx: &mut Apply<'_>, change: &NodeHealth) -> Result<Outcome, Refusal> {
    cx.by_the_cluster()?;
    let old = known(cx, change.node)?;
    if old.down == change.down {
        return Err(Refusal::exists(Kind::Node, &old.name));
    }
    let node = Node { down: change.down, revision: cx.revision, ..Node::clone(old) };
    serials::node_changed(cx, &node);
    cx.put(Row::Node(node.clone()));
    Ok(Outcome::new(if change.down { "node.down" } else { "node.up" }, &node.name).object(Object::Node(node)))
}

pub(crate) fn remove(cx: &mut Apply<'_>, change: &NodeRemove) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let old = Node::clone(known(cx, change.node)?);
    cx.expect(Kind::Node, &old.name, Some(old.revision))?;
    if cx.state.nodes.len() == 1 {
        return Err(Refusal::invalid("node", "it is the last one of the cluster"));
    }
    let comes = |site: &Site| site.moving.as_ref().is_some_and(|moving| moving.to == old.id);
    let stays = |site: &&Arc<Site>| site.home == old.id || comes(site);
    let by: Vec<String> = cx.state.sites.values().filter(stays).map(|site| site.host.to_string()).collect();
    if !by.is_empty() {
        return Err(Refusal::InUse { kind: Kind::Node, name: old.name.to_string(), by });
    }
    serials::node_changed(cx, &Node { addresses: Vec::new(), ..old.clone() });
    standbys::forget(cx, old.id);
    if change.lost {
        rotation::begin(cx, &old)?;
    }
    if let Some(draining) = &old.draining {
        operations::end(cx, draining.operation, Status::Succeeded);
    }
    cx.delete(Row::Node(old.clone()));
    Ok(Outcome::new(if change.lost { "node.lost" } else { "node.remove" }, &old.name))
}

fn known<'a>(cx: &Apply<'a>, id: NodeId) -> Result<&'a Arc<Node>, Refusal> {
    cx.state.nodes.get(&id).ok_or_else(|| Refusal::not_found(Kind::Node, id))
}

pub(crate) fn set(cx: &mut Apply<'_>, change: &NodeSet) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let old = known(cx, change.node)?;
    cx.expect(Kind::Node, &old.name, Some(old.revision))?;
    if let (Set::To(false), Some(draining)) = (&change.cordoned, &old.draining) {
        let by = vec![format!("operation {}", draining.operation)];
        return Err(Refusal::InUse { kind: Kind::Node, name: old.name.to_string(), by });
    }
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
