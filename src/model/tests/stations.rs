//! Standbys that the cluster chooses: no more than are asked for, and one in the place of each that is to leave.
use crate::base::ids::{NodeId, OperationId};
use crate::base::names::NodeName;
use crate::model::answer::Object;
use crate::model::change::{Actor, Change, Set};
use crate::model::drains::{DrainStep, DrainTo, Next, NodeDrain, Stay, next};
use crate::model::effect::{Effect, Stored};
use crate::model::nodes::{Node, NodeRemove};
use crate::model::operations::{OperationFinish, Status};
use crate::model::row::Row;
use crate::model::sites::{Site, SiteSet};
use crate::model::stations::{StandbyStep, StandbyTo, Stationed, lacks};
use crate::model::tests::world::{NODE, START, World, host, site_of};

const OTHER: NodeId = NodeId(2);
const THIRD: NodeId = NodeId(3);
const FOURTH: NodeId = NodeId(4);

/// Four nodes and a site on the first, which asks for so many standbys.
fn world(wanted: u8) -> World {
    let mut world = World::new();
    for (id, name) in [(OTHER, "b"), (THIRD, "c"), (FOURTH, "d")] {
        let node = Node::new(id, NodeName::parse(name).unwrap(), START, 1);
        world.state.absorb(&Effect::Put(Stored::new(Row::Node(node))));
    }
    let mut create = site_of("a.test", None);
    (create.node, create.wanted) = (Some(NODE), wanted);
    world.ok(Change::SiteCreate(create.into()));
    world
}

fn site(world: &World) -> Site {
    Site::clone(world.state.site(&host("a.test")).unwrap())
}

fn step(world: &World, step: StandbyTo) -> Change {
    Change::StandbyStep(StandbyStep { site: site(world).id, step })
}

fn place(world: &World, node: NodeId, instead: Option<NodeId>) -> Change {
    step(world, StandbyTo::Place(Stationed { node, reason: "it fits best".into(), instead }))
}

fn set(by: impl FnOnce(&mut SiteSet)) -> Change {
    let mut set = SiteSet::of(host("a.test"));
    by(&mut set);
    Change::SiteSet(set.into())
}

fn drained(world: &mut World, node: NodeId) -> OperationId {
    let Some(Object::Operation(operation)) = world.ok(Change::NodeDrain(NodeDrain { node })).object else { panic!() };
    operation.id
}

#[test]
fn as_many_are_placed_as_are_asked_for_and_again_when_one_is_gone() {
    let mut world = world(2);
    assert_eq!(lacks(&site(&world)), 2);
    for wrong in [NODE, NodeId(9)] {
        let change = place(&world, wrong, None);
        world.refused_as(if wrong == NODE { "invalid" } else { "not-found" }, change);
    }
    let first = place(&world, OTHER, None);
    world.actor = Actor::Local { uid: 0 };
    world.refused_as("forbidden", first.clone());
    world.actor = Actor::System;
    world.ok(first.clone());
    assert!(site(&world).unconfirmed.is_some(), "its home was not fenced before");
    world.refused_as("invalid", first);
    let (second, third) = (place(&world, THIRD, None), place(&world, FOURTH, None));
    world.ok(second);
    world.refused_as("invalid", third.clone());
    assert_eq!((&site(&world).standbys[..], lacks(&site(&world))), (&[OTHER, THIRD][..], 0));
    world.ok(Change::NodeRemove(NodeRemove { node: OTHER, lost: false }));
    let after = site(&world);
    assert_eq!((&after.standbys[..], after.stationed.len(), lacks(&after)), (&[THIRD][..], 1, 1));
    world.ok(third);
    // Fewer: the first ones stay. Names: nothing is chosen any more.
    world.ok(set(|set| set.wanted = Set::To(1)));
    assert_eq!((&site(&world).standbys[..], site(&world).stationed.len()), (&[THIRD][..], 1));
    world.refused_as("invalid", set(|set| set.wanted = Set::To(5)));
    world.ok(set(|set| set.standbys = Set::To(vec![THIRD, FOURTH])));
    let named = site(&world);
    assert_eq!((named.wanted, named.stationed, &named.standbys[..]), (0, vec![], &[THIRD, FOURTH][..]));
}

#[test]
fn a_copy_leaves_a_node_that_is_drained_once_another_one_has_everything() {
    for wanted in [0, 1] {
        let mut world = world(wanted);
        world.ok(set(|set| set.standbys = Set::To(vec![THIRD])));
        world.ok(set(|set| set.wanted = Set::To(wanted)));
        let early = place(&world, FOURTH, Some(THIRD));
        world.refused_as("invalid", early.clone());
        let operation = drained(&mut world, THIRD);
        let nexts = |world: &World| next(&world.state, &world.state.nodes[&THIRD]);
        let id = site(&world).id;
        assert_eq!(nexts(&world), [Next::Replace(id)]);
        let leave = step(&world, StandbyTo::Leave(THIRD));
        world.refused_as("invalid", leave.clone());
        world.ok(early.clone());
        world.refused_as("invalid", early);
        let both = site(&world);
        assert_eq!((&both.standbys[..], lacks(&both)), (&[FOURTH, THIRD][..], 0));
        assert_eq!(nexts(&world), [Next::Await { site: id, stand_in: FOURTH }]);
        let end = Change::DrainStep(DrainStep { node: THIRD, operation, step: DrainTo::End });
        world.refused_as("invalid", end.clone());
        world.ok(leave);
        assert_eq!((&site(&world).standbys[..], lacks(&site(&world))), (&[FOURTH][..], 0));
        assert_eq!(site(&world).stationed[0].instead, None);
        assert_eq!(nexts(&world), [Next::End(Status::Succeeded)]);
        world.ok(end);
    }
}

#[test]
fn who_stands_in_goes_again_where_the_drain_is_cancelled_and_what_cannot_go_stays() {
    let mut world = world(0);
    world.ok(set(|set| set.standbys = Set::To(vec![THIRD])));
    let operation = drained(&mut world, THIRD);
    let placed = place(&world, FOURTH, Some(THIRD));
    world.ok(placed);
    world.ok(Change::OperationFinish(OperationFinish { id: operation, status: Status::Cancelling }));
    world.ok(Change::DrainStep(DrainStep { node: THIRD, operation, step: DrainTo::End }));
    assert_eq!((&site(&world).standbys[..], site(&world).stationed), (&[THIRD][..], vec![]));
    let operation = drained(&mut world, THIRD);
    let stay = Stay { site: site(&world).id, reason: "there is no other node".into() };
    world.ok(Change::DrainStep(DrainStep { node: THIRD, operation, step: DrainTo::Stays(stay) }));
    assert_eq!(next(&world.state, &world.state.nodes[&THIRD]), [Next::End(Status::Succeeded)]);
}
