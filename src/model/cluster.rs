//! The cluster itself: its identity, its level, proof that a keyring is the right one, and what its nodes share to speak TLS: the
//! authority of its internal certificates and the keys of session tickets, both sealed.
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::ids::{ClusterId, NodeId};
use crate::base::limits::TICKET_KEYS_MAX;
use crate::base::names::NodeName;
use crate::model::LEVEL;
use crate::model::answer::{Object, Outcome};
use crate::model::apply::Apply;
use crate::model::joins::JoinToken;
use crate::model::nodes::Node;
use crate::model::refusal::{Kind, Refusal};
use crate::model::rotation::Rotation;
use crate::model::row::Row;
use crate::model::serials::GoneSerial;
use crate::seal::Sealed;

/// Characters of a thumbprint.
const THUMBPRINT: usize = 43;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    pub id: ClusterId,
    pub level: u32,
    pub founded: Time,
    /// A known text sealed with the cluster's key: a node whose keyring cannot open it has the wrong keyring.
    pub key_check: Sealed,
    /// When the recovery copy of the keyring was last written.
    pub key_exported: Option<Time>,
    /// Signs the internal certificates of sites; absent until the first node has made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sites_ca: Option<SitesCa>,
    /// Newest first: it makes tickets, all of them are accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ticket_keys: Vec<TicketKey>,
    /// Serials of removed zones that time has not overtaken, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone_serials: Vec<GoneSerial>,
    /// What the cookies of DNS clients are made with, 16 bytes; absent until the first node has made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie_key: Option<Sealed>,
    /// The key of our accounts at all issuers that were given none of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acme_key: Option<AcmeKey>,
    /// Doors that are open for a machine each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub join_tokens: Vec<JoinToken>,
    /// What is done since a node was lost with its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// The id its secrets are sealed for, where it has another one since: it was recovered, and its old members are none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formerly: Option<ClusterId>,
    pub revision: u64,
}

impl Cluster {
    /// Its id as secrets know it.
    pub fn sealed_for(&self) -> ClusterId {
        self.formerly.unwrap_or(self.id)
    }

    /// The same cluster under another id: who knows it by the old one is told that it is another.
    pub fn renamed(&self, id: ClusterId) -> Self {
        Self { id, formerly: Some(self.sealed_for()), ..self.clone() }
    }
}

/// The authority behind internal certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SitesCa {
    /// DER, signed by itself.
    #[serde(with = "serde_bytes")]
    pub certificate: Vec<u8>,
    /// PKCS#8.
    pub key: Sealed,
    pub not_after: Time,
    /// What is older was signed by the one before; 0 for the first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub since: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A key of session tickets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKey {
    /// Stands in the clear before each ticket; also where the key is sealed.
    #[serde(with = "serde_bytes")]
    pub id: [u8; 16],
    pub made: Time,
    /// 32 bytes.
    pub key: Sealed,
}

/// An account key of issuers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcmeKey {
    /// PKCS#8, sealed for `cluster`, `cluster`, `acme_key`.
    pub key: Sealed,
    /// SHA-256 of the public key (RFC 7638), base64url: the half of an answer to HTTP-01 that no order is needed for.
    pub thumbprint: String,
}

/// The first change of every cluster: it has one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub cluster: ClusterId,
    pub level: u32,
    pub node: NodeId,
    pub name: NodeName,
    pub key_check: Sealed,
    /// The public key the first node is known by.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "serde_bytes")]
    pub key: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaiseLevel {
    pub level: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyExported {}

/// Gives the cluster its sites CA, or the next one. Two nodes may try at one time: the first one stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SitesCaPut {
    pub ca: SitesCa,
    /// When the one its proposer saw ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Time>,
}

/// Replaces the keys of session tickets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKeysPut {
    /// The newest key its proposer saw; another one by now: somebody else was first.
    #[serde(with = "serde_bytes")]
    pub after: Option<[u8; 16]>,
    pub keys: Vec<TicketKey>,
}

/// Gives the cluster its key of DNS cookies. Two nodes may try at one time: the first one stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CookieKeyPut {
    pub key: Sealed,
}

/// Gives the cluster the key of its accounts, or another one in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcmeKeyPut {
    /// The thumbprint of the one its proposer saw.
    pub after: Option<String>,
    pub key: AcmeKey,
}

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
        sites_ca: None,
        ticket_keys: Vec::new(),
        gone_serials: Vec::new(),
        cookie_key: None,
        acme_key: None,
        join_tokens: Vec::new(),
        rotation: None,
        formerly: None,
        revision: cx.revision,
    };
    cx.put(Row::Cluster(cluster));
    let node = Node::new(change.node, change.name.clone(), cx.time, cx.revision);
    let knows = if change.key.is_empty() { 0 } else { change.level };
    cx.put(Row::Node(Node { key: change.key.clone(), knows, ..node }));
    Ok(Outcome::new("cluster.found", change.cluster))
}

pub(crate) fn raise_level(cx: &mut Apply<'_>, change: &RaiseLevel) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let mut cluster = existing(cx)?;
    if cluster.level.checked_add(1) != Some(change.level) {
        return Err(Refusal::Level { level: cluster.level, wanted: change.level });
    }
    // What this binary knows plays no part: one that does not know the level decides the same, and goes no further.
    let behind = |node: &&Arc<Node>| node.knows < change.level;
    let behind: Vec<&str> = cx.state.nodes.values().filter(behind).map(|node| node.name.as_str()).collect();
    if !behind.is_empty() {
        return Err(Refusal::invalid("level", format!("not every node knows it: upgrade {}", behind.join(", "))));
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

pub(crate) fn put_sites_ca(cx: &mut Apply<'_>, change: &SitesCaPut) -> Result<Outcome, Refusal> {
    cx.by_the_cluster()?;
    let mut cluster = existing(cx)?;
    if cluster.sites_ca.as_ref().map(|held| held.not_after) != change.after {
        return Err(Refusal::exists(Kind::Certificate, "of the sites CA"));
    }
    if change.ca.certificate.is_empty() {
        return Err(Refusal::invalid("certificate", "it is empty"));
    }
    let since = if cluster.sites_ca.is_some() { cx.revision } else { 0 };
    cluster.sites_ca = Some(SitesCa { since, ..change.ca.clone() });
    Ok(renew(cx, "cluster.sites-ca", cluster))
}

pub(crate) fn put_ticket_keys(cx: &mut Apply<'_>, change: &TicketKeysPut) -> Result<Outcome, Refusal> {
    cx.by_the_cluster()?;
    let mut cluster = existing(cx)?;
    if cluster.ticket_keys.first().map(|newest| newest.id) != change.after {
        return Err(Refusal::invalid("after", "the newest ticket key is another one by now"));
    }
    let keys = &change.keys;
    let twice = |at: usize| keys[..at].iter().any(|other| other.id == keys[at].id);
    if keys.is_empty() || keys.len() > TICKET_KEYS_MAX || (0..keys.len()).any(twice) {
        return Err(Refusal::invalid("keys", format!("expected 1 to {TICKET_KEYS_MAX} keys, each of its own id")));
    }
    cluster.ticket_keys.clone_from(keys);
    Ok(renew(cx, "cluster.ticket-keys", cluster))
}

pub(crate) fn put_cookie_key(cx: &mut Apply<'_>, change: &CookieKeyPut) -> Result<Outcome, Refusal> {
    cx.by_the_cluster()?;
    let mut cluster = existing(cx)?;
    if cluster.cookie_key.is_some() {
        return Err(Refusal::exists(Kind::Cluster, "key of DNS cookies"));
    }
    cluster.cookie_key = Some(change.key.clone());
    Ok(renew(cx, "cluster.cookie-key", cluster))
}

pub(crate) fn put_acme_key(cx: &mut Apply<'_>, change: &AcmeKeyPut) -> Result<Outcome, Refusal> {
    cx.by_the_cluster()?;
    let mut cluster = existing(cx)?;
    if cluster.acme_key.as_ref().map(|key| &key.thumbprint) != change.after.as_ref() {
        return Err(Refusal::exists(Kind::Cluster, "account key of issuers"));
    }
    if change.key.thumbprint.len() != THUMBPRINT {
        return Err(Refusal::invalid("thumbprint", "expected base64url of SHA-256"));
    }
    cluster.acme_key = Some(change.key.clone());
    if let Some(rotation) = &mut cluster.rotation {
        rotation.thumbprint = None;
    }
    Ok(renew(cx, "cluster.acme-key", cluster))
}

/// Puts the cluster's row without showing it in the event: nobody asked for it.
pub(crate) fn renew(cx: &mut Apply<'_>, action: &'static str, cluster: Cluster) -> Outcome {
    let outcome = Outcome::new(action, cluster.id);
    cx.put(Row::Cluster(cluster));
    outcome
}

pub(crate) fn existing(cx: &Apply<'_>) -> Result<Cluster, Refusal> {
    let cluster = cx.state.cluster.as_ref().ok_or_else(|| Refusal::not_found(Kind::Cluster, ""))?;
    cx.expect(Kind::Cluster, cluster.id, Some(cluster.revision))?;
    existing_unexpected(cx)
}

/// The cluster's row, for a change whose expectation is about something else.
pub(crate) fn existing_unexpected(cx: &Apply<'_>) -> Result<Cluster, Refusal> {
    let cluster = cx.state.cluster.as_ref().ok_or_else(|| Refusal::not_found(Kind::Cluster, ""))?;
    Ok(Cluster { revision: cx.revision, ..Cluster::clone(cluster) })
}

fn store(cx: &mut Apply<'_>, action: &'static str, cluster: Cluster) -> Result<Outcome, Refusal> {
    cx.put(Row::Cluster(cluster.clone()));
    Ok(Outcome::new(action, cluster.id).object(Object::Cluster(cluster)))
}
