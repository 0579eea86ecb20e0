//! The SOA, and serials that move because of what is not in the zone.
use crate::base::clock::Time;
use crate::model::change::{Change, Set};
use crate::model::nodes::{NodeSet, Role};
use crate::model::records::{RecordRemove, RecordSet};
use crate::model::serials::addresses;
use crate::model::sites::{SiteCreate, SiteRemove, SiteSet};
use crate::model::soa::Soa;
use crate::model::tests::world::{NODE, START, World, host, new_zone, put, record, site, site_of, zone};
use crate::model::zones::{ZoneRemove, ZoneSet};
use crate::rr::{RecordType, present_data};

fn shown(world: &World, apex: &str) -> (u32, String) {
    let RecordSet { ttl, values, .. } = world.state.zone(&zone(apex)).unwrap().soa_set();
    (ttl, present_data(RecordType::SOA, &values[0]))
}

#[test]
fn a_zone_has_an_soa_and_it_can_be_set() {
    let mut world = World::new();
    world.ok(new_zone("a.test", None));
    let first = START.seconds() as u32;
    let soa = format!("a.test. hostmaster.a.test. {first} 7200 900 1209600 300");
    assert_eq!(shown(&world, "a.test"), (3600, soa));
    world.ok(put("a.test", "@", RecordType::NS, &["ns2.b.test.", "ns1"]));
    let soa = format!("ns1.a.test. hostmaster.a.test. {} 7200 900 1209600 300", first + 1);
    assert_eq!(shown(&world, "a.test"), (3600, soa));

    let set = |serial: u32| put("a.test", "@", RecordType::SOA, &[&format!("x. y.z. {serial} 1 2 3 4")]);
    world.ok(set(1));
    assert_eq!(shown(&world, "a.test"), (300, format!("x. y.z. {} 1 2 3 4", first + 2)), "it never goes back");
    world.ok(set(first + 1000));
    assert_eq!(world.serial("a.test"), first + 1000, "a later one is taken");
    world.ok(set((first + 1000).wrapping_add(1 << 31)));
    assert_eq!(world.serial("a.test"), first + 1001, "nobody knows whether half way round is later");

    for (change, why) in [
        (put("a.test", "www", RecordType::SOA, &["x. y. 1 1 1 1 1"]), "apex"),
        (put("a.test", "b.test.", RecordType::SOA, &["x. y. 1 1 1 1 1"]), "apex"),
        (put("a.test", "@", RecordType::SOA, &["x. y. 1 1 1 1 1", "z. y. 1 1 1 1 1"]), "one value"),
        (put("a.test", "@", RecordType::SOA, &["x. y. 1 1 1 1 2147483648"]), "31 bits"),
        (put("a.test", "@", RecordType::SOA, &[]), "expected 1"),
    ] {
        let said = world.refused_as("invalid", change);
        assert!(said.contains(why), "{said}");
    }
    let soa = record("a.test", "@", RecordType::SOA, &[]);
    let said = world.refused_as(
        "invalid",
        Change::RecordRemove(RecordRemove { zone: soa.zone, owner: soa.owner, rtype: soa.rtype }),
    );
    assert!(said.contains("always has its SOA"), "{said}");
}

#[test]
fn an_soa_reads_back() {
    let data = record("a.test", "@", RecordType::SOA, &["x. y.z. 9 1 2 3 4"]).values.remove(0);
    let (soa, serial) = Soa::read(7, &data).unwrap();
    assert_eq!((soa.data(serial), serial, soa.ttl, soa.minimum), (data.clone(), 9, 7, 4));
    for wrong in [&data[1..], &data[..data.len() - 1], &[&data[..], &[0; 4]].concat(), b""] {
        assert_eq!(Soa::read(7, wrong), None);
    }
}

fn node(roles: Set<Vec<Role>>, addresses: Set<Vec<&str>>) -> Change {
    let roles = match roles {
        Set::To(roles) => Set::To(roles.into_iter().collect()),
        Set::Keep => Set::Keep,
    };
    let addresses = match addresses {
        Set::To(all) => Set::To(all.into_iter().map(|one| one.parse().unwrap()).collect()),
        Set::Keep => Set::Keep,
    };
    Change::NodeSet(NodeSet { node: NODE, roles, addresses, labels: Set::Keep, cordoned: Set::Keep })
}

#[test]
fn sites_and_nodes_move_the_zones_they_answer_in() {
    let mut world = World::new();
    for apex in ["a.test", "sub.a.test", "b.test"] {
        world.ok(new_zone(apex, None));
    }
    world.ok(put("b.test", "own", RecordType::A, &["192.0.2.9"]));
    let mut before = Vec::new();
    let mut moved = |world: &World| {
        let now: Vec<_> = ["a.test", "sub.a.test", "b.test"].map(|apex| world.serial(apex)).into();
        let moved: Vec<_> =
            now.iter().enumerate().filter(|(at, now)| before.get(*at) != Some(*now)).map(|(at, _)| at).collect();
        before = now;
        moved
    };
    moved(&world);
    world.ok(Change::SiteCreate(
        SiteCreate { aliases: vec![host("own.b.test")], ..site_of("x.sub.a.test", None) }.into(),
    ));
    assert_eq!(moved(&world), [1], "the closest zone, and none that says by itself where the host is");
    world.ok(site("else.test", None));
    assert_eq!(moved(&world), [] as [usize; 0]);
    let aliases = |all: &[&str]| {
        let aliases = Set::To(all.iter().map(|one| host(one)).collect());
        Change::SiteSet(SiteSet { aliases, ..SiteSet::of(host("else.test")) }.into())
    };
    world.ok(aliases(&["a.test", "www.a.test"]));
    assert_eq!(moved(&world), [0]);
    world.ok(aliases(&["www.a.test", "a.test"]));
    assert_eq!(moved(&world), [] as [usize; 0], "the same hosts");

    world.ok(node(Set::Keep, Set::To(vec!["192.0.2.1"])));
    assert_eq!(moved(&world), [0, 1]);
    world.ok(node(Set::Keep, Set::To(vec!["192.0.2.1"])));
    world.ok(node(Set::To(vec![Role::Web]), Set::Keep));
    assert_eq!(moved(&world), [] as [usize; 0], "other roles lead nowhere else");
    world.ok(node(Set::To(vec![Role::Dns]), Set::Keep));
    assert_eq!(moved(&world), [0, 1]);
    world.ok(node(Set::To(vec![Role::Web]), Set::Keep));
    assert_eq!(moved(&world), [0, 1]);

    world.ok(new_zone("www.a.test", None));
    assert_eq!(moved(&world), [0], "the new zone answers for what its parent did");
    world.ok(Change::ZoneRemove(ZoneRemove { name: zone("www.a.test") }));
    assert_eq!(moved(&world), [0]);
    world.ok(Change::SiteRemove(SiteRemove { host: host("else.test") }));
    assert_eq!(moved(&world), [0]);
    let ttl = |ttl| Change::ZoneSet(ZoneSet { name: zone("b.test"), account: Set::Keep, ttl: Set::To(ttl) });
    world.ok(ttl(60));
    assert_eq!(moved(&world), [2], "what has no TTL of its own");
    world.ok(ttl(60));
    assert_eq!(moved(&world), [] as [usize; 0]);
}

#[test]
fn a_host_is_never_without_an_address_there_is() {
    let mut world = World::new();
    world.ok(node(Set::Keep, Set::To(vec!["192.0.2.1", "2001:db8::1"])));
    let mut other = (**world.state.nodes.get(&NODE).unwrap()).clone();
    let spare = crate::base::ids::NodeId(2);
    other.id = spare;
    other.addresses = vec!["192.0.2.2".parse().unwrap()];
    let mut nodes = world.state.nodes.clone();
    let texts = |nodes: &crate::model::serials::Nodes, home| {
        addresses(nodes, home).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    nodes.insert(spare, other.clone().into());
    assert_eq!(texts(&nodes, NODE), ["192.0.2.1", "2001:db8::1"]);
    assert_eq!(texts(&nodes, spare), ["192.0.2.2"]);
    other.roles.remove(&Role::Web);
    nodes.insert(spare, other.clone().into());
    assert_eq!(texts(&nodes, spare), ["192.0.2.1", "2001:db8::1"], "its home takes no visitors");
    other.roles.insert(Role::Web);
    other.addresses.clear();
    nodes.insert(spare, other.into());
    assert_eq!(texts(&nodes, spare), ["192.0.2.1", "2001:db8::1"], "its home is nowhere");
    nodes.clear();
    assert_eq!(texts(&nodes, NODE), [] as [String; 0]);
}

#[test]
fn a_zone_made_again_is_later() {
    let mut world = World::new();
    let again = |world: &mut World| {
        world.ok(Change::ZoneRemove(ZoneRemove { name: zone("a.test") }));
        world.ok(new_zone("a.test", None));
    };
    world.ok(new_zone("a.test", None));
    let first = START.seconds() as u32;
    again(&mut world);
    assert_eq!(world.serial("a.test"), first + 1, "in the same second");
    world.ok(put("a.test", "@", RecordType::SOA, &["x. y. 2026112201 1 1 1 1"]));
    again(&mut world);
    assert_eq!(world.serial("a.test"), 2_026_112_202, "a dated serial lies years ahead");
    world.clock = Time(START.0 + 60_000);
    again(&mut world);
    assert_eq!(world.serial("a.test"), 2_026_112_203);
    world.clock = Time(2_030_000_000_000);
    again(&mut world);
    assert_eq!(world.serial("a.test"), 2_030_000_000);
    world.ok(new_zone("b.test", None));
    world.clock = Time(2_030_000_900_000);
    world.ok(Change::ZoneRemove(ZoneRemove { name: zone("b.test") }));
    assert!(world.state.cluster.as_ref().unwrap().gone_serials.iter().all(|gone| gone.zone != zone("b.test")));
}
