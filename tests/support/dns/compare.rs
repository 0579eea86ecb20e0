//! Two answers to one question, and why they may differ. Each rule has its reason in an RFC and a line in docs/dns.md; what no
//! rule explains is a fault.
use std::collections::BTreeMap;
use std::net::SocketAddr;

use ruche::rr::{Name, RecordType};

use super::wire::{Client, Mode, Question, Record, Reply, Set};

/// One reason to differ: its name in docs/dns.md, and when it holds.
pub struct Rule {
    pub name: &'static str,
    pub holds: fn(&Case<'_>) -> bool,
}

/// A question with two answers, ours first.
pub struct Case<'a> {
    pub question: &'a Question,
    pub mode: Mode,
    pub ours: &'a Reply,
    pub theirs: &'a Reply,
}

impl Case<'_> {
    pub fn is(&self, rtype: RecordType) -> bool {
        self.question.rtype == rtype.0
    }

    /// The parts that differ.
    pub fn differing(&self) -> Vec<&'static str> {
        let (ours, theirs) = (self.ours, self.theirs);
        let mut parts = Vec::new();
        let mut part = |name, differs: bool| {
            if differs {
                parts.push(name);
            }
        };
        part("rcode", ours.rcode != theirs.rcode);
        part("aa", ours.aa != theirs.aa);
        part("tc", ours.tc != theirs.tc);
        part("ra", ours.ra != theirs.ra);
        part("ad", ours.ad != theirs.ad);
        part("edns", ours.edns != theirs.edns);
        part("repeats", ours.repeats != theirs.repeats);
        part("echo", ours.echoed != theirs.echoed);
        // What is left of a truncated answer says nothing: the client asks again over TCP.
        let whole = !ours.tc && !theirs.tc;
        part("answer", whole && ours.answer != theirs.answer);
        part("authority", whole && ours.authority != theirs.authority);
        part("glue", whole && glue(ours) != glue(theirs));
        parts
    }
}

/// The addresses a referral cannot do without: of name servers at or below the cut (RFC 9471 section 3).
pub fn glue(reply: &Reply) -> Set {
    let cuts: Vec<Name> = cuts(reply).map(|record| Name::parse(&record.0, None).unwrap()).collect();
    if reply.authority.iter().any(|record| record.1 == RecordType::SOA.0) {
        return Set::new();
    }
    let hosts: Vec<_> = cuts_targets(reply);
    let needed = |record: &&Record| {
        let owner = Name::parse(&record.0, None).unwrap();
        cuts.iter().any(|cut| owner.is_under(cut)) && hosts.contains(&owner)
    };
    reply.additional.iter().filter(needed).cloned().collect()
}

fn cuts(reply: &Reply) -> impl Iterator<Item = &Record> {
    reply.authority.iter().filter(|record| record.1 == RecordType::NS.0)
}

fn cuts_targets(reply: &Reply) -> Vec<Name> {
    cuts(reply).map(|record| Name::from_wire(&record.3).unwrap()).collect()
}

/// What a comparison found.
#[derive(Default)]
pub struct Report {
    pub asked: usize,
    pub same: usize,
    /// How often each rule explained a difference.
    pub explained: BTreeMap<&'static str, usize>,
    pub faults: Vec<String>,
}

/// Asks both servers everything, in every mode.
pub fn compare(
    ours: (&str, SocketAddr),
    theirs: (&str, SocketAddr),
    questions: &[Question],
    modes: &[Mode],
    rules: &[Rule],
) -> Report {
    let (mut left, mut right) = (Client::new(ours.1), Client::new(theirs.1));
    let mut report = Report::default();
    for question in questions {
        for mode in modes {
            report.asked += 1;
            let (a, b) = (left.ask(question, *mode), right.ask(question, *mode));
            let shown = || {
                let name = Name::from_wire(&question.name).unwrap();
                format!("{name} {} {mode:?}", RecordType(question.rtype))
            };
            let (Some(a), Some(b)) = (&a, &b) else {
                if a.is_some() != b.is_some() {
                    report.faults.push(format!("{}: {} {a:?}\n  {} {b:?}", shown(), ours.0, theirs.0));
                }
                continue;
            };
            let case = Case { question, mode: *mode, ours: a, theirs: b };
            let parts = case.differing();
            if parts.is_empty() {
                report.same += 1;
            } else if let Some(rule) = rules.iter().find(|rule| (rule.holds)(&case)) {
                *report.explained.entry(rule.name).or_default() += 1;
            } else {
                report.faults.push(format!(
                    "{} differ in {parts:?}\n  {:>5}: {}\n  {:>5}: {}",
                    shown(),
                    ours.0,
                    show(a),
                    theirs.0,
                    show(b)
                ));
            }
        }
    }
    report
}

fn show(reply: &Reply) -> String {
    let section = |set: &Set| {
        let records = set.iter().take(6).map(|(owner, rtype, ttl, data)| {
            format!("{owner} {ttl} {} {}", RecordType(*rtype), ruche::rr::present_data(RecordType(*rtype), data))
        });
        format!("{}[{}]", set.len(), records.collect::<Vec<_>>().join(" | "))
    };
    let flags = [(reply.aa, "aa"), (reply.tc, "tc"), (reply.ra, "ra"), (reply.ad, "ad"), (reply.edns, "edns")];
    let flags: Vec<_> = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    format!(
        "rcode {} {} {} octets; answer {}; authority {}; additional {}",
        reply.rcode,
        flags.join(" "),
        reply.len,
        section(&reply.answer),
        section(&reply.authority),
        section(&reply.additional)
    )
}
