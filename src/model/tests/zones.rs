//! Zones: their owner, their serial, their removal.
use crate::base::clock::Time;
use crate::model::change::{Change, Set};
use crate::model::plans::Limits;
use crate::model::records::RecordRemove;
use crate::model::tests::world::{START, World, account, host, new_zone, put, record, zone};
use crate::model::zones::{ZoneCreate, ZoneHead, ZoneRemove, ZoneSet};
use crate::rr::RecordType;

#[test]
fn a_zone_begins_with_its_name_servers() {
    let mut world = World::new();
    let create = |nameservers: Vec<_>, ttl| {
        Change::ZoneCreate(ZoneCreate { name: zone("a.test"), account: None, ttl, nameservers })
    };
    world.refused_as("invalid", create(Vec::new(), Some(1 << 31)));
    world.ok(create(vec![host("ns2.test"), host("ns1.test"), host("ns1.test")], Some(60)));
    let made = world.state.zone(&zone("a.test")).unwrap();
    assert_eq!((made.head.records, made.head.ttl), (1, 60));
    let set = made.sets().next().unwrap();
    assert_eq!((set.ttl, set.values().count()), (60, 2));
    world.refused_as("exists", create(Vec::new(), None));
    world.ok(Change::ZoneRemove(ZoneRemove { name: zone("a.test") }));
    world.ok(create(Vec::new(), None));
    assert_eq!(world.state.zone(&zone("a.test")).unwrap().sets().count(), 0);
    let many = (0..1100).map(|n| host(&format!("n{n}.test"))).collect();
    let many = ZoneCreate { name: zone("b.test"), account: None, ttl: None, nameservers: many };
    world.refused_as("invalid", Change::ZoneCreate(many));
}

#[test]
fn the_serial_moves_with_every_answer() {
    let mut world = World::new();
    world.ok(new_zone("a.test", None));
    let first = START.seconds() as u32;
    assert_eq!(world.serial("a.test"), first);
    world.ok(put("a.test", "@", RecordType::A, &["192.0.2.1"]));
    world.ok(put("a.test", "@", RecordType::A, &["192.0.2.2"]));
    assert_eq!(world.serial("a.test"), first + 2, "twice in one second");
    world.clock = Time(START.0 + 60_000);
    let www = record("a.test", "@", RecordType::A, &["192.0.2.2"]);
    world.ok(Change::RecordRemove(RecordRemove { zone: www.zone, owner: www.owner, rtype: www.rtype }));
    assert_eq!(world.serial("a.test"), first + 60, "time overtakes");
    world.refused_as("invalid", put("a.test", "@", RecordType::CNAME, &["b.test."]));
    assert_eq!(world.serial("a.test"), first + 60);
}

/// RFC 1982: the next serial is always later than the last, around the end of the numbers too.
#[test]
fn serial_arithmetic() {
    let head = |serial| ZoneHead {
        name: zone("a.test"),
        account: None,
        serial,
        ttl: 1,
        records: 0,
        soa: None,
        created: START,
        revision: 1,
    };
    let half = 1u64 << 31;
    let cases: [(u32, u64, u32); 12] = [
        (5, 5, 6),
        (5, 6, 6),
        (5, 4, 6),
        (5, 100, 100),
        (u32::MAX, 0, 0),
        (u32::MAX, u64::from(u32::MAX), 0),
        (u32::MAX - 1, 3, 3),
        (3, u64::from(u32::MAX), 4),
        (5, 4 + half, 4 + (1 << 31)),
        (5, 5 + half, 6),
        (5, 6 + half, 6),
        (u32::MAX, 1 << 33, 0),
    ];
    for (old, now, new) in cases {
        let moved = head(old).moved(9, Time(now * 1000));
        assert_eq!((moved.serial, moved.revision), (new, 9), "{old} at {now}");
        let ahead = moved.serial.wrapping_sub(old);
        assert!(ahead > 0 && u64::from(ahead) < half, "{old} to {new}");
    }
}

#[test]
fn a_zone_that_changes_hands_meets_the_new_plan() {
    let limits = Limits { zones: Some(1), records: Some(1), ..Limits::default() };
    let mut world = World::new().with_account("ada", Some(limits)).with_account("bob", None);
    for apex in ["a.test", "b.test"] {
        world.ok(new_zone(apex, Some("bob")));
    }
    for name in ["@", "www"] {
        world.ok(put("a.test", name, RecordType::A, &["192.0.2.1"]));
    }
    let give = |apex: &str, to: Option<&str>| {
        Change::ZoneSet(ZoneSet { name: zone(apex), account: Set::To(to.map(account)), ttl: Set::Keep })
    };
    let said = world.refused_as("limit-reached", give("a.test", Some("ada")));
    assert_eq!(said, "the account ada may have 1 record sets in a zone; this would make 2");
    world.ok(give("b.test", Some("ada")));
    world.ok(put("b.test", "@", RecordType::A, &["192.0.2.1"]));
    world.ok(put("b.test", "@", RecordType::A, &["192.0.2.2"]));
    world.refused_as("limit-reached", put("b.test", "@", RecordType::AAAA, &["2001:db8::1"]));
    world.refused_as("limit-reached", new_zone("c.test", Some("ada")));
    world.refused_as("not-found", give("b.test", Some("nobody")));
    world.ok(give("b.test", None));
    world.ok(new_zone("c.test", Some("ada")));
}
