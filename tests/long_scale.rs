//! 10,000 sites and 10,000 zones of 12 records: how soon the node is ready, what each takes, how long a change takes then.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::time::{Duration, Instant};

use serde_json::{Value, json};

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::ear::Ear;
use support::http::Client;
use support::measure::{is_judged, pss_kib, rss_kib};
use support::node::Node;

const OBJECTS: usize = 10_000;
const CONNECTIONS: usize = 32;
const READY_MAX: Duration = Duration::from_secs(1);
const KIB_EACH_MAX: f64 = 3.0;

fn site(number: usize) -> Vec<(&'static str, String, Value)> {
    let body = json!({"host": format!("site{number}.example.org"), "www": "redirect", "handler": {"type": "static"}});
    vec![("POST", "/v1/sites".into(), body)]
}

/// Two name servers and ten more records.
fn zone(number: usize) -> Vec<(&'static str, String, Value)> {
    let name = format!("zone{number}.example");
    let create = json!({"name": name, "nameservers": ["ns1.example.net", "ns2.example.net"]});
    let low = number % 250 + 1;
    let records = [
        ("@", "A", format!("192.0.2.{low}")),
        ("@", "AAAA", format!("2001:db8::{low}")),
        ("@", "MX", "10 mail.example.net.".into()),
        ("@", "TXT", "\"v=spf1 mx -all\"".into()),
        ("www", "CNAME", "@".into()),
        ("ftp", "A", format!("192.0.2.{low}")),
        ("mail", "A", format!("198.51.100.{low}")),
        ("_dmarc", "TXT", "\"v=DMARC1; p=none\"".into()),
        ("_imaps._tcp", "SRV", "0 1 993 mail.example.net.".into()),
        ("@", "CAA", "0 issue \"letsencrypt.org\"".into()),
    ];
    let put = records.map(|(owner, rtype, value)| {
        ("PUT", format!("/v1/zones/{name}/records/{owner}/{rtype}"), json!({"ttl": 3600, "values": [value]}))
    });
    [("POST", "/v1/zones".to_owned(), create)].into_iter().chain(put).collect()
}

fn make(node: &Node, what: &str, requests: fn(usize) -> Vec<(&'static str, String, Value)>) {
    let started = Instant::now();
    let count: usize = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..CONNECTIONS)
            .map(|first| {
                scope.spawn(move || {
                    let (mut client, mut count) = (node.client(), 0);
                    for (method, path, body) in (first..OBJECTS).step_by(CONNECTIONS).flat_map(requests) {
                        client.ask(method, &path, Some(&body), &[]).unwrap().done();
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    let seconds = started.elapsed().as_secs_f64();
    println!("{OBJECTS} {what}: {count} changes in {seconds:.1} s, {:.0}/s", count as f64 / seconds);
}

/// Restarts and gives the time to READY, PSS and RSS.
fn fresh(node: &mut Node, ear: &mut Ear, what: &str) -> (Duration, u64, u64) {
    assert!(node.term().success());
    ear.hears("STOPPING=1");
    let started = Instant::now();
    node.spawn();
    ear.hears("READY=1");
    let ready = started.elapsed();
    node.get("/v1/status").done();
    let (pss, rss) = (pss_kib(node.pid()), rss_kib(node.pid()));
    println!("{what}: ready in {ready:?}, PSS {pss} KiB, RSS {rss} KiB");
    (ready, pss, rss)
}

fn each_kib(more: (Duration, u64, u64), less: (Duration, u64, u64)) -> f64 {
    let each = |more: u64, less: u64| more.saturating_sub(less) as f64 / OBJECTS as f64;
    each(more.1, less.1).max(each(more.2, less.2))
}

fn change_one_by_one(client: &mut Client) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..500)
        .map(|number| {
            let path = format!("/v1/sites/site{}.example.org", number * 17 % OBJECTS);
            let started = Instant::now();
            client.ask("PATCH", &path, Some(&json!({"quota": number + 1})), &[]).unwrap().done();
            started.elapsed()
        })
        .collect();
    times.sort();
    times
}

#[test]
#[ignore = "long: 120,000 changes"]
fn ten_thousand_sites_and_zones_are_no_burden() {
    let mut node = Node::new();
    let mut ear = Ear::of(&mut node);
    node.spawn();
    ear.hears("READY=1");
    let empty = fresh(&mut node, &mut ear, "empty");
    make(&node, "sites", site);
    let sites = fresh(&mut node, &mut ear, "with sites");
    make(&node, "zones", zone);
    let both = fresh(&mut node, &mut ear, "with sites and zones");
    let (site, zone) = (each_kib(sites, empty), each_kib(both, sites));
    println!("{site:.2} KiB a site, {zone:.2} KiB a zone");
    let times = change_one_by_one(&mut node.client());
    println!("one change of a site: p50 {:?}, p99 {:?}", times[times.len() / 2], times[times.len() * 99 / 100]);
    node.kill();
    let started = Instant::now();
    node.spawn();
    ear.hears("READY=1");
    println!("after a kill: ready in {:?}", started.elapsed());
    if is_judged() {
        assert!(both.0 <= READY_MAX, "ready after {:?}", both.0);
        assert!(site <= KIB_EACH_MAX && zone <= KIB_EACH_MAX);
    }
}
