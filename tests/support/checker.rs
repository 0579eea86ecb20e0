//! A checker of sets: DNS records that were acknowledged and are never removed. What it finds missing was lost; what the quorum was
//! asked for and did not know was stale.
use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use super::http::Answer;
use super::node::Node;

pub const ZONE: &str = "set.example";
pub const VALUE: &str = "192.0.2.7";
/// How many of the newest ones a node is asked for over DNS.
const ASKED: usize = 100;

#[derive(Debug, Default)]
pub struct Written {
    /// What was acknowledged.
    pub records: BTreeSet<String>,
    /// The last one that was: if a read is stale, it lacks this.
    pub newest: Option<String>,
    last: Option<Instant>,
    /// The longest time without an acknowledgement since somebody last asked.
    pub gap: Duration,
    pub reads: usize,
    /// A node that is of another cluster just now.
    pub away: Option<usize>,
    /// Reads that knew less than was acknowledged before they were made.
    pub stale: Vec<String>,
}

impl Written {
    pub fn note(&mut self, name: String) {
        let now = Instant::now();
        self.gap = self.gap.max(self.last.map_or(Duration::ZERO, |last| now - last));
        self.last = Some(now);
        self.newest = Some(name.clone());
        self.records.insert(name);
    }

    /// What to ask this node for.
    pub fn wanted(&self, at: usize) -> Option<String> {
        self.newest.clone().filter(|_| self.away != Some(at))
    }

    /// What a node answered who was asked for a record that had been acknowledged.
    pub fn read(&mut self, at: usize, name: &str, answer: &Answer) {
        match answer.status {
            _ if self.away == Some(at) => {}
            200 => self.reads += 1,
            404 => self.stale.push(format!("{name} through node {at}: {}", answer.text)),
            _ => {}
        }
    }
}

pub fn path(name: &str) -> String {
    format!("/v1/zones/{ZONE}/records/{name}/A")
}

/// The records a node has.
pub fn held(node: &Node) -> BTreeSet<String> {
    let sets = node.all(&format!("/v1/zones/{ZONE}/records"));
    sets.iter().filter_map(|set| set["name"].as_str().map(str::to_owned)).collect()
}

pub fn lost(acknowledged: &BTreeSet<String>, held: &BTreeSet<String>) -> Vec<String> {
    acknowledged.difference(held).cloned().collect()
}

/// Which of the acknowledged records a node does not answer for over DNS: a sample of them.
pub fn unanswered(node: &Node, acknowledged: &BTreeSet<String>) -> Vec<String> {
    let step = (acknowledged.len() / ASKED).max(1);
    let asked: Vec<String> = acknowledged.iter().step_by(step).map(|name| format!("{name}.{ZONE}")).collect();
    if asked.is_empty() {
        return Vec::new();
    }
    let status = node.get("/v1/status").done().json;
    let listeners = status["listening"].as_array().unwrap();
    let dns = listeners.iter().find(|listener| listener["name"] == "dns.listen").expect("it answers DNS");
    let port = dns["address"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let file = node.path("questions");
    std::fs::write(&file, asked.iter().map(|name| format!("{name} A\n")).collect::<String>()).unwrap();
    let (tool, options) = match node.under.split_first() {
        Some((tool, options)) => (tool.clone(), [options, &["dig".to_owned()]].concat()),
        None => ("dig".to_owned(), Vec::new()),
    };
    let mut dig = Command::new(tool);
    dig.args(options).args(["@127.0.0.1", "-p", &port, "+noall", "+answer", "+time=2", "-f"]).arg(&file);
    let said = String::from_utf8(dig.output().expect("dig is installed: tests/run sees to it").stdout).unwrap();
    let answered: BTreeSet<&str> = said.lines().filter_map(|line| line.split('.').next()).collect();
    asked.into_iter().filter(|name| !answered.contains(name.split('.').next().unwrap())).collect()
}
