//! Issuers: the authorities certificates are asked of, and the account at each of them. Let's Encrypt is there from the first; a row
//! exists for an issuer once something about it was set, or it has an account.
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::limits::acme::{ACME_URL_MAX, ISSUER_CERTIFICATES_MAX, ISSUER_CONTACTS_MAX, ISSUERS_MAX};
use crate::base::names::IssuerName;
use crate::model::answer::{Object, Outcome};
use crate::model::apply::Apply;
use crate::model::certificates::{IMPORTED, INTERNAL};
use crate::model::change::Set;
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;
use crate::model::sites::web_uri;
use crate::model::state::State;
use crate::seal::Sealed;

pub const LETS_ENCRYPT: &str = "letsencrypt";
/// Hands out certificates that nobody trusts, under wider limits: for trying.
pub const LETS_ENCRYPT_STAGING: &str = "letsencrypt-staging";
const BUILT_IN: [(&str, &str, Option<u32>); 2] = [
    (LETS_ENCRYPT, "https://acme-v02.api.letsencrypt.org/directory", Some(FIRST_RANK)),
    (LETS_ENCRYPT_STAGING, "https://acme-staging-v02.api.letsencrypt.org/directory", None),
];
/// Where ranks begin: preferred ones come before it, others after.
const FIRST_RANK: u32 = 1 << 16;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issuer {
    pub name: IssuerName,
    /// URL of its directory (RFC 8555 section 7.1.1).
    pub directory: String,
    /// Who must have certified its server, DER; absent: whom the machine trusts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roots: Vec<serde_bytes::ByteBuf>,
    /// Mail addresses it may write to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// The lowest is asked first; absent: only where it is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<IssuerAccount>,
    /// What is to be done to the account next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Whether the account that all share a key for was ended: the next one has a key of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_key: bool,
    pub revision: u64,
}

/// External account binding (RFC 8555 section 7.3.4): what ties our account there to a contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    pub key_id: String,
    /// Sealed for `issuers`, the issuer, `binding`.
    pub key: Sealed,
}

/// Our account at an issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerAccount {
    pub url: String,
    /// Its own key, PKCS#8, sealed for `issuers`, the issuer, `account`; absent: it has the one that all share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Sealed>,
    /// SHA-256 of the public key (RFC 7638), base64url.
    pub thumbprint: String,
    /// The directory it is at: another one has no such account.
    pub directory: String,
    /// The key it is about to get, PKCS#8, sealed for `issuers`, the issuer, `next`: the issuer may know it already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Sealed>,
    /// The contacts the issuer was told last, whether it took them or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// The account gets another key (RFC 8555 section 7.3.5).
    Rollover,
    /// The account ends (RFC 8555 section 7.3.6).
    Deactivate,
}

/// Where an issuer stands among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    First,
    Last,
    /// Nowhere: it is asked only where it is named.
    ByName,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerCreate {
    pub name: IssuerName,
    pub directory: String,
    pub roots: Vec<serde_bytes::ByteBuf>,
    pub contacts: Vec<String>,
    pub binding: Option<Binding>,
    pub standing: Standing,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerSet {
    pub name: IssuerName,
    pub directory: Set<String>,
    pub roots: Set<Vec<serde_bytes::ByteBuf>>,
    pub contacts: Set<Vec<String>>,
    pub binding: Set<Option<Binding>>,
    pub standing: Set<Standing>,
    pub task: Set<Option<Task>>,
    /// An account that was brought along, where there is none: its key is changed to one of ours first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<IssuerAccount>,
}

impl IssuerSet {
    /// A change of nothing, to be filled in.
    pub fn of(name: IssuerName) -> Self {
        Self {
            name,
            directory: Set::Keep,
            roots: Set::Keep,
            contacts: Set::Keep,
            binding: Set::Keep,
            standing: Set::Keep,
            task: Set::Keep,
            account: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerRemove {
    pub name: IssuerName,
}

/// What became of the account: it was made, has another key, or is gone. The task is done with it, unless a key is to follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerAccountPut {
    pub name: IssuerName,
    pub account: Option<IssuerAccount>,
}

/// What an issuer was told of whom it may write to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerTold {
    pub name: IssuerName,
    /// URL of the account that was told.
    pub account: String,
    pub contacts: Vec<String>,
}

impl Issuer {
    /// An issuer every cluster knows.
    pub fn built_in(name: &IssuerName) -> Option<Self> {
        let (_, directory, rank) = BUILT_IN.into_iter().find(|(known, ..)| *known == name.as_str())?;
        Some(Self {
            name: name.clone(),
            directory: directory.to_owned(),
            roots: Vec::new(),
            contacts: Vec::new(),
            binding: None,
            rank,
            account: None,
            task: None,
            own_key: false,
            revision: 0,
        })
    }

    /// The account, if it is at the directory that counts now.
    pub fn account(&self) -> Option<&IssuerAccount> {
        self.account.as_ref().filter(|account| account.directory == self.directory)
    }

    /// Whether it is to hear of other contacts.
    pub fn is_to_be_told(&self) -> bool {
        self.account().is_some_and(|account| account.told != self.contacts)
    }

    /// Without what only the cluster reads, for events.
    fn shown(&self) -> Self {
        let hidden = |sealed: &Sealed| Sealed { bytes: Vec::new(), ..sealed.clone() };
        let mut shown = self.clone();
        if let Some(binding) = &mut shown.binding {
            binding.key = hidden(&binding.key);
        }
        if let Some(account) = &mut shown.account {
            account.key = account.key.as_ref().map(hidden);
            account.next = account.next.as_ref().map(hidden);
        }
        shown
    }
}

impl State {
    /// An issuer by its name, also one that is built in.
    pub fn issuer(&self, name: &IssuerName) -> Option<Arc<Issuer>> {
        self.issuers.get(name).cloned().or_else(|| Issuer::built_in(name).map(Arc::new))
    }

    /// All of them by name.
    pub fn all_issuers(&self) -> Vec<Arc<Issuer>> {
        let built_in = BUILT_IN.into_iter().filter_map(|(name, ..)| IssuerName::parse(name).ok());
        let unset = built_in.filter(|name| !self.issuers.contains_key(name));
        let unset = unset.filter_map(|name| Issuer::built_in(&name).map(Arc::new));
        let mut all: Vec<_> = self.issuers.values().cloned().chain(unset).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// Those that are asked where none is named, the preferred one first.
    pub fn preferred_issuers(&self) -> Vec<Arc<Issuer>> {
        let mut ranked = self.all_issuers();
        ranked.retain(|issuer| issuer.rank.is_some());
        ranked.sort_by_key(|issuer| issuer.rank);
        ranked
    }
}

pub(crate) fn create(cx: &mut Apply<'_>, change: &IssuerCreate) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let old = cx.state.issuer(&change.name);
    cx.expect(Kind::Issuer, &change.name, old.as_ref().map(|issuer| issuer.revision))?;
    if old.is_some() || [INTERNAL, IMPORTED].contains(&change.name.as_str()) {
        return Err(Refusal::exists(Kind::Issuer, &change.name));
    }
    if cx.state.issuers.len() >= ISSUERS_MAX {
        return Err(Refusal::invalid("name", format!("there are {ISSUERS_MAX} issuers at most")));
    }
    let issuer = Issuer {
        name: change.name.clone(),
        directory: change.directory.clone(),
        roots: change.roots.clone(),
        contacts: change.contacts.clone(),
        binding: change.binding.clone(),
        rank: rank(cx.state, change.standing),
        account: None,
        task: None,
        own_key: false,
        revision: cx.revision,
    };
    check(&issuer)?;
    Ok(store(cx, "issuer.create", issuer))
}

pub(crate) fn set(cx: &mut Apply<'_>, change: &IssuerSet) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let mut issuer = existing(cx, &change.name)?;
    change.directory.apply_to(&mut issuer.directory);
    change.roots.apply_to(&mut issuer.roots);
    change.contacts.apply_to(&mut issuer.contacts);
    change.binding.apply_to(&mut issuer.binding);
    if let Set::To(standing) = change.standing {
        issuer.rank = rank(cx.state, standing);
    }
    if let Some(account) = &change.account {
        if issuer.account().is_some() {
            return Err(Refusal::invalid("account", "there is one already: `--deactivate` ends it"));
        }
        check_url(&account.url)?;
        issuer.account = Some(IssuerAccount { directory: issuer.directory.clone(), next: None, ..account.clone() });
        issuer.task = Some(Task::Rollover);
    }
    if let Set::To(Some(_)) = change.task
        && issuer.account().is_none()
    {
        return Err(Refusal::invalid("account", "there is none yet: it is made with the first certificate"));
    }
    change.task.apply_to(&mut issuer.task);
    check(&issuer)?;
    Ok(store(cx, "issuer.set", issuer))
}

pub(crate) fn remove(cx: &mut Apply<'_>, change: &IssuerRemove) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let issuer = cx.state.issuers.get(&change.name).ok_or_else(|| match Issuer::built_in(&change.name) {
        Some(_) => Refusal::invalid("name", "it is built in, and as it always was"),
        None => Refusal::not_found(Kind::Issuer, &change.name),
    })?;
    cx.expect(Kind::Issuer, &change.name, Some(issuer.revision))?;
    let sites = cx.state.sites.values().filter(|site| site.issuer.as_ref() == Some(&change.name));
    let wishes = cx.state.wishes.values().filter(|wish| wish.issuer.as_ref() == Some(&change.name));
    let orders = cx.state.open_orders().filter(|order| order.issuer == change.name);
    let orders = orders.map(|order| format!("the order for {}", order.names.join(" ")));
    let sites = sites.map(|site| format!("site {}", site.host));
    let by = sites.chain(wishes.map(|wish| format!("certificate for {}", wish.names.join(" "))));
    let by: Vec<_> = by.chain(orders).collect();
    if !by.is_empty() && Issuer::built_in(&change.name).is_none() {
        return Err(Refusal::InUse { kind: Kind::Issuer, name: change.name.to_string(), by });
    }
    cx.delete(Row::Issuer(Arc::clone(issuer)));
    Ok(Outcome::new("issuer.remove", &change.name))
}

pub(crate) fn put_account(cx: &mut Apply<'_>, change: &IssuerAccountPut) -> Result<Outcome, Refusal> {
    cx.by_the_cluster()?;
    let mut issuer = existing(cx, &change.name)?;
    issuer.own_key |= issuer.task == Some(Task::Deactivate) && change.account.is_none();
    issuer.account.clone_from(&change.account);
    if change.account.as_ref().is_none_or(|account| account.next.is_none()) {
        issuer.task = None;
    }
    Ok(store(cx, "issuer.account", issuer))
}

pub(crate) fn told(cx: &mut Apply<'_>, change: &IssuerTold) -> Result<Outcome, Refusal> {
    cx.by_the_cluster()?;
    let mut issuer = existing(cx, &change.name)?;
    let account = issuer.account.as_mut().filter(|account| account.url == change.account);
    let account = account.ok_or_else(|| Refusal::invalid("account", "another one is there by now"))?;
    account.told.clone_from(&change.contacts);
    Ok(store(cx, "issuer.account", issuer))
}

/// What a site or a wish may name as its issuer.
pub(crate) fn check_named(state: &State, name: Option<&IssuerName>) -> Result<(), Refusal> {
    match name {
        Some(name) if name.as_str() != INTERNAL && state.issuer(name).is_none() => {
            Err(Refusal::not_found(Kind::Issuer, name))
        }
        _ => Ok(()),
    }
}

fn existing(cx: &Apply<'_>, name: &IssuerName) -> Result<Issuer, Refusal> {
    let issuer = cx.state.issuer(name).ok_or_else(|| Refusal::not_found(Kind::Issuer, name))?;
    cx.expect(Kind::Issuer, name, Some(issuer.revision))?;
    Ok(Issuer { revision: cx.revision, ..Issuer::clone(&issuer) })
}

fn store(cx: &mut Apply<'_>, action: &'static str, issuer: Issuer) -> Outcome {
    let outcome = Outcome::new(action, &issuer.name).object(Object::Issuer(issuer.shown()));
    cx.put(Row::Issuer(issuer.into()));
    outcome
}

fn rank(state: &State, standing: Standing) -> Option<u32> {
    let ranks = || state.preferred_issuers().into_iter().filter_map(|issuer| issuer.rank);
    match standing {
        Standing::First => Some(ranks().min().unwrap_or(FIRST_RANK).saturating_sub(1)),
        Standing::Last => Some(ranks().max().unwrap_or(FIRST_RANK).saturating_add(1)),
        Standing::ByName => None,
    }
}

/// The URL of an account, which is shown and sent to its issuer.
fn check_url(url: &str) -> Result<(), Refusal> {
    match web_uri(url).filter(|uri| uri.scheme_str() == Some("https") && url.len() <= ACME_URL_MAX) {
        Some(_) => Ok(()),
        None => Err(Refusal::invalid("account.url", "expected the https URL of an account")),
    }
}

fn check(issuer: &Issuer) -> Result<(), Refusal> {
    let uri = web_uri(&issuer.directory).filter(|uri| uri.scheme_str() == Some("https"));
    let plain = uri.is_some_and(|uri| uri.authority().is_some_and(|authority| !authority.as_str().contains('@')));
    if !plain {
        return Err(Refusal::invalid("directory", "expected the https URL of an ACME directory"));
    }
    if issuer.roots.len() > ISSUER_CERTIFICATES_MAX {
        return Err(Refusal::invalid("ca_cert", format!("expected {ISSUER_CERTIFICATES_MAX} certificates at most")));
    }
    if issuer.contacts.len() > ISSUER_CONTACTS_MAX {
        return Err(Refusal::invalid("contacts", format!("expected {ISSUER_CONTACTS_MAX} of them at most")));
    }
    let mail = |text: &str| {
        let sound =
            text.len() <= 254 && text.bytes().all(|byte| byte.is_ascii_graphic() && !b",?\"<>:".contains(&byte));
        sound && text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'))
    };
    match issuer.contacts.iter().find(|contact| !mail(contact)) {
        Some(_) => Err(Refusal::invalid("contacts", "expected mail addresses such as admin@example.org")),
        None => Ok(()),
    }
}
