//! Whatever octets come, the answer is a sound message within its bounds, or silence.
use hickory_proto::op::Message;
use proptest::prelude::*;

use super::world::{TCP, UDP, query, send, with_edns, zones};
use crate::dns::zones::Zones;
use crate::rr::RecordType;

fn edges() -> Zones {
    zones(&[
        (
            "example.org",
            &[
                "@ NS ns1 | ns.sub",
                "@ MX 1 mail",
                "www CNAME web",
                "web A 192.0.2.1",
                "*.w A 192.0.2.2",
                "*.*.w TXT x",
                "d DNAME d2",
                "d2 DNAME d",
                "sub NS ns.sub",
                "ns.sub A 192.0.2.3",
                "l CNAME l",
                "x TYPE65280 \\# 3 010203",
            ],
        ),
        ("sub.example.org", &["@ NS ns", "ns A 192.0.2.3", "a.b.c.d.e TXT deep"]),
    ])
}

fn survive(zones: &Zones, message: &[u8]) -> Result<(), TestCaseError> {
    for (asker, most) in [(UDP, 1232), (TCP, 65_535)] {
        let Some((answered, said)) = send(zones, &asker, message) else { continue };
        prop_assert!(said.len() <= most && said.len() == answered.len);
        prop_assert_eq!(&said[..2], &message[..2]);
        prop_assert!(said[2] & 0x80 != 0);
        if said.len() == 12 {
            continue;
        }
        let read = Message::from_vec(&said);
        prop_assert!(read.is_ok(), "{:?} of {:02x?}", read, said);
    }
    Ok(())
}

/// A label that zones may have, or any.
fn label() -> impl Strategy<Value = Vec<u8>> {
    let known = ["www", "w", "*", "d", "sub", "ns", "l", "x", "a", "example", "org", "nope"];
    prop_oneof![
        8 => prop::sample::select(known.to_vec()).prop_map(|label| label.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..70),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_octets(message in prop::collection::vec(any::<u8>(), 0..200)) {
        survive(&edges_once(), &message)?;
    }

    #[test]
    fn a_query_with_some_octets_changed(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<Option<prop::sample::Index>>(),
        rtype in any::<u16>(),
    ) {
        let options = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 3, 0, 0];
        let mut message = with_edns(query("a.www.example.org.", RecordType(rtype)), 1232, [0; 4], &options);
        for (at, octet) in changes {
            let at = at.index(message.len());
            message[at] = octet;
        }
        if let Some(cut) = cut {
            message.truncate(cut.index(message.len()));
        }
        survive(&edges_once(), &message)?;
    }

    #[test]
    fn any_name_in_the_zones(
        labels in prop::collection::vec(label(), 0..8),
        rtype in prop::sample::select(vec![1u16, 2, 5, 6, 15, 16, 28, 39, 43, 255, 65280]),
    ) {
        let mut message = query(".", RecordType(rtype));
        let mut name: Vec<u8> = labels.iter().flat_map(|label| std::iter::once(label.len() as u8).chain(label.iter().copied())).collect();
        name.extend(*b"\x07example\x03org\0");
        message.splice(12..13, name);
        survive(&edges_once(), &message)?;
    }
}

/// Made once for all cases.
fn edges_once() -> Zones {
    static EDGES: std::sync::OnceLock<Zones> = std::sync::OnceLock::new();
    EDGES.get_or_init(edges).clone()
}
