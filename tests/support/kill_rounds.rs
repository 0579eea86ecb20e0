//! Rounds of load, kill -9, restart and comparison.
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::chance::Chance;
use crate::support::load::{self, Writer};
use crate::support::node::Node;

const WRITERS: usize = 8;
/// Acknowledged requests that are sent again after later kills.
const REPEATED: usize = 4;

pub fn run(rounds: usize) {
    let mut chance = Chance::of_this_run();
    let mut node = Node::ready();
    let mut writers: Vec<Writer> = (0..WRITERS).map(|number| Writer::new(&node, number, chance.fork())).collect();
    let mut checked = load::revision(&node);
    let (started, mut changes, mut starts) = (Instant::now(), 0u64, Vec::new());
    for round in 0..rounds {
        let life = Duration::from_millis(20 + chance.below(300) as u64);
        std::thread::scope(|scope| {
            let writing = &mut writers;
            scope.spawn(move || load::run(writing, &[], &|| false));
            // Not a wait for something: the length of this life.
            std::thread::sleep(life);
            node.kill();
        });
        while chance.below(4) == 0 {
            // A start may be killed too, in the midst of recovering.
            node.spawn();
            std::thread::sleep(Duration::from_millis(chance.below(60) as u64));
            node.kill();
        }
        let start = Instant::now();
        node.start();
        starts.push(start.elapsed());

        let acknowledged = writers.iter().flat_map(|writer| &writer.acknowledged).map(|done| done.revision).max();
        let now = load::revision(&node);
        assert!(now >= acknowledged.unwrap_or(checked), "round {round}: the revision went back to {now}");
        writers.iter_mut().for_each(Writer::settle);
        load::compare(&node, &writers);
        load::compare_events(&node, &writers, checked);
        checked = load::revision(&node);
        for writer in &mut writers {
            changes += writer.acknowledged.len() as u64;
            repeat(writer, &mut chance, checked);
        }
        assert_eq!(load::revision(&node), checked, "a repeated request changed something");
    }
    starts.sort();
    println!(
        "{rounds} kills, {changes} acknowledged changes, 0 lost, in {:.0} s; start p50 {:?}, slowest {:?}",
        started.elapsed().as_secs_f64(),
        starts[starts.len() / 2],
        starts[starts.len() - 1]
    );
}

/// An answer without what is said of the present: whether it is served, and what a zone's records make of it.
fn lasting(answer: &Value) -> Value {
    let mut lasting = answer.clone();
    lasting
        .as_object_mut()
        .unwrap()
        .retain(|field, _| !["served", "nameservers", "warnings"].contains(&field.as_str()));
    lasting
}

/// Sends some acknowledged requests again: the same answer at the same revision, and nothing happens.
fn repeat(writer: &mut Writer, chance: &mut Chance, checked: u64) {
    let acknowledged = std::mem::take(&mut writer.acknowledged);
    for _ in 0..REPEATED.min(acknowledged.len()) {
        let done = &acknowledged[chance.below(acknowledged.len())];
        let again = writer.send(&done.request).unwrap();
        assert_eq!(again.header("idempotency-replayed"), Some("true"), "{:?}: {}", done.request, again.text);
        assert_eq!((again.status, lasting(&again.json)), (done.status, lasting(&done.json)), "{:?}", done.request);
        assert_eq!(again.header("ruche-request-id"), Some(done.request_id.as_str()));
        assert!(done.revision <= checked);
    }
}
