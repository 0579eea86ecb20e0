//! Whole zones in one change: all or nothing, one move of the serial, what stays the same stays the same.
use crate::base::names::AccountName;
use crate::model::change::Change;
use crate::model::effect::Effect;
use crate::model::plans::Limits;
use crate::model::records::RecordPut;
use crate::model::row::Row;
use crate::model::soa::Soa;
use crate::model::tests::world::{START, World, account, new_zone, put, record, zone};
use crate::model::tokens::Access;
use crate::model::zone_files::{Difference, ImportedSet, ZoneImport, differences};
use crate::model::zones::Zone;
use crate::rr::RecordType;

fn import(apex: &str, sets: &[(&str, RecordType, &str)]) -> ZoneImport {
    let set = |(owner, rtype, value): &(&str, RecordType, &str)| {
        let RecordPut { owner, rtype, ttl, values, .. } = record(apex, owner, *rtype, &[value]);
        ImportedSet { owner, rtype, ttl, values: values.into_iter().map(Into::into).collect() }
    };
    let sets = sets.iter().map(set).collect();
    ZoneImport { zone: zone(apex), account: None, replace: false, ttl: None, soa: None, sets }
}

fn soa(apex: &str, text: &str) -> Option<(Soa, u32)> {
    let put = record(apex, "@", RecordType::SOA, &[text]);
    Soa::read(put.ttl, &put.values[0])
}

fn now(world: &World, apex: &str) -> Zone {
    (**world.state.zone(&zone(apex)).unwrap()).clone()
}

/// How many rows of zones and chunks a change writes.
fn rows(world: &mut World, change: ZoneImport) -> (usize, usize) {
    let (effects, _) = world.send(Change::ZoneImport(change)).unwrap();
    let of = |wanted: fn(&Row) -> bool| {
        let rows = effects.iter().filter(|effect| match effect {
            Effect::Put(stored) | Effect::Delete(stored) => wanted(&stored.row),
            Effect::Prune { .. } => false,
        });
        rows.count()
    };
    (of(|row| matches!(row, Row::Zone(_))), of(|row| matches!(row, Row::ZoneChunk(_))))
}

const A: RecordType = RecordType::A;
const TXT: RecordType = RecordType::TXT;

#[test]
fn a_zone_is_made_of_a_file() {
    let mut world = World::new();
    let first = START.seconds() as u32;
    let mut made = import("a.test", &[("@", RecordType::NS, "ns1.b.test."), ("www", A, "192.0.2.1")]);
    (made.ttl, made.soa) = (Some(60), soa("a.test", "ns9. h. 2026112201 1 2 3 4"));
    world.ok(Change::ZoneImport(made.clone()));
    let zone = now(&world, "a.test");
    assert_eq!(
        (zone.head.records, zone.head.ttl, zone.head.serial),
        (2, 60, 2_026_112_201),
        "the serial it is known by"
    );
    assert_eq!(Some(zone.soa()), made.soa.clone().map(|(soa, _)| soa));

    assert_eq!(rows(&mut world, made.clone()), (0, 0), "nothing differs");
    assert_eq!(now(&world, "a.test").head, zone.head);
    made.soa = soa("a.test", "ns9. h. 5 1 2 3 4");
    assert_eq!(rows(&mut world, made.clone()), (0, 0), "an older serial is nothing new");
    made.soa = soa("a.test", "ns9. h. 2026112209 1 2 3 4");
    assert_eq!(rows(&mut world, made.clone()), (1, 0), "a later one is");
    assert_eq!(world.serial("a.test"), 2_026_112_209);

    let mut plain = import("b.test", &[("@", A, "192.0.2.1")]);
    plain.soa = soa("b.test", "b.test. hostmaster.b.test. 9 7200 900 1209600 300")
        .map(|(soa, serial)| (Soa { ttl: 3600, ..soa }, serial));
    world.ok(Change::ZoneImport(plain));
    let zone = now(&world, "b.test");
    assert_eq!((zone.head.soa, zone.head.serial), (None, first), "what is said anyway stays unsaid");
}

#[test]
fn sets_are_put_beside_others_or_in_their_place() {
    let mut world = World::new();
    world.ok(new_zone("a.test", None));
    world.ok(put("a.test", "keep", A, &["192.0.2.1"]));
    world.ok(put("a.test", "same", A, &["192.0.2.2"]));
    world.ok(put("a.test", "other", A, &["192.0.2.3"]));
    let before = now(&world, "a.test");
    let serial = world.serial("a.test");
    let mut change = import("a.test", &[("same", A, "192.0.2.2"), ("other", A, "192.0.2.4"), ("new", TXT, "x")]);
    world.ok(Change::ZoneImport(change.clone()));
    let after = now(&world, "a.test");
    assert_eq!((after.head.records, after.head.serial), (4, serial + 1));
    let names = |before: &Zone, after: &Zone| {
        let name = |difference: Difference| match difference {
            Difference::Added(set) => format!("+{}", set.owner),
            Difference::Changed(set) => format!("~{}", set.owner),
            Difference::Removed(set) => format!("-{}", set.owner),
        };
        differences(Some(before), after).into_iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(&before, &after), ["+new.a.test.", "~other.a.test."]);
    let revision = |zone: &Zone, name: &str| {
        let owner = record("a.test", name, A, &[]).owner;
        zone.find(&crate::model::chunk::key(&owner, &zone.head.origin(), A)).unwrap().revision
    };
    assert_eq!(revision(&before, "same"), revision(&after, "same"), "what is the same keeps its ETag");
    change.replace = true;
    change.sets.remove(2);
    world.ok(Change::ZoneImport(change));
    let last = now(&world, "a.test");
    assert_eq!(names(&after, &last), ["-keep.a.test.", "-new.a.test."]);
    assert_eq!(differences(None, &last).len(), 3, "with the SOA");
    world.ok(Change::ZoneImport(ZoneImport { replace: true, ..import("a.test", &[]) }));
    assert_eq!(now(&world, "a.test").chunks.len(), 1);
}

#[test]
fn all_or_nothing() {
    let mut world =
        World::new().with_account("ada", Some(Limits { records: Some(2), zones: Some(1), ..Limits::default() }));
    let of_ada =
        |sets: &[(&str, RecordType, &str)]| ZoneImport { account: Some(account("ada")), ..import("a.test", sets) };
    let three = [("@", A, "192.0.2.1"), ("x", A, "192.0.2.1"), ("y", A, "192.0.2.1")];
    world.refused_as("limit-reached", Change::ZoneImport(of_ada(&three)));
    world.refused_as(
        "not-found",
        Change::ZoneImport(ZoneImport { account: Some(AccountName::parse("eve").unwrap()), ..of_ada(&[]) }),
    );
    world.ok(Change::ZoneImport(of_ada(&three[1..])));
    world.refused_as("limit-reached", Change::ZoneImport(of_ada(&three)));
    world.refused_as("limit-reached", Change::ZoneImport(ZoneImport { zone: zone("b.test"), ..of_ada(&[]) }));
    for (owner, rtype, value, why) in [
        ("x", RecordType::CNAME, "y", "a CNAME cannot stand beside"),
        ("@", RecordType::CNAME, "y", "apex"),
        ("@", RecordType::DNAME, "y.b.test.", "lies below the DNAME"),
        ("x.y", A, "192.0.2.1", ""),
        ("b.test.", A, "192.0.2.1", "does not lie in the zone"),
        ("@", RecordType::SOA, "a. b. 1 1 1 1 1", "no set among the others"),
        ("z", RecordType(47), "\\# 0", "signing"),
    ] {
        let change = ZoneImport { replace: false, ..import("a.test", &[("x", A, "192.0.2.1"), (owner, rtype, value)]) };
        let said = world.refused(Change::ZoneImport(change)).to_string();
        assert!(said.contains(why), "{said}");
    }
    world.become_token(Access::Write, Some("ada"), None);
    world.refused_as("forbidden", Change::ZoneImport(import("test", &[])));
    world.ok(Change::ZoneImport(ZoneImport { replace: true, ..import("a.test", &three[..2]) }));
    world.become_token(Access::Write, None, None);
    world.ok(new_zone("other.test", None));
    world.become_token(Access::Write, Some("ada"), None);
    world.refused_as("not-found", Change::ZoneImport(import("other.test", &[])));
}

#[test]
fn dnames_stand_for_all_below() {
    let mut world = World::new();
    world.ok(new_zone("a.test", None));
    world.ok(put("a.test", "x.y", A, &["192.0.2.1"]));
    world.ok(put("a.test", "xy", A, &["192.0.2.1"]));
    let dname = |owner: &str| put("a.test", owner, RecordType::DNAME, &["b.test."]);
    for owner in ["@", "y"] {
        let said = world.refused_as("invalid", dname(owner));
        assert!(said.contains("lies below the DNAME"), "{said}");
    }
    world.ok(dname("x.y"));
    world.ok(dname("z"));
    world.ok(put("a.test", "z", A, &["192.0.2.1"]));
    world.ok(put("a.test", "zz", A, &["192.0.2.1"]));
    for owner in ["a.z", "b.a.z", "1.x.y"] {
        let said = world.refused_as("invalid", put("a.test", owner, A, &["192.0.2.1"]));
        assert!(said.contains("lies below the DNAME"), "{said}");
    }
    world.refused_as("invalid", put("a.test", "z", RecordType::CNAME, &["b.test."]));
    world.ok(new_zone("b.test", None));
    world.ok(put("b.test", "@", RecordType::DNAME, &["c.test."]));
    world.refused_as("invalid", put("b.test", "www", A, &["192.0.2.1"]));
    world.ok(put("b.test", "@", A, &["192.0.2.1"]));
}

/// Chunks that hold what did not change are not written again.
#[test]
fn a_large_zone_is_rewritten_only_where_it_differs() {
    let mut world = World::new();
    let names: Vec<_> = (0..500).map(|n| format!("n{n:04}")).collect();
    let all = |odd: Option<usize>| {
        let value = |at| if odd == Some(at) { "192.0.2.9" } else { "192.0.2.1" };
        let sets: Vec<_> = names.iter().enumerate().map(|(at, name)| (&**name, A, value(at))).collect();
        ZoneImport { replace: true, ..import("a.test", &sets) }
    };
    let (heads, chunks) = rows(&mut world, all(None));
    assert!(heads == 1 && (15..60).contains(&chunks), "{chunks}");
    assert_eq!(rows(&mut world, all(None)), (0, 0));
    assert_eq!(rows(&mut world, all(Some(250))), (1, 1));
    let emptied = ZoneImport { replace: true, ..import("a.test", &[("n0499", A, "192.0.2.1")]) };
    world.ok(Change::ZoneImport(emptied.clone()));
    assert_eq!(rows(&mut world, emptied), (0, 0));
}
