//! The cluster itself and its certificates: founded once, levels one at a time, time that never goes back.
use std::collections::BTreeSet;

use crate::base::clock::Time;
use crate::base::ids::{CertificateId, NodeId};
use crate::base::names::IssuerName;
use crate::model::LEVEL;
use crate::model::certificates::{CertificateRemove, CertificateStore};
use crate::model::change::Change;
use crate::model::cluster::{Found, KeyExported, RaiseLevel};
use crate::model::nodes::NodeSays;
use crate::model::state::State;
use crate::model::tests::world::{NODE, START, World, found, new_zone};
use crate::seal::Sealed;
use crate::seal::keyring::KeyId;

#[test]
fn a_cluster_is_founded_once() {
    let mut world = World::new();
    world.refused_as("exists", found(NODE));
    world.refused_as("exists", found(NodeId(2)));
    let mut empty = World::new();
    empty.state = State::default();
    empty.refused_as("not-found", Change::KeyExported(KeyExported {}));
    let Change::Found(right) = found(NODE) else { unreachable!() };
    for level in [0, LEVEL + 1, u32::MAX] {
        empty.refused_as("level", Change::Found(Found { level, ..right.clone() }));
    }
    empty.ok(found(NODE));
    assert_eq!(empty.state.level(), LEVEL);
    assert_eq!(empty.state.nodes[&NODE].closed(), None);
}

#[test]
fn levels_follow_each_other() {
    let mut world = World::new();
    for level in [0, LEVEL, LEVEL + 2, u32::MAX] {
        world.refused_as("level", Change::RaiseLevel(RaiseLevel { level }));
    }
    // The node has not said that it knows it, then says so.
    let next = LEVEL + 1;
    let raise = || Change::RaiseLevel(RaiseLevel { level: next });
    world.refused_as("invalid", raise());
    world.ok(Change::NodeSays(NodeSays {
        node: NODE,
        key: vec![1; 32],
        reach: Vec::new(),
        knows: next,
        deaf: BTreeSet::new(),
    }));
    let before = world.state.clone();
    world.ok(raise());
    assert_eq!(world.state.level(), next, "also for who does not know it: it then goes no further");
    world.refused_as("level", raise());
    world.state = before;
    world.clock = START.plus(std::time::Duration::from_secs(5));
    world.ok(Change::KeyExported(KeyExported {}));
    assert_eq!(world.state.cluster.as_ref().unwrap().key_exported, Some(world.clock));
}

#[test]
fn time_never_goes_back() {
    let mut world = World::new();
    world.clock = Time(0);
    world.ok(new_zone("a.test", None));
    assert_eq!(world.state.time, START);
    assert_eq!(world.state.zones.values().next().unwrap().head.created, START);
    world.clock = Time(START.0 + 1);
    world.refused_as("exists", new_zone("a.test", None));
    assert_eq!(world.state.time, world.clock, "time moves with a batch, also one that was refused");
}

#[test]
fn certificates() {
    let mut world = World::new();
    let store = CertificateStore {
        id: CertificateId(7),
        names: vec!["a.test".into(), "*.a.test".into()],
        issuer: IssuerName::parse("letsencrypt").unwrap(),
        not_before: START,
        not_after: Time(START.0 + 1),
        chain: vec![vec![0x30].into()],
        key: Sealed { key_id: KeyId(1), nonce: [3; 24], bytes: vec![1; 40] },
    };
    for wrong in [
        CertificateStore { names: Vec::new(), ..store.clone() },
        CertificateStore { chain: Vec::new(), ..store.clone() },
        CertificateStore { not_after: START, ..store.clone() },
    ] {
        world.refused_as("invalid", Change::CertificateStore(wrong));
    }
    assert_eq!(world.event(Change::CertificateStore(store.clone())).subject, "a.test *.a.test");
    // A renewal replaces it under its id.
    world.ok(Change::CertificateStore(store));
    assert_eq!(world.state.certificates.len(), 1);
    let remove = Change::CertificateRemove(CertificateRemove { id: CertificateId(7) });
    world.ok(remove.clone());
    world.refused_as("not-found", remove);
}
