//! How a machine becomes a node: somebody in the cluster makes a token, the machine shows its secret once. Only the hash of a secret
//! is kept, and using it is the change that makes the node.
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::ids::NodeId;
use crate::base::limits::{JOIN_TOKEN_LIFE_MAX, JOIN_TOKENS_MAX};
use crate::base::names::NodeName;
use crate::model::answer::{Object, Outcome};
use crate::model::apply::Apply;
use crate::model::cluster;
use crate::model::nodes::{self, Node};
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;

/// A door that is open for one machine, for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// SHA-256 of the secret, which is random and long.
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 32],
    pub expires: Time,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTokenCreate {
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 32],
    /// How long it is good for, in milliseconds of the state's time.
    pub lasts: u64,
}

/// A machine that knows a secret becomes a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeJoin {
    /// Of the token it showed.
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 32],
    pub node: NodeId,
    pub name: NodeName,
    #[serde(with = "serde_bytes")]
    pub key: Vec<u8>,
    pub reach: Vec<SocketAddr>,
    pub knows: u32,
}

pub(crate) fn create_token(cx: &mut Apply<'_>, change: &JoinTokenCreate) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let mut cluster = cluster::existing(cx)?;
    let longest = u64::try_from(JOIN_TOKEN_LIFE_MAX.as_millis()).unwrap_or(u64::MAX);
    if change.lasts == 0 || change.lasts > longest {
        let days = JOIN_TOKEN_LIFE_MAX.as_secs() / 86_400;
        return Err(Refusal::invalid("expires", format!("a token lasts {days} days at most, and some time at least")));
    }
    cluster.join_tokens.retain(|token| cx.time < token.expires);
    if cluster.join_tokens.len() >= JOIN_TOKENS_MAX {
        let reason = format!("{JOIN_TOKENS_MAX} tokens are open; use one, or wait until one expires");
        return Err(Refusal::invalid("token", reason));
    }
    let expires = Time(cx.time.0.saturating_add(change.lasts));
    cluster.join_tokens.push(JoinToken { hash: change.hash, expires });
    Ok(cluster::renew(cx, "node.token", cluster))
}

pub(crate) fn join(cx: &mut Apply<'_>, change: &NodeJoin) -> Result<Outcome, Refusal> {
    cx.by_the_cluster()?;
    let mut cluster = cluster::existing(cx)?;
    let open = |token: &JoinToken| token.hash == change.hash && cx.time < token.expires;
    if !cluster.join_tokens.iter().any(open) {
        return Err(Refusal::JoinTokenInvalid);
    }
    if change.knows < cluster.level {
        return Err(Refusal::Level { level: change.knows, wanted: cluster.level });
    }
    if cx.state.nodes.contains_key(&change.node) {
        return Err(Refusal::exists(Kind::Node, change.node));
    }
    if cx.state.node_named(&change.name).is_some() {
        return Err(Refusal::exists(Kind::Node, &change.name));
    }
    nodes::check_said(cx, change.node, &change.key, &change.reach)?;
    cluster.join_tokens.retain(|token| token.hash != change.hash && cx.time < token.expires);
    cx.put(Row::Cluster(cluster));
    let node = Node {
        key: change.key.clone(),
        reach: change.reach.clone(),
        knows: change.knows,
        ..Node::new(change.node, change.name.clone(), cx.time, cx.revision)
    };
    cx.put(Row::Node(node.clone()));
    Ok(Outcome::new("node.join", &node.name).object(Object::Node(node)))
}
