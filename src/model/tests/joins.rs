//! Machines that come and go: a token lets one of them in, once and in time; a node is its key; who is down is said by the cluster.
use std::collections::BTreeSet;
use std::time::Duration;

use crate::base::ids::NodeId;
use crate::base::limits::{JOIN_TOKEN_LIFE_MAX, JOIN_TOKENS_MAX, NODE_KEY_MAX};
use crate::base::names::NodeName;
use crate::model::LEVEL;
use crate::model::change::{Actor, Change};
use crate::model::cluster::RaiseLevel;
use crate::model::joins::{JoinTokenCreate, NodeJoin};
use crate::model::nodes::{NodeHealth, NodeRemove, NodeSays};
use crate::model::tests::world::{NODE, START, World, site};

const TWO: NodeId = NodeId(2);

fn open(hash: u8, lasts: u64) -> Change {
    Change::JoinTokenCreate(JoinTokenCreate { hash: [hash; 32], lasts })
}

fn joins(hash: u8, node: u64, name: &str) -> NodeJoin {
    NodeJoin {
        hash: [hash; 32],
        node: NodeId(node),
        name: NodeName::parse(name).unwrap(),
        key: vec![node as u8; 32],
        reach: vec!["192.0.2.2:7443".parse().unwrap()],
        knows: LEVEL,
    }
}

fn join(hash: u8, node: u64, name: &str) -> Change {
    Change::NodeJoin(joins(hash, node, name))
}

#[test]
fn a_token_lets_one_machine_in_once_and_in_time() {
    let mut world = World::new();
    world.refused_as("join-token-invalid", join(1, 2, "pi-2"));
    world.ok(open(1, 60_000));
    world.refused_as("join-token-invalid", join(2, 2, "pi-2"));
    world.ok(join(1, 2, "pi-2"));
    let two = &world.state.nodes[&TWO];
    assert!(!two.down && two.knows == LEVEL && two.key == [2; 32], "{two:?}");
    world.refused_as("join-token-invalid", join(1, 3, "pi-3"));
    world.ok(open(3, 60_000));
    world.clock = START.plus(Duration::from_secs(60));
    world.refused_as("join-token-invalid", join(3, 3, "pi-3"));
}

#[test]
fn what_is_odd_lets_nobody_in_and_leaves_the_token() {
    let mut world = World::new();
    let longest = JOIN_TOKEN_LIFE_MAX.as_millis() as u64;
    world.refused_as("invalid", open(1, 0));
    world.refused_as("invalid", open(1, longest + 1));
    world.ok(open(1, longest));
    world.refused_as("exists", join(1, NODE.0, "pi-2"));
    let taken = world.state.nodes[&NODE].name.to_string();
    world.refused_as("exists", join(1, 2, &taken));
    let right = joins(1, 2, "pi-2");
    for (code, odd) in [
        ("level", NodeJoin { knows: 0, ..right.clone() }),
        ("invalid", NodeJoin { key: Vec::new(), ..right.clone() }),
        ("invalid", NodeJoin { key: vec![0; NODE_KEY_MAX + 1], ..right.clone() }),
        ("invalid", NodeJoin { reach: vec![right.reach[0]; 100], ..right.clone() }),
    ] {
        world.refused_as(code, Change::NodeJoin(odd));
    }
    world.ok(Change::NodeJoin(right));
    for hash in 0..JOIN_TOKENS_MAX {
        world.ok(open(hash as u8, 1000));
    }
    world.refused_as("invalid", open(99, 1000));
    world.clock = START.plus(Duration::from_secs(1));
    world.ok(open(99, 1000));
}

#[test]
fn only_the_cluster_lets_in_and_says_who_is_down() {
    let mut world = World::new();
    world.ok(open(1, 60_000));
    world.actor = Actor::Local { uid: 0 };
    world.refused_as("forbidden", join(1, 2, "pi-2"));
    world.refused_as("forbidden", Change::NodeHealth(NodeHealth { node: NODE, down: true }));
    let says = NodeSays { node: NODE, key: vec![1; 32], reach: Vec::new(), knows: LEVEL, deaf: BTreeSet::new() };
    world.refused_as("forbidden", Change::NodeSays(says));
}

#[test]
fn a_node_is_its_key() {
    let mut world = World::new();
    world.ok(open(1, 60_000));
    world.ok(join(1, 2, "pi-2"));
    let says = |key: u8| NodeSays {
        node: TWO,
        key: vec![key; 32],
        reach: Vec::new(),
        knows: LEVEL + 1,
        deaf: BTreeSet::new(),
    };
    world.refused_as("invalid", Change::NodeSays(says(9)));
    world.ok(Change::NodeSays(says(2)));
    assert!(world.state.nodes[&TWO].reach.is_empty());
    // All of them know the next level before it is raised, and one does not.
    world.refused_as("invalid", Change::RaiseLevel(RaiseLevel { level: LEVEL + 1 }));
    let other = NodeSays { node: NODE, key: vec![1; 32], reach: Vec::new(), knows: LEVEL + 1, deaf: BTreeSet::new() };
    world.ok(Change::NodeSays(other));
    world.ok(Change::RaiseLevel(RaiseLevel { level: LEVEL + 1 }));
    // From then on nobody comes in who does not know it.
    world.ok(open(2, 60_000));
    world.refused_as("level", join(2, 3, "pi-3"));
}

#[test]
fn a_node_goes_when_nothing_is_at_home_there() {
    let mut world = World::new();
    world.refused_as("invalid", Change::NodeRemove(NodeRemove { node: NODE, lost: false }));
    world.ok(open(1, 60_000));
    world.ok(join(1, 2, "pi-2"));
    world.refused_as("exists", Change::NodeHealth(NodeHealth { node: TWO, down: false }));
    world.ok(Change::NodeHealth(NodeHealth { node: TWO, down: true }));
    world.refused_as("exists", Change::NodeHealth(NodeHealth { node: TWO, down: true }));
    world.ok(Change::NodeHealth(NodeHealth { node: TWO, down: false }));
    world.ok(site("a.test", None));
    let home = world.state.sites.values().next().unwrap().home;
    world.refused_as("in-use", Change::NodeRemove(NodeRemove { node: home, lost: false }));
    let other = if home == NODE { TWO } else { NODE };
    world.ok(Change::NodeRemove(NodeRemove { node: other, lost: false }));
    world.refused_as("not-found", Change::NodeRemove(NodeRemove { node: other, lost: false }));
}
