//! The life of a move: begun once, rested, flipped or left; a rest that ended is worth nothing.
use crate::base::ids::{NodeId, OperationId, SiteId};
use crate::base::names::NodeName;
use crate::model::answer::Object;
use crate::model::change::{Actor, Change, Set};
use crate::model::effect::{Effect, Stored};
use crate::model::moves::{MoveGo, MoveStep, SiteMove, Stage, Step};
use crate::model::nodes::{Node, NodeHealth, NodeRemove, NodeSet, Role};
use crate::model::operations::{OperationFinish, Status};
use crate::model::row::Row;
use crate::model::sites::{Site, SiteCreate, SiteRemove};
use crate::model::tests::world::{NODE, START, World, host, new_zone, site as create, site_of};
use crate::model::tokens::Access;

const OTHER: NodeId = NodeId(2);
const THIRD: NodeId = NodeId(3);

/// A cluster of three with one site, at home on the first.
fn world() -> World {
    let mut world = World::new().with_account("ada", None);
    world.ok(new_zone("a.test", None));
    for (id, name) in [(OTHER, "b"), (THIRD, "c")] {
        let node = Node::new(id, NodeName::parse(name).unwrap(), START, 1);
        put(&mut world, node);
    }
    world.ok(create("a.test", None));
    world
}

fn put(world: &mut World, node: Node) {
    world.state.absorb(&Effect::Put(Stored::new(Row::Node(node))));
}

fn site(world: &World) -> Site {
    Site::clone(world.state.site(&host("a.test")).unwrap())
}

fn to(node: Option<NodeId>) -> Change {
    Change::SiteMove(SiteMove { host: host("a.test"), to: node, bandwidth: None, reason: None, hold: false })
}

fn begun(world: &mut World, node: NodeId) -> OperationId {
    let Some(Object::Operation(operation)) = world.ok(to(Some(node))).object else { panic!() };
    operation.id
}

fn step(world: &World, operation: OperationId, step: Step) -> Change {
    Change::MoveStep(MoveStep { site: site(world).id, operation, step })
}

#[test]
fn a_site_flips_while_it_rests_and_at_no_other_time() {
    let mut world = world();
    let operation = begun(&mut world, OTHER);
    let serial = world.state.zones.values().next().unwrap().head.serial;
    assert_eq!(world.state.moving.values().next(), Some(&(operation, OTHER)));
    world.refused_as("in-use", to(Some(THIRD)));
    let early = step(&world, operation, Step::Flip { round: 1 });
    world.refused_as("invalid", early);
    let rest = |world: &World, round| step(world, operation, Step::Rest { round });
    world.ok(rest(&world, 1));
    world.refused_as("invalid", rest(&world, 2));
    let stale = step(&world, operation, Step::Wake { round: 2 });
    world.refused_as("invalid", stale);
    let wake = step(&world, operation, Step::Wake { round: 1 });
    world.ok(wake);
    // The copy of the first rest is worth nothing, also once the site rests again.
    for round in [None, Some(2)] {
        if let Some(round) = round {
            world.ok(rest(&world, round));
        }
        let late = step(&world, operation, Step::Flip { round: 1 });
        world.refused_as("invalid", late);
    }
    let before = site(&world);
    assert_eq!((before.home, before.moving.as_ref().map(|m| m.stage)), (NODE, Some(Stage::Resting { round: 2 })));
    let flip = step(&world, operation, Step::Flip { round: 2 });
    assert_eq!(world.event(flip.clone()).action, "site.moved");
    let after = site(&world);
    assert_eq!((after.home, after.epoch, after.moving), (OTHER, before.epoch + 1, None));
    assert!(world.state.operations.is_empty() && world.state.moving.is_empty());
    assert_ne!(world.state.zones.values().next().unwrap().head.serial, serial, "its addresses are others");
    world.refused_as("not-found", flip);
}

#[test]
fn a_move_that_ends_leaves_the_site_where_it_is() {
    let mut world = world();
    for status in [Status::Cancelled, Status::Failed { reason: "no space".into() }] {
        let operation = begun(&mut world, OTHER);
        let rest = step(&world, operation, Step::Rest { round: 7 });
        world.ok(rest);
        for no_end in [Status::Running, Status::Succeeded] {
            let odd = step(&world, operation, Step::End(no_end));
            world.refused_as("invalid", odd);
        }
        world.refused_as(
            "invalid",
            Change::OperationFinish(OperationFinish { id: operation, status: Status::Cancelled }),
        );
        world.ok(Change::OperationFinish(OperationFinish { id: operation, status: Status::Cancelling }));
        let late = step(&world, operation, Step::Flip { round: 7 });
        world.refused_as("invalid", late);
        let end = step(&world, operation, Step::End(status.clone()));
        let Some(Object::Operation(ended)) = world.ok(end).object else { panic!() };
        assert_eq!((ended.status, site(&world).home, site(&world).epoch), (status, NODE, 1));
    }
}

#[test]
fn where_a_site_cannot_go_is_said_before_it_moves() {
    let mut world = world();
    world.refused_as("invalid", to(Some(NODE)));
    world.refused_as("not-found", to(Some(NodeId(9))));
    world.refused_as(
        "not-found",
        Change::SiteMove(SiteMove { host: host("b.test"), to: None, bandwidth: None, reason: None, hold: false }),
    );
    let slow = Change::SiteMove(SiteMove {
        host: host("a.test"),
        to: Some(OTHER),
        bandwidth: Some(0),
        reason: None,
        hold: false,
    });
    world.refused_as("invalid", slow);
    world.ok(Change::NodeHealth(NodeHealth { node: OTHER, down: true }));
    world.refused_as("invalid", to(Some(OTHER)));
    let cordon = |node, is_so| {
        let (roles, addresses, labels) = (Set::Keep, Set::Keep, Set::Keep);
        Change::NodeSet(NodeSet { node, roles, addresses, labels, cordoned: Set::To(is_so) })
    };
    world.ok(cordon(THIRD, true));
    world.refused_as("invalid", to(Some(THIRD)));
    world.refused_as("invalid", to(None));
    let there = |node| SiteCreate { node: Some(node), ..site_of("b.test", None) };
    world.refused_as("invalid", Change::SiteCreate(there(THIRD).into()));
    world.refused_as("invalid", Change::SiteCreate(there(OTHER).into()));
    world.ok(cordon(THIRD, false));
    let mut dns_only = Node::clone(&world.state.nodes[&THIRD]);
    dns_only.roles = [Role::Dns].into();
    put(&mut world, dns_only);
    world.refused_as("invalid", to(Some(THIRD)));
    world.refused_as("invalid", to(None));
    world.ok(Change::NodeHealth(NodeHealth { node: OTHER, down: false }));
    // The best one is the one with the fewest.
    world.ok(to(None));
    assert_eq!(world.state.moving[&site(&world).id].1, OTHER);
    // Who moves is not removed, nor is where it goes.
    world.refused_as("in-use", Change::SiteRemove(SiteRemove { host: host("a.test") }));
    world.refused_as("in-use", Change::NodeRemove(NodeRemove { node: OTHER, lost: false }));
}

#[test]
fn only_the_cluster_takes_the_steps_and_only_who_may_everything_begins() {
    let mut world = world();
    let operation = begun(&mut world, OTHER);
    world.actor = Actor::Local { uid: 0 };
    let rest = step(&world, operation, Step::Rest { round: 1 });
    world.refused_as("forbidden", rest);
    world.actor = Actor::System;
    let unknown = MoveStep { site: SiteId(77), operation, step: Step::Rest { round: 1 } };
    world.refused_as("not-found", Change::MoveStep(unknown));
    let other = step(&world, OperationId(5), Step::Rest { round: 1 });
    world.refused_as("not-found", other);
    world.become_token(Access::Write, Some("ada"), None);
    world.refused_as("forbidden", to(Some(THIRD)));
}

#[test]
fn a_move_that_is_held_rests_after_somebodys_word() {
    let mut world = world();
    let held = SiteMove { host: host("a.test"), to: Some(OTHER), bandwidth: None, reason: None, hold: true };
    let Some(Object::Operation(begun)) = world.ok(Change::SiteMove(held)).object else { panic!() };
    let operation = begun.id;
    let go = Change::MoveGo(MoveGo { operation });
    let held = |world: &World| site(world).moving.map(|moving| (moving.stage, moving.hold));
    let hold = step(&world, operation, Step::Hold);
    world.ok(hold.clone());
    assert_eq!(held(&world), Some((Stage::Held, false)));
    for early in [Step::Rest { round: 1 }, Step::Hold, Step::Flip { round: 1 }] {
        let early = step(&world, operation, early);
        world.refused_as("invalid", early);
    }
    world.ok(go.clone());
    assert_eq!(held(&world), Some((Stage::Copying, false)));
    world.refused_as("invalid", go);
    // It waits once.
    world.refused_as("invalid", hold);
    let rest = step(&world, operation, Step::Rest { round: 1 });
    world.ok(rest);
    world.refused_as("not-found", Change::MoveGo(MoveGo { operation: OperationId(1) }));
}
