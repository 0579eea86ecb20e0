//! The disk of a node is full: changes wait or are refused, everything committed is served, and when there is space again it goes
//! on by itself. On a small tmpfs of its own, so as root only.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::time::{Duration, Instant};

use ruche::base::ids::{ClusterId, NodeId};
use ruche::base::names::NodeName;
use ruche::cluster::member::Member;
use ruche::cluster::peer::book::Book;
use ruche::cluster::peer::messages::Members;
use ruche::ops::blocking::Blocking;
use ruche::ops::board::Board;
use ruche::ops::tasks::Tasks;
use ruche::seal::Sealed;
use ruche::seal::keyring::KeyId;
use ruche::store::node::Store;
use ruche::tls::peer::{PeerKey, generate};
use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::chance::Chance;
use support::faults::SmallDisk;
use support::http::Answer;
use support::load::{self, Outcome, Writer};
use support::node::Node;
use support::until;

const DISK_KIB: usize = 32 << 10;
/// How long a change waits for its outcome, and some more.
const UNKNOWN_AFTER: Duration = Duration::from_secs(10);

/// The disk is declared last, so that it is unmounted before the node removes its directory.
fn node_on_a_small_disk() -> Option<(Node, SmallDisk)> {
    let dir = tempfile::Builder::new().prefix("ruche-test-").tempdir().unwrap();
    let disk = SmallDisk::mount(&dir.path().join("disk"), DISK_KIB)?;
    let data = disk.path().join("data");
    let mut node = Node::with_data(dir, data);
    node.start();
    Some((node, disk))
}

/// Fills the disk under load until no writer gets anything done; returns the answers that are no successes.
fn fill_under_load(disk: &SmallDisk, node: &Node, writers: &mut [Writer]) -> Vec<Answer> {
    std::thread::scope(|scope| {
        let running: Vec<_> = writers
            .iter_mut()
            .map(|writer| {
                scope.spawn(move || {
                    loop {
                        match writer.step() {
                            Outcome::Done => {}
                            Outcome::Refused(answer) | Outcome::Unknown(Some(answer)) => return answer,
                            Outcome::Unknown(None) => panic!("the connection broke"),
                        }
                    }
                })
            })
            .collect();
        until(30, "the writers are under way", || (load::revision(node) > 50).then_some(()));
        disk.fill();
        running.into_iter().map(|writer| writer.join().unwrap()).collect()
    })
}

/// What a node with a full disk still does.
fn serves(node: &Node) {
    let refused = node.post("/v1/accounts", json!({"name": "late"}));
    assert_eq!((refused.status, refused.code()), (507, "disk-full"), "{}", refused.text);
    assert!(refused.json["remedy"].as_str().unwrap().contains("Free space"));
    assert_eq!(node.all("/v1/accounts").len(), node.get("/v1/status").json["counts"]["accounts"]);
    assert_eq!(node.get("/v1/events").status, 200);
    let pulse = node.get("/healthz");
    assert!(pulse.status == 503 && pulse.text.contains("the disk is full"), "{}", pulse.text);
}

/// Gives the space back and waits until changes are taken again.
fn heal(disk: &SmallDisk, node: &Node) {
    disk.free();
    let freed = Instant::now();
    until(30, "changes are taken again", || {
        node.post("/v1/accounts", json!({"name": "again"})).is_done().then_some(())
    });
    println!("healed {:?} after there was space", freed.elapsed());
    assert!(freed.elapsed() < Duration::from_secs(5), "healed too late");
    node.ask("DELETE", "/v1/accounts/again", None, &[]).done();
    assert_eq!(node.get("/healthz").status, 200, "{}", node.get("/healthz").text);
}

#[test]
fn changes_go_on_by_themselves_when_there_is_space() {
    let Some((node, disk)) = node_on_a_small_disk() else { return };
    let mut chance = Chance::of_this_run();
    let mut writers: Vec<Writer> = (0..8).map(|number| Writer::new(&node, number, chance.fork())).collect();
    // A checkpoint may be what finds the disk full, while no change is under way.
    let filled = (0..5).find_map(|round| {
        if round > 0 {
            heal(&disk, &node);
        }
        let started = Instant::now();
        let answers = fill_under_load(&disk, &node, &mut writers);
        let unknown = answers.iter().filter(|answer| answer.status == 504).count();
        println!("{unknown} outcome-unknown, {} disk-full", answers.len() - unknown);
        (unknown > 0).then(|| (answers, started.elapsed()))
    });
    let (answers, waited) = filled.expect("somebody's change was under way");
    assert!(waited >= UNKNOWN_AFTER, "given up after {waited:?}");
    let unknown: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 504).collect();
    for answer in &answers {
        assert!(
            matches!((answer.status, answer.code()), (504, "outcome-unknown") | (507, "disk-full")),
            "{}",
            answer.text
        );
    }
    serves(&node);
    let ids: Vec<&str> = unknown.iter().map(|answer| answer.json["request_id"].as_str().unwrap()).collect();
    for id in &ids {
        // One may have found a last corner of the disk after its writer had given up.
        let outcome = node.get(&format!("/v1/requests/{id}"));
        // Or it waited at the door, which has refused it since.
        let said = (outcome.status, outcome.code());
        assert!(matches!(said, (200, "") | (409, "undecided") | (404, "not-found")), "{}", outcome.text);
    }
    heal(&disk, &node);
    for id in ids {
        let outcome = node.get(&format!("/v1/requests/{id}?consistent=true"));
        // Either it was handed over, and once there is space it is done; or it waited at the door until that refused it.
        assert!(matches!(outcome.status, 200 | 404), "{}", outcome.text);
    }
    writers.iter_mut().for_each(Writer::settle);
    load::compare(&node, &writers);
}

#[test]
fn a_node_restarts_on_a_full_disk() {
    let Some((mut node, disk)) = node_on_a_small_disk() else { return };
    let mut chance = Chance::of_this_run();
    let mut writers: Vec<Writer> = (0..8).map(|number| Writer::new(&node, number, chance.fork())).collect();
    fill_under_load(&disk, &node, &mut writers);
    for stop in [true, false] {
        let lines = node.log_lines();
        let asked = Instant::now();
        if stop {
            assert!(node.term().success());
            println!("stopped in {:?} on a full disk", asked.elapsed());
            assert!(asked.elapsed() < Duration::from_secs(15), "the stop took {:?}", asked.elapsed());
        } else {
            node.kill();
        }
        // What the stop gave back is taken again.
        disk.free();
        disk.fill();
        node.spawn();
        until(30, "it is ready", || {
            assert!(!node.has_ended(), "it does not start on a full disk:\n{}", node.log());
            node.log_after(lines).contains(" ready ").then_some(())
        });
        let sites = node.get("/v1/sites");
        assert_eq!(sites.status, 200);
        assert!(!sites.json["items"].as_array().unwrap().is_empty());
    }
    heal(&disk, &node);
    let status = node.get("/v1/status").json;
    let raft = status["board"].as_array().unwrap().iter().find(|entry| entry["name"] == "raft").unwrap().clone();
    assert_eq!(raft["health"], "green", "{raft}");
    writers.iter_mut().for_each(Writer::settle);
    load::compare(&node, &writers);
}

/// The disk is full when a node wants to lead for the first time: it founds its cluster when there is space.
#[test]
fn a_first_start_that_met_a_full_disk_founds_its_cluster_later() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&dir.path().join("disk"), 512) else { return };
    let runtime = ruche::daemon::start::control_runtime().unwrap();
    runtime.block_on(async {
        let store = Store::open(disk.path()).unwrap();
        disk.fill();
        let key = PeerKey::read(&generate().unwrap()).unwrap();
        let book = Book::new(NodeId(1), key, store.machine.snapshot(), Members::default());
        let blocking = Blocking::new(tokio::runtime::Handle::current());
        let (member, proposals) = Member::start(store, book, blocking).await.unwrap();
        let board = Board::default();
        let tasks = Tasks::new(board.clone(), tokio::runtime::Handle::current());
        member.run(&tasks, &board, proposals);
        assert!(!member.lead().await.unwrap_or(false), "there was space");
        let later = member.clone();
        let led = tokio::spawn(async move { later.is_led().await });
        disk.free();
        tokio::time::timeout(Duration::from_secs(30), led).await.unwrap().unwrap().unwrap();
        let key_check = Sealed { key_id: KeyId(1), nonce: [0; 24], bytes: Vec::new() };
        member.found(ClusterId(1), NodeName::parse("late").unwrap(), key_check).await.unwrap();
        assert!(member.is_founded());
        tasks.stop(Duration::from_secs(1)).await;
        member.stop(&Blocking::new(tokio::runtime::Handle::current())).await;
    });
}
