//! If-Match and repeated requests.
use crate::base::ids::{RequestId, Seed};
use crate::model::accounts::AccountRemove;
use crate::model::change::{Actor, BATCH_VERSION, Batch, BatchError, Change, Envelope};
use crate::model::records::RecordRemove;
use crate::model::refusal::Refusal;
use crate::model::sites::SiteRemove;
use crate::model::tests::world::{World, account, host, new_zone, put, record, site, zone};
use crate::model::zones::ZoneRemove;
use crate::rr::RecordType;

#[test]
fn if_match() {
    let mut world = World::new().with_account("ada", None);
    // 0 asks that there is nothing yet.
    world.expect = Some(3);
    let said = world.refused_as("revision-mismatch", site("a.test", None));
    assert_eq!(said, "the site a.test is at revision 0, not 3");
    let creations = [site("a.test", None), new_zone("a.test", None), put("a.test", "@", RecordType::A, &["192.0.2.1"])];
    for create in creations {
        world.expect = Some(0);
        let revision = world.ok(create.clone()).revision;
        world.expect = Some(0);
        let Refusal::Stale { expected: 0, actual, .. } = world.refused(create) else { panic!() };
        assert_eq!(actual, revision);
    }
    let www = record("a.test", "@", RecordType::A, &["192.0.2.1"]);
    let removals = [
        Change::RecordRemove(RecordRemove { zone: www.zone, owner: www.owner, rtype: www.rtype }),
        Change::ZoneRemove(ZoneRemove { name: zone("a.test") }),
        Change::SiteRemove(SiteRemove { host: host("a.test") }),
        Change::AccountRemove(AccountRemove { name: account("ada") }),
    ];
    for remove in removals {
        world.expect = Some(999);
        let Refusal::Stale { actual, .. } = world.refused(remove.clone()) else { panic!() };
        world.expect = Some(actual);
        world.ok(remove.clone());
        world.expect = Some(actual);
        assert_eq!(world.refused(remove).code(), "not-found");
    }
}

fn asked(key: u8, digest: u8, change: Change) -> Envelope {
    let request_id = RequestId { key: [key; 16], digest: [digest; 16] };
    Envelope { request_id, actor: Actor::System, seed: Seed([key; 16]), expect: None, change }
}

#[test]
fn a_repeated_request_is_answered_and_not_done_again() {
    let mut world = World::new();
    let (effects, first) = world.deliver(asked(1, 1, site("a.test", None))).unwrap();
    assert!(!effects.is_empty() && !first.repeated);
    world.ok(Change::SiteRemove(SiteRemove { host: host("a.test") }));
    let (effects, again) = world.deliver(asked(1, 1, site("a.test", None))).unwrap();
    assert!(effects.is_empty() && again.repeated && again.revision == first.revision);
    assert!(world.state.sites.is_empty(), "what was removed since does not come back");
    let other = world.deliver(asked(1, 2, site("b.test", None))).unwrap_err();
    assert_eq!((other.clone(), other.code()), (Refusal::KeyReused, "idempotency-key-reused"));
    // A refusal is not remembered: the same request may succeed later.
    world.deliver(asked(2, 1, put("a.test", "@", RecordType::A, &["192.0.2.1"]))).unwrap_err();
    world.ok(new_zone("a.test", None));
    world.deliver(asked(2, 1, put("a.test", "@", RecordType::A, &["192.0.2.1"]))).unwrap();
}

#[test]
fn envelopes_of_one_batch_see_those_before_them() {
    let mut world = World::new();
    let envelopes = vec![
        asked(1, 1, new_zone("a.test", None)),
        asked(2, 1, new_zone("a.test", None)),
        asked(1, 1, new_zone("a.test", None)),
        asked(3, 1, put("a.test", "@", RecordType::A, &["192.0.2.1"])),
    ];
    let batch = Batch { version: BATCH_VERSION, time: world.clock, envelopes };
    let decided = crate::model::apply::apply_batch(&mut world.state, &batch);
    let shown: Vec<_> = decided
        .iter()
        .map(|decided| {
            decided.as_ref().map_or_else(Refusal::code, |(_, answer)| if answer.repeated { "again" } else { "done" })
        })
        .collect();
    assert_eq!(shown, ["done", "exists", "again", "done"]);
    crate::model::tests::invariants::check_invariants(&world.state);
}

#[test]
fn an_entry_of_the_future_is_an_error() {
    let batch = Batch { version: BATCH_VERSION + 1, time: crate::model::tests::world::START, envelopes: Vec::new() };
    assert!(matches!(Batch::decode(&batch.encode()), Err(BatchError::Version(2))));
    let envelope = asked(1, 1, new_zone("a.test", None));
    let sound = Batch { version: BATCH_VERSION, time: batch.time, envelopes: vec![envelope] }.encode();
    let at = sound.windows(10).position(|window| window == b"ZoneCreate").unwrap();
    let mut unknown = sound.clone();
    unknown[at] = b'Y';
    assert!(matches!(Batch::decode(&unknown), Err(BatchError::Unreadable(_))));
    for cut in 0..sound.len() {
        assert!(Batch::decode(&sound[..cut]).is_err());
    }
}
