//! Sites: hosts, what answers for them, and where their files live.
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::ids::{CertificateId, NodeId, SiteId};
use crate::base::limits::{SITE_ALIASES_MAX, UPSTREAMS_MAX, URL_MAX};
use crate::base::names::{AccountName, Host, IssuerName};
use crate::model::answer::{Object, Outcome};
use crate::model::apply::Apply;
use crate::model::certificates::{self, Minted};
use crate::model::change::Set;
use crate::model::issuers;
use crate::model::moves::Moving;
use crate::model::options::{Options, OptionsSet};
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;
use crate::model::serials;
use crate::model::standbys::{self, Failover};
use crate::model::state::State;
use crate::model::stations::Stationed;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    pub id: SiteId,
    /// The main name; the others are answered alike.
    pub host: Host,
    pub aliases: Vec<Host>,
    pub www: Www,
    pub handler: Handler,
    pub account: Option<AccountName>,
    /// The node that holds the live files, and how often that changed.
    pub home: NodeId,
    /// Why that one was chosen; absent: somebody named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
    pub epoch: u64,
    /// Nodes that keep a copy of the files, the first to take over first.
    pub standbys: Vec<NodeId>,
    #[serde(default, skip_serializing_if = "Failover::is_default")]
    pub failover: Failover,
    /// The revision since which it is to be written under a lease only, until its home has said that it knows; it may be cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unconfirmed: Option<u64>,
    /// As many standbys the cluster chooses; 0: they are named.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wanted: u8,
    /// Those it chose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stationed: Vec<Stationed>,
    pub issuer: Option<IssuerName>,
    /// What it is served with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateId>,
    /// Bytes the site may use; absent: as much as its account.
    pub quota: Option<u64>,
    pub suspended: bool,
    pub maintenance: bool,
    #[serde(default, skip_serializing_if = "Options::is_default")]
    pub options: Options,
    /// On its way to another home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<Box<Moving>>,
    pub created: Time,
    pub revision: u64,
}

impl Site {
    /// Every host that is this site's: the main one, `www.` where asked for, and the aliases.
    pub fn hosts(&self) -> impl Iterator<Item = Host> + '_ {
        hosts_of(&self.host, self.www, &self.aliases)
    }

    /// Whether files of its own are served.
    pub fn has_files(&self) -> bool {
        matches!(self.handler, Handler::Static | Handler::Php { .. })
    }

    /// Whether its home may write only while the leader confirms that it is the home.
    pub fn is_fenced(&self) -> bool {
        self.failover == Failover::Automatic && !self.standbys.is_empty() && self.has_files()
    }

    /// What an event holds is read by more people than the site's own row.
    pub(crate) fn for_events(self: &Arc<Self>) -> Object {
        Object::Site(match self.options.has_secrets() {
            true => Self { options: self.options.shown(), ..Self::clone(self) }.into(),
            false => Arc::clone(self),
        })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// Every host of a site with these names, the main one first.
pub fn hosts_of<'a>(host: &'a Host, www: Www, aliases: &'a [Host]) -> impl Iterator<Item = Host> + 'a {
    let www = (www != Www::Off).then(|| host.www()).flatten();
    std::iter::once(host.clone()).chain(www).chain(aliases.iter().cloned())
}

/// What happens to `www.` before the main host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Www {
    /// It is no name of this site.
    #[default]
    Off,
    /// It is answered like the main host.
    Serve,
    /// It redirects to the main host.
    Redirect,
}

/// What answers a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Handler {
    Static,
    Php {
        version: String,
    },
    /// `http://host:port`, `https://host:port` or `unix:/path`.
    Proxy {
        upstreams: Vec<String>,
    },
    Redirect {
        to: String,
        /// 301, 302, 307 or 308.
        status: u16,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteCreate {
    pub host: Host,
    pub aliases: Vec<Host>,
    pub www: Www,
    pub handler: Handler,
    pub account: Option<AccountName>,
    /// The home; absent: the node with the fewest sites among those that take new ones.
    pub node: Option<NodeId>,
    /// Why that one, where it was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
    pub standbys: Vec<NodeId>,
    #[serde(default, skip_serializing_if = "Failover::is_default")]
    pub failover: Failover,
    /// As many the cluster chooses.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wanted: u8,
    pub issuer: Option<IssuerName>,
    pub quota: Option<u64>,
    #[serde(default, skip_serializing_if = "OptionsSet::is_keep")]
    pub options: OptionsSet,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Minted>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteSet {
    pub host: Host,
    pub aliases: Set<Vec<Host>>,
    pub www: Set<Www>,
    pub handler: Set<Handler>,
    pub account: Set<Option<AccountName>>,
    pub issuer: Set<Option<IssuerName>>,
    pub quota: Set<Option<u64>>,
    pub suspended: Set<bool>,
    pub maintenance: Set<bool>,
    #[serde(default, skip_serializing_if = "Set::is_keep")]
    pub standbys: Set<Vec<NodeId>>,
    #[serde(default, skip_serializing_if = "Set::is_keep")]
    pub failover: Set<Failover>,
    #[serde(default, skip_serializing_if = "Set::is_keep")]
    pub wanted: Set<u8>,
    #[serde(default, skip_serializing_if = "OptionsSet::is_keep")]
    pub options: OptionsSet,
    /// For all hosts the site has after the change; without one the certificate it has stays, and serves the hosts it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Minted>,
}

impl SiteSet {
    /// A change of nothing, to be filled in.
    pub fn of(host: Host) -> Self {
        Self {
            host,
            aliases: Set::Keep,
            www: Set::Keep,
            handler: Set::Keep,
            account: Set::Keep,
            issuer: Set::Keep,
            quota: Set::Keep,
            suspended: Set::Keep,
            maintenance: Set::Keep,
            standbys: Set::Keep,
            failover: Set::Keep,
            wanted: Set::Keep,
            options: OptionsSet::default(),
            certificate: None,
        }
    }

    fn action(&self) -> &'static str {
        let rest = Self { suspended: Set::Keep, maintenance: Set::Keep, certificate: None, ..self.clone() };
        if rest != Self::of(self.host.clone()) {
            return "site.set";
        }
        match (&self.suspended, &self.maintenance) {
            (Set::To(true), Set::Keep) => "site.suspend",
            (Set::To(false), Set::Keep) => "site.resume",
            (Set::Keep, Set::To(true)) => "site.maintenance-on",
            (Set::Keep, Set::To(false)) => "site.maintenance-off",
            (Set::Keep, Set::Keep) if self.certificate.is_some() => "site.certificate",
            _ => "site.set",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRemove {
    pub host: Host,
}

pub(crate) fn create(cx: &mut Apply<'_>, change: &SiteCreate) -> Result<Outcome, Refusal> {
    let account = cx.owner(change.account.as_ref())?;
    let there = cx.state.hosts.get(&change.host).and_then(|id| cx.state.sites.get(id));
    cx.expect(Kind::Site, &change.host, there.filter(|site| site.host == change.host).map(|site| site.revision))?;
    if let Some(site) = there.filter(|site| site.host == change.host) {
        return Err(Refusal::exists(Kind::Site, &site.host));
    }
    let home = home(cx, change.node)?;
    change.chosen.iter().try_for_each(|reason| check_text("chosen", reason))?;
    let mut site = Site {
        id: SiteId(cx.seed_id()),
        host: change.host.clone(),
        aliases: change.aliases.clone(),
        www: change.www,
        handler: change.handler.clone(),
        account,
        home,
        chosen: change.chosen.clone(),
        epoch: 1,
        standbys: change.standbys.clone(),
        failover: change.failover,
        unconfirmed: None,
        wanted: change.wanted,
        stationed: Vec::new(),
        issuer: change.issuer.clone(),
        certificate: None,
        quota: change.quota,
        suspended: false,
        maintenance: false,
        options: Options::default(),
        moving: None,
        created: cx.time,
        revision: cx.revision,
    };
    if cx.state.sites.contains_key(&site.id) {
        return Err(Refusal::exists(Kind::Site, site.id));
    }
    change.options.apply_to(&mut site.options)?;
    if !site.standbys.is_empty() || site.wanted > 0 {
        // Whose disks hold copies is the administrator's word.
        cx.unscoped()?;
        standbys::check(cx, &site.standbys, home)?;
        standbys::check_number(site.wanted)?;
    }
    check(cx, &site)?;
    check_handler(cx, &site.handler)?;
    check_growth(cx, &site, None)?;
    if let Some(minted) = &change.certificate {
        certificates::adopt(cx, &mut site, minted)?;
    }
    serials::site_changed(cx, None, Some(&site));
    Ok(store(cx, "site.create", site))
}

pub(crate) fn set(cx: &mut Apply<'_>, change: &SiteSet) -> Result<Outcome, Refusal> {
    let old = Arc::clone(cx.state.site(&change.host)?);
    cx.may(Kind::Site, &change.host, old.account.as_ref())?;
    cx.expect(Kind::Site, &old.host, Some(old.revision))?;
    // Whose a site is, where its copies are and whether it is suspended is the administrator's word, not the account's.
    let own = change.account.is_keep() && change.suspended.is_keep();
    if !own || !change.standbys.is_keep() || !change.failover.is_keep() || !change.wanted.is_keep() {
        cx.unscoped()?;
    }
    if let Set::To(handler) = &change.handler {
        check_handler(cx, handler)?;
    }
    if let Set::To(standbys) = &change.standbys {
        standbys::check(cx, standbys, old.home)?;
    }
    if change.failover == Set::To(Failover::Automatic) && cx.state.nodes.get(&old.home).is_some_and(|home| home.down) {
        // It may write still, and would not know that it must not.
        return Err(Refusal::invalid("failover", "the site's home is down: its failover is yours to decide now"));
    }
    let mut site = Site::clone(&old);
    change.aliases.apply_to(&mut site.aliases);
    change.www.apply_to(&mut site.www);
    change.handler.apply_to(&mut site.handler);
    change.account.apply_to(&mut site.account);
    change.issuer.apply_to(&mut site.issuer);
    change.quota.apply_to(&mut site.quota);
    change.suspended.apply_to(&mut site.suspended);
    change.maintenance.apply_to(&mut site.maintenance);
    standbys::set(&mut site, change)?;
    change.failover.apply_to(&mut site.failover);
    change.options.apply_to(&mut site.options)?;
    site.revision = cx.revision;
    standbys::fence(&old, &mut site);
    check(cx, &site)?;
    if site.account != old.account || site.quota > old.quota || (site.quota.is_none() && old.quota.is_some()) {
        check_growth(cx, &site, Some(&old))?;
    }
    if let Some(minted) = &change.certificate {
        certificates::adopt(cx, &mut site, minted)?;
    }
    serials::site_changed(cx, Some(&old), Some(&site));
    Ok(store(cx, change.action(), site))
}

pub(crate) fn remove(cx: &mut Apply<'_>, change: &SiteRemove) -> Result<Outcome, Refusal> {
    let site = Arc::clone(cx.state.site(&change.host)?);
    cx.may(Kind::Site, &change.host, site.account.as_ref())?;
    cx.expect(Kind::Site, &site.host, Some(site.revision))?;
    if site.suspended {
        // Made anew it would not be suspended.
        cx.unscoped()?;
    }
    let mut by: Vec<_> = cx.state.ftp_users_of(site.id).map(|login| format!("ftp-user {login}")).collect();
    by.extend(site.moving.iter().map(|moving| format!("operation {}", moving.operation)));
    if !by.is_empty() {
        return Err(Refusal::InUse { kind: Kind::Site, name: site.host.to_string(), by });
    }
    let outcome = Outcome::new("site.remove", &site.host).account(site.account.as_ref());
    certificates::abandon(cx, &site);
    serials::site_changed(cx, Some(&site), None);
    cx.delete(Row::Site(site));
    Ok(outcome)
}

fn store(cx: &mut Apply<'_>, action: &'static str, site: Site) -> Outcome {
    let site = Arc::new(site);
    cx.put(Row::Site(Arc::clone(&site)));
    Outcome::new(action, &site.host).account(site.account.as_ref()).object(site.for_events())
}

fn home(cx: &Apply<'_>, wanted: Option<NodeId>) -> Result<NodeId, Refusal> {
    if let Some(id) = wanted {
        let node = cx.state.nodes.get(&id).ok_or_else(|| Refusal::not_found(Kind::Node, id))?;
        return match node.closed() {
            None => Ok(id),
            Some(why) => Err(Refusal::invalid("node", format!("{} {why}", node.name))),
        };
    }
    let open = cx.state.nodes.values().filter(|node| node.closed().is_none());
    let best = open.min_by_key(|node| (cx.state.sites_at(node.id), node.id));
    best.map(|node| node.id).ok_or_else(|| Refusal::invalid("node", "no node with the role web takes new sites"))
}

fn check(cx: &Apply<'_>, site: &Site) -> Result<(), Refusal> {
    issuers::check_named(cx.state, site.issuer.as_ref())?;
    if site.aliases.len() > SITE_ALIASES_MAX {
        return Err(Refusal::invalid("aliases", format!("a site has {SITE_ALIASES_MAX} aliases at most")));
    }
    let mut hosts: Vec<_> = site.hosts().collect();
    let count = hosts.len();
    for host in &hosts {
        if let Some(other) = cx.state.hosts.get(host).filter(|id| **id != site.id) {
            let owner = cx.state.sites.get(other).map(|other| other.host.to_string()).unwrap_or_default();
            return Err(Refusal::HostTaken { host: host.to_string(), site: owner });
        }
        cx.own_ground(host.as_str(), site.account.as_ref())?;
    }
    hosts.sort();
    hosts.dedup();
    if hosts.len() != count {
        return Err(Refusal::invalid("aliases", "a host stands twice among the names of the site"));
    }
    Ok(())
}

fn check_growth(cx: &Apply<'_>, site: &Site, old: Option<&Site>) -> Result<(), Refusal> {
    let Some(account) = &site.account else { return Ok(()) };
    let limits = cx.growing(account)?;
    let others: Vec<_> = cx.state.sites_of(account).filter(|other| other.id != site.id).collect();
    if old.is_none_or(|old| old.account != site.account) {
        cx.within(account, "sites", limits.sites, others.len() as u64 + 1)?;
        let logins = cx.state.ftp_users_of(site.id).count() as u64;
        if logins > 0 {
            cx.within(account, "FTP users", limits.ftp_users, cx.state.ftp_users_count(account) + logins)?;
        }
    }
    let granted = others.iter().filter_map(|other| other.quota).fold(0u64, u64::saturating_add);
    cx.within(account, "bytes of disk", limits.disk, granted.saturating_add(site.quota.unwrap_or(0)))
}

fn check_handler(cx: &Apply<'_>, handler: &Handler) -> Result<(), Refusal> {
    match handler {
        Handler::Static => Ok(()),
        Handler::Php { version } => {
            let digits = |part: &str| !part.is_empty() && part.len() <= 2 && part.bytes().all(|b| b.is_ascii_digit());
            let sound = version.split_once('.').is_some_and(|(major, minor)| digits(major) && digits(minor));
            if sound { Ok(()) } else { Err(Refusal::invalid("php", "expected a version such as 8.2")) }
        }
        Handler::Proxy { upstreams } => {
            if upstreams.is_empty() || upstreams.len() > UPSTREAMS_MAX {
                return Err(Refusal::invalid("upstreams", format!("expected 1 to {UPSTREAMS_MAX} of them")));
            }
            upstreams.iter().try_for_each(|upstream| check_upstream(cx, upstream))
        }
        Handler::Redirect { to, status } => {
            if !matches!(status, 301 | 302 | 307 | 308) {
                return Err(Refusal::invalid("status", "expected 301, 302, 307 or 308"));
            }
            let uri = web_uri(to).ok_or_else(|| Refusal::invalid("redirect", "expected an http or https URL"))?;
            if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
                return Err(Refusal::invalid("redirect", "a URL with a user name in it misleads people"));
            }
            Ok(())
        }
    }
}

fn check_upstream(cx: &Apply<'_>, upstream: &str) -> Result<(), Refusal> {
    let fault = |reason: &str| Err(Refusal::invalid("upstreams", format!("`{}`: {reason}", brief(upstream))));
    if let Some(path) = upstream.strip_prefix("unix:") {
        // A socket is reached with the daemon's own rights, which are more than an account's.
        cx.unscoped()?;
        let plain = path.starts_with('/') && path.len() < 108 && !path.contains(|c: char| c.is_control());
        return if plain { Ok(()) } else { fault("expected unix:/absolute/path of less than 108 bytes") };
    }
    let Some(uri) = web_uri(upstream) else {
        return fault("expected http://host:port, https://host:port or unix:/path");
    };
    if uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
        return fault("an upstream has no path");
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return fault("an upstream has no user name");
    }
    if uri.host().is_some_and(is_this_machine) {
        // What listens there trusts the machine; an account is no part of it. Names are looked at when they are resolved.
        cx.unscoped()?;
    }
    Ok(())
}

/// The site's own quota, or what its account's plan leaves beside those of its other sites.
pub fn quota(state: &State, site: &Site) -> Option<u64> {
    let of_account = || {
        let account = site.account.as_ref()?;
        let plan = state.accounts.get(account)?.plan.as_ref()?;
        let disk = state.plans.get(plan)?.limits.disk?;
        let others = state.sites_of(account).filter(|other| other.id != site.id).filter_map(|other| other.quota);
        Some(disk.saturating_sub(others.fold(0, u64::saturating_add)))
    };
    site.quota.or_else(of_account)
}

/// Whether what answers there is on the same machine.
pub fn upstream_of_this_machine(upstream: &str) -> bool {
    upstream.starts_with("unix:") || web_uri(upstream).is_some_and(|uri| uri.host().is_some_and(is_this_machine))
}

/// Whether a host of a URL means the machine itself or its link.
pub fn is_this_machine(host: &str) -> bool {
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(address) => is_own_address(address),
        Err(_) => {
            let name = host.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

/// The same of an address, in either version.
pub fn is_own_address(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified(),
    }
}

pub(crate) fn web_uri(text: &str) -> Option<http::Uri> {
    let uri: http::Uri = (text.len() <= URL_MAX).then(|| text.parse().ok()).flatten()?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    let (host, authority) = (uri.host()?, uri.authority()?.as_str());
    let port = authority.rsplit_once('@').map_or(authority, |(_, rest)| rest).strip_prefix(host)?;
    let digits =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    let reachable = !host.is_empty() && (port.is_empty() || port.strip_prefix(':').is_some_and(digits));
    (known && reachable).then_some(uri)
}

fn brief(text: &str) -> String {
    text.chars().take(80).filter(|c| !c.is_control()).collect()
}

/// One line of free text for people.
pub(crate) fn check_text(field: &str, text: &str) -> Result<(), Refusal> {
    if text.is_empty() || text.len() > 200 {
        return Err(Refusal::invalid(field, "expected 1 to 200 bytes of text"));
    }
    if text.contains(|c: char| c.is_control()) {
        return Err(Refusal::invalid(field, "it has control characters"));
    }
    Ok(())
}
