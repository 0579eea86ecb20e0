//! Between the state and the clear: what is made here is sealed for its place at once, what the state holds is opened where it is
//! used. Keys in the clear live no longer than the call.
use std::sync::Arc;

use data_encoding::HEXLOWER;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use zeroize::Zeroizing;

use crate::base::clock::Time;
use crate::base::ids::{CertificateId, ClusterId, Seed};
use crate::base::names::Host;
use crate::model::certificates::{Certificate, Minted};
use crate::model::cluster::{AcmeKey, Cluster, SitesCa, TicketKey};
use crate::seal::keyring::Keyring;
use crate::seal::{Place, Sealed, open, seal};
use crate::tls::ca::{self, Authority};
use crate::tls::error::TlsError;
use crate::tls::jose::AccountKey;
use crate::tls::mint::mint;
use crate::tls::order;
use crate::tls::parse;

/// A fresh sites CA for a cluster that has none.
pub fn make_sites_ca(cluster: ClusterId, keyring: &Keyring, now: Time) -> Result<SitesCa, TlsError> {
    let made = ca::make(cluster, now)?;
    let key = sealed(keyring, &of_sites_ca(cluster), &made.key)?;
    Ok(SitesCa { certificate: made.certificate, key, not_after: made.not_after, since: 0 })
}

/// The cluster's sites CA, ready to sign.
pub fn open_sites_ca(cluster: &Cluster, keyring: &Keyring) -> Result<Authority, TlsError> {
    let ca = cluster.sites_ca.as_ref().ok_or(TlsError::NoCa)?;
    let key = open(keyring, &of_sites_ca(cluster.sealed_for()), &ca.key)?;
    Authority::new(&ca.certificate, &key)
}

/// An internal certificate for all hosts of a site, in its order.
pub fn mint_for(cluster: &Cluster, keyring: &Keyring, names: Vec<Host>, now: Time) -> Result<Minted, TlsError> {
    let ca = open_sites_ca(cluster, keyring)?;
    let texts: Vec<&str> = names.iter().map(Host::as_str).collect();
    let leaf = mint(&ca, &texts, now)?;
    let mut seed = [0; 16];
    getrandom::fill(&mut seed)?;
    let id = CertificateId(Seed(seed).id());
    let key = sealed(keyring, &of_certificate(cluster.sealed_for(), &id.to_string()), &leaf.key)?;
    let chain = leaf.chain.into_iter().map(Into::into).collect();
    Ok(Minted { id, names, not_before: leaf.not_before, not_after: leaf.not_after, chain, key })
}

/// A stored certificate with its key, ready for handshakes.
pub(crate) fn open_certificate(
    cluster: ClusterId,
    keyring: &Keyring,
    stored: &Certificate,
) -> Result<CertifiedKey, TlsError> {
    let key = open(keyring, &of_certificate(cluster, &stored.id.to_string()), &stored.key)?;
    certified(stored.chain.iter().map(|der| der.as_slice()), &key)
}

/// A private key as text, by the form it has (RFC 7468, RFC 5915, RFC 8017).
pub fn key_pem(key: &[u8]) -> String {
    let label = match PrivateKeyDer::try_from(key) {
        Ok(PrivateKeyDer::Pkcs1(_)) => "RSA PRIVATE KEY",
        Ok(PrivateKeyDer::Sec1(_)) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    parse::text(label, key)
}

pub(crate) fn signing(key: &[u8]) -> Result<Arc<dyn SigningKey>, TlsError> {
    let key = PrivateKeyDer::try_from(key).map_err(|reason| TlsError::Key(rustls::Error::General(reason.into())))?;
    rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(TlsError::Key)
}

/// A chain and its key, if they belong together.
pub(crate) fn certified<'a>(chain: impl Iterator<Item = &'a [u8]>, key: &[u8]) -> Result<CertifiedKey, TlsError> {
    let chain = chain.map(|der| CertificateDer::from(der.to_vec())).collect();
    let certified = CertifiedKey::new(chain, signing(key)?);
    match certified.keys_match() {
        // Some keys cannot say what their public half is.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(error) => Err(TlsError::Key(error)),
    }
}

/// A secret of an order, an issuer or a certificate on its way into the state, and out of it again.
pub fn seal_at(
    keyring: &Keyring,
    cluster: ClusterId,
    (table, row, field): (&str, &str, &str),
    secret: &[u8],
) -> Result<Sealed, TlsError> {
    sealed(keyring, &Place { cluster, table, row, field }, secret)
}

pub fn open_at(
    keyring: &Keyring,
    cluster: ClusterId,
    (table, row, field): (&str, &str, &str),
    secret: &Sealed,
) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    Ok(open(keyring, &Place { cluster, table, row, field }, secret)?)
}

/// A fresh key for the accounts at issuers.
pub fn make_acme_key(cluster: ClusterId, keyring: &Keyring) -> Result<AcmeKey, TlsError> {
    let key = order::fresh_key()?;
    let thumbprint = AccountKey::read(&key)?.thumbprint();
    Ok(AcmeKey { key: seal_at(keyring, cluster, ("cluster", "cluster", "acme_key"), &key)?, thumbprint })
}

/// A fresh key for session tickets.
pub fn make_ticket_key(cluster: ClusterId, keyring: &Keyring, now: Time) -> Result<TicketKey, TlsError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id)?;
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *key)?;
    Ok(TicketKey { id, made: now, key: sealed(keyring, &of_ticket_key(cluster, &ticket_field(&id)), &*key)? })
}

pub(crate) fn open_ticket_key(
    cluster: ClusterId,
    keyring: &Keyring,
    key: &TicketKey,
) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    Ok(open(keyring, &of_ticket_key(cluster, &ticket_field(&key.id)), &key.key)?)
}

fn sealed(keyring: &Keyring, place: &Place<'_>, secret: &[u8]) -> Result<Sealed, TlsError> {
    let mut nonce = [0; 24];
    getrandom::fill(&mut nonce)?;
    Ok(seal(keyring, place, secret, nonce))
}

fn of_sites_ca(cluster: ClusterId) -> Place<'static> {
    Place { cluster, table: "cluster", row: "cluster", field: "sites_ca" }
}

fn of_certificate(cluster: ClusterId, row: &str) -> Place<'_> {
    Place { cluster, table: "certificates", row, field: "key" }
}

fn of_ticket_key(cluster: ClusterId, field: &str) -> Place<'_> {
    Place { cluster, table: "cluster", row: "cluster", field }
}

fn ticket_field(id: &[u8; 16]) -> String {
    format!("ticket_keys.{}", HEXLOWER.encode(id))
}
