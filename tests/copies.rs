//! A copy of the state on its way to a new node: over a link that breaks again and again, and from a disk that has no room for it.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::cluster::{node, node_at, ruche, token};
use support::faults::SmallDisk;
use support::node::Node;
use support::until;

/// Bytes after which a connection is cut, and how often that happens.
const CUT_AFTER: usize = 3 << 20;
const CUTS: usize = 3;
/// More than the log keeps: who joins gets a copy.
const ZONES: usize = 26;

/// Leads to a node, and cuts what carries much.
struct Link {
    at: SocketAddr,
    cuts: Arc<AtomicUsize>,
}

impl Link {
    fn to(node: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = Self { at: listener.local_addr().unwrap(), cuts: Arc::default() };
        let cuts = Arc::clone(&link.cuts);
        thread::spawn(move || {
            while let Ok((caller, _)) = listener.accept() {
                let Ok(called) = TcpStream::connect(node) else { continue };
                let back = (called.try_clone().unwrap(), caller.try_clone().unwrap());
                thread::spawn(move || pump(back.0, back.1, |_| false));
                let cuts = Arc::clone(&cuts);
                thread::spawn(move || {
                    let mut here = 0;
                    pump(caller, called, |bytes| {
                        here += bytes;
                        here > CUT_AFTER && cuts.fetch_add(1, Ordering::Relaxed) < CUTS
                    });
                });
            }
        });
        link
    }
}

/// Until either side ends, or it is cut.
fn pump(mut from: TcpStream, mut to: TcpStream, mut is_cut: impl FnMut(usize) -> bool) {
    let mut piece = [0; 65536];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        if is_cut(count) || to.write_all(&piece[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// A state that is too large for the log.
fn fill(node: &Node) {
    let path = node.path("zone");
    for number in 0..ZONES {
        let mut file = format!("$ORIGIN z{number}.example.\n$TTL 600\n@ NS ns1.example.net.\n");
        for at in 0..3000 {
            file.push_str(&format!("r{at} TXT \"{}\"\n", "x".repeat(200)));
        }
        fs::write(&path, file).unwrap();
        ruche(node, &["zone", "import", path.to_str().unwrap()]).unwrap();
    }
}

/// Returns when a node that joined has all that the other had before.
fn catches_up(late: &Node, revision: &serde_json::Value) {
    let revision = revision.as_u64();
    until(120, "it has the state", || (late.get("/v1/status").json["revision"].as_u64() >= revision).then_some(()));
    assert_eq!(late.all("/v1/zones").len(), ZONES);
}

/// Who leads has nowhere to put a copy: it goes on deciding, and gives it when there is room.
#[test]
fn a_leader_without_room_for_a_copy_leads_on() {
    let dir = tempfile::Builder::new().prefix("ruche-test-").tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&dir.path().join("disk"), 128 << 10) else { return };
    let data = disk.path().join("data");
    let (mut first, mut late) = (node_at(Node::with_data(dir, data), "pi-0", None), node("pi-1"));
    first.start();
    fill(&first);
    disk.leave(24 << 20);
    late.start();
    thread::scope(|scope| {
        let joined = scope.spawn(|| ruche(&late, &["cluster", "join", &token(&first)]));
        until(60, "there is no room", || first.log().contains("gets no copy of the state for now").then_some(()));
        for number in 0..20 {
            first.post("/v1/accounts", serde_json::json!({"name": format!("meanwhile-{number}")})).done();
            thread::sleep(Duration::from_millis(100));
        }
        assert!(!joined.is_finished());
        disk.free();
        joined.join().unwrap().unwrap();
    });
    catches_up(&late, &first.get("/v1/status").done().json["revision"]);
    assert_eq!(first.log().matches("gets no copy of the state for now").count(), 1);
}

/// A copy is as large as the state, and a small machine's disk wears: none is made for nobody.
#[test]
fn no_copy_is_made_for_a_node_that_is_away() {
    let (mut first, mut late) = (node("pi-0"), node("pi-1"));
    first.start();
    late.start();
    ruche(&late, &["cluster", "join", &token(&first)]).unwrap();
    assert!(late.term().success());
    fill(&first);
    let is_copy = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with("copy-");
    let ends = Instant::now() + Duration::from_secs(10);
    while Instant::now() < ends {
        assert!(!fs::read_dir(&first.data).unwrap().flatten().any(is_copy), "{}", first.log());
        thread::sleep(Duration::from_millis(20));
    }
    late.start();
    catches_up(&late, &first.get("/v1/status").done().json["revision"]);
    assert!(late.log().contains("receiving a copy of the state"), "{}", late.log());
}

#[test]
fn a_copy_goes_on_where_it_was_cut_off() {
    let (mut first, mut late) = (node("pi-0"), node("pi-1"));
    first.start();
    fill(&first);
    let config = fs::read_to_string(late.config()).unwrap();
    let listen = config.split("[cluster]\nlisten = [\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let link = Link::to(listen.parse().unwrap());
    let config = config.replace("[cluster]\n", &format!("[cluster]\nadvertise = [\"{}\"]\n", link.at));
    fs::write(late.config(), config).unwrap();
    late.start();
    ruche(&late, &["cluster", "join", &token(&first)]).unwrap();
    catches_up(&late, &first.get("/v1/status").done().json["revision"]);
    assert!(link.cuts.load(Ordering::Relaxed) >= CUTS, "{}", late.log());
    let status = first.get("/v1/cluster").done().json;
    assert!(status["nodes"].as_array().unwrap().iter().all(|node| node["differs"] == false), "{status}");
    // Each connection began where the one before had ended: nearly nothing went twice.
    let log = late.log();
    let begun: Vec<u64> = log
        .lines()
        .filter(|line| line.contains("receiving a copy of the state"))
        .map(|line| line.split("from=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(begun.len() > CUTS && begun[0] == 0, "{begun:?}");
    assert!(begun.windows(2).all(|pair| pair[1] > pair[0] + 1_000_000), "{begun:?}");
}
