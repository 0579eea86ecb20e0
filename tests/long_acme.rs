//! Issuers that mean harm, for minutes: what their work costs visitors, and what of them stays in memory. Prints its figures.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::issuer::Stub;
use support::measure::{is_judged, rss_kib};
use support::sites::{Sites, asks_for_fine};

const EACH: Duration = Duration::from_secs(90);
/// Between two requests: a small machine is not asked all the time.
const PACE: Duration = Duration::from_millis(5);
const HARMS: [&str; 7] = ["hang", "garbage", "endless", "trickle", "broken", "nonce", "reset"];
/// Of each issuer a certificate store and a buffer may be kept for a while.
const GROWTH_MAX_KIB: u64 = 24 << 10;

/// How long requests take on one connection, until told to stop.
fn asked(sites: &Sites, over: &AtomicBool) -> Vec<Duration> {
    let mut stream = sites.tls(Some("one.example"), &["http/1.1"]).unwrap();
    let mut times = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        asks_for_fine(&mut stream);
        times.push(begun.elapsed());
        std::thread::sleep(PACE);
    }
    times.sort();
    times
}

fn p99(times: &[Duration]) -> Duration {
    times[times.len() * 99 / 100]
}

/// Names an issuer nobody has heard of for each site, so that none is left alone for long: it is asked at once.
fn harm(sites: &Sites, stub: &Stub, round: usize) {
    for (at, how) in HARMS.iter().enumerate() {
        let (new, old) = (format!("i{round}-{at}"), format!("i{}-{at}", round.wrapping_sub(2)));
        stub.issuer(
            &sites.node,
            &new,
            &if round.is_multiple_of(2) { format!("{how}/dir") } else { format!("{how}/at-once") },
        );
        sites.set(&format!("s{at}.harm.example"), json!({"issuer": new}));
        // One that holds an order is in use still.
        sites.node.ask("DELETE", &format!("/v1/issuers/{old}"), None, &[]);
    }
}

#[test]
#[ignore = "long: three minutes"]
fn what_issuers_do_is_not_felt() {
    let sites = Sites::ready();
    let root = sites.create("one.example", json!({}));
    fs::write(root.join("index.html"), "fine").unwrap();
    for at in 0..HARMS.len() {
        sites.create(&format!("s{at}.harm.example"), json!({"issuer": "internal"}));
    }
    let dir = tempfile::tempdir().unwrap();
    let stub = Stub::alone(dir.path());
    let measured = |meanwhile: &dyn Fn(usize)| {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| asked(&sites, &over));
            let (begun, mut round) = (Instant::now(), 0);
            while begun.elapsed() < EACH {
                meanwhile(round);
                round += 1;
                std::thread::sleep(Duration::from_secs(3));
            }
            over.store(true, Ordering::Relaxed);
            (asking.join().unwrap(), round)
        })
    };
    let (quiet, _) = measured(&|_| {});
    harm(&sites, &stub, 0);
    std::thread::sleep(Duration::from_secs(5));
    let before = rss_kib(sites.node.pid());
    let (hostile, rounds) = measured(&|round| harm(&sites, &stub, round + 1));
    let after = rss_kib(sites.node.pid());
    println!(
        "{} s with {} issuers that mean harm: p99 {:?} of {} requests, without them {:?} of {}; memory {} KiB, before {} KiB",
        EACH.as_secs(),
        rounds * HARMS.len(),
        p99(&hostile),
        hostile.len(),
        p99(&quiet),
        quiet.len(),
        after,
        before,
    );
    let plan = sites.node.get("/v1/certificates/plan").done().text;
    assert!(plan.contains("harm.example") && !plan.contains("\"order\""), "{plan}");
    assert!(after < before + GROWTH_MAX_KIB, "{after} KiB after {before} KiB");
    if is_judged() {
        assert!(p99(&hostile) <= p99(&quiet).mul_f64(1.2) + Duration::from_millis(1));
    }
}
