//! Zones made of changes to the state, and a client that shows an answer as lines of text.
use std::sync::Arc;

use hickory_proto::op::Message;
use hickory_proto::rr::{RData, Record};

use crate::dns::answer::{Answered, Asker, Transport, answer};
use crate::dns::compile::Compiler;
use crate::dns::cookie::Cookies;
use crate::dns::kept::Kept;
use crate::dns::zones::Zones;
use crate::model::change::Change;
use crate::model::state::State;
use crate::model::tests::world::{NODE, World, put};
use crate::rr::{Name, RecordType, present_data};
use crate::seal::keyring::Keyring;

pub(crate) const UDP: Asker =
    Asker { transport: Transport::Udp, peer: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9)), now: 1000 };
pub(crate) const TCP: Asker = Asker { transport: Transport::Tcp, ..UDP };

pub(crate) fn compiler() -> Compiler {
    Compiler::new(NODE, Arc::new(Keyring::generate([1; 32])))
}

/// What is answered from, with a key of cookies.
pub(crate) fn compiled(state: &State) -> Zones {
    let mut zones = compiler().follow(state);
    zones.cookies = Some(Cookies::new(&[7; 16]));
    zones
}

/// Zones of lines such as `www A 192.0.2.1`, each after its apex; a value may hold spaces, and several end with `|`.
pub(crate) fn zones(all: &[(&str, &[&str])]) -> Zones {
    let mut world = World::new();
    for (apex, lines) in all {
        zone(&mut world, apex, lines);
    }
    compiled(&world.state)
}

pub(crate) fn zone(world: &mut World, apex: &str, lines: &[&str]) {
    world.ok(crate::model::tests::world::new_zone(apex, None));
    for line in lines {
        world.ok(set(apex, line));
    }
}

pub(crate) fn set(apex: &str, line: &str) -> Change {
    let mut words = line.splitn(3, ' ');
    let (owner, rtype, values) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let values: Vec<&str> = values.split(" | ").collect();
    put(apex, owner, rtype.parse().unwrap(), &values)
}

/// A query of class IN without EDNS.
pub(crate) fn query(name: &str, rtype: RecordType) -> Vec<u8> {
    let name = Name::parse(name, None).unwrap();
    [&[0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], name.as_wire(), &rtype.0.to_be_bytes(), &[0, 1]].concat()
}

/// The same with an OPT record: size, version and flags, and options.
pub(crate) fn with_edns(mut query: Vec<u8>, size: u16, ttl: [u8; 4], options: &[u8]) -> Vec<u8> {
    query[11] += 1;
    query.extend([0, 0, 41]);
    query.extend(size.to_be_bytes());
    query.extend(ttl);
    query.extend((options.len() as u16).to_be_bytes());
    query.extend(options);
    query
}

pub(crate) fn send(zones: &Zones, asker: &Asker, query: &[u8]) -> Option<(Answered, Vec<u8>)> {
    let mut out = vec![0; if asker.transport == Transport::Udp { 1232 } else { 65_535 }];
    let answered = answer(zones, None, asker, query, &mut out);
    // First it is new, then it is kept, then it is there.
    let mut kept = Kept::default();
    for _ in 0..3 {
        let mut again = vec![0xee; out.len()];
        assert_eq!(answer(zones, Some(&mut kept), asker, query, &mut again), answered);
        let len = answered.map_or(0, |answered| answered.len);
        assert_eq!(again[..len], out[..len]);
    }
    let answered = answered?;
    out.truncate(answered.len);
    Some((answered, out))
}

/// An answer as another parser reads it: a line with code and flags, then the records of each section.
pub(crate) fn shown(message: &[u8]) -> String {
    let read = Message::from_vec(message).unwrap_or_else(|error| panic!("{error}: {message:02x?}"));
    let flags = [
        (read.metadata.authoritative, " aa"),
        (read.metadata.truncation, " tc"),
        (read.metadata.recursion_desired, " rd"),
    ];
    let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    let mut lines = vec![format!("{:?}{flags}", read.metadata.response_code)];
    for (section, records) in [("an", &read.answers), ("ns", &read.authorities), ("ar", &read.additionals)] {
        let one = |record: &Record| {
            let data = match &record.data {
                RData::Unknown { code, rdata } => present_data(RecordType(u16::from(*code)), &rdata.anything),
                known => known.to_string(),
            };
            format!("{section} {} {} {} {data}", record.name, record.ttl, record.record_type())
        };
        lines.extend(records.iter().map(one));
    }
    lines.join("\n")
}

/// Asks as `name TYPE` over UDP, and shows the answer without the wish for recursion.
pub(crate) fn ask(zones: &Zones, question: &str) -> String {
    let (name, rtype) = question.split_once(' ').unwrap();
    let query = with_edns(query(name, rtype.parse().unwrap()), 1232, [0; 4], &[]);
    let (_, message) = send(zones, &UDP, &query).expect("a sound query is answered");
    shown(&message).replacen(" rd", "", 1)
}

/// Asks each question and compares with the lines after it.
pub(crate) fn check(zones: &Zones, table: &[(&str, &[&str])]) {
    for (question, expected) in table {
        assert_eq!(ask(zones, question), expected.join("\n"), "{question}");
    }
}
