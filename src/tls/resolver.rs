//! Which certificate a handshake gets: the server name leads to a site, the site to its certificate. Keys are opened when they are
//! asked for, and the last ones stay in memory. An unknown name gets nothing, and the handshake is refused.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use crate::base::ids::CertificateId;
use crate::base::limits::PARSED_KEYS_MAX;
use crate::model::certificates::Certificate;
use crate::model::orders::Method;
use crate::model::state::Snapshot;
use crate::seal::keyring::Keyring;
use crate::tls::order::{self, ACME_TLS};
use crate::tls::sealed::open_certificate;

/// By certificate and revision; `None` for one that cannot be used, so that it is tried and told of once.
type Keys = LruCache<(CertificateId, u64), Option<Arc<CertifiedKey>>>;

/// One for all threads.
pub struct Resolver {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    keyring: Arc<Keyring>,
    /// For who names no server.
    node: Arc<CertifiedKey>,
    keys: Mutex<Keys>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Resolver {
    pub fn new(snapshots: watch::Receiver<Arc<Snapshot>>, keyring: Arc<Keyring>, node: Arc<CertifiedKey>) -> Self {
        // It grows with what is asked for.
        let mut keys = LruCache::unbounded();
        keys.resize(PARSED_KEYS_MAX);
        Self { snapshots, keyring, node, keys: Mutex::new(keys) }
    }

    /// The certificate for a server name in lower case, or the node's own for none.
    pub fn certificate(&self, server_name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = server_name else { return Some(Arc::clone(&self.node)) };
        let snapshot = Arc::clone(&self.snapshots.borrow());
        // A wildcard covers names that are no site's.
        let stored = snapshot.hosts.contains_key(name).then(|| snapshot.certificate_for(name))??;
        let key = (stored.id, stored.revision);
        if let Some(known) = self.keys().get(&key) {
            return known.clone();
        }
        // Not under the lock; two threads that open the same key do so once each.
        let opened = self.open(&snapshot, stored);
        self.keys().put(key, opened.clone());
        opened
    }

    fn open(&self, snapshot: &Snapshot, stored: &Certificate) -> Option<Arc<CertifiedKey>> {
        let cluster = snapshot.cluster.as_ref()?;
        open_certificate(cluster.sealed_for(), &self.keyring, stored)
            .inspect_err(|error| {
                let names = stored.names.join(" ");
                tracing::error!(certificate = %stored.id, names, "handshakes are refused: failed to {error}");
            })
            .ok()
            .map(Arc::new)
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        // A cache: whatever a panic left of it is only slower.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As the resolver, with the node's own certificate instead of a refusal.
#[derive(Debug)]
pub(super) struct AnyName(pub(super) Arc<Resolver>);

impl ResolvesServerCert for AnyName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.resolve(hello).or_else(|| self.0.certificate(None))
    }
}

impl Resolver {
    /// What an issuer is shown that validates a name by TLS-ALPN-01.
    fn challenge(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let challenge = snapshot.challenge(&name.to_ascii_lowercase(), Method::TlsAlpn01)?;
        let shown = order::challenge(&challenge.name, &challenge.answer);
        shown
            .inspect_err(|error| tracing::error!(name, "a validation finds nothing: failed to {error}"))
            .ok()
            .map(Arc::new)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Who validates speaks nothing else (RFC 8737 section 3), and gets nothing else.
        if hello.alpn().is_some_and(|mut offered| offered.all(|protocol| protocol == ACME_TLS)) {
            return self.challenge(hello.server_name()?);
        }
        match hello.server_name() {
            Some(name) if name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                self.certificate(Some(&name.to_ascii_lowercase()))
            }
            name => self.certificate(name),
        }
    }
}
