//! A cluster with a CA, ticket keys and sites, and clients that trust it.
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use tokio::sync::watch;

use crate::base::ids::ClusterId;
use crate::base::names::NodeName;
use crate::model::change::Change;
use crate::model::cluster::{Cluster, SitesCaPut, TicketKey, TicketKeysPut};
use crate::model::sites::SiteCreate;
use crate::model::state::Snapshot;
use crate::model::tests::world::{START, World, host, site_of};
use crate::seal::keyring::Keyring;
use crate::tls::resolver::Resolver;
use crate::tls::tickets::Tickets;
use crate::tls::{node, sealed, server};

/// As the world of the model's tests founds it.
pub(crate) const CLUSTER: ClusterId = ClusterId(9);

pub(crate) struct Cell {
    pub(crate) world: World,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) publish: watch::Sender<Arc<Snapshot>>,
}

impl Cell {
    pub(crate) fn new() -> Self {
        let keyring = Arc::new(Keyring::generate([7; 32]));
        let mut world = World::new();
        let ca = sealed::make_sites_ca(CLUSTER, &keyring, START).unwrap();
        world.ok(Change::SitesCaPut(SitesCaPut { ca, after: None }));
        let mut cell = Self { world, keyring, publish: watch::Sender::default() };
        cell.add_ticket_key();
        cell
    }

    pub(crate) fn cluster(&self) -> Arc<Cluster> {
        Arc::clone(self.world.state.cluster.as_ref().unwrap())
    }

    pub(crate) fn add_ticket_key(&mut self) {
        let old = self.cluster().ticket_keys.clone();
        let fresh = sealed::make_ticket_key(CLUSTER, &self.keyring, START).unwrap();
        let keys: Vec<TicketKey> = std::iter::once(fresh).chain(old.iter().cloned()).take(3).collect();
        let after = old.first().map(|key| key.id);
        self.world.ok(Change::TicketKeysPut(TicketKeysPut { after, keys }));
        self.publish();
    }

    pub(crate) fn add_site(&mut self, name: &str) {
        let names = vec![host(name)];
        let minted = sealed::mint_for(&self.cluster(), &self.keyring, names, START).unwrap();
        let site = SiteCreate { certificate: Some(minted), ..site_of(name, None) };
        self.world.ok(Change::SiteCreate(Box::new(site)));
        self.publish();
    }

    pub(crate) fn publish(&self) {
        let generation = self.publish.borrow().generation + 1;
        self.publish.send_replace(Arc::new(Snapshot { state: self.world.state.clone(), generation }));
    }

    pub(crate) fn node(&self) -> Arc<CertifiedKey> {
        let name = NodeName::parse("pi-1").unwrap();
        node::certificate(Some(&self.cluster()), &self.keyring, &name, START).unwrap()
    }

    pub(crate) fn resolver(&self) -> Arc<Resolver> {
        Arc::new(Resolver::new(self.publish.subscribe(), Arc::clone(&self.keyring), self.node()))
    }

    pub(crate) fn tickets(&self) -> Arc<Tickets> {
        Tickets::new(self.publish.subscribe(), Arc::clone(&self.keyring))
    }

    /// A server as a node builds it; each call is another node.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        server::config(self.resolver(), self.tickets(), &[b"h2", b"http/1.1"]).unwrap()
    }

    pub(crate) fn client(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let ca = self.cluster().sites_ca.as_ref().unwrap().certificate.clone();
        roots.add(CertificateDer::from(ca)).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(32);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }
}

pub(crate) const BOTH: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// Lets both speak until neither has anything to say; an error is the server's, or else the client's.
pub(crate) fn shake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &str,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    loop {
        let (mut out, mut back) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut out).unwrap();
        }
        let mut out = out.as_slice();
        while !out.is_empty() {
            server.read_tls(&mut out).unwrap();
            server.process_new_packets()?;
        }
        while server.wants_write() {
            server.write_tls(&mut back).unwrap();
        }
        if back.is_empty() {
            break;
        }
        let mut back = back.as_slice();
        while !back.is_empty() {
            client.read_tls(&mut back).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok((client, server))
}
