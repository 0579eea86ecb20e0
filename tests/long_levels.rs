//! A cluster of two levels: nodes that know the next one beside nodes that do not, back and forth until the level is raised, and no
//! further back from then on. The later program is this one with a level more, built here.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::cluster::{node, ruche, token};
use support::node::{Node, binary};
use support::replaceable::{NODES, Replaceable};
use support::until;

/// This program with a level more: only what depends on the level is compiled again.
fn extra() -> PathBuf {
    let cargo = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--features", "extra-level", "--bin", "ruche-extra-level"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(cargo.unwrap().success());
    Path::new(env!("CARGO_BIN_EXE_ruche")).with_file_name("ruche-extra-level")
}

/// Has a node run another program, and waits until it says what it knows.
fn change(all: &Replaceable, at: usize, program: &Path, knows: u64) {
    all.give(at, program);
    all.hand_over(at);
    let name = format!("pi-{at}");
    until(60, "it says what it knows", || {
        let status = all.cluster.nodes[(at + 1) % NODES].get("/v1/cluster").json;
        let mut nodes = status["nodes"].as_array()?.iter();
        nodes.any(|node| node["name"] == name && node["knows"] == knows && node["answers"] == true).then_some(())
    });
}

fn level(node: &Node) -> u64 {
    node.get("/v1/cluster").done().json["level"].as_u64().unwrap()
}

/// One change through each node, and then all have the same.
fn written_everywhere(all: &Replaceable, round: usize) {
    for at in 0..NODES {
        all.cluster.write_at_last(at, &format!("r{round}-n{at}.example"));
    }
    all.cluster.agree(&[0, 1, 2]);
}

#[test]
#[ignore = "builds the program once more; run by `tests/run --long`"]
fn two_levels_work_together_and_only_all_of_them_raise() {
    let (old, extra) = (binary(), extra());
    let mut all = Replaceable::new();
    written_everywhere(&all, 0);
    // The first, and back again; then all but one.
    change(&all, 0, &extra, 2);
    written_everywhere(&all, 1);
    change(&all, 0, &old, 1);
    written_everywhere(&all, 2);
    for at in [0, 1] {
        change(&all, at, &extra, 2);
        written_everywhere(&all, 3 + at);
    }
    let refused = all.cluster.nodes[0].post("/v1/cluster/level", json!({"level": 2}));
    assert_eq!((refused.status, refused.json["code"].as_str()), (422, Some("invalid")), "{}", refused.json);
    assert!(refused.json["detail"].as_str().unwrap().contains("upgrade pi-2"), "{}", refused.json);
    let said = ruche(&all.cluster.nodes[2], &["cluster", "upgrade", "--raise", "--yes"]).unwrap();
    assert!(said.ends_with("The state is at level 1, and not all nodes know a newer one.\n"), "{said}");
    // All of them, and still at the level before.
    change(&all, 2, &extra, 2);
    written_everywhere(&all, 5);
    let said = ruche(&all.cluster.nodes[1], &["cluster", "upgrade"]).unwrap();
    assert!(said.contains("`ruche cluster upgrade --raise` raises it to 2"), "{said}");
    assert_eq!(level(&all.cluster.nodes[1]), 1);
    let said = ruche(&all.cluster.nodes[1], &["cluster", "upgrade", "--raise", "--yes"]).unwrap();
    assert!(said.ends_with("The state is at level 2.\n"), "{said}");
    until(10, "all are at it", || all.cluster.nodes.iter().all(|node| level(node) == 2).then_some(()));
    written_everywhere(&all, 6);
    // No way back: the one before is put back in service.
    let holder = all.cluster.nodes[1].holder();
    all.give(1, &old);
    all.hand_over(1);
    until(60, "it is refused", || all.cluster.nodes[1].log().contains("this ruche knows 1").then_some(()));
    all.cluster.write_at_last(1, "still.example");
    assert_ne!(all.cluster.nodes[1].holder(), None, "{holder:?}");
    all.give(1, &extra);
    // Who does not know the level does not come in, and who does gets all of it.
    let mut late = node("pi-3");
    late.start();
    let refused = ruche(&late, &["cluster", "join", &token(&all.cluster.nodes[0])]).unwrap_err();
    assert!(refused.contains("level 2 cannot follow level 1"), "{refused}");
    assert!(late.term().success());
    let program = late.path("ruche");
    std::os::unix::fs::symlink(&extra, &program).unwrap();
    late.program = Some(program);
    late.start();
    ruche(&late, &["cluster", "join", &token(&all.cluster.nodes[0])]).unwrap();
    until(30, "it has the state", || (late.get("/v1/status").json["revision"].as_u64() >= Some(10)).then_some(()));
    assert_eq!(level(&late), 2);
    // The tables are those of the level, also on the disk, and after the next start.
    assert!(late.term().success());
    late.start();
    assert_eq!(level(&late), 2);
    assert!(late.term().success());
    let header = fs::read(late.data.join("state.db")).unwrap();
    assert_eq!(header[60..64], 2u32.to_be_bytes(), "the level in the header of the database");
    all.cluster.nodes.push(late);
}
