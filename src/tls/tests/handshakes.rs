//! Who gets which certificate, with what protection.
use std::sync::Arc;

use rustls::{HandshakeKind, NamedGroup, ProtocolVersion};

use crate::model::change::Change;
use crate::model::sites::SiteRemove;
use crate::model::tests::world::host;
use crate::seal::keyring::Keyring;
use crate::tls::resolver::Resolver;
use crate::tls::tests::world::{BOTH, Cell, shake};

#[test]
fn a_site_is_served_by_its_name_with_post_quantum_keys() {
    let mut cell = Cell::new();
    let server = cell.server();
    let client = Arc::new(cell.client(BOTH));
    assert!(shake(&client, &server, "a.test").is_err(), "not there yet");
    cell.add_site("a.test");
    cell.add_site("bücher.test");
    for name in ["a.test", "A.TEST", "xn--bcher-kva.test"] {
        let (told, served) = shake(&client, &server, name).unwrap();
        assert_eq!(told.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(told.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
        assert_eq!(served.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(told.peer_certificates().unwrap().len(), 1, "the CA is not sent");
    }
    let old = Arc::new(cell.client(&[&rustls::version::TLS12]));
    let (told, _) = shake(&old, &server, "a.test").unwrap();
    assert_eq!(told.protocol_version(), Some(ProtocolVersion::TLSv1_2));
}

#[test]
fn an_unknown_name_is_refused_and_no_name_gets_the_nodes_own() {
    let mut cell = Cell::new();
    cell.add_site("a.test");
    let server = cell.server();
    let client = Arc::new(cell.client(BOTH));
    for name in ["b.test", "www.a.test", "a.test.test", "pi-1"] {
        assert!(shake(&client, &server, name).is_err(), "{name}");
    }
    let mut nameless = cell.client(BOTH);
    nameless.enable_sni = false;
    let nameless = Arc::new(nameless);
    shake(&nameless, &server, "pi-1").unwrap();
    assert!(shake(&nameless, &server, "a.test").is_err(), "it names no site");
    // A name that is gone is refused also to who was served before.
    shake(&client, &server, "a.test").unwrap();
    cell.world.ok(Change::SiteRemove(SiteRemove { host: host("a.test") }));
    cell.publish();
    assert!(shake(&client, &server, "a.test").is_err());
}

#[test]
fn another_node_resumes_what_one_began() {
    let mut cell = Cell::new();
    cell.add_site("a.test");
    for versions in [BOTH, &[&rustls::version::TLS12]] {
        let client = Arc::new(cell.client(versions));
        let kind = |server: Arc<_>| shake(&client, &server, "a.test").unwrap().1.handshake_kind();
        assert_ne!(kind(cell.server()), Some(HandshakeKind::Resumed));
        assert_eq!(kind(cell.server()), Some(HandshakeKind::Resumed));
        // With a newer key in the state the older one is still good.
        cell.add_ticket_key();
        assert_eq!(shake(&client, &cell.server(), "a.test").unwrap().1.handshake_kind(), Some(HandshakeKind::Resumed));
    }
}

#[test]
fn a_ticket_of_another_cluster_means_a_full_handshake() {
    let mut cell = Cell::new();
    cell.add_site("a.test");
    let client = Arc::new(cell.client(BOTH));
    shake(&client, &cell.server(), "a.test").unwrap();
    // The same sites behind fresh ticket keys: none of the old ones is left.
    (0..3).for_each(|_| cell.add_ticket_key());
    let (_, served) = shake(&client, &cell.server(), "a.test").unwrap();
    assert_ne!(served.handshake_kind(), Some(HandshakeKind::Resumed));
    let (_, served) = shake(&client, &cell.server(), "a.test").unwrap();
    assert_eq!(served.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn a_key_that_does_not_open_refuses_its_site_alone() {
    let mut cell = Cell::new();
    cell.add_site("a.test");
    let wrong = Arc::new(Keyring::generate([8; 32]));
    let resolver = Resolver::new(cell.publish.subscribe(), wrong, cell.node());
    assert!(resolver.certificate(Some("a.test")).is_none());
    assert!(resolver.certificate(Some("a.test")).is_none());
    assert!(resolver.certificate(None).is_some());
}

#[test]
fn keys_are_opened_once_and_follow_the_state() {
    let mut cell = Cell::new();
    cell.add_site("a.test");
    let resolver = cell.resolver();
    let first = resolver.certificate(Some("a.test")).unwrap();
    assert!(Arc::ptr_eq(&first, &resolver.certificate(Some("a.test")).unwrap()));
    cell.world.ok(Change::SiteRemove(SiteRemove { host: host("a.test") }));
    cell.add_site("a.test");
    assert!(!Arc::ptr_eq(&first, &resolver.certificate(Some("a.test")).unwrap()));
}
