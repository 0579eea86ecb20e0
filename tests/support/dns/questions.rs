//! Which questions are asked: every name there is, above, below and beside it, in odd case, with every type that may matter.
use std::collections::BTreeSet;

use ruche::rr::zonefile;
use ruche::rr::{Name, RecordType};

use super::wire::{Question, name};
use super::zones::Zone;

/// Types asked of every name; of those that exist all types are asked that any zone has.
const TYPES: &[&str] = &["A", "NS", "CNAME", "SOA", "MX", "TXT", "DS", "DNAME", "ANY", "TYPE65280"];
/// Types asked of few names: no server has an answer, and how it says so is what matters.
const ODD: &[&str] = &["AXFR", "IXFR", "RRSIG", "NSEC", "NSEC3", "TYPE253", "TYPE254", "TYPE128", "TYPE65535"];

fn rtype(text: &str) -> u16 {
    text.parse::<RecordType>().unwrap().0
}

/// The names of the zones and those around them.
fn names(zones: &[Zone]) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::new();
    for zone in zones {
        let apex = Name::parse(&zone.name, None).unwrap();
        let file = zonefile::read(zone.text.as_bytes(), &apex, 0);
        assert_eq!(file.faults, [], "{}", zone.name);
        for record in &file.records {
            let mut name = Some(record.owner.clone());
            while let Some(at) = name.filter(|name| name.is_under(&apex)) {
                around(&at, &mut all);
                name = at.parent();
            }
        }
    }
    for outside in [".", "test.", "elsewhere.example.", "x.test.", "arpa.", "edge.test.example.", "xedge.test."] {
        all.insert(name(outside));
    }
    all
}

fn around(at: &Name, all: &mut BTreeSet<Vec<u8>>) {
    let wire = at.as_wire();
    all.insert(wire.to_vec());
    let below = |labels: &[&[u8]]| {
        let head: Vec<u8> = labels.iter().flat_map(|label| [&[label.len() as u8], *label].concat()).collect();
        [&head, wire].concat()
    };
    let mut add = |wire: Vec<u8>| {
        if wire.len() <= 255 {
            all.insert(wire);
        }
    };
    add(below(&[b"nx"]));
    add(below(&[b"x"]));
    add(below(&[b"*"]));
    add(below(&[b"very", b"deep", b"nx"]));
    if let Some(parent) = at.parent() {
        let label = at.labels().next().unwrap();
        // Beside: just before and just after in canonical order.
        for (label, end) in [(label, &b"0"[..]), (&label[..label.len() - 1], b"")] {
            let beside = [label, end].concat();
            if (1..=63).contains(&beside.len()) {
                add([&[beside.len() as u8][..], &beside, parent.as_wire()].concat());
            }
        }
    }
}

/// The same name in another case: an answer must repeat it as it was asked.
fn odd_case(wire: &[u8]) -> Vec<u8> {
    let flip = |(at, octet): (usize, &u8)| if at % 2 == 1 { octet.to_ascii_uppercase() } else { *octet };
    // Length octets are below the letters.
    wire.iter().enumerate().map(flip).collect()
}

/// All questions about the zones; one name in `thin` only, for a short run.
pub fn all(zones: &[Zone], thin: usize) -> Vec<Question> {
    let always: BTreeSet<u16> = TYPES.iter().map(|text| rtype(text)).collect();
    let (mut types, mut owners) = (always.clone(), BTreeSet::new());
    for zone in zones {
        let apex = Name::parse(&zone.name, None).unwrap();
        for record in zonefile::read(zone.text.as_bytes(), &apex, 0).records {
            types.insert(record.rtype.0);
            owners.insert(record.owner.as_wire().to_vec());
        }
    }
    let mut questions = Vec::new();
    for (at, name) in names(zones).into_iter().enumerate().filter(|(at, _)| at % thin == 0) {
        let types = if owners.contains(&name) { &types } else { &always };
        questions.extend(types.iter().map(|rtype| Question { name: name.clone(), rtype: *rtype }));
        let odd = odd_case(&name);
        questions.extend(["A", "DS"].map(|text| Question { name: odd.clone(), rtype: rtype(text) }));
        if at % 8 == 0 {
            questions.extend(ODD.iter().map(|text| Question { name: name.clone(), rtype: rtype(text) }));
        }
    }
    questions
}
