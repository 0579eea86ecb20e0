//! Certificates as stored: the chain in the clear, the key sealed before it entered the change. Internal ones belong to a site:
//! they come with it in one envelope and go with it.
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::ids::CertificateId;
use crate::base::names::{Host, IssuerName};
use crate::model::answer::{Object, Outcome};
use crate::model::apply::Apply;
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;
use crate::model::sites::Site;
use crate::seal::Sealed;

/// The issuer of certificates that the cluster makes itself.
pub const INTERNAL: &str = "internal";
/// The issuer of certificates that were brought along.
pub const IMPORTED: &str = "imported";
/// The field a refusal names when a minted certificate does not fit its site.
pub const MINTED: &str = "certificate";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    pub id: CertificateId,
    /// The names it is for, A-labels, `*.` allowed.
    pub names: Vec<String>,
    pub issuer: IssuerName,
    pub not_before: Time,
    pub not_after: Time,
    /// DER certificates, the leaf first.
    pub chain: Vec<serde_bytes::ByteBuf>,
    pub key: Sealed,
    /// It was said that it ends soon.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warned: bool,
    /// Its key was on a disk that was lost: it is followed by another one, and revoked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspect: bool,
    pub revision: u64,
}

impl Certificate {
    /// Whether the cluster made it itself.
    pub fn is_internal(&self) -> bool {
        self.issuer.as_str() == INTERNAL
    }

    /// A certificate as a change brings it.
    pub(crate) fn of(change: &CertificateStore, revision: u64) -> Result<Self, Refusal> {
        if change.names.is_empty() || change.chain.is_empty() {
            return Err(Refusal::invalid("certificate", "it has no name or no chain"));
        }
        if change.not_after <= change.not_before {
            return Err(Refusal::invalid("certificate", "it ends before it begins"));
        }
        if change.issuer.as_str() == INTERNAL {
            return Err(Refusal::invalid("issuer", "internal certificates come with their site"));
        }
        Ok(Self {
            id: change.id,
            names: change.names.clone(),
            issuer: change.issuer.clone(),
            not_before: change.not_before,
            not_after: change.not_after,
            chain: change.chain.clone(),
            key: change.key.clone(),
            warned: false,
            suspect: false,
            revision,
        })
    }

    /// Whether a visitor of this host accepts it, as far as names go.
    pub fn covers(&self, host: &str) -> bool {
        let above = host.split_once('.').map(|(_, above)| above);
        let covers = |name: &String| name == host || name.strip_prefix("*.").is_some_and(|of| Some(of) == above);
        self.names.iter().any(covers)
    }

    /// Whether it is for exactly the hosts of this site.
    pub fn fits(&self, site: &Site) -> bool {
        site.hosts().map(|host| host.to_string()).eq(self.names.iter().cloned())
    }
}

/// A certificate the sites CA made, on its way to its site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minted {
    /// Chosen by who sealed the key.
    pub id: CertificateId,
    /// All hosts of the site, in the site's order.
    pub names: Vec<Host>,
    pub not_before: Time,
    pub not_after: Time,
    /// DER certificates, the leaf first.
    pub chain: Vec<serde_bytes::ByteBuf>,
    pub key: Sealed,
}

/// Stores a certificate under an id chosen by who sealed its key: the id is part of what the seal is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStore {
    pub id: CertificateId,
    pub names: Vec<String>,
    pub issuer: IssuerName,
    pub not_before: Time,
    pub not_after: Time,
    pub chain: Vec<serde_bytes::ByteBuf>,
    pub key: Sealed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRemove {
    pub id: CertificateId,
}

/// Says that a certificate ends soon and that none has followed it: an event for who watches them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateWarn {
    pub id: CertificateId,
}

pub(crate) fn store(cx: &mut Apply<'_>, change: &CertificateStore) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let old = cx.state.certificates.get(&change.id);
    cx.expect(Kind::Certificate, change.id, old.map(|certificate| certificate.revision))?;
    if old.is_some_and(|old| old.is_internal()) {
        return Err(Refusal::invalid("issuer", "internal certificates come with their site"));
    }
    let certificate = Certificate::of(change, cx.revision)?;
    supersede(cx, &certificate);
    let subject = certificate.names.join(" ");
    cx.put(Row::Certificate(certificate.into()));
    Ok(Outcome::new("certificate.store", subject).object(Object::Certificate(change.id)))
}

pub(crate) fn remove(cx: &mut Apply<'_>, change: &CertificateRemove) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let old = cx.state.certificates.get(&change.id).ok_or_else(|| Refusal::not_found(Kind::Certificate, change.id))?;
    cx.expect(Kind::Certificate, change.id, Some(old.revision))?;
    if old.is_internal() {
        let by = old.names.first().map(|host| format!("site {host}")).into_iter().collect();
        return Err(Refusal::InUse { kind: Kind::Certificate, name: change.id.to_string(), by });
    }
    let subject = old.names.join(" ");
    cx.delete(Row::Certificate(old.clone()));
    Ok(Outcome::new("certificate.remove", subject))
}

pub(crate) fn warn(cx: &mut Apply<'_>, change: &CertificateWarn) -> Result<Outcome, Refusal> {
    cx.by_the_cluster()?;
    let old = cx.state.certificates.get(&change.id).ok_or_else(|| Refusal::not_found(Kind::Certificate, change.id))?;
    cx.expect(Kind::Certificate, change.id, Some(old.revision))?;
    if old.warned {
        return Err(Refusal::invalid("certificate", "it was said before"));
    }
    let warned = Certificate { warned: true, revision: cx.revision, ..Certificate::clone(old) };
    let subject = format!("{} until {}", warned.names.join(" "), warned.not_after);
    cx.put(Row::Certificate(warned.into()));
    Ok(Outcome::new("certificate.ending", subject))
}

/// Deletes the certificates that nobody is served with once there is this one: those for no other name that end before it. One that
/// is to be revoked stays until it is.
pub(crate) fn supersede(cx: &mut Apply<'_>, new: &Certificate) {
    let old = cx.state.certificates.values().filter(|old| {
        let within = old.names.iter().all(|name| new.names.contains(name));
        let kin = old.issuer == new.issuer || old.issuer.as_str() == IMPORTED;
        within && kin && !old.suspect && old.id != new.id && !old.is_internal() && old.not_after <= new.not_after
    });
    let old: Vec<_> = old.cloned().collect();
    old.into_iter().for_each(|old| cx.delete(Row::Certificate(old)));
}

/// Gives a site the certificate that came with its change, in place of the internal one it has.
pub(crate) fn adopt(cx: &mut Apply<'_>, site: &mut Site, minted: &Minted) -> Result<(), Refusal> {
    if !site.hosts().eq(minted.names.iter().cloned()) {
        return Err(Refusal::invalid(MINTED, "its names are not the hosts of the site"));
    }
    if minted.chain.is_empty() || minted.not_after <= minted.not_before {
        return Err(Refusal::invalid(MINTED, "it has no chain, or ends before it begins"));
    }
    if cx.state.certificates.contains_key(&minted.id) {
        return Err(Refusal::exists(Kind::Certificate, minted.id));
    }
    abandon(cx, site);
    site.certificate = Some(minted.id);
    let certificate = Certificate {
        id: minted.id,
        names: minted.names.iter().map(Host::to_string).collect(),
        issuer: IssuerName::parse(INTERNAL).expect("it is an issuer name"),
        not_before: minted.not_before,
        not_after: minted.not_after,
        chain: minted.chain.clone(),
        key: minted.key.clone(),
        warned: false,
        suspect: false,
        revision: cx.revision,
    };
    cx.put(Row::Certificate(certificate.into()));
    Ok(())
}

/// Deletes the internal certificate of a site that goes or gets another one.
pub(crate) fn abandon(cx: &mut Apply<'_>, site: &Site) {
    let held = site.certificate.and_then(|id| cx.state.certificates.get(&id));
    if let Some(old) = held.filter(|old| old.is_internal()).map(Arc::clone) {
        cx.delete(Row::Certificate(old));
    }
}
