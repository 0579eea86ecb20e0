//! The life of a drain: begun once, a few moves at a time, what cannot go is named, and it ends with the last site.
use crate::base::ids::{NodeId, OperationId};
use crate::base::names::NodeName;
use crate::model::answer::Object;
use crate::model::change::{Actor, Change, Set};
use crate::model::drains::{DrainStep, DrainTo, Draining, Next, NodeDrain, Stay, next};
use crate::model::effect::{Effect, Stored};
use crate::model::moves::{MoveStep, SiteMove, Step};
use crate::model::nodes::{Node, NodeHealth, NodeRemove, NodeSet};
use crate::model::operations::{Operation, OperationFinish, Status};
use crate::model::row::Row;
use crate::model::sites::{Handler, SiteCreate};
use crate::model::tests::world::{NODE, START, World, host, site_of};

const OTHER: NodeId = NodeId(2);
const THIRD: NodeId = NodeId(3);

/// Three nodes, with so many sites on the first.
fn world(sites: u64) -> World {
    let mut world = World::new();
    for (id, name) in [(OTHER, "b"), (THIRD, "c")] {
        let node = Node::new(id, NodeName::parse(name).unwrap(), START, 1);
        world.state.absorb(&Effect::Put(Stored::new(Row::Node(node))));
    }
    for number in 0..sites {
        let create = SiteCreate { node: Some(NODE), ..site_of(&format!("s{number}.test"), None) };
        world.ok(Change::SiteCreate(create.into()));
    }
    world
}

fn drained(world: &mut World) -> Operation {
    let Some(Object::Operation(operation)) = world.ok(Change::NodeDrain(NodeDrain { node: NODE })).object else {
        panic!()
    };
    operation
}

fn step(operation: OperationId, step: DrainTo) -> Change {
    Change::DrainStep(DrainStep { node: NODE, operation, step })
}

fn nexts(world: &World) -> Vec<Next> {
    next(&world.state, &world.state.nodes[&NODE])
}

/// Begins what is to be begun, and gives the moves under way.
fn begin_all(world: &mut World, to: NodeId) -> Vec<(crate::base::ids::SiteId, OperationId)> {
    for next in nexts(world) {
        let Next::Begin(site) = next else { panic!("{next:?}") };
        let host = world.state.sites[&site].host.clone();
        world.ok(Change::SiteMove(SiteMove { host, to: Some(to), bandwidth: None, reason: None, hold: false }));
    }
    world.state.moving.iter().map(|(site, (operation, _))| (*site, *operation)).collect()
}

fn flip(world: &mut World, (site, operation): (crate::base::ids::SiteId, OperationId)) {
    for step in [Step::Rest { round: 1 }, Step::Flip { round: 1 }] {
        world.ok(Change::MoveStep(MoveStep { site, operation, step }));
    }
}

#[test]
fn a_node_is_drained_a_few_sites_at_a_time_and_ends_with_the_last() {
    let mut world = world(6);
    let operation = drained(&mut world);
    assert_eq!((operation.action.as_str(), operation.total), ("node.drain", Some(6)));
    assert!(world.state.nodes[&NODE].cordoned);
    assert_eq!(drained(&mut world).id, operation.id, "asked again it is the same one");
    let under_way = begin_all(&mut world, OTHER);
    assert_eq!(under_way.len(), 4);
    assert_eq!(nexts(&world), []);
    world.refused_as("invalid", step(operation.id, DrainTo::End));
    for one in under_way {
        flip(&mut world, one);
    }
    for one in begin_all(&mut world, THIRD) {
        flip(&mut world, one);
    }
    assert_eq!(nexts(&world), [Next::End(Status::Succeeded)]);
    let uncordon = |world: &World| {
        let (roles, addresses, labels) = (Set::Keep, Set::Keep, Set::Keep);
        assert!(world.state.nodes[&NODE].cordoned);
        Change::NodeSet(NodeSet { node: NODE, roles, addresses, labels, cordoned: Set::To(false) })
    };
    let early = uncordon(&world);
    world.refused_as("in-use", early);
    let Some(Object::Operation(ended)) = world.ok(step(operation.id, DrainTo::End)).object else { panic!() };
    assert_eq!(ended.status, Status::Succeeded);
    assert_eq!((world.state.sites_at(OTHER), world.state.sites_at(THIRD)), (4, 2));
    let now = uncordon(&world);
    world.ok(now);
    assert!(nexts(&world).is_empty());
}

#[test]
fn what_cannot_go_stays_with_its_reason_and_keeps_nobody_waiting() {
    let mut world = world(2);
    let upstreams = vec!["http://[::1]:3000".into()];
    let bound = SiteCreate { node: Some(NODE), handler: Handler::Proxy { upstreams }, ..site_of("app.test", None) };
    world.ok(Change::SiteCreate(bound.into()));
    let operation = drained(&mut world);
    let all = nexts(&world);
    let stays: Vec<_> =
        all.iter().filter_map(|next| if let Next::Stay(stay) = next { Some(stay) } else { None }).collect();
    assert_eq!((all.len(), stays.len()), (3, 1));
    world.ok(step(operation.id, DrainTo::Stays(stays[0].clone())));
    world.refused_as("invalid", step(operation.id, DrainTo::Stays(stays[0].clone())));
    let under_way = begin_all(&mut world, OTHER);
    // One fails, one is cancelled by somebody.
    let failed = Status::Failed { reason: "the disk is full".into() };
    for ((site, operation), status) in under_way.into_iter().zip([failed, Status::Cancelled]) {
        world.ok(Change::MoveStep(MoveStep { site, operation, step: Step::End(status) }));
    }
    let Some(Next::End(Status::Failed { reason })) = nexts(&world).pop() else { panic!() };
    assert!(reason.starts_with("3 sites stay on pi-1: "), "{reason}");
    for part in [
        "app.test: its upstream http://[::1]:3000 is on the node itself",
        ": the disk is full",
        ": its move was cancelled",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
    world.ok(step(operation.id, DrainTo::End));
    assert_eq!(world.state.nodes[&NODE].draining, None);
}

#[test]
fn moves_to_a_node_that_went_down_go_elsewhere_and_moves_to_the_drained_one_end() {
    let mut world = world(1);
    let there = SiteCreate { node: Some(OTHER), ..site_of("there.test", None) };
    world.ok(Change::SiteCreate(there.into()));
    let comes = SiteMove { host: host("there.test"), to: Some(NODE), bandwidth: None, reason: None, hold: false };
    let Some(Object::Operation(coming)) = world.ok(Change::SiteMove(comes)).object else { panic!() };
    drained(&mut world);
    assert!(nexts(&world).contains(&Next::Cancel(coming.id)));
    world.ok(Change::OperationFinish(OperationFinish { id: coming.id, status: Status::Cancelling }));
    let site = world.state.site(&host("there.test")).unwrap().id;
    world.ok(Change::MoveStep(MoveStep { site, operation: coming.id, step: Step::End(Status::Cancelled) }));
    let (site, operation) = begin_all(&mut world, THIRD)[0];
    assert_eq!(nexts(&world), []);
    world.ok(Change::NodeHealth(NodeHealth { node: THIRD, down: true }));
    assert_eq!(nexts(&world), [Next::Cancel(operation)]);
    world.ok(Change::OperationFinish(OperationFinish { id: operation, status: Status::Cancelling }));
    assert_eq!(nexts(&world), [], "asked once");
    world.ok(Change::MoveStep(MoveStep { site, operation, step: Step::End(Status::Cancelled) }));
    assert_eq!(nexts(&world), [Next::Begin(site)]);
}

#[test]
fn a_drain_is_cancelled_or_ends_with_the_node() {
    let mut world = world(1);
    let operation = drained(&mut world).id;
    let over = Change::OperationFinish(OperationFinish { id: operation, status: Status::Succeeded });
    world.refused_as("invalid", over);
    world.ok(Change::OperationFinish(OperationFinish { id: operation, status: Status::Cancelling }));
    assert_eq!(nexts(&world), [Next::End(Status::Cancelled)]);
    world.ok(step(operation, DrainTo::End));
    let second = drained(&mut world).id;
    for one in begin_all(&mut world, OTHER) {
        flip(&mut world, one);
    }
    world.ok(Change::NodeRemove(NodeRemove { node: NODE, lost: false }));
    assert!(!world.state.operations.contains_key(&second));
}

#[test]
fn only_the_cluster_takes_the_steps_and_too_many_that_stay_end_it() {
    let mut world = world(60);
    let operation = drained(&mut world).id;
    world.actor = Actor::Local { uid: 0 };
    world.refused_as("forbidden", step(operation, DrainTo::End));
    world.actor = Actor::System;
    let sites: Vec<_> = world.state.sites.keys().copied().collect();
    let stay = |site| step(operation, DrainTo::Stays(Stay { site, reason: "r".into() }));
    for site in &sites[..50] {
        world.ok(stay(*site));
    }
    world.refused_as("invalid", stay(sites[50]));
    let Some(Next::End(Status::Failed { reason })) = nexts(&world).pop() else { panic!() };
    assert!(reason.starts_with("60 sites stay on pi-1: "), "{reason}");
    let known = Draining { operation, stays: Vec::new() };
    assert!(!known.holds(sites[0]));
    world.refused_as("not-found", step(OperationId(5), DrainTo::End));
}
