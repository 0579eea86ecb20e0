//! Octets that claim to answer a question.
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, RecordType};
use proptest::prelude::*;

use crate::base::limits::{RESOLVE_ALIASES_MAX, RESOLVE_RECORDS_MAX};
use crate::resolve::answer::{self, Answer, Found};
use crate::resolve::question::{Question, Sent};

const ID: u16 = 0x1234;

fn name(text: &str) -> Vec<u8> {
    let labels = text.split('.').filter(|label| !label.is_empty());
    labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).chain([0]).collect()
}

pub(super) fn record(owner: &[u8], rtype: u16, data: &[u8]) -> Vec<u8> {
    let len = (data.len() as u16).to_be_bytes();
    [owner, &rtype.to_be_bytes(), &[0, 1, 0, 0, 0, 60], &len, data].concat()
}

fn a(owner: &str, last: u8) -> Vec<u8> {
    record(&name(owner), 1, &[192, 0, 2, last])
}

fn cname(owner: &str, target: &str) -> Vec<u8> {
    record(&name(owner), 5, &name(target))
}

/// An answer without error to a query, with these records.
pub(super) fn reply(query: &[u8], question_end: usize, records: &[Vec<u8>]) -> Vec<u8> {
    let mut message = query[..question_end].to_vec();
    message[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0]);
    message[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
    message.extend(records.concat());
    message
}

fn question() -> Question {
    Question::new("www.example.org", RecordType::A).unwrap()
}

fn sound(sent: &Sent<'_>, records: &[Vec<u8>]) -> Vec<u8> {
    reply(&sent.message, sent.end, records)
}

/// What is read from an answer with these records.
fn said(records: &[Vec<u8>]) -> Answer {
    let question = question();
    let sent = question.send(ID, true);
    read(&sent, &sound(&sent, records))
}

/// What is read, whatever the name at which it was found.
fn read(sent: &Sent<'_>, octets: &[u8]) -> Answer {
    match answer::read(sent, octets) {
        Answer::Said(Some(found)) => Answer::Said(Some(Found { at: Name::root(), ..found })),
        answer => answer,
    }
}

fn found(values: Vec<RData>) -> Answer {
    Answer::Said(Some(Found { at: Name::root(), values }))
}

fn addresses(last: &[u8]) -> Answer {
    found(last.iter().map(|last| RData::A(A::new(192, 0, 2, *last))).collect())
}

#[test]
fn what_was_asked_is_found() {
    assert_eq!(said(&[]), addresses(&[]));
    assert_eq!(said(&[a("www.example.org", 1), a("WWW.Example.ORG", 2)]), addresses(&[1, 2]));
    assert_eq!(said(&[record(&[0xc0, 12], 1, &[192, 0, 2, 3])]), addresses(&[3]));
    // Along the aliases, in any order.
    let chain = [a("c.example", 4), cname("b.example", "c.example"), cname("www.example.org", "b.example")];
    assert_eq!(said(&chain), addresses(&[4]));
    assert_eq!(said(&chain[1..]), addresses(&[]));
}

#[test]
fn other_names_and_types_are_not_believed() {
    let mut chaos = a("www.example.org", 9);
    let class = chaos.len() - 11;
    chaos[class] = 3;
    for records in [
        &[a("other.example.org", 9)][..],
        &[a("example.org", 9), a("a.www.example.org", 9)],
        &[record(&name("www.example.org"), 28, &[1; 16])],
        &[cname("other.example.org", "www.example.org"), a("other.example.org", 9)],
        &[cname("www.example.org", "b.example"), a("c.example", 9)],
        &[chaos],
    ] {
        assert_eq!(said(records), addresses(&[]), "{records:?}");
    }
    // Nor what stands in another section.
    let question = question();
    let sent = question.send(ID, true);
    let mut message = sound(&sent, &[a("www.example.org", 1), a("www.example.org", 9)]);
    message[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 1]);
    assert_eq!(read(&sent, &message), addresses(&[1]));
}

#[test]
fn an_alias_of_a_zone_is_no_zone() {
    let question = Question::new("www.example.org", RecordType::SOA).unwrap();
    let sent = question.send(ID, true);
    let soa = |owner| record(&name(owner), 6, &[&name("ns.example")[..], &[0; 21]].concat());
    let alias = sound(&sent, &[cname("www.example.org", "example.net"), soa("example.net")]);
    assert_eq!(read(&sent, &alias), found(vec![]));
    let apex = sound(&sent, &[soa("www.example.org")]);
    assert!(matches!(read(&sent, &apex), Answer::Said(Some(found)) if found.values.len() == 1));
}

#[test]
fn aliases_end() {
    let chain = |length: usize| -> Vec<_> {
        let name = |at| if at == 0 { "www.example.org".to_owned() } else { format!("{at}.example") };
        (0..length).map(|at| cname(&name(at), &name(at + 1))).chain([a(&name(length), 1)]).collect()
    };
    assert_eq!(said(&chain(RESOLVE_ALIASES_MAX)), addresses(&[1]));
    assert_eq!(said(&chain(RESOLVE_ALIASES_MAX + 1)), Answer::Endless);
    assert_eq!(said(&[cname("www.example.org", "www.example.org")]), Answer::Endless);
    assert_eq!(said(&[cname("www.example.org", "b"), cname("b", "www.example.org")]), Answer::Endless);
}

#[test]
fn codes() {
    let question = question();
    let sent = question.send(ID, true);
    let mut message = sound(&sent, &[a("www.example.org", 9)]);
    for (code, expected) in
        [(3, Answer::Said(None)), (1, Answer::Failed(1)), (2, Answer::Failed(2)), (5, Answer::Failed(5))]
    {
        message[3] = 0x80 | code;
        assert_eq!(read(&sent, &message), expected);
    }
}

#[test]
fn answers_to_others_are_passed_over() {
    let question = question();
    let sent = question.send(ID, true);
    let right = sound(&sent, &[a("www.example.org", 1)]);
    let changed = |at: usize, octet: u8| {
        let mut message = right.clone();
        message[at] = octet;
        read(&sent, &message)
    };
    // The id, a query, another opcode, two questions and none, another name, type and class.
    for (at, octet) in
        [(0, 0), (1, 0), (2, 1), (2, 0x91), (5, 2), (5, 0), (13, b'x'), (sent.end - 3, 28), (sent.end - 1, 3)]
    {
        assert_eq!(changed(at, octet), Answer::Stray, "{at}");
    }
    assert_eq!(changed(13, b'W'), addresses(&[1]));
    for len in 0..sent.end {
        assert_eq!(read(&sent, &right[..len]), Answer::Stray, "{len}");
    }
    for len in sent.end..right.len() {
        assert_eq!(read(&sent, &right[..len]), Answer::Unreadable, "{len}");
        let mut cut = right[..len].to_vec();
        cut[2] |= 2;
        assert_eq!(read(&sent, &cut), Answer::Truncated, "{len}");
    }
}

#[test]
fn broken_and_huge_answers_are_not_read() {
    let owner = |octets: &[u8]| said(&[record(octets, 1, &[192, 0, 2, 9])]);
    let end = question().send(ID, false).end as u8;
    // Pointers to themselves, forward, in a circle, and beyond the end.
    for pointer in [&[0xc0, end][..], &[0xc0, end + 1], &[0xff, 0xff], &[1, b'a', 0xc0, end], &[0x40], &[63]] {
        assert_eq!(owner(pointer), Answer::Unreadable, "{pointer:?}");
    }
    let question = question();
    let sent = question.send(ID, true);
    let mut message = sound(&sent, &[]);
    message[6..8].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(read(&sent, &message), Answer::Unreadable);
    let many = |count: usize| said(&vec![record(&[0xc0, 12], 1, &[192, 0, 2, 1]); count]);
    assert_eq!(many(RESOLVE_RECORDS_MAX), addresses(&[1; RESOLVE_RECORDS_MAX]));
    assert_eq!(many(RESOLVE_RECORDS_MAX + 1), Answer::Unreadable);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever follows the question, and whichever octets are changed: no panic, and no value of another name.
    #[test]
    fn any_octets(
        tail in prop::collection::vec(any::<u8>(), 0..200),
        counts in any::<[u8; 6]>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let question = Question::new("www.example.org", RecordType::CAA).unwrap();
        let sent = question.send(ID, true);
        let mut message = [sound(&sent, &[]), tail].concat();
        message[6..12].copy_from_slice(&counts);
        read(&sent, &message);
        let value = b"\x00\x05issueca.test";
        let mut message = sound(&sent, &[cname("www.example.org", "b.example"), record(&name("b.example"), 257, value)]);
        for (at, octet) in changes {
            let at = at.index(message.len());
            message[at] = octet;
        }
        read(&sent, &message);
    }
}
