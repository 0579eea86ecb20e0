//! The node's own certificate, for who names no server: made in memory at each start, kept nowhere.
use std::sync::Arc;

use rustls::sign::CertifiedKey;

use crate::base::clock::Time;
use crate::base::names::NodeName;
use crate::model::cluster::Cluster;
use crate::seal::keyring::Keyring;
use crate::tls::error::TlsError;
use crate::tls::mint::{mint, self_signed};
use crate::tls::sealed::{certified, open_sites_ca};

/// Signed by the sites CA where there is one that opens, else by itself. `now` is the state's time.
pub fn certificate(
    cluster: Option<&Cluster>,
    keyring: &Keyring,
    name: &NodeName,
    now: Time,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let names = [name.as_str()];
    let leaf = match cluster.map(|cluster| open_sites_ca(cluster, keyring)) {
        Some(Ok(ca)) => mint(&ca, &names, now)?,
        Some(Err(error)) => {
            tracing::warn!("the node's own certificate is signed by itself: failed to {error}");
            self_signed(&names, now)?
        }
        None => self_signed(&names, now)?,
    };
    certified(leaf.chain.iter().map(Vec::as_slice), &leaf.key).map(Arc::new)
}
