//! Several nodes, one state: joined by a token, written to anywhere, led by one of them, whatever becomes of the others.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::{CommittedLeaderId, EntryPayload};
use ruche::base::clock::Time;
use ruche::base::ids::{RequestId, Seed};
use ruche::model::change::{Actor, BATCH_VERSION, Batch, Change, Envelope};
use ruche::model::joins::JoinTokenCreate;
use ruche::seal::keyring::Keyring;
use ruche::store::node::Store;
use ruche::store::types::{Entry, LogId, Payload};
use rustix::process::Signal;
use serde_json::json;

use support::cluster::{Cluster, node, ruche, token};
use support::node::Node;
use support::until;

#[test]
fn three_nodes_are_one_and_go_on_without_the_leader() {
    let mut cluster = Cluster::of(3);
    // A change made through any of them is known to all.
    for at in 0..3 {
        let made = cluster.nodes[at].post("/v1/zones", json!({"name": format!("z{at}.example")}));
        assert_eq!(made.status, 201, "{}", made.json);
    }
    cluster.agree(&[0, 1, 2]);
    assert_eq!(cluster.nodes[2].all("/v1/zones").len(), 3);
    // Who asks the quorum reads what was written elsewhere before.
    cluster.nodes[0].post("/v1/zones", json!({"name": "fresh.example"})).done();
    for at in 0..3 {
        assert_eq!(cluster.nodes[at].get("/v1/zones/fresh.example?consistent=true").status, 200, "node {at}");
    }
    // Questions of the quorum go over connections that are kept.
    let closed = cluster.closed_connections();
    for at in (0..3).cycle().take(30) {
        assert_eq!(cluster.nodes[at].get("/v1/zones/fresh.example?consistent=true").status, 200, "node {at}");
    }
    let closed = cluster.closed_connections() - closed;
    assert!(closed < 10, "30 questions, {closed} connections closed");
    // The leader is killed.
    let first = cluster.leader(0).unwrap();
    let others: Vec<usize> = (0..3).filter(|at| *at != first).collect();
    cluster.nodes[first].kill();
    let gap = cluster.write_at_last(others[0], "after.example");
    println!("a write after kill -9 of the leader took {gap:?}");
    assert!(gap < Duration::from_secs(8), "{gap:?}");
    cluster.agree(&others);
    // It comes back, has missed nothing, and leads no more.
    cluster.nodes[first].start();
    cluster.agree(&[0, 1, 2]);
    assert_ne!(cluster.leader(first), Some(first));
    // A leader that is told to stop hands over first.
    let second = cluster.leader(first).unwrap();
    let lines = cluster.nodes[second].log_lines();
    assert!(cluster.nodes[second].term().success());
    assert!(
        cluster.nodes[second].log_after(lines).contains("handed over"),
        "{}",
        cluster.nodes[second].log_after(lines)
    );
    cluster.write_at_last(first, "handed.example");
    cluster.nodes[second].start();
    cluster.agree(&[0, 1, 2]);
}

#[test]
fn any_node_tells_what_the_one_that_leads_does_about_certificates() {
    let mut cluster = Cluster::of(2);
    let leader = cluster.leader(0).unwrap();
    let other = 1 - leader;
    let names = json!({"names": ["www.wide.net"]});
    assert_eq!(cluster.nodes[other].post("/v1/certificates", names.clone()).status, 201);
    for at in [leader, other] {
        until(20, "it is planned", || {
            let plan = cluster.nodes[at].get("/v1/certificates/plan").done().json;
            (plan["items"][0]["names"] == names["names"]).then_some(())
        });
    }
    assert_eq!(cluster.nodes[other].post("/v1/certificates/renew", names.clone()).status, 202);
    let unknown = json!({"names": ["else.wide.net"]});
    assert_eq!(cluster.nodes[other].post("/v1/certificates/renew", unknown).status, 404);
    // What nobody answers is said.
    cluster.nodes[leader].kill();
    let told = cluster.nodes[other].post("/v1/certificates/renew", names);
    assert_eq!((told.status, told.code()), (409, "not-leader"), "{}", told.text);
}

#[test]
fn a_leader_that_stops_under_load_leaves_nothing_in_doubt() {
    let mut cluster = Cluster::of(3);
    let leader = cluster.leader(0).unwrap();
    let clients: Vec<_> = cluster.nodes.iter().map(|node| node.client()).collect();
    let (over, lines) = (AtomicBool::new(false), cluster.nodes[leader].log_lines());
    std::thread::scope(|threads| {
        for (at, mut client) in clients.into_iter().enumerate() {
            let over = &over;
            threads.spawn(move || {
                for number in 0.. {
                    let zone = json!({"name": format!("w{at}-{number}.example")});
                    match client.ask("POST", "/v1/zones", Some(&zone), &[]) {
                        Ok(answer) => assert!(matches!(answer.status, 201 | 503), "{}", answer.text),
                        Err(_) => client.reconnect(),
                    }
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(500));
        let ended = cluster.nodes[leader].term().success();
        over.store(true, Ordering::Relaxed);
        assert!(ended);
    });
    let said = cluster.nodes[leader].log_after(lines);
    assert!(said.contains("handed over") && !said.contains("cut off"), "{said}");
}

#[test]
fn without_a_majority_everything_is_served_and_nothing_is_taken() {
    let mut cluster = Cluster::of(3);
    cluster.nodes[0].post("/v1/zones", json!({"name": "kept.example"})).done();
    cluster.agree(&[0, 1, 2]);
    let left = cluster.leader(0).unwrap();
    for at in (0..3).filter(|at| *at != left) {
        cluster.nodes[at].kill();
    }
    // A leader that nobody follows takes nothing, and says so; so does the same node started again, alone.
    for round in 0..2 {
        until(20, "the quorum is missed", || {
            let refused = cluster.nodes[left].post("/v1/zones", json!({"name": "lost.example"}));
            (refused.json["code"] == "no-quorum").then_some(())
        });
        assert_eq!(cluster.nodes[left].get("/v1/zones/kept.example").status, 200, "round {round}");
        let asked = cluster.nodes[left].get("/v1/zones/kept.example?consistent=true");
        assert_eq!((asked.status, &asked.json["code"]), (503, &json!("no-quorum")));
        cluster.nodes[left].restart();
    }
    // One of them is enough.
    let back = (left + 1) % 3;
    cluster.nodes[back].start();
    cluster.write_at_last(left, "found.example");
    cluster.nodes[(left + 2) % 3].start();
    cluster.agree(&[0, 1, 2]);
}

#[test]
fn a_frozen_leader_is_followed_and_a_frozen_follower_disturbs_nobody() {
    let cluster = Cluster::of(3);
    let leader = cluster.leader(0).unwrap();
    let (one, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let term = cluster.status(leader)["raft"]["term"].clone();
    cluster.nodes[one].signal(Signal::STOP);
    std::thread::sleep(Duration::from_secs(4));
    cluster.nodes[leader].post("/v1/zones", json!({"name": "two.example"})).done();
    cluster.nodes[one].signal(Signal::CONT);
    cluster.agree(&[0, 1, 2]);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(cluster.status(other)["raft"]["term"], term, "the leader was not dethroned");
    cluster.nodes[leader].signal(Signal::STOP);
    let started = Instant::now();
    cluster.leader_but(one, leader);
    println!("a frozen leader was followed after {:?}", started.elapsed());
    cluster.write_at_last(other, "thawed.example");
    cluster.nodes[leader].signal(Signal::CONT);
    cluster.agree(&[0, 1, 2]);
}

#[test]
fn who_may_join_and_who_may_not() {
    let cluster = Cluster::of(2);
    let (first, second) = (&cluster.nodes[0], &cluster.nodes[1]);
    let mut third = node("pi-1");
    third.start();
    let join = |arguments: &[&str]| ruche(&third, &[&["cluster", "join"], arguments].concat());
    // A name that is taken, a token that is none, one that was cut, one that was used.
    let open = token(second);
    assert!(join(&[&open]).unwrap_err().contains("exists already"), "a name is one node's");
    assert!(join(&["ruche-join-nonsense"]).unwrap_err().contains("damaged or cut"));
    assert!(join(&[&open[..open.len() - 3]]).unwrap_err().contains("damaged or cut"));
    // Who holds something is asked whether that is meant.
    third.post("/v1/zones", json!({"name": "mine.example"})).done();
    assert!(join(&[&open, "--name", "pi-2"]).unwrap_err().contains("--discard-state"));
    let joined = join(&[&open, "--name", "pi-2", "--discard-state"]).unwrap();
    assert!(joined.contains("pi-2 is a member"), "{joined}");
    let aside = std::fs::read_dir(&third.data).unwrap().flatten();
    let aside: Vec<_> = aside.filter(|entry| entry.file_name().to_string_lossy().starts_with("set-aside")).collect();
    assert!(aside.len() == 1 && aside[0].path().join("state.db").exists(), "{aside:?}");
    until(20, "the state comes", || (third.all("/v1/nodes").len() == 3).then_some(()));
    assert!(third.all("/v1/zones").is_empty());
    let mut fourth = node("pi-3");
    fourth.start();
    let again = ruche(&fourth, &["cluster", "join", &open]).unwrap_err();
    assert!(again.contains("used or expired") || again.contains("expects no new node"), "{again}");
    // Nothing of the secret is in the state.
    for file in ["state.db", "state.db-wal", "log.db", "log.db-wal"] {
        let bytes = std::fs::read(first.data.join(file)).unwrap_or_default();
        let secret = &open.as_bytes()[20..60];
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{file}");
    }
    // It goes again, and is alone as it was before; what it was is kept aside, and nobody answers its old self.
    let left = ruche(&third, &["--yes", "cluster", "leave"]).unwrap();
    assert!(left.contains("it is alone"), "{left}");
    assert_eq!(third.all("/v1/nodes").len(), 1);
    until(20, "it is a member no more", || (first.all("/v1/nodes").len() == 2).then_some(()));
}

#[test]
fn a_leader_that_leaves_is_followed_even_by_the_only_other_one() {
    let cluster = Cluster::of(2);
    cluster.nodes[0].post("/v1/zones", json!({"name": "kept.example"})).done();
    ruche(&cluster.nodes[0], &["--yes", "cluster", "leave"]).unwrap();
    cluster.write_at_last(1, "own.example");
    assert_eq!(cluster.nodes[1].all("/v1/zones").len(), 2);
    assert_eq!(cluster.nodes[0].all("/v1/zones").len(), 0);
}

/// An entry of the log says another thing on one node than on the others, as if its program had decided otherwise.
#[test]
fn a_node_that_diverged_says_so_and_takes_the_state_of_the_others() {
    let mut cluster = Cluster::of(3);
    let leader = cluster.leader(0).unwrap();
    let odd = (leader + 1) % 3;
    cluster.agree(&[0, 1, 2]);
    assert!(cluster.nodes[odd].term().success());
    let raft = cluster.status(leader)["raft"].clone();
    let (term, index) = (raft["term"].as_u64().unwrap(), raft["log_index"].as_u64().unwrap() + 1);
    cluster.nodes[leader].post("/v1/cluster/token", json!({})).done();
    let id = cluster.nodes[leader].get(&format!("/v1/nodes/pi-{leader}")).done().json["id"].clone();
    let id = u64::from_str_radix(id.as_str().unwrap(), 16).unwrap();
    let at = LogId::new(CommittedLeaderId::new(term, id), index);
    assert_eq!(cluster.status(leader)["raft"]["log_index"], index, "nothing else was written");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(decide_otherwise(&cluster.nodes[odd].data, at));
    let lines = cluster.nodes[odd].log_lines();
    cluster.nodes[odd].start();
    let data = cluster.nodes[odd].data.clone();
    let aside = || {
        let all = std::fs::read_dir(&data).unwrap().flatten().map(|entry| entry.path());
        all.filter(|path| path.to_string_lossy().contains("set-aside")).map(|path| path.join("state.db")).next()
    };
    until(40, "it takes the state of the others", || {
        cluster.nodes[odd].log_after(lines).contains("the state was taken from the leader").then_some(())
    });
    assert!(aside().is_some_and(|kept| kept.exists()));
    assert!(cluster.nodes[odd].log_after(lines).contains("is not that of the others"));
    cluster.agree(&[0, 1, 2]);
    // And goes on from there, also after a restart.
    cluster.nodes[leader].post("/v1/zones", json!({"name": "after.example"})).done();
    cluster.agree(&[0, 1, 2]);
    cluster.nodes[odd].restart();
    cluster.agree(&[0, 1, 2]);
}

/// Puts another change in the place of the one that comes next.
async fn decide_otherwise(data: &std::path::Path, at: LogId) {
    let mut store = Store::open(data).unwrap();
    let last = store.log.get_log_state().await.unwrap().last_log_id.unwrap();
    assert_eq!(last.index + 1, at.index, "it had all of the log");
    let envelope = Envelope {
        request_id: RequestId { key: [9; 16], digest: [9; 16] },
        actor: Actor::System,
        seed: Seed([9; 16]),
        expect: None,
        change: Change::JoinTokenCreate(JoinTokenCreate { hash: [9; 32], lasts: 1000 }),
    };
    let batch = Batch { version: BATCH_VERSION, time: Time::now(), envelopes: vec![envelope] };
    let entry = Entry { log_id: at, payload: EntryPayload::Normal(Payload(batch.encode().into())) };
    store.log.blocking_append([entry.clone()]).await.unwrap();
    store.machine.apply([entry]).await.unwrap();
    store.machine.close();
    store.log.close();
}

/// A disk is in other hands: whatever it could open is replaced, and who has it is told that it is a member no more.
#[test]
fn after_a_loss_the_lost_disk_opens_nothing_new() {
    let mut cluster = Cluster::of_web(3);
    let leader = cluster.leader(0).unwrap();
    let (other, lost) = ((leader + 1) % 3, (leader + 2) % 3);
    let (home, gone) = (format!("pi-{leader}"), format!("pi-{lost}"));
    let site = json!({"host": "a.example", "node": home, "handler": {"type": "redirect", "to": "https://b.example"}});
    cluster.nodes[leader].post("/v1/sites", site).done();
    cluster.nodes[leader].post("/v1/tokens", json!({"name": "panel", "access": "read"})).done();
    token(&cluster.nodes[other]);
    cluster.agree(&[0, 1, 2]);
    let authority = |node: &Node| node.get("/v1/certificates/ca").done().text;
    let old_authority = authority(&cluster.nodes[other]);
    cluster.nodes[lost].kill();
    let printed = ruche(&cluster.nodes[other], &["--yes", "node", "rm", &gone, "--lost"]).unwrap();
    assert!(printed.contains("Removed"), "{printed}");
    let operation = until(90, "everything is replaced", || {
        let all = cluster.nodes[other].all("/v1/operations");
        all.into_iter().find(|operation| operation["action"] == "node.lost" && operation["status"] != "running")
    });
    assert_eq!(operation["status"], "succeeded", "{operation}");
    assert!(cluster.nodes[other].all("/v1/tokens").is_empty());
    assert_ne!(authority(&cluster.nodes[other]), old_authority);
    cluster.agree(&[leader, other]);
    // Who has the disk starts it: it is refused, says so, and may leave by itself.
    cluster.nodes[lost].start();
    until(30, "it knows that it was removed", || {
        cluster.nodes[lost].log().contains("this node was removed from its cluster").then_some(())
    });
    assert!(cluster.status(lost).to_string().contains("this node was removed"), "{}", cluster.status(lost));
    let old = std::fs::read(cluster.nodes[lost].data.join("keyring")).unwrap();
    let old = Keyring::from_bytes(&old).unwrap();
    ruche(&cluster.nodes[lost], &["--yes", "cluster", "leave"]).unwrap();
    // Nothing in the state is sealed with a key that was on it; both others have the new one, and no other.
    for at in [leader, other] {
        assert!(cluster.nodes[at].term().success());
        let keyring = Keyring::from_bytes(&std::fs::read(cluster.nodes[at].data.join("keyring")).unwrap()).unwrap();
        assert!(keyring.ids().len() == 1 && keyring.ids().iter().all(|id| old.key(*id).is_none()), "{keyring:?}");
        let store = Store::open(&cluster.nodes[at].data).unwrap();
        let now = store.machine.snapshot().borrow().clone();
        let secrets = now.cluster.as_ref().unwrap();
        let sealed =
            [Some(&secrets.key_check), secrets.cookie_key.as_ref(), secrets.sites_ca.as_ref().map(|ca| &ca.key)];
        let sealed = sealed.into_iter().flatten().chain(secrets.acme_key.as_ref().map(|key| &key.key));
        let sealed = sealed.chain(secrets.ticket_keys.iter().map(|key| &key.key));
        let sealed: Vec<_> = sealed.chain(now.certificates.values().map(|held| &held.key)).collect();
        assert_eq!(sealed.len(), 6);
        assert!(sealed.iter().all(|sealed| old.key(sealed.key_id).is_none() && keyring.key(sealed.key_id).is_some()));
        store.machine.close();
        store.log.close();
        cluster.nodes[at].start();
    }
    cluster.write_at_last(other, "after.example");
}

#[test]
fn who_was_removed_says_so_and_is_let_in_again_with_a_new_token() {
    let cluster = Cluster::of(3);
    let leader = cluster.leader(0).unwrap();
    let (other, gone) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.nodes[leader].post("/v1/zones", json!({"name": "kept.example"})).done();
    cluster.agree(&[0, 1, 2]);
    let name = format!("pi-{gone}");
    ruche(&cluster.nodes[other], &["--yes", "node", "rm", &name]).unwrap();
    until(30, "it knows that it was removed", || {
        // Until raft has let it go its changes are taken.
        let refused = cluster.nodes[gone].post("/v1/zones", json!({"name": "late.example"}));
        (refused.status == 503 && refused.json["code"] == "removed").then_some(())
    });
    let asked = cluster.nodes[gone].get("/v1/zones?consistent=true");
    assert_eq!((asked.status, &asked.json["code"]), (503, &json!("removed")));
    let join = |more: &[&str]| {
        let token = token(&cluster.nodes[other]);
        ruche(&cluster.nodes[gone], &[&["cluster", "join", &token], more].concat())
    };
    assert!(join(&[]).unwrap_err().contains("--discard-state"));
    join(&["--discard-state"]).unwrap();
    until(30, "all three vote", || (cluster.voters(other).len() == 3).then_some(()));
    cluster.nodes[gone].post("/v1/zones", json!({"name": "again.example"})).done();
    cluster.agree(&[0, 1, 2]);
    let zones = cluster.nodes[gone].all("/v1/zones");
    let has = |name: &str| zones.iter().any(|zone| zone["name"] == name);
    assert!(has("kept.example") && has("again.example"), "{zones:?}");
}

/// All are thought lost but one, which goes on alone: as another cluster, so that those that come back after all are told, and join.
#[test]
fn who_is_recovered_alone_is_of_another_cluster_than_who_comes_back() {
    let mut cluster = Cluster::of_web(3);
    cluster.nodes[0].post("/v1/zones", json!({"name": "kept.example"})).done();
    cluster.agree(&[0, 1, 2]);
    let before = cluster.status(0)["cluster"].clone();
    for node in &mut cluster.nodes {
        assert!(node.term().success());
    }
    let (copy, node) = (cluster.nodes[0].path("copy.db"), &cluster.nodes[0]);
    std::fs::copy(node.data.join("state.db"), &copy).unwrap();
    std::fs::remove_file(node.data.join("log.db")).unwrap();
    let recover = |more: &[&str]| {
        let mut arguments = vec!["cluster", "recover", "--config", node.config().to_str().unwrap(), "--node", "pi-0"]
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        arguments.extend(more.iter().map(|more| (*more).to_owned()));
        arguments.extend(["--copy".to_owned(), copy.display().to_string()]);
        support::node::ruche(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert!(!recover(&[]).status.success(), "it is asked whether that is meant");
    let done = recover(&["--force-single"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    cluster.nodes.iter_mut().for_each(Node::start);
    // It opens its secrets, takes changes, and is another cluster; the others are what they were.
    cluster.write_at_last(0, "alone.example");
    cluster.write_at_last(1, "old.example");
    let names = |at: usize| cluster.status(at)["cluster"].clone();
    assert!(names(0) != before && names(1) == before, "{} {}", names(0), names(1));
    assert_eq!(cluster.nodes[0].all("/v1/zones").len(), 2);
    let certificate =
        json!({"host": "a.example", "handler": {"type": "redirect", "to": "https://b.example"}, "node": "pi-0"});
    cluster.nodes[0].post("/v1/sites", certificate).done();
    // One of them joins, and what it held is kept.
    ruche(&cluster.nodes[0], &["--yes", "node", "rm", "pi-1"]).unwrap();
    let token = token(&cluster.nodes[0]);
    ruche(&cluster.nodes[1], &["cluster", "join", &token, "--discard-state"]).unwrap();
    until(20, "the state comes", || (cluster.nodes[1].get("/v1/zones/alone.example").status == 200).then_some(()));
    let kept = std::fs::read_dir(&cluster.nodes[1].data).unwrap().flatten();
    assert!(kept.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("set-aside")));
}
