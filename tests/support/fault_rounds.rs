//! Three nodes, writers on all of them, and one fault after the other: killed, frozen, stopped, two at a time. What was acknowledged
//! is on every node afterwards, whoever led.
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::chance::Chance;
use crate::support::cluster::Cluster;
use crate::support::http::Client;
use crate::support::until;

/// Rounds between two comparisons of all that was written.
const COMPARED_EVERY: usize = 10;

#[derive(Debug, Default)]
struct Written {
    /// What was acknowledged, and when the last of it was.
    zones: BTreeSet<String>,
    last: Option<Instant>,
    /// The longest time without an acknowledgement since somebody last asked.
    gap: Duration,
}

impl Written {
    fn note(&mut self, zone: String) {
        let now = Instant::now();
        self.gap = self.gap.max(self.last.map_or(Duration::ZERO, |last| now - last));
        self.last = Some(now);
        self.zones.insert(zone);
    }
}

pub fn run(rounds: usize) {
    let mut chance = Chance::of_this_run();
    let mut cluster = Cluster::of(3);
    let sockets: Vec<PathBuf> = cluster.nodes.iter().map(|node| node.socket()).collect();
    let (written, over) = (Mutex::new(Written::default()), AtomicBool::new(false));
    let mut gaps = Vec::new();
    std::thread::scope(|threads| {
        for writer in 0..3 {
            let (sockets, written, over, chance) = (&sockets, &written, &over, chance.fork());
            threads.spawn(move || write(writer, sockets, chance, written, over));
        }
        for round in 1..=rounds {
            let fault = break_something(&mut cluster, &mut chance);
            let before = written.lock().unwrap().zones.len();
            until(60, "changes are acknowledged again", || {
                (written.lock().unwrap().zones.len() > before + 3).then_some(())
            });
            let gap = std::mem::take(&mut written.lock().unwrap().gap);
            println!("round {round}: {fault}, longest silence {} ms", gap.as_millis());
            gaps.push(gap);
            if round % COMPARED_EVERY == 0 || round == rounds {
                compare(&cluster, &written);
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    compare(&cluster, &written);
    gaps.sort_unstable();
    let (count, middle) = (written.lock().unwrap().zones.len(), gaps[gaps.len() / 2].as_millis());
    let most = gaps.last().map_or(0, Duration::as_millis);
    println!(
        "{rounds} rounds, {count} changes acknowledged, 0 lost; longest silence: median {middle} ms, at most {most} ms"
    );
}

/// Makes zones through any of the nodes, each until it is known to be there.
fn write(writer: usize, sockets: &[PathBuf], mut chance: Chance, written: &Mutex<Written>, over: &AtomicBool) {
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        let zone = format!("w{writer}-{number}.example");
        let mut client = Client::new(&sockets[chance.below(sockets.len())]);
        let made = client.ask("POST", "/v1/zones", Some(&json!({"name": zone})), &[]);
        match made {
            // 409: a try whose answer was lost was taken.
            Ok(answer) if matches!(answer.status, 200 | 201 | 409) => {
                written.lock().unwrap().note(zone);
                number += 1;
            }
            Ok(answer) => assert!(matches!(answer.status, 503 | 504), "{}", answer.text),
            // Killed, or not there yet.
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One fault from its beginning to its end; says which.
fn break_something(cluster: &mut Cluster, chance: &mut Chance) -> &'static str {
    let leader = until(30, "somebody leads", || cluster.leader(0).filter(|leader| cluster.leader(*leader).is_some()));
    let at = if chance.below(2) == 0 { leader } else { chance.below(3) };
    let wait = Duration::from_millis(chance.below(3000) as u64);
    match chance.below(5) {
        0 | 1 => {
            cluster.nodes[at].kill();
            std::thread::sleep(wait);
            cluster.nodes[at].start();
            if at == leader { "the leader was killed" } else { "a node was killed" }
        }
        2 => {
            cluster.nodes[at].signal(Signal::STOP);
            std::thread::sleep(wait + Duration::from_secs(1));
            cluster.nodes[at].signal(Signal::CONT);
            if at == leader { "the leader was frozen" } else { "a node was frozen" }
        }
        3 => {
            cluster.nodes[at].restart();
            if at == leader { "the leader was restarted" } else { "a node was restarted" }
        }
        _ => {
            let other = (at + 1) % 3;
            cluster.nodes[at].kill();
            cluster.nodes[other].kill();
            std::thread::sleep(wait);
            cluster.nodes[at].start();
            cluster.nodes[other].start();
            "two nodes were killed"
        }
    }
}

/// Every node has what was acknowledged, and the same state.
fn compare(cluster: &Cluster, written: &Mutex<Written>) {
    let acknowledged = written.lock().unwrap().zones.clone();
    for (at, node) in cluster.nodes.iter().enumerate() {
        until(60, "a node has all that was acknowledged", || {
            let held = node.all("/v1/zones");
            let held: BTreeSet<&str> = held.iter().filter_map(|zone| zone["name"].as_str()).collect();
            let lost = acknowledged.iter().filter(|zone| !held.contains(zone.as_str())).count();
            if lost > 0 {
                println!("node {at} lacks {lost} of {}", acknowledged.len());
                std::thread::sleep(Duration::from_millis(200));
            }
            (lost == 0).then_some(())
        });
        let seen = node.get("/v1/cluster").done().json;
        let nodes = seen["nodes"].as_array().unwrap();
        assert!(nodes.iter().all(|node| node["differs"] != true), "{seen}");
    }
}
