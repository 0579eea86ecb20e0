//! The key of DNS cookies, which all nodes share: made by one of them, sealed in the state, opened where cookies are made.
use zeroize::Zeroizing;

use crate::base::ids::ClusterId;
use crate::model::cluster::Cluster;
use crate::seal::keyring::Keyring;
use crate::seal::{Place, SealError, Sealed, open as unseal, seal};

/// Octets of a key (RFC 9018 section 4.4).
const KEY: usize = 16;

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum CookieKeyError {
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("use the key of DNS cookies: it has {0} octets")]
    Length(usize),
}

pub(crate) fn make(cluster: ClusterId, keyring: &Keyring) -> Result<Sealed, getrandom::Error> {
    let (mut key, mut nonce) = (Zeroizing::new([0; KEY]), [0; 24]);
    getrandom::fill(&mut *key)?;
    getrandom::fill(&mut nonce)?;
    Ok(seal(keyring, &place(cluster), &*key, nonce))
}

/// The cluster's key, if it has one by now.
pub fn open(cluster: &Cluster, keyring: &Keyring) -> Option<Result<[u8; KEY], CookieKeyError>> {
    let opened = unseal(keyring, &place(cluster.sealed_for()), cluster.cookie_key.as_ref()?);
    let sized = |key: Zeroizing<Vec<u8>>| <[u8; KEY]>::try_from(&**key).map_err(|_| CookieKeyError::Length(key.len()));
    Some(opened.map_err(CookieKeyError::from).and_then(sized))
}

fn place(cluster: ClusterId) -> Place<'static> {
    Place { cluster, table: "cluster", row: "cluster", field: "cookie_key" }
}
