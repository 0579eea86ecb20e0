//! What is said to a message, whatever it asks: headers, EDNS, sizes, and what is no query.
use super::world::{TCP, UDP, ask, query, send, shown, with_edns, zones};
use crate::dns::answer::{Asker, answer};
use crate::dns::kept::Kept;
use crate::dns::query::Rcode;
use crate::dns::zones::Zones;
use crate::rr::RecordType;

fn example() -> Zones {
    let many = (0..120).map(|at| format!("192.0.2.{at}")).collect::<Vec<_>>().join(" | ");
    let servers = (0..30).map(|at| format!("ns{at}.big")).collect::<Vec<_>>().join(" | ");
    let glue: Vec<String> = (0..30).map(|at| format!("ns{at}.big AAAA 2001:db8::{at}")).collect();
    let lines = [
        "@ SOA ns1 hostmaster 1 7200 900 1209600 300",
        "www A 192.0.2.1",
        &format!("many A {many}"),
        &format!("big NS {servers}"),
    ];
    let lines: Vec<&str> = lines.into_iter().chain(glue.iter().map(String::as_str)).collect();
    zones(&[("example.org", &lines)])
}

fn www() -> Vec<u8> {
    query("www.example.org.", RecordType::A)
}

fn code(zones: &Zones, query: &[u8]) -> Option<Rcode> {
    let (answered, message) = send(zones, &UDP, query)?;
    assert_eq!(message[..2], query[..2], "the identity is echoed");
    assert_eq!(message[2] & 0x79, query[2] & 0x79, "opcode and the wish for recursion are echoed");
    assert_eq!(message[3] & 0x0f, answered.rcode as u8 & 0x0f);
    assert_eq!(message[3] & 0xf0, 0, "we do not recurse");
    Some(answered.rcode)
}

#[test]
fn what_is_no_query() {
    let zones = example();
    let edit = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut query = www();
        change(&mut query);
        code(&zones, &query)
    };
    assert_eq!(edit(&|_| ()), Some(Rcode::NoError));
    // Silence: an answer, and what has no header.
    assert_eq!(edit(&|query| query[2] |= 0x80), None);
    for len in 0..12 {
        assert_eq!(edit(&|query| query.truncate(len)), None);
    }
    for len in 12..www().len() {
        assert_eq!(edit(&|query| query.truncate(len)), Some(Rcode::FormErr), "{len}");
    }
    for opcode in 1..16 {
        assert_eq!(edit(&|query| query[2] |= opcode << 3), Some(Rcode::NotImp), "{opcode}");
    }
    for count in [0, 2, 255] {
        assert_eq!(edit(&|query| query[5] = count), Some(Rcode::FormErr), "{count} questions");
    }
    for at in [7, 9, 11] {
        assert_eq!(edit(&|query| query[at] = 1), Some(Rcode::FormErr), "a record that is not there");
    }
    assert_eq!(edit(&|query| query[2] |= 2), Some(Rcode::FormErr), "a query cut off");
    assert_eq!(edit(&|query| query.push(0)), Some(Rcode::FormErr), "more than was announced");
    assert_eq!(edit(&|query| query[12] = 0xc0), Some(Rcode::FormErr), "a pointer");
    assert_eq!(edit(&|query| query[12] = 0x40), Some(Rcode::FormErr), "a label of a kind nobody knows");
    let end = www().len();
    assert_eq!(edit(&|query| query[end - 1] = 3), Some(Rcode::Refused), "class CH");
    assert_eq!(edit(&|query| query[end - 1] = 255), Some(Rcode::Refused), "any class");
    for (rtype, rcode) in [
        (252, Rcode::NotAuth),
        (251, Rcode::NotAuth),
        (249, Rcode::NotImp),
        (41, Rcode::NotImp),
        (65, Rcode::NoError),
        (255, Rcode::NoError),
    ] {
        assert_eq!(edit(&|query| query[end - 3] = rtype), Some(rcode), "type {rtype}");
    }
    for rtype in [RecordType::AXFR, RecordType::IXFR] {
        assert_eq!(code(&zones, &query("example.org.", rtype)), Some(Rcode::Refused), "a zone that is here");
    }
}

/// An answer that was kept is made the asker's own.
#[test]
fn a_kept_answer_belongs_to_who_asks() {
    let (zones, mut kept) = (example(), Kept::default());
    let mut ask = |zones: &Zones, asker: &Asker, query: &[u8]| {
        let mut out = vec![0; 1232];
        let answered = answer(zones, Some(&mut kept), asker, query, &mut out).unwrap();
        out.truncate(answered.len);
        assert_eq!(Some((answered, out.clone())), send(zones, asker, query));
        out
    };
    let cookie = |client: u8| [&[0, 10, 0, 8][..], &[client; 8]].concat();
    let spoken = |client: u8| with_edns(www(), 1232, [0; 4], &cookie(client));
    let first = ask(&zones, &UDP, &spoken(1));
    assert_eq!(first, ask(&zones, &UDP, &spoken(1)));
    // Another identity, no wish for recursion, another case, another client and another address of it.
    let mut other = spoken(2);
    (other[0], other[2]) = (0x77, 0);
    other[13..16].make_ascii_uppercase();
    let there = Asker { peer: "192.0.2.77".parse().unwrap(), ..UDP };
    let told = ask(&zones, &there, &other);
    assert_eq!((told[0], told[2] & 1, &told[13..16]), (0x77, 0, &b"WWW"[..]));
    assert_ne!(told[told.len() - 8..], first[first.len() - 8..]);
    assert_ne!(told[told.len() - 8..], ask(&zones, &UDP, &other)[told.len() - 8..]);
    // With the node's name, without cookie, without EDNS, with a smaller answer: each its own.
    for asked in [
        with_edns(www(), 1232, [0; 4], &[0, 3, 0, 0]),
        with_edns(www(), 1232, [0, 0, 0x80, 0], &[]),
        with_edns(www(), 1232, [0, 1, 0, 0], &[]),
        with_edns(www(), 512, [0; 4], &[]),
        www(),
    ] {
        (0..3).for_each(|_| drop(ask(&zones, &UDP, &asked)));
    }
}

#[test]
fn a_fault_has_a_header_and_nothing_else() {
    let mut broken = www();
    broken[5] = 3;
    let (_, message) = send(&example(), &UDP, &broken).unwrap();
    assert_eq!(message, [0xab, 0xcd, 0x81, 0x01, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn what_was_asked_comes_back_octet_by_octet() {
    let asked = query("www.example.org.", RecordType::A).to_ascii_uppercase();
    let (_, message) = send(&example(), &UDP, &asked).unwrap();
    assert_eq!(message[12..asked.len()], asked[12..]);
}

#[test]
fn edns_is_answered_and_only_where_it_was_spoken() {
    let zones = example();
    let (_, plain) = send(&zones, &UDP, &www()).unwrap();
    assert_eq!(plain[11], 0);
    let (_, spoken) = send(&zones, &UDP, &with_edns(www(), 4096, [0, 0, 0x80, 0], &[])).unwrap();
    assert_eq!((spoken[11], &spoken[spoken.len() - 11..]), (1, &[0, 0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, 0][..]));
    // RFC 6891 section 6.1.3: a version that does not exist.
    let (answered, later) = send(&zones, &UDP, &with_edns(www(), 4096, [0, 1, 0, 0], &[])).unwrap();
    assert_eq!(
        (answered.rcode, later[3] & 15, &later[later.len() - 11..]),
        (Rcode::BadVers, 0, &[0, 0, 41, 4, 0xd0, 1, 0, 0, 0, 0, 0][..])
    );
    assert_eq!(later[6..10], [0; 4], "no answer");
    // Twice, and with another owner than the root.
    let twice = with_edns(with_edns(www(), 4096, [0; 4], &[]), 4096, [0; 4], &[]);
    assert_eq!(code(&zones, &twice), Some(Rcode::FormErr));
    let mut owned = with_edns(www(), 4096, [0; 4], &[]);
    owned.splice(www().len()..=www().len(), *b"\x01a\0");
    assert_eq!(code(&zones, &owned), Some(Rcode::FormErr));
    assert_eq!(
        code(&zones, &with_edns(www(), 4096, [0; 4], &[0, 10, 0, 3, 1, 2, 3])),
        Some(Rcode::FormErr),
        "half a cookie"
    );
    // Padding is passed over, and so is another record beside.
    assert_eq!(code(&zones, &with_edns(www(), 4096, [0; 4], &[0, 12, 0, 2, 0, 0])), Some(Rcode::NoError));
    let mut more = with_edns(www(), 4096, [0; 4], &[]);
    more[11] = 2;
    more.extend(*b"\x01a\0\0\x01\0\x01\0\0\0\0\0\x04abcd");
    assert_eq!(code(&zones, &more), Some(Rcode::NoError));
}

#[test]
fn who_we_are_and_cookies() {
    let zones = example();
    let (_, named) = send(&zones, &UDP, &with_edns(www(), 1232, [0; 4], &[0, 3, 0, 0])).unwrap();
    assert!(named.ends_with(b"\0\x03\0\x04pi-1"), "{named:02x?}");
    let (_, greeted) =
        send(&zones, &UDP, &with_edns(www(), 1232, [0; 4], &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8])).unwrap();
    let cookie = greeted[greeted.len() - 28..].to_vec();
    assert_eq!(cookie[..12], [0, 10, 0, 24, 1, 2, 3, 4, 5, 6, 7, 8]);
    let (_, again) = send(&zones, &UDP, &with_edns(www(), 1232, [0; 4], &cookie)).unwrap();
    assert!(again.ends_with(&cookie));
    let mut without = zones.clone();
    without.cookies = None;
    let (_, none) = send(&without, &UDP, &with_edns(www(), 1232, [0; 4], &cookie)).unwrap();
    assert_eq!(none.len(), greeted.len() - 28, "there is no key yet");
}

#[test]
fn what_does_not_fit_is_left_to_tcp() {
    let zones = example();
    let many = query("many.example.org.", RecordType::A);
    for (query, limit) in [
        (many.clone(), 512),
        (with_edns(many.clone(), 0, [0; 4], &[]), 512),
        (with_edns(many.clone(), 600, [0; 4], &[0, 3, 0, 0]), 600),
        (with_edns(many.clone(), 65_535, [0; 4], &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]), 1232),
    ] {
        let (answered, message) = send(&zones, &UDP, &query).unwrap();
        assert!(answered.truncated && message.len() <= limit);
        assert_eq!(shown(&message), "NoError aa tc rd");
        let (answered, message) = send(&zones, &TCP, &query).unwrap();
        assert!(!answered.truncated && message.len() > 1900, "{}", message.len());
        assert_eq!(shown(&message).lines().count(), 121);
    }
    // Addresses without which nobody finds the servers are no luxury (RFC 9471 section 3.1).
    let (_, referral) =
        send(&zones, &UDP, &with_edns(query("x.big.example.org.", RecordType::A), 1232, [0; 4], &[])).unwrap();
    assert_eq!(shown(&referral), "NoError tc rd");
    let (_, whole) = send(&zones, &TCP, &query("x.big.example.org.", RecordType::A)).unwrap();
    assert_eq!(shown(&whole).lines().filter(|line| line.starts_with("ar ")).count(), 30);
}

#[test]
fn an_answer_that_fits_to_the_octet() {
    let zones = example();
    let (answered, _) = send(&zones, &TCP, &query("many.example.org.", RecordType::A)).unwrap();
    let values = (0..28).map(|at| format!("192.0.2.{at}")).collect::<Vec<_>>().join(" | ");
    // A header, a question of 22 octets and 16 for each address.
    assert_eq!(answered.len, 12 + 22 + 120 * 16);
    for (count, fits) in [(28, true), (30, false)] {
        let values = (0..count).map(|at| format!("192.0.2.{at}")).collect::<Vec<_>>().join(" | ");
        let zones = super::world::zones(&[("example.org", &[&format!("many A {values}")])]);
        let (answered, _) = send(&zones, &UDP, &query("many.example.org.", RecordType::A)).unwrap();
        assert_eq!(!answered.truncated, fits, "{count}");
    }
    assert!(
        ask(&super::world::zones(&[("example.org", &[&format!("many A {values}")])]), "many.example.org. A")
            .lines()
            .count()
            == 29
    );
}

#[test]
fn the_largest_set_fits_over_tcp() {
    let texts = (0..220).map(|at| format!("\"{at:03}{}\"", "x".repeat(250))).collect::<Vec<_>>().join(" | ");
    let zones = zones(&[("example.org", &[&format!("long TXT {texts}"), "to CNAME long"])]);
    let (answered, message) = send(&zones, &TCP, &query("to.example.org.", RecordType::TXT)).unwrap();
    assert!(!answered.truncated && message.len() > 55_000);
    assert_eq!(shown(&message).lines().count(), 222);
}
