//! Three nodes, writers and readers on all of them, and one fault after the other: killed, frozen, stopped, cut off, deafened, with
//! lossy links, a full disk, a wiped one, another clock. What was acknowledged is on every node afterwards, whoever led, and who
//! asked the quorum was never told less than was acknowledged before.
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::chance::Chance;
use crate::support::checker::{self, Written};
use crate::support::cluster::{Cluster, node_at, ruche, token};
use crate::support::faults::SmallDisk;
use crate::support::http::Client;
use crate::support::net::Net;
use crate::support::node::Node;
use crate::support::{Over, until};

/// Rounds between two comparisons of all that was written.
const COMPARED_EVERY: usize = 10;
/// One that stays with each node, so that a silence is the cluster's and not that of writers who all wait for a node that is cut off,
/// and some that change from node to node.
const WRITERS: usize = 6;
/// Room for a state of 100,000 changes, its write-ahead log, and a copy on its way to each of the others.
const DISK_KIB: usize = 192 << 10;
/// Replaces the functions that tell the time; Debian's package `faketime` has it.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// Three nodes, and what faults are made with. Where a tool is not to be had, said aloud, its faults are left out.
pub struct Rig {
    pub cluster: Cluster,
    /// What their data lies on, where they have disks of their own. Dropped after the nodes, in this order.
    pub disks: Vec<SmallDisk>,
    pub net: Option<Net>,
    pub clocks: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Killed,
    Frozen,
    Restarted,
    TwoKilled,
    CutOff,
    Deaf,
    Lossy,
    Full,
    Wiped,
    Clock,
}

impl Rig {
    pub fn new() -> Self {
        let net = Net::of(3);
        let clocks = Path::new(FAKETIME).exists();
        if !clocks {
            println!("SKIPPED: there is no {FAKETIME}, so no clock jumps");
        }
        let mut disks = Vec::new();
        let nodes = (0..3).map(|at| node(at, net.as_ref(), &mut disks, clocks)).collect();
        let cluster = Cluster::join(nodes);
        cluster.nodes[0].post("/v1/zones", json!({"name": checker::ZONE})).done();
        Self { cluster, disks, net, clocks }
    }

    /// The faults that can be made here.
    fn faults(&self) -> Vec<Fault> {
        let mut faults = vec![Fault::Killed, Fault::Frozen, Fault::Restarted, Fault::TwoKilled, Fault::Wiped];
        if self.net.is_some() {
            faults.extend([Fault::CutOff, Fault::Deaf, Fault::Lossy]);
        }
        if self.disks.len() == 3 {
            faults.push(Fault::Full);
        }
        if self.clocks {
            faults.push(Fault::Clock);
        }
        faults
    }

    pub fn leader(&self) -> usize {
        let cluster = &self.cluster;
        until(30, "somebody leads", || cluster.leader(0).filter(|leader| cluster.leader(*leader) == Some(*leader)))
    }

    /// One fault from its beginning to its end; says which.
    fn make(&mut self, fault: Fault, chance: &mut Chance, written: &Mutex<Written>) -> String {
        let leader = self.leader();
        let at = if chance.below(2) == 0 { leader } else { chance.below(3) };
        let (one, other) = ((at + 1) % 3, (at + 2) % 3);
        let wait = Duration::from_millis(chance.below(3000) as u64);
        let long = wait + Duration::from_secs(2);
        let nodes = &mut self.cluster.nodes;
        match fault {
            Fault::Killed => {
                nodes[at].kill();
                std::thread::sleep(wait);
                nodes[at].start();
            }
            Fault::TwoKilled => {
                nodes[at].kill();
                nodes[one].kill();
                std::thread::sleep(wait);
                nodes[at].start();
                nodes[one].start();
            }
            Fault::Frozen => {
                nodes[at].signal(Signal::STOP);
                std::thread::sleep(long);
                nodes[at].signal(Signal::CONT);
            }
            Fault::Restarted => nodes[at].restart(),
            Fault::Full => {
                self.disks[at].fill();
                std::thread::sleep(long);
                self.disks[at].free();
            }
            Fault::Wiped => {
                written.lock().unwrap().away = Some(at);
                self.wipe(at);
                written.lock().unwrap().away = None;
            }
            Fault::Clock => {
                let hours = chance.below(9) as i64 - 4;
                set_clock(&nodes[at], hours * 3600);
                std::thread::sleep(long);
                set_clock(&nodes[at], 0);
            }
            Fault::CutOff | Fault::Deaf | Fault::Lossy => {
                let net = self.net.as_ref().expect("it is a fault of nets");
                match fault {
                    Fault::CutOff => net.part(at, &[one, other]),
                    Fault::Deaf => net.deafen(at, &[one]),
                    _ => net.lose(at, 10 + chance.below(30)),
                }
                std::thread::sleep(2 * long);
                net.heal();
            }
        }
        format!("{fault:?}, {}", if at == leader { "the leader" } else { "another" })
    }

    /// A machine loses its disk and joins as another node under its old name.
    fn wipe(&mut self, at: usize) {
        let (name, helper) = (format!("pi-{at}"), (at + 1) % 3);
        let nodes = &mut self.cluster.nodes;
        nodes[at].kill();
        for entry in fs::read_dir(&nodes[at].data).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        until(30, "the lost node is removed", || ruche(&nodes[helper], &["--yes", "node", "rm", &name]).ok());
        nodes[at].start();
        let token = until(30, "there is a token", || Some(token(&nodes[helper])));
        ruche(&nodes[at], &["cluster", "join", &token]).unwrap();
        until(60, "all of them vote again", || (self.cluster.voters(helper).len() == 3).then_some(()));
    }
}

fn node(at: usize, net: Option<&Net>, disks: &mut Vec<SmallDisk>, clocks: bool) -> Node {
    let dir = tempfile::Builder::new().prefix("ruche-test-").tempdir().unwrap();
    let root = dir.path().to_owned();
    let disk = SmallDisk::mount(&root.join("disk"), DISK_KIB);
    let data = disk.as_ref().map_or_else(|| root.join("data"), |disk| disk.path().join("data"));
    disks.extend(disk);
    let mut node = node_at(Node::with_data(dir, data), &format!("pi-{at}"), net.map(|net| net.address(at)));
    let text = fs::read_to_string(node.config()).unwrap();
    fs::write(node.config(), text.replace("[dns]\nlisten = []", "[dns]\nlisten = [\"127.0.0.1:0\"]")).unwrap();
    if let Some(net) = net {
        node.under = net.under(at);
    }
    if clocks {
        set_clock(&node, 0);
        let offset = clock(&node).display().to_string();
        // Only what people call the time: deadlines go by another clock, which nobody can set.
        let env = [("LD_PRELOAD", FAKETIME), ("FAKETIME_TIMESTAMP_FILE", &offset), ("FAKETIME_CACHE_DURATION", "1")];
        node.env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        node.env.push(("FAKETIME_DONT_FAKE_MONOTONIC".into(), "1".into()));
    }
    node
}

fn clock(node: &Node) -> PathBuf {
    node.path("clock")
}

/// How far a machine's clock is off.
pub fn set_clock(node: &Node, seconds: i64) {
    let path = clock(node);
    fs::write(path.with_extension("new"), format!("{seconds:+}\n")).unwrap();
    fs::rename(path.with_extension("new"), path).unwrap();
}

/// So many faults drawn by chance; each kind once before any comes again.
pub fn run(rounds: usize) {
    let mut chance = Chance::of_this_run();
    let mut rig = Rig::new();
    let sockets: Vec<PathBuf> = rig.cluster.nodes.iter().map(|node| node.socket()).collect();
    let (written, over) = (Mutex::new(Written::default()), AtomicBool::new(false));
    let (mut gaps, mut faults) = (Vec::new(), Vec::new());
    std::thread::scope(|threads| {
        let _over = Over(&over);
        for writer in 0..WRITERS {
            let (sockets, written, over, chance) = (&sockets, &written, &over, chance.fork());
            threads.spawn(move || write(writer, sockets, chance, written, over));
        }
        for _ in 0..2 {
            let (sockets, written, over, chance) = (&sockets, &written, &over, chance.fork());
            threads.spawn(move || read(sockets, chance, written, over));
        }
        for round in 1..=rounds {
            if faults.is_empty() {
                faults = rig.faults();
            }
            let fault = faults.swap_remove(chance.below(faults.len()));
            let started = Instant::now();
            let made = rig.make(fault, &mut chance, &written);
            let before = written.lock().unwrap().records.len();
            until(60, "changes are acknowledged again", || {
                (written.lock().unwrap().records.len() > before + 3).then_some(())
            });
            let gap = std::mem::take(&mut written.lock().unwrap().gap);
            println!("round {round}: {made}, {:.1?}, longest silence {} ms", started.elapsed(), gap.as_millis());
            gaps.push(gap);
            if round % COMPARED_EVERY == 0 || round == rounds {
                compare(&rig.cluster, &written);
            }
        }
    });
    compare(&rig.cluster, &written);
    gaps.sort_unstable();
    let written = written.into_inner().unwrap();
    let (middle, most) = (gaps[gaps.len() / 2].as_millis(), gaps.last().map_or(0, Duration::as_millis));
    assert!(written.stale.is_empty(), "the quorum was asked and told less than was acknowledged: {:?}", written.stale);
    assert!(written.reads > rounds, "nobody asked the quorum");
    println!(
        "{rounds} rounds, {} changes acknowledged, 0 lost; {} reads of the quorum, 0 stale; longest silence: median {middle} ms, at most {most} ms",
        written.records.len(),
        written.reads
    );
}

/// Makes records through one of the nodes or any, each until it is known to be there.
fn write(writer: usize, sockets: &[PathBuf], mut chance: Chance, written: &Mutex<Written>, over: &AtomicBool) {
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        let name = format!("w{writer}-{number}");
        let at = if writer < sockets.len() { writer } else { chance.below(sockets.len()) };
        let mut client = Client::new(&sockets[at]);
        let body = json!({"ttl": 300, "values": [checker::VALUE]});
        match client.ask("PUT", &checker::path(&name), Some(&body), &[]) {
            Ok(answer) if answer.is_done() => {
                written.lock().unwrap().note(name);
                number += 1;
            }
            // 404: a node that lost its disk is of no cluster yet, or its first copy of the state has not come.
            Ok(answer) => assert!(matches!(answer.status, 404 | 503 | 504 | 507), "{}", answer.text),
            // Killed, or not there yet.
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asks the quorum through any of the nodes for what was acknowledged before.
fn read(sockets: &[PathBuf], mut chance: Chance, written: &Mutex<Written>, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(10));
        let at = chance.below(sockets.len());
        let Some(name) = written.lock().unwrap().wanted(at) else { continue };
        let mut client = Client::new(&sockets[at]);
        let path = format!("{}?consistent=true", checker::path(&name));
        if let Ok(answer) = client.ask("GET", &path, None, &[]) {
            written.lock().unwrap().read(at, &name, &answer);
        }
    }
}

/// Every node has what was acknowledged, answers for it, and has the same state.
fn compare(cluster: &Cluster, written: &Mutex<Written>) {
    let acknowledged = written.lock().unwrap().records.clone();
    for (at, node) in cluster.nodes.iter().enumerate() {
        until(60, "a node has all that was acknowledged", || {
            let lost = checker::lost(&acknowledged, &checker::held(node));
            if !lost.is_empty() {
                println!("node {at} lacks {} of {}", lost.len(), acknowledged.len());
                std::thread::sleep(Duration::from_millis(200));
            }
            lost.is_empty().then_some(())
        });
        until(20, "a node answers for what was acknowledged", || {
            let unanswered = checker::unanswered(node, &acknowledged);
            if !unanswered.is_empty() {
                println!("node {at} does not answer yet for {unanswered:?}");
            }
            unanswered.is_empty().then_some(())
        });
        let seen = node.get("/v1/cluster").done().json;
        let nodes = seen["nodes"].as_array().unwrap();
        assert!(nodes.iter().all(|node| node["differs"] != true), "{seen}");
    }
}
