//! The cluster itself: its identity, its level, and proof that a keyring is the right one.
use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::ids::{ClusterId, NodeId};
use crate::base::names::NodeName;
use crate::model::LEVEL;
use crate::model::answer::{Object, Outcome};
use crate::model::apply::Apply;
use crate::model::nodes::Node;
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;
use crate::seal::Sealed;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    pub id: ClusterId,
    pub level: u32,
    pub founded: Time,
    /// A known text sealed with the cluster's key: a node whose keyring cannot open it has the wrong keyring.
    pub key_check: Sealed,
    /// When the recovery copy of the keyring was last written.
    pub key_exported: Option<Time>,
    pub revision: u64,
}

/// The first change of every cluster: it has one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub cluster: ClusterId,
    pub level: u32,
    pub node: NodeId,
    pub name: NodeName,
    pub key_check: Sealed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaiseLevel {
    pub level: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyExported {}

pub(crate) fn found(cx: &mut Apply<'_>, change: &Found) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    if let Some(cluster) = &cx.state.cluster {
        return Err(Refusal::exists(Kind::Cluster, cluster.id));
    }
    if change.level == 0 || change.level > LEVEL {
        return Err(Refusal::Level { level: LEVEL, wanted: change.level });
    }
    let cluster = Cluster {
        id: change.cluster,
        level: change.level,
        founded: cx.time,
        key_check: change.key_check.clone(),
        key_exported: None,
        revision: cx.revision,
    };
    cx.put(Row::Cluster(cluster));
    cx.put(Row::Node(Node::new(change.node, change.name.clone(), cx.time, cx.revision)));
    Ok(Outcome::new("cluster.found", change.cluster))
}

pub(crate) fn raise_level(cx: &mut Apply<'_>, change: &RaiseLevel) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let mut cluster = existing(cx)?;
    if change.level != cluster.level + 1 || change.level > LEVEL {
        return Err(Refusal::Level { level: cluster.level, wanted: change.level });
    }
    cluster.level = change.level;
    store(cx, "cluster.raise-level", cluster)
}

pub(crate) fn key_exported(cx: &mut Apply<'_>) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let mut cluster = existing(cx)?;
    cluster.key_exported = Some(cx.time);
    store(cx, "cluster.key-export", cluster)
}

fn existing(cx: &Apply<'_>) -> Result<Cluster, Refusal> {
    let cluster = cx.state.cluster.as_ref().ok_or_else(|| Refusal::not_found(Kind::Cluster, ""))?;
    cx.expect(Kind::Cluster, cluster.id, Some(cluster.revision))?;
    Ok(Cluster { revision: cx.revision, ..Cluster::clone(cluster) })
}

fn store(cx: &mut Apply<'_>, action: &'static str, cluster: Cluster) -> Result<Outcome, Refusal> {
    cx.put(Row::Cluster(cluster.clone()));
    Ok(Outcome::new(action, cluster.id).object(Object::Cluster(cluster)))
}
