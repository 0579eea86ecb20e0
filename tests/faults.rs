//! Three nodes through faults drawn by chance, each on a machine of its own where that can be had; `long_cluster.rs` has a hundred
//! rounds. And clusters that do lose and forget, which the checker must see.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

#[path = "support/fault_rounds.rs"]
mod fault_rounds;
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use ruche::base::clock::Time;
use serde_json::json;

use fault_rounds::Rig;
use support::checker::{self, Written};
use support::cluster::Cluster;
use support::node::Node;
use support::until;

#[test]
fn no_acknowledged_change_is_lost_in_a_few_faults_of_three_nodes() {
    fault_rounds::run(8);
}

fn acknowledge(written: &mut Written, node: &Node, names: std::ops::Range<usize>) {
    for name in names.map(|number| format!("n{number}")) {
        let body = json!({"ttl": 300, "values": [checker::VALUE]});
        node.ask("PUT", &checker::path(&name), Some(body), &[]).done();
        written.note(name);
    }
}

/// Who is cut off and does not ask the quorum knows less than was acknowledged; who asks it is told that it cannot be had.
#[test]
fn the_checker_sees_a_stale_read_and_the_quorum_gives_none() {
    let rig = Rig::new();
    let Some(net) = &rig.net else { return };
    let leader = rig.leader();
    let (one, other) = ((leader + 1) % 3, (leader + 2) % 3);
    rig.cluster.agree(&[0, 1, 2]);
    net.part(one, &[leader, other]);
    let nodes = &rig.cluster.nodes;
    let mut written = Written::default();
    acknowledge(&mut written, &nodes[other], 0..1);
    let name = written.newest.clone().unwrap();
    let local = nodes[one].get(&checker::path(&name));
    written.read(one, &name, &local);
    assert_eq!(written.stale.len(), 1, "{}", local.text);
    let asked = nodes[one].get(&format!("{}?consistent=true", checker::path(&name)));
    assert_eq!((asked.status, asked.code()), (503, "no-quorum"), "{}", asked.text);
    // A leader that was cut off does not know that it leads no more.
    net.heal();
    rig.cluster.agree(&[0, 1, 2]);
    let leader = rig.leader();
    let (one, other) = ((leader + 1) % 3, (leader + 2) % 3);
    net.part(leader, &[one, other]);
    rig.cluster.leader_but(one, leader);
    until(20, "a change is acknowledged without it", || {
        let body = json!({"ttl": 300, "values": [checker::VALUE]});
        nodes[one].ask("PUT", &checker::path("late"), Some(body), &[]).is_done().then_some(())
    });
    let asked = nodes[leader].get(&format!("{}?consistent=true", checker::path("late")));
    assert_eq!((asked.status, asked.code()), (503, "no-quorum"), "{}", asked.text);
}

/// A node whose disk is full hears its leader and lacks what was changed since: it is not to be counted on, and says why.
#[test]
fn who_is_far_behind_is_not_ready() {
    let rig = Rig::new();
    let leader = rig.leader();
    let (late, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let Some(disk) = rig.disks.get(late) else { return };
    rig.cluster.agree(&[0, 1, 2]);
    disk.fill();
    let nodes = &rig.cluster.nodes;
    let mut written = Written::default();
    let mut asked = 0;
    let said = until(120, "it says that it is far behind", || {
        acknowledge(&mut written, &nodes[other], asked..asked + 50);
        asked += 50;
        let ready = nodes[late].get("/readyz");
        ready.text.contains("raft: far behind the leader: ").then_some(ready)
    });
    assert_eq!(said.status, 503, "{}", said.text);
    assert!(asked > 1000, "{asked}");
    let pulse = nodes[late].get("/healthz");
    assert!(!pulse.text.contains("far behind"), "that is no fault of the node itself: {}", pulse.text);
    disk.free();
    until(60, "it is ready again", || (nodes[late].get("/readyz").status == 200).then_some(()));
    rig.cluster.agree(&[0, 1, 2]);
}

/// Time never goes back, so one clock that is wrong must not move it; most of them may.
#[test]
fn a_clock_that_is_alone_with_its_time_moves_nothing() {
    const DAYS: i64 = 40 * 86_400;
    let mut rig = Rig::new();
    if !rig.clocks {
        return;
    }
    let (leader, started) = (rig.leader(), Time::now());
    let (one, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let ahead = |rig: &Rig, at: usize, by: i64| {
        fault_rounds::set_clock(&rig.cluster.nodes[at], by);
        let name = format!("pi-{at}");
        until(20, "its clock is ahead", || {
            let status = rig.cluster.nodes[(at + 1) % 3].get("/v1/cluster").json;
            let node = status["nodes"].as_array()?.iter().find(|node| node["name"] == name)?.clone();
            (node["clock_ahead"].as_i64()?.unsigned_abs() > DAYS.unsigned_abs() * 900).then_some(())
        });
    };
    // The time of a change, as the state has it.
    let made = |rig: &Rig, at: usize, zone: &str| {
        rig.cluster.write_at_last(at, zone);
        let created = rig.cluster.nodes[at].get(&format!("/v1/zones/{zone}")).done().json["created"].clone();
        Time::parse(created.as_str().unwrap()).unwrap()
    };
    ahead(&rig, leader, DAYS);
    for zone in 0..3 {
        let time = made(&rig, one, &format!("alone{zone}.example"));
        assert!(time.distance(started) < Duration::from_secs(3600), "{time}");
    }
    assert!(rig.cluster.nodes[leader].log().contains("most voters do not have the time of this node's clock"));
    // All of them have it: whoever leads next asks anew.
    for at in [one, other] {
        fault_rounds::set_clock(&rig.cluster.nodes[at], DAYS);
    }
    std::thread::sleep(Duration::from_secs(2));
    rig.cluster.nodes[leader].restart();
    rig.cluster.leader_but(one, leader);
    let time = made(&rig, one, "together.example");
    assert!(time > started.plus(Duration::from_secs(39 * 86_400)), "{time}");
}

/// Two of three disks are put back to what they held before: what was acknowledged meanwhile is gone, and the checker says so.
#[test]
fn the_checker_sees_what_was_lost() {
    let mut cluster = Cluster::of(3);
    cluster.nodes[0].post("/v1/zones", json!({"name": checker::ZONE})).done();
    let mut written = Written::default();
    acknowledge(&mut written, &cluster.nodes[1], 0..3);
    cluster.agree(&[0, 1, 2]);
    for at in 0..2 {
        assert!(cluster.nodes[at].term().success());
        let (data, old) = (cluster.nodes[at].data.clone(), cluster.nodes[at].path("old"));
        copy(&data, &old);
        cluster.nodes[at].start();
    }
    cluster.leader_but(0, 9);
    cluster.write_at_last(2, "led.example");
    acknowledge(&mut written, &cluster.nodes[2], 3..6);
    cluster.agree(&[0, 1, 2]);
    assert_eq!(checker::lost(&written.records, &checker::held(&cluster.nodes[0])), Vec::<String>::new());
    cluster.nodes[2].kill();
    for at in 0..2 {
        let (data, old) = (cluster.nodes[at].data.clone(), cluster.nodes[at].path("old"));
        cluster.nodes[at].kill();
        fs::remove_dir_all(&data).unwrap();
        fs::rename(old, data).unwrap();
    }
    cluster.nodes[..2].iter_mut().for_each(Node::spawn);
    cluster.nodes[..2].iter_mut().for_each(Node::wait_ready);
    cluster.write_at_last(0, "again.example");
    assert_eq!(checker::lost(&written.records, &checker::held(&cluster.nodes[0])), ["n3", "n4", "n5"]);
}

fn copy(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(done.success());
}
