//! The working image of `state.db`: persistent maps, cheap to clone, changed only by effects. Indexes are derived, never stored.
use std::ops::Deref;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use imbl::{HashMap, OrdMap, OrdSet, Vector};

use crate::base::clock::Time;
use crate::base::ids::{CertificateId, NodeId, OperationId, OrderId, RequestId, SiteId, TokenId, WishId};
use crate::base::limits::ANSWERS_KEPT;
use crate::base::names::{AccountName, Host, IssuerName, Login, NodeName, PlanName, TokenName, ZoneName};
use crate::model::accounts::Account;
use crate::model::answer::Event;
use crate::model::certificates::{Certificate, IMPORTED, INTERNAL};
use crate::model::cluster::Cluster;
use crate::model::effect::{Effect, Stored};
use crate::model::ftp_users::FtpUser;
use crate::model::issuers::Issuer;
use crate::model::nodes::Node;
use crate::model::operations::Operation;
use crate::model::orders::Order;
use crate::model::plans::Plan;
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;
use crate::model::sites::Site;
use crate::model::tokens::Token;
use crate::model::wishes::Wish;
use crate::model::zones::Zone;

#[derive(Debug, Clone, Default)]
pub struct State {
    /// Counts changes. Not the index in the log: two changes of one entry differ.
    pub revision: u64,
    pub time: Time,
    /// Sum of the hashes of all rows but those of the history.
    pub hash: u128,
    pub cluster: Option<Arc<Cluster>>,
    pub nodes: OrdMap<NodeId, Arc<Node>>,
    pub plans: OrdMap<PlanName, Arc<Plan>>,
    pub accounts: OrdMap<AccountName, Arc<Account>>,
    pub tokens: OrdMap<TokenId, Arc<Token>>,
    pub sites: OrdMap<SiteId, Arc<Site>>,
    pub ftp_users: OrdMap<Login, Arc<FtpUser>>,
    pub zones: OrdMap<ZoneName, Arc<Zone>>,
    pub certificates: OrdMap<CertificateId, Arc<Certificate>>,
    /// Those not finished.
    pub operations: OrdMap<OperationId, Arc<Operation>>,
    /// Those about which something was set.
    pub issuers: OrdMap<IssuerName, Arc<Issuer>>,
    pub wishes: OrdMap<WishId, Arc<Wish>>,
    pub orders: OrdMap<OrderId, Arc<Order>>,
    /// Whose each host is.
    pub hosts: OrdMap<Host, SiteId>,
    /// The sites on their way to another home, each with its operation and where it goes.
    pub moving: OrdMap<SiteId, (OperationId, NodeId)>,
    pub(super) answers: HashMap<[u8; 16], Remembered>,
    /// The keys of `answers`, oldest first.
    pub(super) answered: Vector<[u8; 16]>,
    pub(super) sites_of: OrdSet<(AccountName, SiteId)>,
    pub(super) sites_at: OrdMap<NodeId, u64>,
    pub(super) fenced: OrdSet<(NodeId, SiteId)>,
    pub(super) zones_of: OrdSet<(AccountName, ZoneName)>,
    pub(super) logins_of: OrdSet<(SiteId, Login)>,
    /// Which certificates each name stands in, internal ones aside.
    pub(super) certified: OrdSet<(Box<str>, CertificateId)>,
    pub(super) open_orders: OrdSet<OrderId>,
}

/// What stays in memory of a request that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    pub revision: u64,
    pub digest: [u8; 16],
}

impl State {
    pub fn account(&self, name: &AccountName) -> Result<&Arc<Account>, Refusal> {
        self.accounts.get(name).ok_or_else(|| Refusal::not_found(Kind::Account, name))
    }

    /// The site that has this host, as main name or otherwise.
    pub fn site(&self, host: &Host) -> Result<&Arc<Site>, Refusal> {
        let site = self.hosts.get(host).and_then(|id| self.sites.get(id));
        site.ok_or_else(|| Refusal::not_found(Kind::Site, host))
    }

    /// The sites that differ from those of an earlier state: as they were, and as they are. Costs what changed, not what
    /// there is.
    pub fn sites_since<'a>(
        &'a self,
        before: &'a OrdMap<SiteId, Arc<Site>>,
    ) -> impl Iterator<Item = (Option<&'a Arc<Site>>, Option<&'a Arc<Site>>)> {
        differences(before, &self.sites)
    }

    /// The same for zones.
    pub fn zones_since<'a>(
        &'a self,
        before: &'a OrdMap<ZoneName, Arc<Zone>>,
    ) -> impl Iterator<Item = (Option<&'a Arc<Zone>>, Option<&'a Arc<Zone>>)> {
        differences(before, &self.zones)
    }

    /// What visitors of a host are shown: of the certificates for it one of the issuer its site names, else of one that is asked where
    /// none is named, and of those the one that lasts longest; else the internal one of its site. No clock decides: the visitor's
    /// does, and the node's own may stand wrong.
    pub fn certificate_for(&self, host: &str) -> Option<&Arc<Certificate>> {
        let site = self.hosts.get(host).and_then(|id| self.sites.get(id));
        let internal = || self.certificates.get(&site?.certificate?);
        let named = site.and_then(|site| site.issuer.as_ref());
        if named.is_some_and(|named| named.as_str() == INTERNAL) {
            return internal();
        }
        let rank = |held: &&Arc<Certificate>| {
            let imported = held.issuer.as_str() == IMPORTED;
            let trusted = imported || self.issuer(&held.issuer).is_some_and(|issuer| issuer.rank.is_some());
            (named == Some(&held.issuer), trusted, !held.suspect, held.not_after, held.revision)
        };
        self.obtained_for(host).max_by_key(rank).or_else(internal)
    }

    /// The certificates for a name, or a wildcard, that were obtained or brought along.
    pub fn obtained_for(&self, name: &str) -> impl Iterator<Item = &Arc<Certificate>> {
        let above = name.split_once('.').map(|(_, above)| format!("*.{above}"));
        let names = std::iter::once(Box::from(name)).chain(above.map(Box::from));
        let ids = names.flat_map(|name: Box<str>| {
            let first = (name.clone(), CertificateId(0));
            self.certified.range(first..).take_while(move |(of, _)| *of == name).map(|(_, id)| *id)
        });
        ids.filter_map(|id| self.certificates.get(&id))
    }

    pub fn zone(&self, name: &ZoneName) -> Result<&Arc<Zone>, Refusal> {
        self.zones.get(name).ok_or_else(|| Refusal::not_found(Kind::Zone, name))
    }

    pub fn token_named(&self, name: &TokenName) -> Option<&Arc<Token>> {
        self.tokens.values().find(|token| token.name == *name)
    }

    pub fn node_named(&self, name: &NodeName) -> Option<&Arc<Node>> {
        self.nodes.values().find(|node| node.name == *name)
    }

    pub fn sites_of<'a>(&'a self, account: &'a AccountName) -> impl Iterator<Item = &'a Arc<Site>> {
        let own = self.sites_of.range((account.clone(), SiteId(0))..).take_while(move |(owner, _)| owner == account);
        own.filter_map(|(_, id)| self.sites.get(id))
    }

    /// How many sites are at home on a node.
    pub fn sites_at(&self, node: NodeId) -> u64 {
        self.sites_at.get(&node).copied().unwrap_or(0)
    }

    /// Whether a site at home on a node may be written only while the leader confirms that home.
    pub fn has_fenced(&self, node: NodeId) -> bool {
        self.fenced.get_next(&(node, SiteId(0))).is_some_and(|(at, _)| *at == node)
    }

    pub fn zones_of<'a>(&'a self, account: &'a AccountName) -> impl Iterator<Item = &'a Arc<Zone>> {
        self.zones.values().filter(move |zone| zone.head.account.as_ref() == Some(account))
    }

    pub fn zones_count(&self, account: &AccountName) -> u64 {
        // `/` sorts before every other octet a zone may begin with (RFC 2317).
        let Ok(first) = ZoneName::parse("/") else { return 0 };
        let own = self.zones_of.range((account.clone(), first)..).take_while(|(owner, _)| owner == account);
        own.count() as u64
    }

    pub fn ftp_users_of(&self, site: SiteId) -> impl Iterator<Item = &Login> {
        let Ok(first) = Login::parse("0") else { unreachable!("`0` is a login") };
        self.logins_of.range((site, first)..).take_while(move |(of, _)| *of == site).map(|(_, login)| login)
    }

    pub fn ftp_users_count(&self, account: &AccountName) -> u64 {
        self.sites_of(account).map(|site| self.ftp_users_of(site.id).count() as u64).sum()
    }

    /// The zone in which a name lies: the closest one.
    pub fn zone_above(&self, name: &str) -> Option<&Arc<Zone>> {
        let suffixes = std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, rest)| rest));
        suffixes.filter_map(|suffix| ZoneName::parse(suffix).ok()).find_map(|suffix| self.zones.get(&suffix))
    }

    /// What was answered to this request, if that is remembered.
    pub fn remembered(&self, request: &RequestId) -> Option<Remembered> {
        self.answers.get(&request.key).copied()
    }

    pub fn level(&self) -> u32 {
        self.cluster.as_ref().map_or(crate::model::LEVEL, |cluster| cluster.level)
    }

    /// Takes up what an allowed change does.
    pub fn absorb(&mut self, effect: &Effect) {
        match effect {
            Effect::Put(stored) => self.put(stored),
            Effect::Delete(stored) => self.delete(stored),
            Effect::Prune { .. } => {}
        }
    }

    /// Takes up one row, from a change or from `state.db`.
    pub fn put(&mut self, stored: &Stored) {
        if let Row::Event(event) = &stored.row {
            return self.remember(event);
        }
        if stored.row.table().is_history() {
            return;
        }
        self.hash = self.hash.wrapping_add(stored.hash);
        if let Some(old) = self.replace(&stored.row) {
            self.hash = self.hash.wrapping_sub(Stored::new(old).hash);
        }
    }

    /// Puts a row in its map and indexes and gives back the one it replaces.
    fn replace(&mut self, row: &Row) -> Option<Row> {
        match row {
            Row::Cluster(new) => self.cluster.replace(Arc::new(new.clone())).map(|old| Row::Cluster(own(old))),
            Row::Node(new) => self.nodes.insert(new.id, new.clone().into()).map(|old| Row::Node(own(old))),
            Row::Plan(new) => self.plans.insert(new.name.clone(), new.clone().into()).map(|old| Row::Plan(own(old))),
            Row::Account(new) => {
                self.accounts.insert(new.name.clone(), new.clone().into()).map(|old| Row::Account(own(old)))
            }
            Row::Token(new) => self.tokens.insert(new.id, new.clone().into()).map(|old| Row::Token(own(old))),
            Row::Site(new) => {
                let old = self.sites.insert(new.id, Arc::clone(new));
                if let Some(old) = &old {
                    self.unindex_site(old);
                }
                self.index_site(new);
                old.map(Row::Site)
            }
            Row::FtpUser(new) => {
                self.logins_of.insert((new.site, new.login.clone()));
                self.ftp_users.insert(new.login.clone(), new.clone().into()).map(|old| Row::FtpUser(own(old)))
            }
            Row::Zone(new) => {
                let zone = self.zones.get(&new.name).map_or_else(Vec::new, |old| old.chunks.clone());
                let old = self.zones.insert(new.name.clone(), Arc::new(Zone { head: new.clone(), chunks: zone }));
                if let Some(account) = old.as_ref().and_then(|old| old.head.account.clone()) {
                    self.zones_of.remove(&(account, new.name.clone()));
                }
                if let Some(account) = &new.account {
                    self.zones_of.insert((account.clone(), new.name.clone()));
                }
                old.map(|old| Row::Zone(old.head.clone()))
            }
            Row::ZoneChunk(new) => {
                let zone = self.zones.get_mut(&new.zone)?;
                Arc::make_mut(zone).put_chunk(Arc::clone(new)).map(Row::ZoneChunk)
            }
            Row::Certificate(new) => {
                let old = self.certificates.insert(new.id, Arc::clone(new));
                if let Some(old) = &old {
                    self.unindex_certificate(old);
                }
                self.index_certificate(new);
                old.map(Row::Certificate)
            }
            Row::Issuer(new) => self.issuers.insert(new.name.clone(), Arc::clone(new)).map(Row::Issuer),
            Row::Wish(new) => self.wishes.insert(new.id, Arc::clone(new)).map(Row::Wish),
            Row::Order(new) => {
                match new.is_open() {
                    true => self.open_orders.insert(new.id),
                    false => self.open_orders.remove(&new.id),
                };
                self.orders.insert(new.id, Arc::clone(new)).map(Row::Order)
            }
            Row::Operation(new) => {
                self.operations.insert(new.id, new.clone().into()).map(|old| Row::Operation(own(old)))
            }
            Row::FinishedOperation(_) | Row::Event(_) => None,
        }
    }

    fn delete(&mut self, stored: &Stored) {
        self.hash = self.hash.wrapping_sub(stored.hash);
        match &stored.row {
            Row::Cluster(_) => self.cluster = None,
            Row::Node(old) => drop(self.nodes.remove(&old.id)),
            Row::Plan(old) => drop(self.plans.remove(&old.name)),
            Row::Account(old) => drop(self.accounts.remove(&old.name)),
            Row::Token(old) => drop(self.tokens.remove(&old.id)),
            Row::Site(old) => {
                self.sites.remove(&old.id);
                self.unindex_site(old);
            }
            Row::FtpUser(old) => {
                self.ftp_users.remove(&old.login);
                self.logins_of.remove(&(old.site, old.login.clone()));
            }
            Row::Zone(old) => {
                self.zones.remove(&old.name);
                if let Some(account) = &old.account {
                    self.zones_of.remove(&(account.clone(), old.name.clone()));
                }
            }
            Row::ZoneChunk(old) => {
                if let Some(zone) = self.zones.get_mut(&old.zone) {
                    Arc::make_mut(zone).remove_chunk(&old.low);
                }
            }
            Row::Certificate(old) => {
                self.certificates.remove(&old.id);
                self.unindex_certificate(old);
            }
            Row::Issuer(old) => drop(self.issuers.remove(&old.name)),
            Row::Wish(old) => drop(self.wishes.remove(&old.id)),
            Row::Order(old) => {
                self.orders.remove(&old.id);
                self.open_orders.remove(&old.id);
            }
            Row::Operation(old) => drop(self.operations.remove(&old.id)),
            Row::FinishedOperation(_) | Row::Event(_) => {}
        }
    }

    fn index_site(&mut self, site: &Site) {
        for host in site.hosts() {
            self.hosts.insert(host, site.id);
        }
        *self.sites_at.entry(site.home).or_insert(0) += 1;
        if site.is_fenced() {
            self.fenced.insert((site.home, site.id));
        }
        if let Some(moving) = &site.moving {
            self.moving.insert(site.id, (moving.operation, moving.to));
        }
        if let Some(account) = &site.account {
            self.sites_of.insert((account.clone(), site.id));
        }
    }

    fn unindex_site(&mut self, site: &Site) {
        for host in site.hosts() {
            self.hosts.remove(&host);
        }
        self.moving.remove(&site.id);
        self.fenced.remove(&(site.home, site.id));
        match self.sites_at(site.home) {
            0 | 1 => drop(self.sites_at.remove(&site.home)),
            more => drop(self.sites_at.insert(site.home, more - 1)),
        }
        if let Some(account) = &site.account {
            self.sites_of.remove(&(account.clone(), site.id));
        }
    }

    fn index_certificate(&mut self, certificate: &Certificate) {
        for name in certificate.names.iter().filter(|_| !certificate.is_internal()) {
            self.certified.insert((name.as_str().into(), certificate.id));
        }
    }

    fn unindex_certificate(&mut self, certificate: &Certificate) {
        for name in &certificate.names {
            self.certified.remove(&(name.as_str().into(), certificate.id));
        }
    }

    fn remember(&mut self, event: &Event) {
        let RequestId { key, digest } = event.request_id;
        self.answers.insert(key, Remembered { revision: event.revision, digest });
        self.answered.push_back(key);
        while self.answered.len() > ANSWERS_KEPT {
            let Some(key) = self.answered.pop_front() else { break };
            // A key stands here once for each answer; the entry goes with the newest.
            if self.answers.get(&key).is_some_and(|answer| answer.revision + ANSWERS_KEPT as u64 <= event.revision) {
                self.answers.remove(&key);
            }
        }
    }
}

fn differences<'a, K: Ord, V: PartialEq>(
    before: &'a OrdMap<K, V>,
    after: &'a OrdMap<K, V>,
) -> impl Iterator<Item = (Option<&'a V>, Option<&'a V>)> {
    before.diff(after).map(|item| match item {
        DiffItem::Add(_, new) => (None, Some(new)),
        DiffItem::Update { old: (_, old), new: (_, new) } => (Some(old), Some(new)),
        DiffItem::Remove(_, old) => (Some(old), None),
    })
}

fn own<T: Clone>(value: Arc<T>) -> T {
    Arc::unwrap_or_clone(value)
}

/// The state as published: immutable, with a generation that moves at each publication.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub state: State,
    pub generation: u64,
}

impl Deref for Snapshot {
    type Target = State;
    fn deref(&self) -> &State {
        &self.state
    }
}
