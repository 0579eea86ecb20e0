//! Following the state change by change comes to the same as beginning with its end.
use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::world::{ask, compiler, set, zone};
use crate::dns::zone::SiteHost;
use crate::dns::zones::Zones;
use crate::model::apply::apply_batch;
use crate::model::change::Change;
use crate::model::sites::SiteRemove;
use crate::model::state::State;
use crate::model::tests::generator::log;
use crate::model::tests::world::{World, host, site};
use crate::model::zones::{Zone, ZoneRemove};

/// What each zone is made of.
type Whole = BTreeMap<Vec<u8>, (Arc<Zone>, Arc<[SiteHost]>)>;

fn whole(zones: &Zones) -> Whole {
    let all = zones
        .all()
        .map(|hosted| (hosted.origin().as_wire().to_vec(), (Arc::clone(&hosted.zone), Arc::clone(&hosted.hosts))));
    all.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn step_by_step_or_at_once(genes in prop::collection::vec(any::<u64>(), 1..250), seldom in 1usize..6) {
        let (mut state, mut follower) = (State::default(), compiler());
        for (at, batch) in log(&genes).iter().enumerate() {
            apply_batch(&mut state, batch);
            if at % seldom == 0 {
                follower.follow(&state);
            }
        }
        let (followed, fresh) = (follower.follow(&state), compiler().follow(&state));
        prop_assert_eq!(whole(&followed), whole(&fresh));
        prop_assert_eq!(&followed.homes, &fresh.homes);
        prop_assert_eq!(fresh.all().count(), state.zones.len());
        // Each host is in the closest zone, once.
        let hosts: usize = fresh.all().map(|zone| zone.hosts.len()).sum();
        prop_assert_eq!(hosts, state.hosts.keys().filter(|host| state.zone_above(host.as_str()).is_some()).count());
    }
}

#[test]
fn what_does_not_change_is_shared() {
    let (mut world, mut compiler) = (World::new(), compiler());
    for apex in ["a.test", "b.test"] {
        zone(&mut world, apex, &["www A 192.0.2.1"]);
    }
    let before = compiler.follow(&world.state);
    world.ok(set("a.test", "www A 192.0.2.2"));
    let after = compiler.follow(&world.state);
    let same = |wire: &[u8]| Arc::ptr_eq(before.at(wire).unwrap(), after.at(wire).unwrap());
    assert!(same(b"\x01b\x04test\0") && !same(b"\x01a\x04test\0"));
    assert!(ask(&before, "www.a.test. A").contains("192.0.2.1") && ask(&after, "www.a.test. A").contains("192.0.2.2"));
}

#[test]
fn hosts_go_with_the_closest_zone() {
    let (mut world, mut compiler) = (World::new(), compiler());
    zone(&mut world, "test", &[]);
    world.ok(site("x.b.test", None));
    let hosts = |zones: &Zones, wire: &[u8]| zones.at(wire).map(|zone| zone.hosts.len());
    assert_eq!(hosts(&compiler.follow(&world.state), b"\x04test\0"), Some(1));
    zone(&mut world, "b.test", &[]);
    let zones = compiler.follow(&world.state);
    assert_eq!((hosts(&zones, b"\x04test\0"), hosts(&zones, b"\x01b\x04test\0")), (Some(0), Some(1)));
    world.ok(Change::ZoneRemove(ZoneRemove { name: crate::model::tests::world::zone("b.test") }));
    let zones = compiler.follow(&world.state);
    assert_eq!((hosts(&zones, b"\x04test\0"), hosts(&zones, b"\x01b\x04test\0")), (Some(1), None));
    assert!(ask(&zones, "x.b.test. TXT").starts_with("NoError aa"));
    world.ok(Change::SiteRemove(SiteRemove { host: host("x.b.test") }));
    assert!(ask(&compiler.follow(&world.state), "x.b.test. TXT").starts_with("NXDomain aa"));
}
