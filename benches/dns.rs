//! What the DNS plane does for each change and each query, without the network: `cargo bench --bench dns`. The state has 10,000
//! zones of 12 record sets each.
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};

use divan::Bencher;
use ruche::base::clock::Time;
use ruche::base::ids::{ClusterId, NodeId, RequestId, Seed};
use ruche::base::names::{NodeName, ZoneName};
use ruche::dns::answer::{Asker, Transport, answer};
use ruche::dns::compile::Compiler;
use ruche::dns::kept::Kept;
use ruche::dns::zones::Zones;
use ruche::model::LEVEL;
use ruche::model::apply::apply_batch;
use ruche::model::change::{Actor, BATCH_VERSION, Batch, Change, Envelope};
use ruche::model::cluster::Found;
use ruche::model::records::RecordPut;
use ruche::model::state::State;
use ruche::model::zones::ZoneCreate;
use ruche::rr::{Name, RecordType, parse_data};
use ruche::seal::Sealed;
use ruche::seal::keyring::{KeyId, Keyring};

const ZONES: usize = 10_000;
const NODE: NodeId = NodeId(1);
const RECORDS: [(&str, RecordType, &str); 11] = [
    ("@", RecordType::A, "192.0.2.1"),
    ("@", RecordType::AAAA, "2001:db8::1"),
    ("@", RecordType::MX, "10 mail"),
    ("@", RecordType::TXT, "\"v=spf1 mx -all\""),
    ("_dmarc", RecordType::TXT, "\"v=DMARC1; p=none\""),
    ("ftp", RecordType::CNAME, "www"),
    ("mail", RecordType::A, "192.0.2.25"),
    ("mail", RecordType::AAAA, "2001:db8::25"),
    ("www", RecordType::A, "192.0.2.1"),
    ("www", RecordType::AAAA, "2001:db8::1"),
    ("*.apps", RecordType::A, "192.0.2.9"),
];

fn main() {
    divan::main();
}

fn apply(state: &mut State, change: Change) {
    let mut key = [0; 16];
    getrandom::fill(&mut key).expect("the kernel gives random bytes");
    let request_id = RequestId { key, digest: [1; 16] };
    let envelope = Envelope { request_id, actor: Actor::System, seed: Seed(key), expect: None, change };
    let batch = Batch { version: BATCH_VERSION, time: Time::now(), envelopes: vec![envelope] };
    for answer in apply_batch(state, &batch) {
        answer.expect("the change is made");
    }
}

fn zone(number: usize) -> ZoneName {
    ZoneName::parse(&format!("zone{number}.example")).expect("it is a zone")
}

fn put(zone: ZoneName, owner: &str, rtype: RecordType, value: &str) -> Change {
    let origin = Name::parse(&format!("{zone}."), None).expect("it is a name");
    let owner = Name::parse(owner, Some(&origin)).expect("it is a name");
    let values = vec![parse_data(rtype, value, &origin).expect("it is data")];
    Change::RecordPut(RecordPut { zone, owner, rtype, ttl: 3600, values })
}

fn state() -> &'static State {
    static STATE: OnceLock<State> = OnceLock::new();
    STATE.get_or_init(|| {
        let (cluster, mut state) = (ClusterId(1), State::default());
        let name = NodeName::parse("bench").expect("it is a name");
        let key_check = Sealed { key_id: KeyId(1), nonce: [0; 24], bytes: Vec::new() };
        apply(&mut state, Change::Found(Found { cluster, level: LEVEL, node: NODE, name, key_check, key: Vec::new() }));
        for number in 0..ZONES {
            let nameservers = vec!["ns1.example.net".parse().expect("it is a host")];
            apply(
                &mut state,
                Change::ZoneCreate(ZoneCreate { name: zone(number), account: None, ttl: None, nameservers }),
            );
            for (owner, rtype, value) in RECORDS {
                apply(&mut state, put(zone(number), owner, rtype, value));
            }
        }
        state
    })
}

fn compiler() -> Compiler {
    Compiler::new(NODE, Arc::new(Keyring::generate([1; 32])))
}

fn zones() -> &'static Zones {
    static COMPILED: OnceLock<Zones> = OnceLock::new();
    COMPILED.get_or_init(|| compiler().follow(state()))
}

fn query(name: &str, rtype: RecordType) -> Vec<u8> {
    let name = Name::parse(name, None).expect("it is a name");
    let head = [0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    let opt = [0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0];
    [&head[..], name.as_wire(), &rtype.0.to_be_bytes(), &[0, 1], &opt].concat()
}

/// One answer: by what is asked for, in a zone like any other.
#[divan::bench(args = ["www A", "mail AAAA", "@ MX", "ftp A", "x.apps A", "nothing A", "@ SOA", "www TXT"])]
fn answered(bencher: Bencher<'_, '_>, question: &str) {
    let (owner, rtype) = question.split_once(' ').expect("an owner and a type");
    let owner = if owner == "@" { String::new() } else { format!("{owner}.") };
    let query = query(&format!("{owner}zone4711.example."), rtype.parse().expect("it is a type"));
    let asker = Asker { transport: Transport::Udp, peer: IpAddr::V4(Ipv4Addr::LOCALHOST), now: 0 };
    let (zones, mut out) = (zones(), [0; 1232]);
    bencher.bench_local(|| answer(zones, None, &asker, black_box(&query), &mut out));
}

/// The same as a thread for UDP answers it that was asked before.
#[divan::bench]
fn answered_again(bencher: Bencher<'_, '_>) {
    let query = query("www.zone4711.example.", RecordType::A);
    let asker = Asker { transport: Transport::Udp, peer: IpAddr::V4(Ipv4Addr::LOCALHOST), now: 0 };
    let (zones, mut out, mut kept) = (zones(), [0; 1232], Kept::default());
    bencher.bench_local(|| answer(zones, Some(&mut kept), &asker, black_box(&query), &mut out));
}

/// Names all over the zones, as real resolvers ask.
#[divan::bench]
fn answered_all_over(bencher: Bencher<'_, '_>) {
    let queries: Vec<_> =
        (0..ZONES).map(|at| query(&format!("www.zone{}.example.", at * 7919 % ZONES), RecordType::A)).collect();
    let asker = Asker { transport: Transport::Udp, peer: IpAddr::V4(Ipv4Addr::LOCALHOST), now: 0 };
    let (zones, mut out, mut at) = (zones(), [0; 1232], 0);
    bencher.bench_local(|| {
        at = (at + 1) % ZONES;
        answer(zones, None, &asker, black_box(&queries[at]), &mut out)
    });
}

/// One record set changed, from the state to what is answered from.
#[divan::bench]
fn one_change_followed(bencher: Bencher<'_, '_>) {
    let (mut state, mut compiler, mut number) = (state().clone(), compiler(), 0_u32);
    compiler.follow(&state);
    bencher.bench_local(|| {
        number += 1;
        let value = format!("192.0.2.{}", number % 250);
        apply(&mut state, put(zone(number as usize % ZONES), "www", RecordType::A, &value));
        compiler.follow(black_box(&state))
    });
}

/// All of it, as at a start.
#[divan::bench]
fn everything_compiled(bencher: Bencher<'_, '_>) {
    let state = state();
    bencher.with_inputs(compiler).bench_local_values(|mut compiler| compiler.follow(state));
}
