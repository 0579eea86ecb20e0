//! After a node was lost with its disk: whoever has that disk has the cluster's key, and with it every secret of that time. Each is made
//! anew, or sealed with another key and marked until another one has followed it; one bounded change after the other. The state says how
//! far that is, so whoever leads next goes on.
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::ids::{CertificateId, NodeId, OperationId, OrderId};
use crate::base::names::IssuerName;
use crate::model::answer::Outcome;
use crate::model::apply::Apply;
use crate::model::certificates::Certificate;
use crate::model::cluster::{self, Cluster, SitesCa, TicketKey};
use crate::model::issuers::{Binding, Issuer, IssuerAccount, Task};
use crate::model::nodes::Node;
use crate::model::operations::{self, OperationFinish, Status};
use crate::model::orders::{Order, Placed, Stage};
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;
use crate::seal::Sealed;

/// What is done since a node was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// Shows how far it is.
    pub operation: OperationId,
    pub node: NodeId,
    /// What is older may have been read on the lost disk.
    pub since: u64,
    /// When the cluster's own secrets were made anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rekeyed: Option<Time>,
    /// The thumbprint of the account key that all issuers know, until there is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbprint: Option<String>,
}

/// The cluster's own secrets, made anew or sealed anew: from here on another key seals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rekey {
    pub key_check: Sealed,
    pub sites_ca: SitesCa,
    pub ticket_keys: Vec<TicketKey>,
    pub cookie_key: Sealed,
    /// The same key as before: accounts are known by it until each has another one.
    pub acme_key: Option<Sealed>,
}

/// Whose secrets are sealed anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holder {
    Certificate { id: CertificateId, key: Sealed },
    Issuer { name: IssuerName, binding: Option<Sealed>, account: Option<Sealed> },
    Order { id: OrderId, key: Sealed },
}

/// The same secrets of one row, sealed with the key that is current now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reseal {
    pub holder: Holder,
}

/// Nothing is left to be done, or nothing that the cluster can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationEnd {
    /// What is left to people.
    pub left: Option<String>,
}

/// A node is gone, and its disk may be in other hands.
pub(crate) fn begin(cx: &mut Apply<'_>, lost: &Node) -> Result<(), Refusal> {
    let mut cluster = cluster::existing_unexpected(cx)?;
    if cluster.rotation.is_some() {
        let reason = "the secrets that another lost node knew are being replaced; wait for that operation to end";
        return Err(Refusal::invalid("lost", reason));
    }
    let operation = operations::begin(cx, "node.lost", &lost.name, None, "the lost node is taken out")?;
    let rotation =
        Rotation { operation: operation.id, node: lost.id, since: cx.revision, rekeyed: None, thumbprint: None };
    // A token that was made there may be written down there.
    cluster.join_tokens.clear();
    cluster.rotation = Some(rotation);
    cx.put(Row::Cluster(cluster));
    cx.put(Row::Operation(operation));
    Ok(())
}

pub(crate) fn rekey(cx: &mut Apply<'_>, change: &Rekey) -> Result<Outcome, Refusal> {
    cx.by_the_cluster()?;
    let (mut cluster, mut rotation) = running(cx)?;
    if rotation.rekeyed.is_some() || change.key_check.key_id <= cluster.key_check.key_id {
        return Err(Refusal::invalid("key", "expected a newer key, once"));
    }
    if cluster.acme_key.is_some() != change.acme_key.is_some() || change.ticket_keys.is_empty() {
        return Err(Refusal::invalid("key", "expected each secret that there is"));
    }
    rotation.rekeyed = Some(cx.time);
    if let (Some(held), Some(key)) = (&mut cluster.acme_key, &change.acme_key) {
        rotation.thumbprint = Some(held.thumbprint.clone());
        held.key = key.clone();
    }
    cluster.key_check = change.key_check.clone();
    cluster.sites_ca = Some(change.sites_ca.clone());
    cluster.ticket_keys.clone_from(&change.ticket_keys);
    cluster.cookie_key = Some(change.cookie_key.clone());
    cluster.key_exported = None;
    cluster.rotation = Some(rotation);
    // Each account gets a key of its own that nobody else has seen, nor the one it was about to get.
    let renewed = |issuer: &Arc<Issuer>| {
        let account = IssuerAccount { next: None, ..issuer.account.clone()? };
        let task = Some(Task::Rollover);
        Some(Issuer { account: Some(account), task, revision: cx.revision, ..Issuer::clone(issuer) })
    };
    let accounts: Vec<Issuer> = cx.state.issuers.values().filter_map(renewed).collect();
    accounts.into_iter().for_each(|issuer| cx.put(Row::Issuer(issuer.into())));
    Ok(cluster::renew(cx, "cluster.rekey", cluster))
}

pub(crate) fn reseal(cx: &mut Apply<'_>, change: &Reseal) -> Result<Outcome, Refusal> {
    cx.by_the_cluster()?;
    let current = running(cx)?.0.key_check.key_id;
    let is_current = |sealed: &Sealed| match sealed.key_id == current {
        true => Ok(sealed.clone()),
        false => Err(Refusal::invalid("key", "it is not sealed with the current key")),
    };
    match &change.holder {
        Holder::Certificate { id, key } => {
            let old = cx.state.certificates.get(id).ok_or_else(|| Refusal::not_found(Kind::Certificate, id))?;
            cx.expect(Kind::Certificate, id, Some(old.revision))?;
            let key = is_current(key)?;
            let new = Certificate { key, suspect: true, revision: cx.revision, ..Certificate::clone(old) };
            cx.put(Row::Certificate(new.into()));
            Ok(Outcome::new("certificate.reseal", id))
        }
        Holder::Issuer { name, binding, account } => {
            let old = cx.state.issuers.get(name).ok_or_else(|| Refusal::not_found(Kind::Issuer, name))?;
            cx.expect(Kind::Issuer, name, Some(old.revision))?;
            let mut new = Issuer { revision: cx.revision, ..Issuer::clone(old) };
            if let (Some(held), Some(key)) = (&mut new.binding, binding) {
                *held = Binding { key: is_current(key)?, ..held.clone() };
            }
            if let (Some(held), Some(key)) = (&mut new.account, account) {
                *held = IssuerAccount { key: Some(is_current(key)?), ..held.clone() };
            }
            cx.put(Row::Issuer(new.into()));
            Ok(Outcome::new("issuer.reseal", name))
        }
        Holder::Order { id, key } => {
            let old = cx.state.orders.get(id).ok_or_else(|| Refusal::not_found(Kind::Order, id))?;
            cx.expect(Kind::Order, id, Some(old.revision))?;
            let Stage::Placed(placed) = &old.stage else {
                return Err(Refusal::invalid("order", "it has no key"));
            };
            let stage = Stage::Placed(Placed { key: is_current(key)?, ..placed.clone() });
            cx.put(Row::Order(Arc::new(Order { stage, revision: cx.revision, ..Order::clone(old) })));
            Ok(Outcome::new("order.reseal", id))
        }
    }
}

pub(crate) fn end(cx: &mut Apply<'_>, change: &RotationEnd) -> Result<Outcome, Refusal> {
    cx.by_the_cluster()?;
    let (mut cluster, rotation) = running(cx)?;
    cluster.rotation = None;
    cx.put(Row::Cluster(cluster));
    if !cx.state.operations.contains_key(&rotation.operation) {
        return Ok(Outcome::new("rotation.end", rotation.node));
    }
    let status = match &change.left {
        None => Status::Succeeded,
        Some(reason) => Status::Failed { reason: reason.clone() },
    };
    operations::finish(cx, &OperationFinish { id: rotation.operation, status })
}

fn running(cx: &Apply<'_>) -> Result<(Cluster, Rotation), Refusal> {
    let cluster = cluster::existing_unexpected(cx)?;
    let rotation = cluster.rotation.clone().ok_or_else(|| Refusal::invalid("rotation", "no node was lost"))?;
    Ok((cluster, rotation))
}
