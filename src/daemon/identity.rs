//! Who this node is: its id, kept with its log; the keyring, kept beside the state; the founding of a cluster of one.
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::base::ids::{ClusterId, NodeId};
use crate::base::names::NodeName;
use crate::cluster::adoption::Joined;
use crate::cluster::founding::{FoundError, new_node_id, random_id};
use crate::cluster::member::Member;
use crate::cluster::rotation;
use crate::files::atomic::{self, AtomicError};
use crate::seal::SealError;
use crate::seal::keyring::{Keyring, KeyringError};
use crate::store::log::Log;
use crate::store::types::StorageError;
use crate::tls::error::TlsError;
use crate::tls::peer::{self, PeerKey};

/// Failed to know who this node is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("read the node's id: {0}")]
    Log(Box<StorageError>),
    #[error("read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("read {path}: {source}")]
    Keyring { path: PathBuf, source: KeyringError },
    #[error("write a key: {0}")]
    Write(#[from] AtomicError),
    #[error(transparent)]
    Key(#[from] TlsError),
    #[error(
        "find the keyring {0}: without it no TLS or DNSSEC key of this cluster can be opened; \
         put the copy that `ruche cluster key export` made there, owned by the daemon, mode 600"
    )]
    Lost(PathBuf),
    #[error("use the keyring {0}: it belongs to another cluster; put the right copy there")]
    Foreign(PathBuf),
    #[error("draw random bytes: {0}")]
    Random(String),
    #[error(transparent)]
    Found(#[from] FoundError),
}

/// The id this node's log is tied to; a fresh log gets the one it joined under, or a fresh one.
pub(crate) async fn node_id(log: &Log, joined: Option<&Joined>) -> Result<NodeId, IdentityError> {
    let fault = |error: StorageError| IdentityError::Log(Box::new(error));
    if let Some(id) = log.node_id().await.map_err(fault)? {
        return Ok(id);
    }
    let id = joined.map_or_else(new_node_id, |joined| joined.node);
    log.set_node_id(id).await.map_err(fault)?;
    Ok(id)
}

/// The key other nodes know this one by; made once, and never leaves the machine.
pub(crate) fn peer_key(data_dir: &Path) -> Result<PeerKey, IdentityError> {
    let path = data_dir.join("node.key");
    match std::fs::read(&path) {
        Ok(bytes) => Ok(PeerKey::read(&Zeroizing::new(bytes))?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let made = peer::generate()?;
            atomic::replace(&path, 0o600, &made)?;
            Ok(PeerKey::read(&made)?)
        }
        Err(source) => Err(IdentityError::Read { path, source }),
    }
}

/// The cluster's keyring; made only where there is no cluster yet.
pub(crate) fn keyring(data_dir: &Path, founded: bool) -> Result<Keyring, IdentityError> {
    let path = data_dir.join("keyring");
    match std::fs::read(&path) {
        Ok(bytes) => {
            let bytes = Zeroizing::new(bytes);
            Keyring::from_bytes(&bytes).map_err(|source| IdentityError::Keyring { path, source })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && founded => Err(IdentityError::Lost(path)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut key = Zeroizing::new([0; 32]);
            getrandom::fill(&mut *key).map_err(|error| IdentityError::Random(error.to_string()))?;
            let keyring = Keyring::generate(*key);
            atomic::replace(&path, 0o600, &keyring.to_bytes())?;
            Ok(keyring)
        }
        Err(source) => Err(IdentityError::Read { path, source }),
    }
}

/// Founds a cluster of one where there is none.
pub(crate) async fn found(member: &Member, name: &NodeName, keyring: &Keyring) -> Result<(), IdentityError> {
    if member.is_founded() {
        return Ok(());
    }
    let cluster = ClusterId(random_id());
    let check = rotation::key_check(keyring, cluster);
    member.found(cluster, name.clone(), check).await?;
    tracing::info!(%cluster, node = %name, "founded a cluster of one");
    Ok(())
}

/// Whether this keyring is the cluster's.
pub(crate) fn prove(member: &Member, keyring: &Keyring, data_dir: &Path) -> Result<(), IdentityError> {
    let snapshot = member.snapshot();
    let Some(cluster) = snapshot.borrow().cluster.clone() else { return Ok(()) };
    match rotation::prove(keyring, &cluster) {
        Ok(true) => Ok(()),
        // The others have a newer one, and give it.
        Err(SealError::NoKey { key_id, .. }) if snapshot.borrow().nodes.len() > 1 => {
            tracing::warn!(%key_id, "the keyring lacks the key of the cluster: it is fetched from another node");
            Ok(())
        }
        _ => Err(IdentityError::Foreign(data_dir.join("keyring"))),
    }
}
