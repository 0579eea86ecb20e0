//! What follows the loss of a node with its disk: in its order, once, and by the cluster alone.
use crate::base::clock::Time;
use crate::base::ids::{CertificateId, NodeId};
use crate::base::names::{IssuerName, NodeName};
use crate::model::LEVEL;
use crate::model::certificates::CertificateStore;
use crate::model::change::{Actor, Change};
use crate::model::cluster::{AcmeKey, AcmeKeyPut, SitesCa, TicketKey};
use crate::model::issuers::{IssuerAccount, IssuerAccountPut, Task};
use crate::model::joins::{JoinTokenCreate, NodeJoin};
use crate::model::nodes::NodeRemove;
use crate::model::operations::Status;
use crate::model::rotation::{Holder, Rekey, Reseal, RotationEnd};
use crate::model::tests::world::{START, World};
use crate::seal::Sealed;
use crate::seal::keyring::KeyId;

fn sealed(key: u32) -> Sealed {
    Sealed { key_id: KeyId(key), nonce: [1; 24], bytes: vec![1; 40] }
}

fn rekey(key: u32, acme: bool) -> Change {
    Change::Rekey(Box::new(Rekey {
        key_check: sealed(key),
        sites_ca: SitesCa { certificate: vec![0x30], key: sealed(key), not_after: START, since: 0 },
        ticket_keys: vec![TicketKey { id: [9; 16], made: START, key: sealed(key) }],
        cookie_key: sealed(key),
        acme_key: acme.then(|| sealed(key)),
    }))
}

fn certificate(id: u64, days: u64) -> Change {
    Change::CertificateStore(CertificateStore {
        id: CertificateId(id),
        names: vec!["a.test".into()],
        issuer: IssuerName::parse("letsencrypt").unwrap(),
        not_before: START,
        not_after: Time(START.0 + days * 86_400_000),
        chain: vec![serde_bytes::ByteBuf::from(vec![0x30])],
        key: sealed(1),
    })
}

fn reseal(id: u64, key: u32) -> Change {
    Change::Reseal(Reseal { holder: Holder::Certificate { id: CertificateId(id), key: sealed(key) } })
}

fn lose(node: u64) -> Change {
    Change::NodeRemove(NodeRemove { node: NodeId(node), lost: true })
}

fn with_nodes() -> World {
    let mut world = World::new();
    for node in [2u64, 3] {
        world.ok(Change::JoinTokenCreate(JoinTokenCreate { hash: [node as u8; 32], lasts: 60_000 }));
        world.ok(Change::NodeJoin(NodeJoin {
            hash: [node as u8; 32],
            node: NodeId(node),
            name: NodeName::parse(&format!("pi-{node}")).unwrap(),
            key: vec![node as u8; 32],
            reach: Vec::new(),
            knows: LEVEL,
        }));
    }
    world
}

#[test]
fn a_loss_is_followed_to_its_end_one_at_a_time() {
    let mut world = with_nodes();
    let key = AcmeKey { key: sealed(1), thumbprint: "t".repeat(43) };
    world.ok(Change::AcmeKeyPut(AcmeKeyPut { after: None, key: key.clone() }));
    world.ok(certificate(7, 90));
    let name = IssuerName::parse("letsencrypt").unwrap();
    let account = IssuerAccount {
        url: "https://ca.test/1".into(),
        key: None,
        thumbprint: key.thumbprint.clone(),
        directory: "https://ca.test/dir".into(),
        next: Some(sealed(1)),
        told: Vec::new(),
    };
    world.ok(Change::IssuerAccountPut(IssuerAccountPut { name: name.clone(), account: Some(account) }));
    world.ok(Change::JoinTokenCreate(JoinTokenCreate { hash: [9; 32], lasts: 60_000 }));
    world.refused_as("invalid", rekey(2, true));
    world.refused_as("invalid", reseal(7, 2));
    world.ok(lose(2));
    let cluster = world.state.cluster.clone().unwrap();
    let rotation = cluster.rotation.clone().unwrap();
    assert!(cluster.join_tokens.is_empty() && !world.state.nodes.contains_key(&NodeId(2)));
    assert_eq!(world.state.operations[&rotation.operation].status, Status::Running);
    // Another one waits.
    world.refused_as("invalid", lose(3));
    // With the key that was lost nothing is done anew, and each secret is.
    world.refused_as("invalid", rekey(1, true));
    world.refused_as("invalid", rekey(2, false));
    world.ok(rekey(2, true));
    world.refused_as("invalid", rekey(3, true));
    let cluster = world.state.cluster.clone().unwrap();
    assert_eq!(cluster.key_check.key_id, KeyId(2));
    // Nor does the account get the key that it was about to get: whoever has the disk has that one as well.
    let issuer = &world.state.issuers[&name];
    assert!(issuer.task == Some(Task::Rollover) && issuer.account.as_ref().unwrap().next.is_none(), "{issuer:?}");
    assert_eq!(cluster.rotation.as_ref().unwrap().thumbprint, Some(key.thumbprint.clone()));
    world.refused_as("invalid", reseal(7, 1));
    world.ok(reseal(7, 2));
    assert!(world.state.certificates[&CertificateId(7)].suspect);
    // What follows it takes its place, and it stays until it is revoked.
    world.ok(certificate(8, 91));
    assert_eq!(world.state.certificates.len(), 2);
    world.ok(Change::AcmeKeyPut(AcmeKeyPut {
        after: Some(key.thumbprint),
        key: AcmeKey { key: sealed(2), thumbprint: "u".repeat(43) },
    }));
    assert_eq!(world.state.cluster.as_ref().unwrap().rotation.as_ref().unwrap().thumbprint, None);
    world.ok(Change::RotationEnd(RotationEnd { left: None }));
    assert!(world.state.operations.is_empty());
    world.ok(lose(3));
}

#[test]
fn only_the_cluster_replaces_secrets() {
    let mut world = with_nodes();
    world.ok(lose(2));
    world.actor = Actor::Local { uid: 0 };
    world.refused_as("forbidden", rekey(2, false));
    world.refused_as("forbidden", reseal(7, 2));
    world.refused_as("forbidden", Change::RotationEnd(RotationEnd { left: None }));
}
