//! What was asked and answered, for `/metrics`. Each thread counts by itself; they are added up when somebody looks.
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::dns::answer::{Answered, Transport};
use crate::dns::query::Rcode;
use crate::rr::RecordType;

const RCODES: [(Rcode, &str); 9] = [
    (Rcode::NoError, "NOERROR"),
    (Rcode::FormErr, "FORMERR"),
    (Rcode::ServFail, "SERVFAIL"),
    (Rcode::NxDomain, "NXDOMAIN"),
    (Rcode::NotImp, "NOTIMP"),
    (Rcode::Refused, "REFUSED"),
    (Rcode::YxDomain, "YXDOMAIN"),
    (Rcode::NotAuth, "NOTAUTH"),
    (Rcode::BadVers, "BADVERS"),
];
/// Types with a counter of their own: those that resolvers ask for day by day.
const TYPES: [RecordType; 16] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::HTTPS,
    RecordType::NS,
    RecordType::SOA,
    RecordType::MX,
    RecordType::TXT,
    RecordType::CNAME,
    RecordType::SRV,
    RecordType::PTR,
    RecordType::CAA,
    RecordType::TLSA,
    RecordType::SVCB,
    RecordType::DS,
    RecordType::DNSKEY,
    RecordType::ANY,
];

/// The counters of one thread, which serves one transport.
#[derive(Debug)]
pub(crate) struct Tally {
    transport: Transport,
    answers: [AtomicU64; RCODES.len()],
    types: [AtomicU64; TYPES.len()],
    other_types: AtomicU64,
    truncated: AtomicU64,
    /// Without an answer: no query, or none that can be answered.
    ignored: AtomicU64,
    /// Answers that the kernel did not take.
    unsent: AtomicU64,
}

impl Tally {
    pub(crate) fn new(transport: Transport) -> Arc<Self> {
        Arc::new(Self {
            transport,
            answers: Default::default(),
            types: Default::default(),
            other_types: AtomicU64::default(),
            truncated: AtomicU64::default(),
            ignored: AtomicU64::default(),
            unsent: AtomicU64::default(),
        })
    }

    pub(crate) fn count(&self, answered: Option<&Answered>) {
        let Some(answered) = answered else { return one(&self.ignored) };
        if let Some(at) = RCODES.iter().position(|(rcode, _)| *rcode == answered.rcode) {
            one(&self.answers[at]);
        }
        if let Some(rtype) = answered.rtype {
            one(TYPES.iter().position(|known| *known == rtype).map_or(&self.other_types, |at| &self.types[at]));
        }
        if answered.truncated {
            one(&self.truncated);
        }
    }

    pub(crate) fn unsent(&self) {
        one(&self.unsent);
    }
}

fn one(counter: &AtomicU64) {
    // No other thread writes it.
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// Writes the sum of all threads in the Prometheus text form.
pub(crate) fn render(tallies: &[Arc<Tally>], out: &mut String) {
    let sum = |of: &dyn Fn(&Tally) -> &AtomicU64| tallies.iter().map(|tally| of(tally).load(Ordering::Relaxed)).sum();
    family(out, "ruche_dns_answers_total");
    for (transport, shown) in [(Transport::Udp, "udp"), (Transport::Tcp, "tcp")] {
        let own = || tallies.iter().filter(|tally| tally.transport == transport);
        for (at, (_, rcode)) in RCODES.iter().enumerate() {
            let value: u64 = own().map(|tally| tally.answers[at].load(Ordering::Relaxed)).sum();
            let _ = writeln!(out, "ruche_dns_answers_total{{transport=\"{shown}\",rcode=\"{rcode}\"}} {value}");
        }
    }
    family(out, "ruche_dns_queries_total");
    for (at, rtype) in TYPES.iter().enumerate() {
        let value: u64 = sum(&|tally| &tally.types[at]);
        let _ = writeln!(out, "ruche_dns_queries_total{{type=\"{rtype}\"}} {value}");
    }
    let value: u64 = sum(&|tally| &tally.other_types);
    let _ = writeln!(out, "ruche_dns_queries_total{{type=\"other\"}} {value}");
    type Single = fn(&Tally) -> &AtomicU64;
    let singles: [(&str, Single); 3] = [
        ("ruche_dns_truncated_total", |tally| &tally.truncated),
        ("ruche_dns_ignored_total", |tally| &tally.ignored),
        ("ruche_dns_unsent_total", |tally| &tally.unsent),
    ];
    for (name, of) in singles {
        family(out, name);
        let value: u64 = sum(&of);
        let _ = writeln!(out, "{name} {value}");
    }
}

fn family(out: &mut String, name: &str) {
    let _ = writeln!(out, "# TYPE {name} counter");
}
