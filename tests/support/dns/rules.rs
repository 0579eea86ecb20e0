//! Where our answers differ from those of NSD and Knot, and why that is right. Each rule is a line of docs/dns.md.
use ruche::rr::{Name, RecordType};

use super::compare::{Case, Rule};
use super::zones;

const NOERROR: u16 = 0;
const NXDOMAIN: u16 = 3;
const NOTIMP: u16 = 4;
const REFUSED: u16 = 5;
const NOTAUTH: u16 = 9;

pub const NSD: &[Rule] = &[TRANSFER, MAIL_TYPES, MINIMAL_ANY, ENDLESS_DNAME, DNSSEC_AT_CNAME, WHOLE_GLUE];
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
];

const TRANSFER: Rule = Rule {
    name: "transfer",
    holds: |case| {
        (case.is(RecordType::AXFR) || case.is(RecordType::IXFR))
            && case.ours.rcode == REFUSED
            && [NOTIMP, NOTAUTH].contains(&case.theirs.rcode)
            && case.differing() == ["rcode"]
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
    holds: |case| under(case, "d7.edge.test.") && within(case, &["answer", "tc"]) && case.ours.rcode == NOERROR,
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
    holds: |case| under(case, "bigcut.edge.test.") && case.differing() == ["tc"] && case.ours.tc,
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

const WILDCARD_DNAME: Rule =
    Rule { name: "wildcard-dname", holds: |case| under(case, "dwild.edge.test.") && within(case, &["answer"]) };

const WILDCARD_NS: Rule = Rule {
    name: "wildcard-ns",
    holds: |case| under(case, "nswild.edge.test.") && within(case, &["aa", "answer", "authority"]),
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

fn under(case: &Case<'_>, name: &str) -> bool {
    Name::from_wire(&case.question.name).unwrap().is_under(&Name::parse(name, None).unwrap())
}

/// The closest of the zones that are served.
fn zone_of(name: &Name) -> Option<Name> {
    let all = zones::everyday().into_iter().chain(zones::edge()).map(|zone| Name::parse(&zone.name, None).unwrap());
    all.filter(|zone| name.is_under(zone)).max_by_key(|zone| zone.labels().count())
}
