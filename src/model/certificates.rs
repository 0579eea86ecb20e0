//! Certificates as stored: the chain in the clear, the key sealed before it entered the change.
use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::ids::CertificateId;
use crate::base::names::IssuerName;
use crate::model::answer::{Object, Outcome};
use crate::model::apply::Apply;
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;
use crate::seal::Sealed;

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
    pub revision: u64,
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

pub(crate) fn store(cx: &mut Apply<'_>, change: &CertificateStore) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let old = cx.state.certificates.get(&change.id);
    cx.expect(Kind::Certificate, change.id, old.map(|certificate| certificate.revision))?;
    if change.names.is_empty() || change.chain.is_empty() {
        return Err(Refusal::invalid("certificate", "it has no name or no chain"));
    }
    if change.not_after <= change.not_before {
        return Err(Refusal::invalid("certificate", "it ends before it begins"));
    }
    let certificate = Certificate {
        id: change.id,
        names: change.names.clone(),
        issuer: change.issuer.clone(),
        not_before: change.not_before,
        not_after: change.not_after,
        chain: change.chain.clone(),
        key: change.key.clone(),
        revision: cx.revision,
    };
    let subject = certificate.names.join(" ");
    cx.put(Row::Certificate(certificate.into()));
    Ok(Outcome::new("certificate.store", subject).object(Object::Certificate(change.id)))
}

pub(crate) fn remove(cx: &mut Apply<'_>, change: &CertificateRemove) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let old = cx.state.certificates.get(&change.id).ok_or_else(|| Refusal::not_found(Kind::Certificate, change.id))?;
    cx.expect(Kind::Certificate, change.id, Some(old.revision))?;
    let subject = old.names.join(" ");
    cx.delete(Row::Certificate(old.clone()));
    Ok(Outcome::new("certificate.remove", subject))
}
