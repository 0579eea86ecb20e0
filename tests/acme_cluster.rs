//! Certificates of several nodes from an issuer as others wrote one: one node orders, and what a lost node knew is replaced there too.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::io::Write;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::cluster::ruche;
use support::issuer::{Network, Pebble, planned, until_planned};
use support::node::Node;
use support::until;

fn site(node: &Node, host: &str) {
    assert_eq!(node.post("/v1/sites", json!({"host": host, "handler": {"type": "static"}})).status, 201);
}

fn of(node: &Node, host: &str) -> Vec<Value> {
    let all = node.get(&format!("/v1/certificates?host={host}")).done().json["items"].as_array().unwrap().clone();
    all.into_iter().filter(|one| one["issuer"] != "internal").collect()
}

fn reserved(node: &Node) -> usize {
    node.all("/v1/events").iter().filter(|event| event["action"] == "order.reserve").count()
}

/// What the issuer says of a certificate.
fn standing(network: &Network, held: &Value) -> String {
    let mut openssl = network.command("openssl");
    openssl.args(["x509", "-noout", "-serial"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut openssl = openssl.spawn().unwrap();
    openssl.stdin.take().unwrap().write_all(held["chain"].as_str().unwrap().as_bytes()).unwrap();
    let said = String::from_utf8(openssl.wait_with_output().unwrap().stdout).unwrap();
    let serial = said.trim().strip_prefix("serial=").unwrap().to_lowercase();
    let url = format!("https://127.0.0.1:15000/cert-status-by-serial/{serial}");
    let said = network.command("curl").args(["-sk", &url]).output().unwrap().stdout;
    serde_json::from_slice::<Value>(&said).unwrap()["Status"].as_str().unwrap().to_owned()
}

/// A disk is in other hands. `bound`: the account has a key of its own from the first.
fn after_a_loss(bound: bool) {
    let network = Network::new();
    let mut cluster = network.cluster(3);
    let pebble = Pebble::new(&network, bound, &[]);
    let node = &cluster.nodes[0];
    pebble.prefer(node, bound);
    site(node, "www.wide.net");
    until_planned(node, "www.wide.net", "good");
    let (before, old) = (node.get("/v1/issuers/pebble").json, of(node, "www.wide.net")[0].clone());
    assert_eq!(standing(&network, &old), "Valid");
    // Whose key answers for a token nobody has heard of.
    let answers = || {
        let url = "http://www.wide.net/.well-known/acme-challenge/abcdefghijklmnopqrstuv";
        String::from_utf8(network.command("curl").args(["-s", url]).output().unwrap().stdout).unwrap()
    };
    let (answered, root) = (answers(), pebble.root(&network));
    assert!(answered.starts_with("abcdefghijklmnopqrstuv."), "{answered}");

    cluster.nodes[2].kill();
    let node = &cluster.nodes[0];
    ruche(&cluster.nodes[1], &["--yes", "node", "rm", "pi-2", "--lost"]).unwrap();
    let operation = until(120, "everything is replaced", || {
        // At every moment there is a certificate that is good.
        assert_eq!(network.curl(&root, "https://www.wide.net/").as_deref(), Some("404"), "{}", node.log());
        let all = node.all("/v1/operations");
        all.into_iter().find(|operation| operation["action"] == "node.lost" && operation["status"] != "running")
    });
    assert_eq!(operation["status"], "succeeded", "{operation}");
    let (after, new) = (node.get("/v1/issuers/pebble").json, of(node, "www.wide.net"));
    assert_eq!(after["account"], before["account"], "the account is the same");
    assert_ne!(after["thumbprint"], before["thumbprint"], "and its key another one");
    assert_ne!(answers(), answered);
    assert_eq!((new.len(), reserved(node)), (1, 2));
    assert_ne!(new[0]["id"], old["id"]);
    assert_eq!((standing(&network, &old).as_str(), standing(&network, &new[0]).as_str()), ("Revoked", "Valid"));
    // The issuer knows the new key, and goes by it.
    site(node, "two.wide.net");
    until_planned(node, "two.wide.net", "good");
    assert_eq!(reserved(node), 3);
}

#[test]
fn after_a_loss_the_key_that_issuers_share_is_another_one() {
    after_a_loss(false);
}

#[test]
fn after_a_loss_an_account_that_has_its_own_key_gets_another_one() {
    after_a_loss(true);
}

#[test]
fn only_the_node_that_leads_orders_and_nothing_is_ordered_twice() {
    let network = Network::new();
    let mut cluster = network.cluster(3);
    let pebble = Pebble::new(&network, false, &[]);
    pebble.prefer(&cluster.nodes[0], false);
    assert_eq!(cluster.leader(0), Some(0));
    let pid = |node: &Node| Pid::from_raw(node.pid().cast_signed()).unwrap();
    // Asked of a node that follows, ordered by the one that leads.
    site(&cluster.nodes[1], "www.wide.net");
    until_planned(&cluster.nodes[0], "www.wide.net", "good");
    for (at, node) in cluster.nodes.iter().enumerate() {
        assert_eq!(node.log().matches("a certificate was issued").count(), usize::from(at == 0), "{at}");
        // Whoever is asked tells what the one that leads plans.
        assert_eq!(planned(node, "www.wide.net")["step"], "good");
    }
    // An order is under way when another node comes to lead, and still when the first one leads again.
    site(&cluster.nodes[0], "two.wide.net");
    until(60, "it is reserved", || (reserved(&cluster.nodes[0]) == 2).then_some(()));
    kill_process(pebble.pid(), Signal::STOP).unwrap();
    kill_process(pid(&cluster.nodes[0]), Signal::STOP).unwrap();
    let mut leader = cluster.leader_but(1, 0);
    kill_process(pid(&cluster.nodes[0]), Signal::CONT).unwrap();
    until(20, "the first one follows", || (cluster.leader(0) == Some(leader)).then_some(()));
    while leader != 0 {
        cluster.nodes[leader].restart();
        leader = cluster.leader_but(leader, leader);
    }
    assert_eq!(of(&cluster.nodes[0], "two.wide.net").len(), 0, "it is still under way");
    kill_process(pebble.pid(), Signal::CONT).unwrap();
    until_planned(&cluster.nodes[0], "two.wide.net", "good");
    let root = pebble.root(&network);
    assert_eq!(network.curl(&root, "https://two.wide.net/").as_deref(), Some("404"));
    cluster.agree(&[0, 1, 2]);
    assert_eq!((reserved(&cluster.nodes[0]), of(&cluster.nodes[1], "two.wide.net").len()), (2, 1));
    let issued: usize = cluster.nodes.iter().map(|node| node.log().matches("a certificate was issued").count()).sum();
    assert_eq!(issued, 2);
}
