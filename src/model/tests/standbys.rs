//! Standbys: who may stand by, who takes over and when, and what becomes of a home that comes back.
use crate::base::ids::{NodeId, OperationId, SiteId};
use crate::base::names::NodeName;
use crate::model::answer::Object;
use crate::model::change::{Actor, Change, Set};
use crate::model::effect::{Effect, Stored};
use crate::model::moves::{MoveStep, SiteMove, Step};
use crate::model::nodes::{Node, NodeHealth, NodeRemove, NodeSet, Role};
use crate::model::operations::Status;
use crate::model::row::Row;
use crate::model::sites::{Handler, Site, SiteSet};
use crate::model::standbys::{Failover, SiteFailover, SiteFenced, SiteRecovered};
use crate::model::tests::world::{NODE, START, World, host, new_zone, site_of};
use crate::model::tokens::Access;

const OTHER: NodeId = NodeId(2);
const THIRD: NodeId = NodeId(3);

/// A cluster of three with one site, at home on the first, that stands by on the second.
fn world() -> World {
    let mut world = World::new().with_account("ada", None);
    world.ok(new_zone("a.test", None));
    for (id, name) in [(OTHER, "b"), (THIRD, "c")] {
        let node = Node::new(id, NodeName::parse(name).unwrap(), START, 1);
        world.state.absorb(&Effect::Put(Stored::new(Row::Node(node))));
    }
    let mut create = site_of("a.test", None);
    (create.node, create.standbys) = (Some(NODE), vec![OTHER]);
    world.ok(Change::SiteCreate(create.into()));
    world
}

fn site(world: &World) -> Site {
    Site::clone(world.state.site(&host("a.test")).unwrap())
}

fn set(by: impl FnOnce(&mut SiteSet)) -> Change {
    let mut set = SiteSet::of(host("a.test"));
    by(&mut set);
    Change::SiteSet(set.into())
}

fn takes_over(world: &World, to: NodeId) -> Change {
    let Site { id: site, epoch, .. } = site(world);
    Change::SiteFailover(SiteFailover { site, to, epoch })
}

fn down(node: NodeId, down: bool) -> Change {
    Change::NodeHealth(NodeHealth { node, down })
}

#[test]
fn a_standby_takes_the_place_of_a_home_that_is_down_and_of_no_other() {
    let mut world = world();
    let early = takes_over(&world, OTHER);
    world.refused_as("invalid", early.clone());
    world.ok(down(NODE, true));
    let stranger = takes_over(&world, THIRD);
    world.refused_as("invalid", stranger);
    let serial = world.state.zones.values().next().unwrap().head.serial;
    let before = site(&world);
    assert!(before.is_fenced() && world.state.has_fenced(NODE) && !world.state.has_fenced(OTHER));
    assert_eq!(world.event(early.clone()).action, "site.failed-over");
    let after = site(&world);
    assert_eq!((after.home, after.epoch, &after.standbys[..]), (OTHER, before.epoch + 1, &[NODE][..]));
    assert!(world.state.has_fenced(OTHER) && !world.state.has_fenced(NODE));
    assert_ne!(world.state.zones.values().next().unwrap().head.serial, serial, "its addresses are others");
    // Said again, or said by one who has not heard of it.
    world.refused_as("invalid", early);
    // Back, and the next one falls.
    world.ok(down(NODE, false));
    world.ok(down(OTHER, true));
    let back = takes_over(&world, NODE);
    world.ok(back);
    assert_eq!((site(&world).home, site(&world).epoch), (NODE, before.epoch + 2));
}

#[test]
fn who_wanted_to_take_the_place_of_a_home_before_takes_that_of_no_later_one() {
    let mut world = world();
    world.ok(set(|set| set.standbys = Set::To(vec![OTHER, THIRD])));
    world.ok(down(NODE, true));
    let (first, late) = (takes_over(&world, OTHER), takes_over(&world, THIRD));
    world.ok(first);
    world.ok(down(OTHER, true));
    // Its copy is one of the home before.
    world.refused_as("invalid", late);
    assert_eq!((site(&world).home, site(&world).epoch), (OTHER, 2));
    let now = takes_over(&world, THIRD);
    world.ok(now);
}

#[test]
fn who_decides_is_as_the_site_says() {
    let mut world = world();
    world.ok(set(|set| set.failover = Set::To(Failover::Manual)));
    assert!(!site(&world).is_fenced() && !world.state.has_fenced(NODE));
    world.ok(down(NODE, true));
    let change = takes_over(&world, OTHER);
    world.refused_as("forbidden", change.clone());
    // Who may write still would not know that it must not.
    world.refused_as("invalid", set(|set| set.failover = Set::To(Failover::Automatic)));
    world.become_token(Access::Write, Some("ada"), None);
    world.refused_as("forbidden", change.clone());
    world.refused_as("not-found", set(|set| set.standbys = Set::To(vec![])));
    world.actor = Actor::Local { uid: 0 };
    world.ok(change);
}

#[test]
fn nobody_takes_the_place_of_a_home_that_may_not_know_that_it_is_fenced() {
    let switch = |to| set(|set| set.failover = Set::To(to));
    let fenced = |world: &World, since| Change::SiteFenced(SiteFenced { site: site(world).id, since });
    let mut world = world();
    // Made fenced: who has not heard of the site takes no write of it.
    assert_eq!(site(&world).unconfirmed, None);
    world.ok(switch(Failover::Manual));
    assert_eq!(site(&world).unconfirmed, None);
    world.ok(switch(Failover::Automatic));
    let first = site(&world).unconfirmed.unwrap();
    world.ok(set(|set| set.maintenance = Set::To(true)));
    assert_eq!(site(&world).unconfirmed, Some(first), "nothing was said yet");
    world.ok(down(NODE, true));
    let change = takes_over(&world, OTHER);
    world.refused_as("forbidden", change.clone());
    // What was said of the fence before says nothing of this one.
    world.ok(down(NODE, false));
    world.ok(switch(Failover::Manual));
    world.ok(switch(Failover::Automatic));
    let since = site(&world).unconfirmed.unwrap();
    let (early, late) = (fenced(&world, first), fenced(&world, since));
    world.refused_as("invalid", early);
    world.actor = Actor::Local { uid: 0 };
    world.refused_as("forbidden", late.clone());
    world.actor = Actor::System;
    world.ok(late.clone());
    world.refused_as("invalid", late);
    world.ok(down(NODE, true));
    world.ok(change);
    // Who becomes the home knows; an administrator decides also where the home has not spoken.
    world.ok(switch(Failover::Manual));
    world.ok(switch(Failover::Automatic));
    world.ok(down(NODE, false));
    world.ok(down(OTHER, true));
    let back = takes_over(&world, NODE);
    world.actor = Actor::Local { uid: 0 };
    world.ok(back);
    assert_eq!((site(&world).home, site(&world).unconfirmed), (NODE, None));
    // The same of a first standby, and of files where there were none.
    world.ok(set(|set| set.standbys = Set::To(vec![])));
    assert_eq!(site(&world).unconfirmed, None);
    world.ok(set(|set| set.standbys = Set::To(vec![OTHER])));
    assert!(site(&world).unconfirmed.is_some());
    world.ok(Change::NodeRemove(NodeRemove { node: OTHER, lost: false }));
    assert_eq!(site(&world).unconfirmed, None);
}

#[test]
fn standbys_are_others_than_the_home_and_known() {
    let mut world = world();
    let to = |standbys: &[NodeId]| set(|set| set.standbys = Set::To(standbys.to_vec()));
    world.refused_as("invalid", to(&[NODE]));
    world.refused_as("invalid", to(&[OTHER, OTHER]));
    world.refused_as("not-found", to(&[NodeId(9)]));
    let roles = Set::To([Role::Dns].into());
    let (addresses, labels, cordoned) = (Set::Keep, Set::Keep, Set::Keep);
    world.ok(Change::NodeSet(NodeSet { node: THIRD, roles, addresses, labels, cordoned }));
    world.refused_as("invalid", to(&[THIRD]));
    world.ok(to(&[]));
    assert!(!world.state.has_fenced(NODE));
    world.ok(to(&[OTHER]));
    // What has no files is never fenced.
    let redirect = Handler::Redirect { to: "https://b.test".into(), status: 308 };
    world.ok(set(|set| set.handler = Set::To(redirect)));
    assert!(!site(&world).is_fenced() && !world.state.has_fenced(NODE));
    // A node that is removed stands by no more.
    world.ok(Change::NodeRemove(NodeRemove { node: OTHER, lost: false }));
    assert_eq!(site(&world).standbys, []);
}

#[test]
fn a_move_to_a_standby_makes_the_old_home_one_unless_it_is_to_be_empty() {
    for cordoned in [false, true] {
        let mut world = world();
        if cordoned {
            let (roles, addresses, labels, cordoned) = (Set::Keep, Set::Keep, Set::Keep, Set::To(true));
            world.ok(Change::NodeSet(NodeSet { node: NODE, roles, addresses, labels, cordoned }));
        }
        moved(&mut world, OTHER);
        let expected: &[NodeId] = if cordoned { &[] } else { &[NODE] };
        assert_eq!((site(&world).home, &site(&world).standbys[..]), (OTHER, expected));
    }
    let mut world = world();
    moved(&mut world, THIRD);
    assert_eq!((site(&world).home, &site(&world).standbys[..]), (THIRD, &[OTHER][..]));
}

fn begun(world: &mut World, to: NodeId) -> OperationId {
    let change = SiteMove { host: host("a.test"), to: Some(to), bandwidth: None, reason: None, hold: false };
    let Some(Object::Operation(operation)) = world.ok(Change::SiteMove(change)).object else { panic!() };
    operation.id
}

fn moved(world: &mut World, to: NodeId) {
    let (site, operation) = (site(world).id, begun(world, to));
    for step in [Step::Rest { round: 1 }, Step::Flip { round: 1 }] {
        world.ok(Change::MoveStep(MoveStep { site, operation, step }));
    }
}

#[test]
fn a_failover_ends_a_move() {
    let mut world = world();
    let operation = begun(&mut world, THIRD);
    world.ok(down(NODE, true));
    let change = takes_over(&world, OTHER);
    world.ok(change);
    assert!(world.state.moving.is_empty() && !world.state.operations.contains_key(&operation));
    let late = MoveStep { site: site(&world).id, operation, step: Step::Flip { round: 1 } };
    world.refused_as("not-found", Change::MoveStep(late));
}

#[test]
fn what_was_kept_is_told() {
    let mut world = world();
    let told = |site, folder: &str| {
        Change::SiteRecovered(SiteRecovered { site, node: NODE, files: 3, folder: folder.to_owned() })
    };
    let id = site(&world).id;
    let event = world.event(told(id, "sites/1/recovered/2"));
    let Some(Object::Operation(operation)) = event.object else { panic!() };
    assert_eq!((event.action.as_str(), operation.status, operation.done), ("site.recovered", Status::Succeeded, 3));
    assert!(operation.stage.contains("sites/1/recovered/2") && world.state.operations.is_empty());
    world.refused_as("invalid", told(id, "a\nb"));
    world.refused_as("not-found", told(SiteId(77), "a"));
    world.actor = Actor::Local { uid: 0 };
    world.refused_as("forbidden", told(id, "a"));
}
