//! Records: what may stand where, and a zone of thousands of sets in chunks against a plain map.
use std::collections::BTreeMap;

use crate::base::ids::{RequestId, Seed};
use crate::base::limits::{RRSET_BYTES_MAX, RRSET_VALUES_MAX};
use crate::model::answer::Object;
use crate::model::apply::apply_batch;
use crate::model::change::{Actor, BATCH_VERSION, Batch, Change, Envelope};
use crate::model::chunk;
use crate::model::records::{RecordPut, RecordRemove, RecordSet};
use crate::model::tests::generator::{Chance, origin};
use crate::model::tests::invariants::{check_invariants, check_zone};
use crate::model::tests::world::{World, new_zone, put, record, zone};
use crate::rr::{Name, RecordType};

fn remove(apex: &str, owner: &str, rtype: RecordType) -> Change {
    let owner = Name::parse(owner, Some(&origin(apex))).unwrap();
    Change::RecordRemove(RecordRemove { zone: zone(apex), owner, rtype })
}

#[test]
fn what_dns_forbids_is_refused() {
    let mut world = World::new();
    world.refused_as("not-found", put("a.test", "@", RecordType::A, &["192.0.2.1"]));
    world.ok(new_zone("a.test", None));
    world.ok(put("a.test", "www", RecordType::A, &["192.0.2.1"]));
    world.ok(put("a.test", "alias", RecordType::CNAME, &["www"]));
    for (change, reason) in [
        (put("a.test", "www", RecordType::CNAME, &["x"]), "a CNAME cannot stand beside other data"),
        (put("a.test", "alias", RecordType::TXT, &["x"]), "is a CNAME, and no other data"),
        (put("a.test", "@", RecordType::CNAME, &["x"]), "apex"),
        (put("a.test", "x", RecordType::CNAME, &["x", "y"]), "one value"),
        (put("a.test", "x", RecordType::A, &[]), "1 to 1000"),
        (put("a.test", "b.test.", RecordType::A, &["192.0.2.1"]), "does not lie in the zone"),
        (put("a.test", "ba.test.", RecordType::A, &["192.0.2.1"]), "does not lie in the zone"),
        (put("a.test", "test.", RecordType::A, &["192.0.2.1"]), "does not lie in the zone"),
    ] {
        let said = world.refused_as("invalid", change);
        assert!(said.contains(reason), "{said}");
    }
    let a = record("a.test", "x", RecordType::A, &["192.0.2.1"]);
    let values = |values: Vec<Vec<u8>>| RecordPut { values, ..a.clone() };
    let text =
        |size: usize| vec![255u8; 1].into_iter().chain(vec![7; 255]).cycle().take(256 * size).collect::<Vec<u8>>();
    let texts = (0..RRSET_BYTES_MAX / 1000).map(|_| text(4)).collect();
    for wrong in [
        RecordPut { rtype: RecordType::SOA, ..a.clone() },
        RecordPut { rtype: RecordType(255), ..a.clone() },
        RecordPut { rtype: RecordType(252), ..a.clone() },
        RecordPut { rtype: RecordType(41), ..a.clone() },
        RecordPut { rtype: RecordType(0), ..a.clone() },
        RecordPut { ttl: 1 << 31, ..a.clone() },
        values(vec![vec![1, 2, 3]]),
        values((0..=RRSET_VALUES_MAX as u32).map(|n| n.to_be_bytes().to_vec()).collect()),
        RecordPut { rtype: RecordType::TXT, values: texts, ..a.clone() },
    ] {
        let shown = format!("{} {} values", wrong.rtype, wrong.values.len());
        assert_eq!(world.refused(Change::RecordPut(wrong)).code(), "invalid", "{shown}");
    }
    world.ok(Change::RecordPut(RecordPut { ttl: (1 << 31) - 1, ..a.clone() }));
    world.ok(values((0..RRSET_VALUES_MAX as u32).map(|n| n.to_be_bytes().to_vec()).collect()).into());
    world.ok(put("a.test", "x", RecordType::AAAA, &["2001:db8::1"]));
    world.refused_as("not-found", remove("a.test", "y", RecordType::A));
    world.refused_as("not-found", remove("a.test", "x.b.test.", RecordType::A));
    world.refused_as("not-found", remove("a.test", "x", RecordType::MX));
    world.ok(remove("a.test", "alias", RecordType::CNAME));
    world.ok(put("a.test", "alias", RecordType::TXT, &["x"]));
}

impl From<RecordPut> for Change {
    fn from(change: RecordPut) -> Self {
        Self::RecordPut(change)
    }
}

#[test]
fn values_are_a_set_and_case_is_nothing() {
    let mut world = World::new();
    world.ok(new_zone("a.test", None));
    let answer = world.ok(put("a.test", "WWW", RecordType::A, &["192.0.2.2", "192.0.2.1", "192.0.2.2"]));
    let Some(Object::RecordSet(left)) = answer.object else { panic!() };
    assert_eq!(left.values, [vec![192, 0, 2, 1], vec![192, 0, 2, 2]]);
    world.ok(put("a.test", "www", RecordType::A, &["192.0.2.3"]));
    let made = world.state.zone(&zone("a.test")).unwrap();
    assert_eq!(made.head.records, 1);
    assert_eq!(RecordSet::unpack(&made.head, &made.sets().next().unwrap()).unwrap().values, [vec![192, 0, 2, 3]]);
}

#[test]
fn keys_are_canonical_and_say_their_owner() {
    // RFC 4034 section 6.1, in its order.
    let names = [
        "example.",
        "a.example.",
        "yljkjljk.a.example.",
        "z.a.example.",
        "zabc.a.example.",
        "z.example.",
        "\\000.z.example.",
        "\\000a.z.example.",
        "\\001.z.example.",
        "\\001\\000.z.example.",
        "\\002.z.example.",
        "*.z.example.",
        "\\200.z.example.",
    ];
    let origin = origin("example");
    let mut last = Vec::new();
    for name in names {
        let owner = Name::parse(name, None).unwrap();
        let key = chunk::key(&owner, &origin, RecordType::A);
        assert!(last < key, "{name} is out of order");
        assert_eq!(chunk::owner(&key, &origin), Some((owner.clone(), RecordType::A)));
        assert!(key.starts_with(&chunk::owner_key(&owner, &origin)));
        last = key;
    }
}

/// A zone far larger than a chunk, filled, rewritten and emptied in random order, against a plain map.
#[test]
fn three_thousand_sets_in_chunks() {
    let mut world = World::new();
    world.ok(new_zone("a.test", None));
    let mut plain: BTreeMap<Vec<u8>, (u32, Vec<Vec<u8>>)> = BTreeMap::new();
    let mut chance = Chance(3);
    let mut number = 0u64;
    for round in 0..9_000u64 {
        let owner = format!("n{}.d{}", chance.below(1500), chance.below(2));
        let rtype = if chance.below(2) == 0 { RecordType::A } else { RecordType::TXT };
        // First it grows, then it is changed, then it shrinks.
        let removing = chance.below(9) < [0, 4, 8][(round / 3_000) as usize];
        let text = format!("\"{}\"", "x".repeat(chance.below(255) as usize));
        let value = if rtype == RecordType::A { "192.0.2.7" } else { &text };
        let set = RecordPut { ttl: round as u32, ..record("a.test", &owner, rtype, &[value]) };
        let key = chunk::key(&set.owner, &origin("a.test"), rtype);
        let change = if removing {
            plain.remove(&key);
            remove("a.test", &owner, rtype)
        } else {
            plain.insert(key, (set.ttl, set.values.clone()));
            set.into()
        };
        number += 1;
        send(&mut world, number, change);
        if round % 500 == 0 {
            let made = world.state.zone(&zone("a.test")).unwrap();
            check_zone(made);
            same_sets(made, &plain);
        }
        if round == 2_999 {
            assert!(plain.len() > 2_000);
        }
    }
    check_invariants(&world.state);
    let made = world.state.zone(&zone("a.test")).unwrap();
    same_sets(made, &plain);
    for key in plain.keys() {
        assert_eq!(made.find(key).unwrap().key, key);
    }
    assert!(made.find(b"nothing").is_none());
    let owners: Vec<_> = plain.keys().map(|key| (key[..key.len() - 2].to_vec(), rtype_of(key))).collect();
    for (owner, types) in owners.chunk_by(|left, right| left.0 == right.0).map(|own| (&own[0].0, own)) {
        let found: Vec<_> = made.sets_at(owner).map(|set| rtype_of(set.key)).collect();
        assert_eq!(found, types.iter().map(|(_, rtype)| *rtype).collect::<Vec<_>>());
    }
    for key in plain.into_keys() {
        let (owner, rtype) = chunk::owner(&key, &origin("a.test")).unwrap();
        number += 1;
        send(&mut world, number, Change::RecordRemove(RecordRemove { zone: zone("a.test"), owner, rtype }));
    }
    check_invariants(&world.state);
    assert_eq!(world.state.zone(&zone("a.test")).unwrap().chunks.len(), 1, "an emptied zone is small again");
}

/// Without looking at every invariant each time.
fn send(world: &mut World, number: u64, change: Change) {
    let request_id = RequestId { key: (1u128 << 64 | u128::from(number)).to_be_bytes(), digest: [0; 16] };
    let envelope = Envelope { request_id, actor: Actor::System, seed: Seed([0; 16]), expect: None, change };
    let _ =
        apply_batch(&mut world.state, &Batch { version: BATCH_VERSION, time: world.clock, envelopes: vec![envelope] });
}

fn rtype_of(key: &[u8]) -> [u8; 2] {
    [key[key.len() - 2], key[key.len() - 1]]
}

fn same_sets(made: &crate::model::zones::Zone, plain: &BTreeMap<Vec<u8>, (u32, Vec<Vec<u8>>)>) {
    let sets = made.sets().map(|set| (set.key.to_vec(), (set.ttl, set.values().map(<[u8]>::to_vec).collect())));
    assert!(sets.eq(plain.iter().map(|(key, set)| (key.clone(), set.clone()))));
}
