//! The server's side of TLS: versions, key exchange, certificates by name, tickets. Never listens.
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use tokio::sync::watch;

use crate::base::names::NodeName;
use crate::model::state::Snapshot;
use crate::seal::keyring::Keyring;
use crate::tls::error::TlsError;
use crate::tls::node;
use crate::tls::resolver::{AnyName, Resolver};
use crate::tls::tickets::Tickets;

/// What all listeners of a node share.
#[derive(Debug, Clone)]
pub struct Tls {
    resolver: Arc<Resolver>,
    tickets: Arc<Tickets>,
}

impl Tls {
    /// `name`: of this node, for the certificate that visitors get who name no server.
    pub fn new(
        snapshots: watch::Receiver<Arc<Snapshot>>,
        keyring: Arc<Keyring>,
        name: &NodeName,
    ) -> Result<Self, TlsError> {
        let now = Arc::clone(&snapshots.borrow());
        let own = node::certificate(now.cluster.as_deref(), &keyring, name, now.time)?;
        let tickets = Tickets::new(snapshots.clone(), Arc::clone(&keyring));
        Ok(Self { resolver: Arc::new(Resolver::new(snapshots, keyring, own)), tickets })
    }

    pub fn tickets(&self) -> Arc<Tickets> {
        Arc::clone(&self.tickets)
    }

    /// A configuration for listeners that offer these protocols, the preferred one first, such as `h2` and `http/1.1`.
    pub fn server(&self, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
        config(Arc::clone(&self.resolver) as Arc<dyn ResolvesServerCert>, Arc::clone(&self.tickets), alpn)
    }

    /// For listeners that are reached by names of no site too, such as the node's: who names one of those gets the node's
    /// own certificate.
    pub fn server_for_any_name(&self) -> Result<Arc<ServerConfig>, TlsError> {
        config(Arc::new(AnyName(Arc::clone(&self.resolver))), Arc::clone(&self.tickets), &[])
    }
}

/// TLS 1.3 and 1.2 for sites.
pub fn config(
    resolver: Arc<dyn ResolvesServerCert>,
    tickets: Arc<Tickets>,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut provider = default_provider();
    // What is recorded today cannot be read by a quantum computer later.
    provider.kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let builder = ServerConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&versions);
    let mut config = builder.map_err(TlsError::Config)?.with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.ticketer = tickets;
    // Sessions live in tickets alone: nothing to bound, and any node resumes them.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // One ticket for each connection: each that resumes brings the next one.
    config.send_tls13_tickets = 1;
    // A request that can be replayed is none.
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}
