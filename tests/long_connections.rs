//! Ten thousand visitors who say nothing, each over TLS: what they cost, and what the next visitor notices. Prints its figures.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::measure::{is_judged, pss_kib};
use support::sites::{Sites, asks_for_fine};
use support::until;

const IDLE: usize = 10_000;
/// Below what one address may have.
const PER_ADDRESS: usize = 500;
const TRIES: usize = 50;
const ANSWER_MAX: Duration = Duration::from_millis(100);
const PSS_MAX_KIB: u64 = 400 << 10;

#[test]
#[ignore = "long: ten thousand connections"]
fn ten_thousand_idle_visitors_keep_nobody_waiting() {
    let sites = Sites::ready();
    let may = ruche::ops::descriptors::raise();
    assert!(may > IDLE + 500, "{may} descriptors are too few for this test");
    let root = sites.create("one.example", json!({}));
    fs::write(root.join("index.html"), "fine").unwrap();
    asks_for_fine(&mut sites.tls(Some("one.example"), &["http/1.1"]).unwrap());
    let (before, begun) = (pss_kib(sites.node.pid()), Instant::now());
    // Some are kept whole, to ask at the end; of the others the socket is enough.
    let (mut whole, mut idle) = (Vec::new(), Vec::<TcpStream>::new());
    for number in 0..IDLE {
        let from = [127, 0, 1 + (number / PER_ADDRESS / 200) as u8, 2 + (number / PER_ADDRESS % 200) as u8];
        let alpn = if number % 2 == 0 { "http/1.1" } else { "h2" };
        let stream = sites.tls_from(from.into(), Some("one.example"), &[alpn]).unwrap();
        if number % 100 == 0 { whole.push(stream) } else { idle.push(stream.into_parts().1) }
    }
    let took = begun.elapsed();
    until(60, "all are counted", || (sites.metric("ruche_web_connections") >= IDLE as u64).then_some(()));
    let each = pss_kib(sites.node.pid()).saturating_sub(before) as f64 / IDLE as f64;
    let mut times: Vec<Duration> = (0..TRIES)
        .map(|_| {
            let begun = Instant::now();
            asks_for_fine(&mut sites.tls(Some("one.example"), &["http/1.1"]).unwrap());
            begun.elapsed()
        })
        .collect();
    times.sort();
    let (median, slowest) = (times[TRIES / 2], times[TRIES - 1]);
    let pss = pss_kib(sites.node.pid());
    println!(
        "{IDLE} idle TLS connections, made in {took:?}: {each:.1} KiB each, PSS {pss} KiB in all; \
         connection, handshake and page for one more: median {median:?}, slowest of {TRIES} {slowest:?}"
    );
    whole.iter_mut().for_each(asks_for_fine);
    if is_judged() {
        assert!(slowest < ANSWER_MAX && pss < PSS_MAX_KIB);
    }
    drop((whole, idle));
    until(60, "they are gone", || (sites.metric("ruche_web_connections") == 0).then_some(()));
    println!("when they are gone: PSS {} KiB", pss_kib(sites.node.pid()));
    sites.is_well("one.example");
}
