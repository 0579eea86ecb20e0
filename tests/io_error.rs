//! The disk fails: a sync or a write of a database ends with an error (strace injects it). Serving goes on, changes stop, nothing
//! is synced again, and after a restart everything acknowledged is there. A disk that is only full heals by itself.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;

use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::chance::Chance;
use support::faults::Tracer;
use support::load::{self, Outcome, Writer};
use support::node::Node;
use support::until;

/// Writes from one connection until one does not succeed.
fn write_until_it_fails(writer: &mut Writer) -> Outcome {
    for _ in 0..2000 {
        match writer.step() {
            Outcome::Done => {}
            other => return other,
        }
    }
    panic!("2,000 changes and none met the fault");
}

/// A fault of one file's calls of one kind, from the first one on.
fn inject(node: &Node, file: &str, call: &str, error: &str) -> Tracer {
    let path = node.data.join(file).display().to_string();
    let fault = format!("inject={call}:error={error}:when=1+");
    Tracer::attach(
        node.pid(),
        &node.path("trace"),
        &["-P", &path, "-e", "trace=pwrite64,fdatasync,fsync", "-e", &fault],
    )
}

/// What becomes of the change that is under way when the fault comes.
#[derive(Debug, Clone, Copy)]
enum Expected {
    Unknown,
    /// It was safe before the fault came; the next one is refused, or unknown if it came at the same time.
    Either,
}

/// What holds for every error that is not a full disk.
fn poisons(file: &str, call: &str, under_way: Expected) {
    let mut chance = Chance::of_this_run();
    let mut node = Node::ready();
    let mut writers = vec![Writer::new(&node, 0, chance.fork())];
    let from = load::revision(&node);
    for _ in 0..20 {
        assert!(matches!(writers[0].step(), Outcome::Done));
    }
    let tracer = inject(&node, file, call, "EIO");
    let answer = match (write_until_it_fails(&mut writers[0]), under_way) {
        (Outcome::Unknown(Some(answer)), _) if answer.code() == "outcome-unknown" => answer,
        (Outcome::Refused(answer), Expected::Either) if answer.code() == "store-failed" => answer,
        (other, _) => panic!("the change under way must be {under_way:?}, the answer was {other:?}"),
    };
    let request = answer.json["request_id"].as_str().unwrap().to_owned();
    let revision = load::revision(&node);

    for number in 0..3 {
        let refused = node.post("/v1/accounts", json!({"name": format!("late{number}")}));
        assert_eq!((refused.status, refused.code()), (503, "store-failed"), "{}", refused.text);
    }
    for path in ["/v1/sites", "/v1/accounts", "/v1/events", "/v1/openapi.json", "/metrics"] {
        assert_eq!(node.get(path).status, 200, "{path}");
    }
    for path in ["/healthz", "/readyz"] {
        let pulse = node.get(path);
        assert_eq!((pulse.status, &pulse.json["ok"]), (503, &json!(false)), "{path}");
        assert!(pulse.text.contains("restart"), "{path} does not say what to do: {}", pulse.text);
    }
    let outcome = node.get(&format!("/v1/requests/{request}"));
    let told = if answer.status == 504 { (409, "undecided") } else { (404, "not-found") };
    assert_eq!((outcome.status, outcome.code()), told, "nobody knows before the restart");
    assert_eq!(load::revision(&node), revision, "a failed store must not move");
    assert!(node.term().success());
    drop(tracer);
    let trace = fs::read_to_string(node.path("trace")).unwrap();
    let calls = |name: &str| trace.lines().filter(|line| line.contains(&format!(" {name}("))).count();
    let injected = trace.lines().filter(|line| line.contains("INJECTED")).count();
    assert_eq!(injected, 1, "what failed was tried again:\n{trace}");
    let last = trace.lines().position(|line| line.contains("INJECTED")).unwrap();
    let synced = trace.lines().skip(last + 1).filter(|line| line.contains("sync("));
    assert_eq!(
        synced.count(),
        0,
        "a database was synced again after its failure ({} before):\n{trace}",
        calls("fdatasync")
    );

    node.start();
    assert_eq!(node.get("/readyz").status, 200);
    writers[0].settle();
    load::compare(&node, &writers);
    load::compare_events(&node, &writers, from);
    for _ in 0..20 {
        assert!(matches!(writers[0].step(), Outcome::Done));
    }
    load::compare(&node, &writers);
}

#[test]
fn a_failed_sync_of_the_log_stops_changes_until_a_restart() {
    poisons("log.db-wal", "fdatasync", Expected::Unknown);
}

#[test]
fn a_failed_write_of_the_log_stops_changes_until_a_restart() {
    poisons("log.db-wal", "pwrite64", Expected::Unknown);
}

#[test]
fn a_failed_checkpoint_of_the_log_stops_changes_until_a_restart() {
    poisons("log.db", "fdatasync", Expected::Either);
}

#[test]
fn a_failed_write_of_the_state_stops_changes_until_a_restart() {
    // The log has the change that finds it out; `state.db` follows behind the answers.
    poisons("state.db-wal", "pwrite64", Expected::Either);
}

/// The disk is full for a while: what is under way waits and is done, nothing else is taken, nothing is lost.
fn heals(file: &str) {
    let mut chance = Chance::of_this_run();
    let node = Node::ready();
    let mut writers: Vec<Writer> = (0..4).map(|number| Writer::new(&node, number, chance.fork())).collect();
    let from = load::revision(&node);
    for writer in &mut writers {
        assert!(matches!(writer.step(), Outcome::Done));
    }
    let tracer = inject(&node, file, "pwrite64", "ENOSPC");
    let full = std::sync::atomic::AtomicBool::new(false);
    let stopped = || full.load(std::sync::atomic::Ordering::SeqCst);
    std::thread::scope(|scope| {
        let writing = &mut writers;
        scope.spawn(move || load::run(writing, &["disk-full"], &stopped));
        until(30, "the disk is found full", || node.log().contains("the disk is full").then_some(()));
        full.store(true, std::sync::atomic::Ordering::SeqCst);
        let refused = node.post("/v1/accounts", json!({"name": "late"}));
        assert_eq!((refused.status, refused.code()), (507, "disk-full"), "{}", refused.text);
        assert_eq!(node.get("/healthz").status, 503);
        for path in ["/v1/sites", "/v1/events"] {
            assert_eq!(node.get(path).status, 200, "{path}");
        }
        drop(tracer);
    });
    until(30, "changes are taken again", || {
        node.post("/v1/accounts", json!({"name": "again"})).is_done().then_some(())
    });
    assert_eq!(node.get("/healthz").status, 200);
    assert!(node.ask("DELETE", "/v1/accounts/again", None, &[]).is_done());
    writers.iter_mut().for_each(Writer::settle);
    load::compare(&node, &writers);
    assert!(load::revision(&node) > from);
}

#[test]
fn a_log_without_space_heals_by_itself() {
    heals("log.db-wal");
}

#[test]
fn a_state_without_space_heals_by_itself() {
    heals("state.db-wal");
}
