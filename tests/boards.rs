//! What nodes say of themselves: a write that waits until all serve it, the second copy where one node decides alone, and readiness and
//! metrics that know the cluster.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::cluster::{Cluster, node, ruche, token};
use support::node::Node;
use support::until;

/// A cluster whose nodes answer DNS.
fn name_servers(count: usize) -> Cluster {
    let mut nodes: Vec<Node> = (0..count).map(|at| node(&format!("pi-{at}"))).collect();
    for node in &mut nodes {
        let config = fs::read_to_string(node.config()).unwrap();
        fs::write(node.config(), config.replace("[dns]\nlisten = []", "[dns]\nlisten = [\"127.0.0.1:0\"]")).unwrap();
        node.start();
    }
    for node in &nodes[1..] {
        ruche(node, &["cluster", "join", &token(&nodes[0])]).unwrap();
    }
    let cluster = Cluster { nodes };
    let voters = if count < 3 { 1 } else { 3 };
    until(30, "the voters are chosen", || (cluster.voters(0).len() == voters).then_some(()));
    cluster
}

fn dns(node: &Node) -> SocketAddr {
    let status = node.get("/v1/status").done().json;
    let all = status["listening"].as_array().unwrap();
    let own = all.iter().find(|one| one["name"] == "dns.listen").unwrap();
    own["address"].as_str().unwrap().parse().unwrap()
}

fn put(node: &Node, text: &str, query: &str) -> Value {
    let value = json!({"ttl": 60, "values": [format!("\"{text}\"")]});
    let path = format!("/v1/zones/z.example/records/t/TXT{query}");
    node.ask("PUT", &path, Some(value), &[]).done().json
}

/// The text that a node answers for `t.z.example`.
fn text(at: SocketAddr) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let query = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x01t\x01z\x07example\0\0\x10\0\x01";
    socket.send_to(query, at).unwrap();
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).unwrap();
    // The answer's owner is a pointer; its text follows a length in its data.
    let data = &answer[query.len() + 12..length];
    String::from_utf8(data[1..].to_vec()).unwrap()
}

#[test]
fn a_write_that_waits_for_all_is_served_by_all() {
    let cluster = name_servers(3);
    cluster.nodes[0].post("/v1/zones", json!({"name": "z.example"})).done();
    let servers: Vec<SocketAddr> = cluster.nodes.iter().map(dns).collect();
    for round in 0..30 {
        let done = put(&cluster.nodes[round % 3], &format!("round {round}"), "?wait=all");
        assert_eq!(done["served"], true, "{done}");
        assert!(done.get("replicated").is_none(), "a majority has it: {done}");
        for server in &servers {
            assert_eq!(text(*server), format!("round {round}"));
        }
    }
    // One that is frozen is waited for.
    let leader = cluster.leader(0).unwrap();
    let (frozen, asked) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.nodes[frozen].signal(Signal::STOP);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| put(&cluster.nodes[asked], "late", "?wait=all"));
        let done = put(&cluster.nodes[asked], "early", "");
        assert_eq!(done["served"], true, "{done}");
        std::thread::sleep(Duration::from_secs(2));
        assert!(!waiting.is_finished());
        cluster.nodes[frozen].signal(Signal::CONT);
        assert_eq!(waiting.join().unwrap()["served"], true);
    });
    assert!(begun.elapsed() > Duration::from_secs(2));
    let said = ruche(&cluster.nodes[0], &["--wait=all", "zone", "create", "y.example"]).unwrap();
    assert!(said.starts_with("Created"), "{said}");
}

#[test]
fn with_two_nodes_a_write_says_whether_it_is_kept_twice() {
    let mut cluster = name_servers(2);
    let zone = |cluster: &Cluster, at: usize, name: &str| {
        let begun = Instant::now();
        let done = cluster.nodes[at].post("/v1/zones", json!({"name": name})).done();
        (done.json["replicated"].clone(), begun.elapsed())
    };
    let leader = cluster.leader(0).unwrap();
    for at in 0..10 {
        assert_eq!(zone(&cluster, at % 2, &format!("z{at}.example")).0, true);
    }
    cluster.nodes[1 - leader].signal(Signal::STOP);
    let (replicated, took) = zone(&cluster, leader, "frozen.example");
    assert_eq!(replicated, false);
    assert!(took < Duration::from_secs(5), "{took:?}");
    cluster.nodes[1 - leader].signal(Signal::CONT);
    let mut tries = 0;
    until(30, "it is kept twice again", || {
        tries += 1;
        let name = format!("again{tries}.example");
        let answer = cluster.nodes[leader].post("/v1/zones", json!({"name": name}));
        (answer.json["replicated"] == true).then_some(())
    });
    cluster.nodes[1 - leader].kill();
    assert_eq!(zone(&cluster, leader, "alone.example").0, false);
    let alone = Node::ready();
    let done = alone.post("/v1/zones", json!({"name": "z.example"})).done();
    assert!(done.json.get("replicated").is_none(), "{}", done.text);
}

#[test]
fn readiness_and_metrics_know_the_cluster() {
    let mut cluster = name_servers(3);
    let ready = |cluster: &Cluster, at: usize| cluster.nodes[at].get("/readyz");
    for at in 0..3 {
        until(20, "it is ready", || (ready(&cluster, at).status == 200).then_some(()));
    }
    let leader = cluster.leader(0).unwrap();
    let (one, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let metrics = cluster.nodes[one].get("/metrics").done().text;
    let has = |line: &str| assert!(metrics.lines().any(|known| known == line), "{line} is not in\n{metrics}");
    has("ruche_cluster_has_leader 1");
    has(&format!("ruche_cluster_leader{{node=\"pi-{leader}\"}} 1"));
    has(&format!("ruche_cluster_role{{node=\"pi-{other}\",role=\"voter\"}} 1"));
    for at in 0..3 {
        has(&format!("ruche_cluster_node_up{{node=\"pi-{at}\"}} 1"));
        has(&format!("ruche_cluster_node_answers{{node=\"pi-{at}\"}} 1"));
    }
    for name in ["term", "lag_revisions", "served_revision", "clock_offset_seconds", "disk_free_bytes"] {
        assert!(metrics.contains(&format!("# TYPE ruche_cluster_{name} gauge\n")), "{name}");
    }
    let status = cluster.nodes[one].get("/v1/cluster").done().json;
    for node in status["nodes"].as_array().unwrap() {
        assert_eq!(node["planes"][0]["name"], "dns", "{node}");
        assert!(node["disk_free"].as_u64() > Some(0), "{node}");
    }
    assert!(ruche(&cluster.nodes[one], &["cluster", "status"]).unwrap().contains("DISK FREE"));
    // Without the others nothing can be changed, and the node says so; also when it starts alone.
    cluster.nodes[leader].kill();
    cluster.nodes[other].kill();
    let not_ready = until(30, "it is not ready", || Some(ready(&cluster, one)).filter(|said| said.status == 503));
    assert!(not_ready.json["reasons"][0].as_str().unwrap().starts_with("raft: no "), "{}", not_ready.text);
    assert_eq!(cluster.nodes[one].get("/healthz").status, 200);
    cluster.nodes[one].restart();
    assert_eq!(ready(&cluster, one).status, 503);
    cluster.nodes[leader].start();
    until(60, "two of three are ready", || {
        (ready(&cluster, one).status == 200 && ready(&cluster, leader).status == 200).then_some(())
    });
}
