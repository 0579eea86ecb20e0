//! Orders of certificates: each is reserved in the state before an issuer hears of it, and that entry is what counts against the
//! issuer's limits. The answers to its challenges stand in it, so that every node can give them.
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::ids::{CertificateId, OrderId, SiteId, WishId};
use crate::base::limits::acme::{
    ACME_URL_MAX, ORDER_CHALLENGES_MAX, ORDER_KEPT, ORDER_REASON_MAX, ORDERS_OPEN_MAX, PAUSE_MAX,
};
use crate::base::names::{IssuerName, ZoneName};
use crate::model::answer::Outcome;
use crate::model::apply::Apply;
use crate::model::budget::Spending;
use crate::model::certificates::{Certificate, CertificateStore, supersede};
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;
use crate::model::state::State;
use crate::model::wishes::check_names;
use crate::rr::Name;
use crate::seal::Sealed;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub id: OrderId,
    pub purpose: Purpose,
    /// A-labels, `*.` allowed.
    pub names: Vec<String>,
    pub issuer: IssuerName,
    /// Registered domains that get names they did not have before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
    /// The certificate it renews.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<CertificateId>,
    /// Failures in a row before it, for the same purpose at the same issuer.
    pub attempt: u32,
    pub reserved: Time,
    pub stage: Stage,
    pub revision: u64,
}

/// Whose certificate it is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Purpose {
    Site(SiteId),
    Wish(WishId),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    Reserved,
    Placed(Placed),
    Issued { at: Time, certificate: CertificateId },
    Failed(Failed),
}

/// The issuer knows of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    pub url: String,
    /// PKCS#8 of the certificate to come, sealed for `orders`, the order, `key`: whoever takes the order over can finish it.
    pub key: Sealed,
    pub challenges: Vec<Challenge>,
}

/// What a validation finds here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Without `*.`.
    pub name: String,
    pub method: Method,
    pub token: String,
    /// The key authorization (RFC 8555 section 8.1).
    pub answer: String,
    /// Where DNS-01 has put its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<(ZoneName, Name)>,
}

/// A way to prove that a name is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Method {
    /// RFC 8555 section 8.3.
    Http01,
    /// RFC 8737.
    TlsAlpn01,
    /// RFC 8555 section 8.4.
    Dns01,
}

impl Method {
    /// As issuers and CAA records name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01 => "dns-01",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    pub at: Time,
    /// What went wrong, for people.
    pub reason: String,
    pub remedy: String,
    /// Those whose validation failed.
    pub names: Vec<String>,
    /// Not before this it is tried again at this issuer.
    pub retry: Time,
    /// Whether the issuer may have issued, and counts it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finalized: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderReserve {
    pub purpose: Purpose,
    pub names: Vec<String>,
    pub issuer: IssuerName,
    pub domains: Vec<String>,
    pub replaces: Option<CertificateId>,
    /// By a clock that agrees with the issuer's, which counts its limits; absent: by the state's, which a clock that stood wrong once
    /// has sent ahead for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPlace {
    pub id: OrderId,
    pub placed: Placed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderFinish {
    pub id: OrderId,
    pub end: End,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    Issued(CertificateStore),
    /// `at` is not before it was reserved.
    Failed(Failed),
}

impl Order {
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Reserved | Stage::Placed(_))
    }

    pub fn challenges(&self) -> &[Challenge] {
        match &self.stage {
            Stage::Placed(placed) => &placed.challenges,
            _ => &[],
        }
    }

    /// Whether no limit of an issuer can count it any more.
    fn is_old(&self, now: Time) -> bool {
        !self.is_open() && self.reserved.plus(ORDER_KEPT) < now
    }
}

impl State {
    /// The orders an issuer may be working on, a few.
    pub fn open_orders(&self) -> impl Iterator<Item = &Arc<Order>> {
        self.open_orders.iter().filter_map(|id| self.orders.get(id))
    }

    /// The last order for a purpose at an issuer.
    pub fn last_order(&self, purpose: Purpose, issuer: &IssuerName) -> Option<&Arc<Order>> {
        let of = self.orders.values().filter(|order| order.purpose == purpose && order.issuer == *issuer);
        of.max_by_key(|order| (order.reserved, order.id))
    }

    /// What a validation of this name by this method is to find.
    pub fn challenge(&self, name: &str, method: Method) -> Option<&Challenge> {
        let mut all = self.open_orders().flat_map(|order| order.challenges());
        all.find(|challenge| challenge.method == method && challenge.name == name)
    }

    /// The answer to an HTTP-01 challenge of an order that is under way.
    pub fn known_http_answer(&self, token: &str) -> Option<&str> {
        let mut known = self.open_orders().flat_map(|order| order.challenges());
        let known = known.find(|challenge| challenge.method == Method::Http01 && challenge.token == token);
        known.map(|challenge| challenge.answer.as_str())
    }

    /// The answer to an HTTP-01 challenge: the one that is expected, or for a token nobody here knows, of the key all issuers share.
    pub fn http_answer(&self, token: &str) -> Option<String> {
        if let Some(known) = self.known_http_answer(token) {
            return Some(known.to_owned());
        }
        let key = self.cluster.as_ref()?.acme_key.as_ref()?;
        Some(format!("{token}.{}", key.thumbprint))
    }
}

pub(crate) fn reserve(cx: &mut Apply<'_>, change: &OrderReserve) -> Result<Outcome, Refusal> {
    cx.by_the_cluster()?;
    let id = OrderId(cx.seed_id());
    check_names(&change.names)?;
    if cx.state.orders.contains_key(&id) {
        return Err(Refusal::exists(Kind::Order, id));
    }
    if cx.state.issuer(&change.issuer).is_none() {
        return Err(Refusal::not_found(Kind::Issuer, &change.issuer));
    }
    if cx.state.open_orders().any(|order| order.purpose == change.purpose) {
        return Err(Refusal::exists(Kind::Order, change.names.join(" ")));
    }
    if cx.state.open_orders().count() >= ORDERS_OPEN_MAX {
        return Err(Refusal::invalid("order", format!("{ORDERS_OPEN_MAX} of them are under way")));
    }
    let now = change.at.unwrap_or(cx.time);
    let spending = Spending { issuer: &change.issuer, names: &change.names, domains: &change.domains };
    spending.check(cx.state, now).map_err(|spent| Refusal::Budget { reason: spent.reason, until: spent.until })?;
    let last = cx.state.last_order(change.purpose, &change.issuer);
    let attempt = match last.map(|order| (&order.stage, order.attempt)) {
        Some((Stage::Failed(_), attempt)) => attempt.saturating_add(1),
        _ => 0,
    };
    let order = Order {
        id,
        purpose: change.purpose,
        names: change.names.clone(),
        issuer: change.issuer.clone(),
        domains: change.domains.clone(),
        replaces: change.replaces,
        attempt,
        reserved: now,
        stage: Stage::Reserved,
        revision: cx.revision,
    };
    forget(cx, now);
    Ok(store(cx, "order.reserve", order))
}

pub(crate) fn place(cx: &mut Apply<'_>, change: &OrderPlace) -> Result<Outcome, Refusal> {
    let order = open(cx, change.id)?;
    let Placed { url, challenges, .. } = &change.placed;
    if url.is_empty() || url.len() > ACME_URL_MAX || challenges.len() > ORDER_CHALLENGES_MAX {
        return Err(Refusal::invalid("order", "its URL or its challenges are too many bytes"));
    }
    Ok(store(cx, "order.place", Order { stage: Stage::Placed(change.placed.clone()), ..order }))
}

pub(crate) fn finish(cx: &mut Apply<'_>, change: &OrderFinish) -> Result<Outcome, Refusal> {
    let order = open(cx, change.id)?;
    match &change.end {
        End::Issued(new) => {
            let certificate = Certificate::of(new, cx.revision)?;
            if cx.state.certificates.contains_key(&new.id) {
                return Err(Refusal::exists(Kind::Certificate, new.id));
            }
            supersede(cx, &certificate);
            cx.put(Row::Certificate(certificate.into()));
            let stage = Stage::Issued { at: cx.time, certificate: new.id };
            Ok(store(cx, "order.issued", Order { stage, ..order }))
        }
        End::Failed(failed) => {
            let brief = |text: &str| text.chars().take(ORDER_REASON_MAX).filter(|c| !c.is_control()).collect();
            let at = failed.at.max(order.reserved);
            let failed = Failed {
                at,
                reason: brief(&failed.reason),
                remedy: brief(&failed.remedy),
                names: failed.names.iter().filter(|name| order.names.contains(name)).cloned().collect(),
                // Whoever wrote it may have had a clock that stood wrong.
                retry: failed.retry.min(at.plus(PAUSE_MAX)),
                finalized: failed.finalized,
            };
            Ok(store(cx, "order.failed", Order { stage: Stage::Failed(failed), ..order }))
        }
    }
}

fn open(cx: &Apply<'_>, id: OrderId) -> Result<Order, Refusal> {
    cx.by_the_cluster()?;
    let order = cx.state.orders.get(&id).ok_or_else(|| Refusal::not_found(Kind::Order, id))?;
    cx.expect(Kind::Order, id, Some(order.revision))?;
    match order.is_open() {
        true => Ok(Order { revision: cx.revision, ..Order::clone(order) }),
        false => Err(Refusal::invalid("order", "it is over")),
    }
}

fn store(cx: &mut Apply<'_>, action: &'static str, order: Order) -> Outcome {
    let outcome = Outcome::new(action, order.names.join(" "));
    cx.put(Row::Order(order.into()));
    outcome
}

/// Old orders go; of each purpose and issuer the last one stays as long as the purpose does: it says how often it failed.
fn forget(cx: &mut Apply<'_>, now: Time) {
    let mut last = BTreeMap::new();
    for order in cx.state.orders.values() {
        let newest = last.entry((order.purpose, &order.issuer)).or_insert((order.reserved, order.id));
        *newest = (*newest).max((order.reserved, order.id));
    }
    let lives = |order: &Order| match order.purpose {
        Purpose::Site(id) => cx.state.sites.contains_key(&id),
        Purpose::Wish(id) => cx.state.wishes.contains_key(&id),
    };
    let is_last = |order: &Order| last.get(&(order.purpose, &order.issuer)).is_some_and(|(_, id)| *id == order.id);
    let old = cx.state.orders.values().filter(|order| order.is_old(now));
    let gone = old.filter(|order| !lives(order) || !is_last(order));
    let gone: Vec<_> = gone.take(FORGOTTEN_AT_ONCE).cloned().collect();
    gone.into_iter().for_each(|order| cx.delete(Row::Order(order)));
}

/// Old orders that go with one new one: more than one, so that they get fewer.
const FORGOTTEN_AT_ONCE: usize = 4;
