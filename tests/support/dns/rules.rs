//! Where our answers differ from those of NSD and Knot, and why that is right. Each rule is a line of docs/dns.md.
use std::collections::HashSet;
use std::sync::OnceLock;

use ruche::rr::{Name, RecordType, zonefile};

use super::compare::{Case, Rule};
use super::wire::{Mode, Record};
use super::zones;

const NOERROR: u16 = 0;
const NXDOMAIN: u16 = 3;
const NOTIMP: u16 = 4;
const REFUSED: u16 = 5;
const NOTAUTH: u16 = 9;
/// Octets of a record before its data, its owner a pointer.
const RECORD_HEAD: usize = 12;

pub const NSD: &[Rule] =
    &[TRANSFER, MAIL_TYPES, MINIMAL_ANY, ENDLESS_DNAME, DNSSEC_AT_CNAME, WHOLE_GLUE, WHOLE_WHERE_IT_FITS];
pub const KNOT: &[Rule] = &[
    TRANSFER,
    MAIL_TYPES,
    MINIMAL_ANY,
    ENDLESS_DNAME,
    DNSSEC_AT_CNAME,
    OTHER_ZONES,
    WILDCARD_DNAME,
    WILDCARD_NS,
    CHILD_WITHOUT_CUT,
    WHOLE_WHERE_IT_FITS,
];

const TRANSFER: Rule = Rule {
    name: "transfer",
    holds: |case| {
        let here = || {
            let name = Name::from_wire(&case.question.name).unwrap();
            zone_of(&name).is_some_and(|zone| zone == name)
        };
        let over_udp = matches!(case.mode, Mode::Plain | Mode::Edns(_));
        (case.is(RecordType::AXFR) || case.is(RecordType::IXFR))
            && case.differing() == ["rcode"]
            && match case.ours.rcode {
                REFUSED => [NOTIMP, NOTAUTH].contains(&case.theirs.rcode) && here(),
                NOTAUTH => case.theirs.rcode == NOTIMP && case.is(RecordType::AXFR) && over_udp && !here(),
                _ => false,
            }
    },
};

const MAIL_TYPES: Rule = Rule {
    name: "mail-types",
    holds: |case| (case.is(RecordType::MAILA) || case.is(RecordType::MAILB)) && case.ours.rcode == NOTIMP,
};

const MINIMAL_ANY: Rule = Rule {
    name: "minimal-any",
    holds: |case| {
        let types = |reply: &super::wire::Reply| reply.answer.iter().map(|record| record.1).collect::<Vec<_>>();
        let ours = types(case.ours);
        case.is(RecordType::ANY)
            && within(case, &["answer", "tc"])
            && (case.ours.tc || !ours.is_empty() && ours.iter().all(|rtype| *rtype == ours[0]))
    },
};

const ENDLESS_DNAME: Rule = Rule {
    name: "endless-dname",
    holds: |case| {
        let endless = |record: &Record| record.1 == RecordType::DNAME.0 && target(record).is_under(&owner(record));
        case.ours.rcode == NOERROR
            && within(case, &["answer", "tc"])
            && case.ours.answer.iter().chain(&case.theirs.answer).any(endless)
    },
};

const DNSSEC_AT_CNAME: Rule = Rule {
    name: "dnssec-type-at-cname",
    holds: |case| {
        let types = [RecordType::RRSIG, RecordType::NSEC, RecordType::NSEC3];
        types.iter().any(|rtype| case.is(*rtype))
            && case.theirs.answer.is_empty()
            && case.ours.answer.iter().any(|record| record.1 == RecordType::CNAME.0)
    },
};

const WHOLE_GLUE: Rule = Rule {
    name: "whole-glue",
    holds: |case| {
        let held = |host: &Name, rtype: RecordType| {
            case.theirs.additional.iter().any(|record| record.0 == host.to_string() && record.1 == rtype.0)
        };
        let lacks = |ns: &Record| {
            let host = target(ns);
            let needed =
                |rtype: &RecordType| host.is_under(&owner(ns)) && is_there(&host, *rtype) && !held(&host, *rtype);
            ns.1 == RecordType::NS.0 && [RecordType::A, RecordType::AAAA].iter().any(needed)
        };
        case.differing() == ["tc"] && case.ours.tc && case.theirs.authority.iter().any(lacks)
    },
};

const WHOLE_WHERE_IT_FITS: Rule = Rule {
    name: "whole-where-it-fits",
    holds: |case| {
        let fits = case.ours.len <= case.mode.room();
        // They leave the SOA out where it has no room with them, and say nothing of it.
        let denied =
            |soa: &Record| soa.1 == RecordType::SOA.0 && case.theirs.len + RECORD_HEAD + soa.3.len() > case.mode.room();
        match case.differing()[..] {
            ["tc"] => case.theirs.tc && fits,
            ["authority"] => case.theirs.authority.is_empty() && fits && case.ours.authority.iter().all(denied),
            _ => false,
        }
    },
};

const OTHER_ZONES: Rule = Rule {
    name: "other-zones",
    holds: |case| {
        // They stop at a name of another zone, where we go on.
        let end = case.theirs.answer.iter().find_map(|record| {
            let target = (record.1 == RecordType::CNAME.0).then(|| Name::from_wire(&record.3).unwrap())?;
            let followed = case.theirs.answer.iter().any(|other| other.0 == target.to_string());
            (!followed).then(|| (Name::parse(&record.0, None).unwrap(), target))
        });
        let leaves = end.is_some_and(|(from, to)| {
            let zone = zone_of(&to);
            zone.is_some() && zone != zone_of(&from)
        });
        leaves
            && case.theirs.authority.is_empty()
            && case.theirs.rcode == NOERROR
            && case.ours.answer.is_superset(&case.theirs.answer)
            && within(case, &["rcode", "answer", "authority", "glue", "tc"])
    },
};

const WILDCARD_DNAME: Rule = Rule {
    name: "wildcard-dname",
    holds: |case| below_wildcard_of(case, RecordType::DNAME) && within(case, &["answer"]),
};

const WILDCARD_NS: Rule = Rule {
    name: "wildcard-ns",
    holds: |case| below_wildcard_of(case, RecordType::NS) && within(case, &["aa", "answer", "authority"]),
};

const CHILD_WITHOUT_CUT: Rule = Rule {
    name: "child-without-cut",
    holds: |case| {
        case.is(RecordType::DS)
            && case.ours.rcode == NOERROR
            && case.theirs.rcode == NXDOMAIN
            && case.differing() == ["rcode"]
    },
};

fn within(case: &Case<'_>, parts: &[&str]) -> bool {
    case.differing().iter().all(|part| parts.contains(part))
}

/// Whether a wildcard with records of a type stands beside the name asked for, or beside one above it.
fn below_wildcard_of(case: &Case<'_>, rtype: RecordType) -> bool {
    let mut above = Name::from_wire(&case.question.name).unwrap().parent();
    std::iter::from_fn(|| {
        let at = above.take()?;
        above = at.parent();
        Name::parse("*", Some(&at)).ok()
    })
    .any(|wildcard| is_there(&wildcard, rtype))
}

fn owner(record: &Record) -> Name {
    Name::parse(&record.0, None).unwrap()
}

/// The name that the data is.
fn target(record: &Record) -> Name {
    Name::from_wire(&record.3).unwrap()
}

/// Whether the zones have records of that name and type.
fn is_there(name: &Name, rtype: RecordType) -> bool {
    static SETS: OnceLock<HashSet<(Name, RecordType)>> = OnceLock::new();
    let sets = SETS.get_or_init(|| {
        let records = zones::everyday().into_iter().chain(zones::edge()).flat_map(|zone| {
            let apex = Name::parse(&zone.name, None).unwrap();
            zonefile::read(zone.text.as_bytes(), &apex, 0).records
        });
        records.map(|record| (record.owner, record.rtype)).collect()
    });
    sets.contains(&(name.clone(), rtype))
}

/// The closest of the zones that are served.
fn zone_of(name: &Name) -> Option<Name> {
    let all = zones::everyday().into_iter().chain(zones::edge()).map(|zone| Name::parse(&zone.name, None).unwrap());
    all.filter(|zone| name.is_under(zone)).max_by_key(|zone| zone.labels().count())
}
