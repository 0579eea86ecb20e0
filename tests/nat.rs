//! A node that can call others and that nobody can call is a node like the others: it joins, votes, leads, and its sites are served by
//! all. Needs root for network namespaces.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use support::cluster::{Cluster, node_at, ruche};
use support::ftp::PASSWORD;
use support::net::Net;
use support::node::{Node, signal_to};
use support::until;

/// The machine behind the router.
const HIDDEN: usize = 2;

struct Machines {
    net: Net,
    cluster: Cluster,
}

/// Three machines, and a site at home on the one that cannot be called.
fn machines() -> Option<Machines> {
    let net = Net::of(3)?;
    let node = |at: usize| {
        let address = if at == HIDDEN { net.hide(at) } else { net.address(at) };
        let mut node = node_at(Node::new(), &format!("pi-{at}"), Some(address));
        node.under = net.under(at);
        let config = std::fs::read_to_string(node.config()).unwrap();
        let web = "[web]\nhttp = [\"127.0.0.1:80\"]\nhttps = [\"127.0.0.1:443\"]";
        let ftp = "[ftp]\nlisten = [\"127.0.0.1:21\"]\npassive_ports = \"20000-29999\"";
        let config = config.replace("[web]\nhttp = []\nhttps = []", web).replace("[ftp]\nlisten = []", ftp);
        std::fs::write(node.config(), config).unwrap();
        node
    };
    let cluster = Cluster::join((0..3).map(node).collect());
    let site = json!({"host": "a.example", "handler": {"type": "static"}, "node": "pi-2"});
    cluster.nodes[0].post("/v1/sites?wait=all", site).done();
    let machines = Machines { net, cluster };
    let root = machines.cluster.nodes[HIDDEN].get("/v1/sites/a.example").done().json["root"].clone();
    std::fs::write(PathBuf::from(root.as_str().unwrap()).join("page"), "from behind\n").unwrap();
    Some(machines)
}

impl Drop for Machines {
    fn drop(&mut self) {
        for holder in self.cluster.nodes.iter().filter_map(Node::holder) {
            let _ = Pid::from_raw(holder.cast_signed()).map(|holder| kill_process(holder, Signal::KILL));
        }
    }
}

impl Machines {
    fn run(&self, at: usize, program: &str, arguments: &[&str]) -> Output {
        let under = self.net.under(at);
        Command::new(&under[0]).args(&under[1..]).arg(program).args(arguments).output().unwrap()
    }

    /// How many of so many visitors who come to a node at one time see a page.
    fn visits(&self, at: usize, path: &str, count: usize) -> usize {
        let url = format!("https://a.example/{path}?[1-{count}]");
        let options = "-sk --http1.1 --parallel --parallel-immediate --parallel-max 50 --max-time 8 -o /dev/null";
        let mut arguments: Vec<&str> = options.split(' ').collect();
        arguments.extend(["--resolve", "a.example:443:127.0.0.1", "-w", "%{http_code}\n", &url]);
        let said = String::from_utf8(self.run(at, "curl", &arguments).stdout).unwrap();
        said.lines().filter(|code| *code == "200").count()
    }

    /// Waits until every node serves the site, and all have one state.
    fn is_whole(&self, zone: &str) {
        for at in 0..3 {
            until(60, "it is served", || (self.visits(at, "page", 1) == 1).then_some(()));
        }
        self.cluster.write_at_last(0, zone);
        self.cluster.agree(&[0, 1, 2]);
    }

    /// Whether a node knows that one of the others cannot be called.
    fn is_hidden(&self, by: usize, at: usize) -> bool {
        let seen = self.cluster.nodes[by].get("/v1/cluster").done().json;
        let of = seen["nodes"].as_array().unwrap().iter().find(|node| node["name"] == format!("pi-{at}")).unwrap();
        assert_eq!(of["answers"], true, "{seen}");
        of["hidden"] == true
    }
}

#[test]
fn a_node_behind_nat_serves_and_decides_like_the_others() {
    let Some(mut machines) = machines() else { return };
    for by in [0, 1] {
        let socket = "exec 3<>/dev/tcp/192.168.202.2/7480";
        assert!(!machines.run(by, "timeout", &["3", "bash", "-c", socket]).status.success(), "it can be called");
        assert!(machines.is_hidden(by, HIDDEN) && !machines.is_hidden(by, 1 - by));
        let table = ruche(&machines.cluster.nodes[by], &["cluster", "status"]).unwrap();
        assert_eq!(table.matches("its own calls").count(), 1, "{table}");
    }
    assert!(!machines.is_hidden(HIDDEN, 0) && !machines.is_hidden(HIDDEN, 1));
    // Visitors, many of them at one time.
    for at in [0, 1] {
        assert_eq!(machines.visits(at, "page", 100), 100, "{}", machines.cluster.nodes[at].log());
    }
    // Uploads.
    let user = json!({"login": "ada", "site": "a.example", "password": PASSWORD});
    machines.cluster.nodes[0].post("/v1/ftp-users?wait=all", user).done();
    let file = machines.cluster.nodes[0].path("upload");
    std::fs::write(&file, vec![7; 5_000_000]).unwrap();
    let login = format!("ada:{PASSWORD}");
    let file = file.to_str().unwrap();
    let sent = machines.run(0, "curl", &["-sSk", "--ssl-reqd", "-u", &login, "-T", file, "ftp://127.0.0.1/upload"]);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    assert_eq!(machines.visits(1, "upload", 1), 1);
    // Files, away from there and back.
    for to in ["pi-0", "pi-2"] {
        ruche(&machines.cluster.nodes[1], &["site", "move", "a.example", "--to", to]).unwrap();
        until(60, "it has moved", || {
            let site = machines.cluster.nodes[1].get("/v1/sites/a.example").json;
            (site["node"] == to && site["moving"].is_null()).then_some(())
        });
        assert_eq!((machines.visits(1, "page", 20), machines.visits(1, "upload", 1)), (20, 1), "{to}");
    }
    // It leads as well: the others ask it over what it offers.
    assert!(machines.cluster.nodes[0].term().success());
    if machines.cluster.leader_but(1, 0) == 1 {
        machines.cluster.nodes[1].restart();
    }
    machines.cluster.nodes[0].start();
    until(20, "it leads", || (machines.cluster.leader(0) == Some(HIDDEN)).then_some(()));
    machines.cluster.nodes[0].post("/v1/zones", json!({"name": "led.example"})).done();
    machines.cluster.nodes[1].get("/v1/zones/led.example?consistent=true").done();
    machines.is_whole("after.example");
}

#[test]
fn a_node_behind_nat_comes_back_whichever_side_was_away() {
    let Some(mut machines) = machines() else { return };
    machines.cluster.nodes[HIDDEN].restart();
    machines.is_whole("restarted.example");
    machines.cluster.nodes[HIDDEN].kill();
    machines.cluster.nodes[HIDDEN].start();
    machines.is_whole("killed.example");
    for at in [0, 1] {
        machines.cluster.nodes[at].kill();
        machines.cluster.nodes[at].start();
        machines.is_whole(&format!("other{at}.example"));
    }
    // Who hands over to another process fails nobody.
    for at in [0, HIDDEN] {
        let first = machines.cluster.nodes[at].holder().unwrap();
        signal_to(first, Signal::USR2);
        let visited = || assert_eq!(machines.visits(0, "page", 5), 5, "{at}: {}", machines.cluster.nodes[0].log());
        until(30, "the next process serves", || {
            visited();
            machines.cluster.nodes[at].holder().filter(|now| *now != first)
        });
        (0..10).for_each(|_| visited());
        machines.is_whole(&format!("handed{at}.example"));
    }
    machines.net.reconnect(HIDDEN);
    let lost = Instant::now();
    for at in [0, 1] {
        until(60, "it answers", || {
            let seen = machines.cluster.nodes[at].get("/v1/cluster").done().json;
            seen["nodes"].as_array().unwrap().iter().all(|node| node["answers"] == true).then_some(())
        });
        println!("node {at} hears it {:.1} s after the line was lost", lost.elapsed().as_secs_f32());
    }
    machines.is_whole("connected.example");
    println!("reached again {:.1} s after the line was lost", lost.elapsed().as_secs_f32());
    assert!(machines.is_hidden(0, HIDDEN) && machines.is_hidden(1, HIDDEN));
}

#[test]
fn a_node_behind_nat_that_was_removed_is_connected_to_nobody() {
    let Some(machines) = machines() else { return };
    let connected = |by: usize| {
        let said = machines.run(by, "ss", &["-Hton", "state", "established", "dst", "10.99.0.3"]).stdout;
        // Those it offers are the ones the kernel asks about; on others it only asks, and is refused.
        String::from_utf8(said).unwrap().lines().filter(|line| line.contains("keepalive")).count()
    };
    assert!(connected(0) >= 4 && connected(1) >= 4);
    ruche(&machines.cluster.nodes[0], &["--yes", "site", "rm", "a.example"]).unwrap();
    ruche(&machines.cluster.nodes[0], &["--yes", "node", "rm", "pi-2"]).unwrap();
    for by in [0, 1] {
        until(10, "what it offered is closed", || (connected(by) == 0).then_some(()));
    }
    until(40, "it knows", || {
        machines.cluster.nodes[HIDDEN].log().contains("this node was removed from its cluster").then_some(())
    });
    machines.cluster.write_at_last(1, "without.example");
}
