//! Machines that get other addresses while they run: one after the other, and all at once. Needs root for network namespaces.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::cluster::{Cluster, node_at};
use support::net::Net;
use support::node::Node;
use support::until;

#[test]
fn nodes_find_each_other_when_addresses_change() {
    let Some(net) = Net::of(3) else { return };
    let node = |at: usize| {
        let mut node = node_at(Node::new(), &format!("pi-{at}"), Some([0, 0, 0, 0].into()));
        node.under = net.under(at);
        net.renumber(&[at], 99);
        node
    };
    let cluster = Cluster::join((0..3).map(node).collect());
    cluster.nodes[0].post("/v1/zones", serde_json::json!({"name": "before.example"})).done();
    let met = |zone: &str| {
        until(60, "all answer", || {
            let seen = cluster.nodes[0].get("/v1/cluster").json;
            seen["nodes"].as_array()?.iter().all(|node| node["answers"] == true).then_some(())
        });
        for at in 0..3 {
            cluster.write_at_last(at, &format!("{zone}{at}.example"));
        }
        cluster.agree(&[0, 1, 2]);
    };
    let leader = cluster.leader(0).unwrap();
    let said = |network: &str, count: usize| {
        until(90, "they say where they are", || {
            let seen = cluster.nodes[leader].get("/v1/cluster").json.to_string();
            (seen.matches(network).count() == count).then_some(())
        });
    };
    net.renumber(&[(leader + 1) % 3], 98);
    said("10.98.0.", 1);
    met("one");
    net.renumber(&[(leader + 1) % 3], 99);
    said("10.99.0.", 3);
    net.renumber(&[0, 1, 2], 97);
    said("10.97.0.", 3);
    met("all");
}
