//! Several nodes of one cluster as processes on loopback.
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::node::{Node, binary};
use super::until;

/// Where a node on a machine of its own listens for peers.
const PORT: u16 = 7480;

pub struct Cluster {
    pub nodes: Vec<Node>,
}

/// A port nobody has just now.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A node that listens for peers at a place that stays its own.
pub fn node(name: &str) -> Node {
    node_at(Node::new(), name, None)
}

/// The same on a machine of its own, where it has this address.
pub fn node_at(node: Node, name: &str, address: Option<Ipv4Addr>) -> Node {
    let listen = address.map_or_else(free, |address| SocketAddr::from((address, PORT)));
    let text = std::fs::read_to_string(node.config()).unwrap();
    let text = text.replace("name = \"test\"", &format!("name = \"{name}\""));
    let text = text.replace("[cluster]\nlisten = []", &format!("[cluster]\nlisten = [\"{listen}\"]"));
    std::fs::write(node.config(), text).unwrap();
    node
}

/// The same, which takes visitors.
pub fn web_node(name: &str) -> Node {
    let node = node(name);
    let config = std::fs::read_to_string(node.config()).unwrap();
    let web = "[web]\nhttp = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]";
    std::fs::write(node.config(), config.replace("[web]\nhttp = []\nhttps = []", web)).unwrap();
    node
}

/// The same, which takes uploads as well; `at`: its number among those of one test.
pub fn full_node(at: usize) -> Node {
    let node = web_node(&format!("pi-{at}"));
    let config = fs::read_to_string(node.config()).unwrap();
    let first = 45_000 + at * 5_000;
    let ftp = format!("[ftp]\nlisten = [\"127.0.0.1:0\"]\npassive_ports = \"{first}-{}\"", first + 4_999);
    fs::write(node.config(), config.replace("[ftp]\nlisten = []", &ftp)).unwrap();
    node
}

/// The command line on one node; what it printed.
pub fn ruche(node: &Node, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(binary()).args(arguments).env("RUCHE_SOCKET", node.socket()).output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

pub fn token(node: &Node) -> String {
    let printed = ruche(node, &["node", "token"]).unwrap();
    printed.trim().strip_prefix("ruche cluster join ").unwrap().to_owned()
}

impl Cluster {
    /// So many nodes, all members, all of them voters that may be.
    pub fn of(count: usize) -> Self {
        Self::join((0..count).map(|at| node(&format!("pi-{at}"))).collect())
    }

    /// The same, of nodes that take visitors.
    pub fn of_web(count: usize) -> Self {
        Self::join((0..count).map(|at| web_node(&format!("pi-{at}"))).collect())
    }

    /// Starts these nodes and makes them one cluster.
    pub fn join(mut nodes: Vec<Node>) -> Self {
        let count = nodes.len();
        nodes.iter_mut().for_each(Node::spawn);
        nodes.iter_mut().for_each(Node::wait_ready);
        for node in &nodes[1..] {
            ruche(node, &["cluster", "join", &token(&nodes[0])]).unwrap();
        }
        let cluster = Self { nodes };
        let voters = if count < 3 { 1 } else { 3 };
        until(30, "the voters are chosen", || (cluster.voters(0).len() == voters).then_some(()));
        cluster
    }

    /// Connections of peers that were closed in the last minute (TIME_WAIT).
    pub fn closed_connections(&self) -> usize {
        let port = |node: &Node| {
            let config = fs::read_to_string(node.config()).unwrap();
            let (_, listen) = config.split_once("[cluster]\nlisten = [\"").unwrap();
            listen.split_once('"').unwrap().0.parse::<SocketAddr>().unwrap().port()
        };
        let ports: Vec<u16> = self.nodes.iter().map(port).collect();
        let known = fs::read_to_string("/proc/net/tcp").unwrap();
        let is_closed = |line: &str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let port = fields[2].rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
            fields[3] == "06" && port.is_some_and(|port| ports.contains(&port))
        };
        known.lines().skip(1).filter(|line| is_closed(line)).count()
    }

    pub fn status(&self, at: usize) -> Value {
        self.nodes[at].get("/v1/status").done().json
    }

    pub fn voters(&self, at: usize) -> Vec<String> {
        let status = self.status(at);
        status["raft"]["voters"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    /// The place of the node that leads, as one of them sees it.
    pub fn leader(&self, at: usize) -> Option<usize> {
        let name = self.status(at)["raft"]["leader"].as_str()?.to_owned();
        name.strip_prefix("pi-")?.parse().ok()
    }

    /// Waits until this node knows a leader other than `but`.
    pub fn leader_but(&self, at: usize, but: usize) -> usize {
        until(20, "another one leads", || self.leader(at).filter(|leader| *leader != but))
    }

    pub fn revision(&self, at: usize) -> u64 {
        self.status(at)["revision"].as_u64().unwrap()
    }

    /// Waits until these nodes have all the same state, and compares it.
    pub fn agree(&self, at: &[usize]) {
        let newest = at.iter().map(|at| self.revision(*at)).max().unwrap();
        for at in at {
            until(30, "it catches up", || (self.revision(*at) >= newest).then_some(()));
        }
        let seen = self.nodes[at[0]].get("/v1/cluster").done().json;
        for node in seen["nodes"].as_array().unwrap() {
            assert_ne!(node["differs"], true, "{seen}");
        }
        let lists: Vec<Vec<Value>> = at.iter().map(|at| self.nodes[*at].all("/v1/zones")).collect();
        assert!(lists.windows(2).all(|pair| pair[0] == pair[1]), "{lists:?}");
    }

    /// Creates a zone through a node, again and again until it is made; how long that took.
    pub fn write_at_last(&self, at: usize, zone: &str) -> Duration {
        let started = Instant::now();
        loop {
            let answer = self.nodes[at].post("/v1/zones", json!({"name": zone}));
            // 409: the try before this one was taken after all.
            if matches!(answer.status, 200 | 201 | 409) {
                return started.elapsed();
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{}", answer.json);
        }
    }
}
