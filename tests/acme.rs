//! Certificates from an issuer as others wrote one, in a network where the node is everybody's DNS.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use support::issuer::{ADDRESS, Network, Pebble, planned, until_planned, wait};
use support::node::Node;

const HALF: &[(&str, &str)] = &[("PEBBLE_WFE_NONCEREJECT", "50")];

fn site(node: &Node, host: &str) {
    assert_eq!(node.post("/v1/sites", json!({"host": host, "handler": {"type": "static"}})).status, 201);
}

fn of(node: &Node, host: &str) -> Vec<Value> {
    let all = node.get(&format!("/v1/certificates?host={host}")).json["items"].as_array().unwrap().clone();
    all.into_iter().filter(|one| one["issuer"] != "internal").collect()
}

fn events(node: &Node, action: &str) -> usize {
    let all = node.get("/v1/events?limit=500").json["items"].as_array().unwrap().clone();
    all.iter().filter(|event| event["action"] == action).count()
}

#[test]
fn a_site_gets_its_certificate_by_itself() {
    let network = Network::new();
    let node = network.node(true);
    let pebble = Pebble::new(&network, false, HALF);
    let root = pebble.root(&network);
    pebble.prefer(&node, false);
    site(&node, "www.wide.net");
    until_planned(&node, "www.wide.net", "good");
    // No page is there; the certificate is what counts.
    assert_eq!(network.curl(&root, "https://www.wide.net/").as_deref(), Some("404"), "{}", node.log());
    let first = of(&node, "www.wide.net");
    assert_eq!((first.len(), first[0]["issuer"].as_str()), (1, Some("pebble")));
    for version in ["-tls1_2", "-tls1_3"] {
        let target = format!("{ADDRESS}:443");
        let mut client = network.command("openssl");
        client.args(["s_client", "-connect", &target, "-servername", "www.wide.net", version, "-verify_return_error"]);
        let out = client.arg("-CAfile").arg(&root).stdin(std::process::Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(said.contains("Verify return code: 0 (ok)") && said.contains(" 1 s:"), "the chain is whole: {said}");
    }
    // A name of nobody is still refused, also under a wildcard.
    assert_eq!(node.post("/v1/certificates", json!({"names": ["*.wide.net", "wide.net"]})).status, 201);
    until_planned(&node, "*.wide.net", "good");
    assert_eq!(network.curl(&root, "https://mail.wide.net/"), None);
    let records = node.get("/v1/zones/wide.net/records").text;
    assert!(!records.contains("_acme-challenge"), "the challenge's record is gone");
    // What is covered is not ordered.
    let orders = events(&node, "order.reserve");
    site(&node, "more.wide.net");
    until_planned(&node, "more.wide.net", "good");
    assert_eq!(network.curl(&root, "https://more.wide.net/").as_deref(), Some("404"));
    assert_eq!(events(&node, "order.reserve"), orders);
    // Renewed when asked, in place of the old one.
    assert_eq!(node.post("/v1/certificates/renew", json!({"names": ["www.wide.net"]})).status, 202);
    wait("it is another one", || {
        let now: Vec<_> =
            of(&node, "www.wide.net").into_iter().filter(|one| one["names"][0] == "www.wide.net").collect();
        now.len() == 1 && now[0]["id"] != first[0]["id"]
    });
    assert_eq!(network.curl(&root, "https://www.wide.net/").as_deref(), Some("404"));
}

#[test]
fn a_node_without_port_80_proves_its_names_by_tls() {
    let network = Network::new();
    let node = network.node(false);
    let pebble = Pebble::new(&network, false, &[]);
    pebble.prefer(&node, false);
    // Its zone is here, so DNS would do as well: the first way that can work is taken.
    site(&node, "www.other.net");
    until_planned(&node, "www.other.net", "good");
    assert_eq!((events(&node, "order.reserve"), events(&node, "order.failed")), (1, 0), "{}", pebble.log());
    assert_eq!(network.curl(&pebble.root(&network), "https://www.other.net/").as_deref(), Some("404"));
}

#[test]
fn an_order_that_was_left_half_done_is_gone_on_with() {
    let network = Network::new();
    let mut node = network.node(true);
    let pebble = Pebble::new(&network, false, HALF);
    pebble.prefer(&node, false);
    site(&node, "www.wide.net");
    wait("an order is under way", || events(&node, "order.reserve") == 1);
    kill_process(pebble.pid(), Signal::STOP).unwrap();
    node.kill();
    node.start();
    kill_process(pebble.pid(), Signal::CONT).unwrap();
    until_planned(&node, "www.wide.net", "good");
    assert_eq!(events(&node, "order.reserve"), 1, "one order, also over a restart");
    assert_eq!(network.curl(&pebble.root(&network), "https://www.wide.net/").as_deref(), Some("404"));
}

#[test]
fn an_issuer_that_is_away_is_waited_for() {
    let network = Network::new();
    let node = network.node(true);
    let mut pebble = Pebble::new(&network, false, &[]);
    pebble.prefer(&node, false);
    // Nobody else is asked in this network.
    assert_eq!(node.ask("PATCH", "/v1/issuers/letsencrypt", Some(json!({"standing": "by-name"})), &[]).status, 200);
    pebble.stop();
    site(&node, "www.wide.net");
    until_planned(&node, "www.wide.net", "wait");
    let reason = planned(&node, "www.wide.net")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("failed to make an account: reach https://127.0.0.1:14000"), "{reason}");
    assert_eq!(events(&node, "order.reserve"), 0, "nothing is reserved with an issuer that does not answer");
    // Meanwhile visitors get the internal one.
    assert_eq!(node.get("/v1/certificates?host=www.wide.net").json["items"][0]["issuer"], "internal");
    pebble.start(&network);
    until_planned(&node, "www.wide.net", "good");
}

#[test]
fn a_name_that_leads_elsewhere_is_told_and_not_ordered() {
    let network = Network::new();
    let node = network.node(true);
    let pebble = Pebble::new(&network, false, &[]);
    pebble.prefer(&node, false);
    let lost = json!({"ttl": 60, "values": ["127.0.0.2"]});
    assert_eq!(node.ask("PUT", "/v1/zones/wide.net/records/lost/A", Some(lost), &[]).status, 200);
    let wanted = json!({"host": "www.wide.net", "aliases": ["nowhere.example.org"], "handler": {"type": "static"}});
    assert_eq!(node.post("/v1/sites", wanted).status, 201);
    wait("one has it, the other has a reason", || {
        of(&node, "www.wide.net").len() == 1 && planned(&node, "www.wide.net")["step"] == "blocked"
    });
    let reason = planned(&node, "www.wide.net")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("nowhere.example.org"), "{reason}");
    assert_eq!(of(&node, "www.wide.net")[0]["names"], json!(["www.wide.net"]));
}

#[test]
fn an_issuer_with_a_contract_gets_a_key_of_its_own() {
    let network = Network::new();
    let node = network.node(true);
    let pebble = Pebble::new(&network, true, HALF);
    pebble.prefer(&node, true);
    site(&node, "www.wide.net");
    until_planned(&node, "www.wide.net", "good");
    let issuer = node.get("/v1/issuers/pebble").json;
    assert!(issuer["account"].is_string() && issuer["eab_kid"] == "kid-1", "{issuer}");
    let before = issuer["thumbprint"].clone();
    // Another key, and the account goes on.
    assert_eq!(node.ask("PATCH", "/v1/issuers/pebble", Some(json!({"task": "rollover"})), &[]).status, 200);
    wait("the account has another key", || {
        let issuer = node.get("/v1/issuers/pebble").json;
        issuer["task"].is_null() && issuer["thumbprint"] != before && issuer["account"].is_string()
    });
    site(&node, "two.wide.net");
    until_planned(&node, "two.wide.net", "good");
    assert_eq!(node.ask("PATCH", "/v1/issuers/pebble", Some(json!({"task": "deactivate"})), &[]).status, 200);
    wait("the account is gone", || node.get("/v1/issuers/pebble").json["account"].is_null());
}
