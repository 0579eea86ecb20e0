//! A site that moves again and again among three nodes while files are uploaded through all of them and machines are killed. What was
//! acknowledged is at the one home afterwards, whole and no older than its acknowledgement.
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::chance::Chance;
use crate::support::cluster::{node, ruche, token};
use crate::support::ftp::PASSWORD;
use crate::support::node::Node;
use crate::support::until;

const HOST: &str = "moving.example";
/// Files beside those that are uploaded, so that a pass takes a while.
const FILES: usize = 400;
const FILE_BYTES: usize = 20_000;
const BANDWIDTH: u64 = 3 << 20;

pub struct Moving {
    nodes: Vec<Mutex<Node>>,
    ftp: Vec<AtomicUsize>,
}

/// What a writer was told.
#[derive(Debug, Default)]
struct Told {
    stored: Vec<String>,
    last: usize,
    failed: Vec<String>,
}

/// Names and content go together: a file that holds anything else is torn.
fn content(name: &str, number: usize) -> Vec<u8> {
    let line = format!("{name} {number}\n");
    line.repeat(1 + number * 37 % 3000).into_bytes()
}

fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some(first) = text.lines().next() else { return false };
    let Some((name, number)) = first.rsplit_once(' ') else { return false };
    number.parse().is_ok_and(|number| content(name, number) == bytes)
}

impl Moving {
    pub fn new() -> Self {
        let mut nodes: Vec<_> = (0..3)
            .map(|at| {
                let node = node(&format!("pi-{at}"));
                let config = fs::read_to_string(node.config()).unwrap();
                let first = 30_000 + at * 5_000;
                let ftp = format!("[ftp]\nlisten = [\"127.0.0.1:0\"]\npassive_ports = \"{first}-{}\"", first + 4_999);
                fs::write(node.config(), config.replace("[ftp]\nlisten = []", &ftp)).unwrap();
                node
            })
            .collect();
        nodes.iter_mut().for_each(Node::start);
        for node in &nodes[1..] {
            ruche(node, &["cluster", "join", &token(&nodes[0])]).unwrap();
        }
        let site = json!({"host": HOST, "handler": {"type": "static"}, "node": "pi-0"});
        let made = nodes[0].post("/v1/sites", site).done();
        let root = PathBuf::from(made.json["root"].as_str().unwrap());
        for at in 0..FILES {
            fs::create_dir_all(root.join(format!("{}", at / 50))).unwrap();
            fs::write(root.join(format!("{}/{at}", at / 50)), vec![at as u8; FILE_BYTES]).unwrap();
        }
        let user = json!({"login": "old", "site": HOST, "password": PASSWORD, "allow_plain": true});
        nodes[0].post("/v1/ftp-users", user).done();
        let ftp = nodes.iter().map(|_| AtomicUsize::new(0)).collect();
        let moving = Self { nodes: nodes.into_iter().map(Mutex::new).collect(), ftp };
        (0..3).for_each(|at| moving.learn(at));
        moving
    }

    fn learn(&self, at: usize) {
        let node = self.nodes[at].lock().unwrap();
        let listeners = node.get("/v1/status").done().json["listening"].clone();
        let ftp = listeners.as_array().unwrap().iter().find(|one| one["name"] == "ftp.listen").unwrap();
        let port = ftp["address"].as_str().unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
        self.ftp[at].store(port, Ordering::Relaxed);
    }

    /// The site as a node knows it; none while it is down.
    fn site(&self, at: usize) -> Option<Value> {
        let answer = self.nodes[at].try_lock().ok()?.get(&format!("/v1/sites/{HOST}"));
        (answer.status == 200).then_some(answer.json)
    }

    fn home(&self) -> usize {
        let site = until(30, "somebody knows the site", || (0..3).find_map(|at| self.site(at)));
        site["node"].as_str().unwrap().strip_prefix("pi-").unwrap().parse().unwrap()
    }

    /// So many moves; in most of them a machine is killed somewhere, or in none, and then no upload may fail.
    pub fn rounds(&self, rounds: usize, kills: bool) {
        let mut chance = Chance::of_this_run();
        let done = AtomicBool::new(false);
        let told: Vec<Mutex<Told>> = (0..3).map(|_| Mutex::default()).collect();
        std::thread::scope(|scope| {
            for at in 0..3 {
                let (told, done) = (&told[at], &done);
                scope.spawn(move || self.write(at, told, done));
            }
            let moved = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for round in 0..rounds {
                    self.round(round, kills, &mut chance);
                }
            }));
            done.store(true, Ordering::Relaxed);
            moved.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
        self.compare(&told);
        let failed: Vec<_> = told.iter().flat_map(|told| told.lock().unwrap().failed.clone()).collect();
        assert!(kills || failed.is_empty(), "{failed:?}");
    }

    fn round(&self, round: usize, kills: bool, chance: &mut Chance) {
        let home = self.home();
        let to = (home + 1 + chance.below(2)) % 3;
        let killed = if kills { [home, to, 3 - home - to, 9][chance.below(4)] } else { 9 };
        let wait = Duration::from_millis(chance.below(2500) as u64);
        let (to, bandwidth) = (format!("pi-{to}"), BANDWIDTH.to_string());
        let begin = ["site", "move", HOST, "--to", &to, "--bandwidth", &bandwidth, "--no-wait", "-o", "json"];
        let begun = until(30, "a move begins", || {
            let node = self.nodes[home].lock().unwrap();
            ruche(&node, &begin).ok()
        });
        let id = serde_json::from_str::<Value>(&begun).unwrap()["id"].as_str().unwrap().to_owned();
        std::thread::sleep(wait);
        if killed < 3 {
            let mut node = self.nodes[killed].lock().unwrap();
            node.kill();
            std::thread::sleep(Duration::from_millis(chance.below(1500) as u64));
            node.start();
            drop(node);
            self.learn(killed);
        }
        let started = Instant::now();
        let ended = until(90, "the move ends", || {
            let answer = self.nodes[home].lock().unwrap().get(&format!("/v1/operations/{id}"));
            (answer.status == 200 && answer.json["status"] == "succeeded").then_some(answer.json)
        });
        let (took, stage) = (started.elapsed(), &ended["stage"]);
        println!("round {round}: pi-{home} to {to}, killed {killed} after {wait:?}, then {took:.1?}, {stage}");
    }

    /// Uploads new files, and one again and again, through one node.
    fn write(&self, at: usize, told: &Mutex<Told>, done: &AtomicBool) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        for number in 1.. {
            if done.load(Ordering::Relaxed) {
                return;
            }
            for name in [format!("new-{at}-{number}"), format!("last-{at}")] {
                fs::write(&file, content(&name, number)).unwrap();
                let url = format!("ftp://127.0.0.1:{}/{name}", self.ftp[at].load(Ordering::Relaxed));
                let user = format!("old:{PASSWORD}");
                let mut curl = Command::new("curl");
                curl.args(["-sS", "-m", "25", "--user", &user, "-T"]).arg(&file).arg(url);
                let sent = curl.output().unwrap();
                let mut told = told.lock().unwrap();
                match sent.status.success() {
                    true if name.starts_with("last") => told.last = number,
                    true => told.stored.push(name),
                    false => told.failed.push(format!("{name}: {}", String::from_utf8_lossy(&sent.stderr).trim())),
                }
            }
        }
    }

    fn compare(&self, told: &[Mutex<Told>]) {
        let home = self.home();
        for at in 0..3 {
            until(30, "all say the same", || {
                let site = self.site(at)?;
                (site["node"] == format!("pi-{home}") && site["moving"].is_null()).then_some(())
            });
        }
        let root = PathBuf::from(self.site(home).unwrap()["root"].as_str().unwrap());
        let mut stored = 0;
        for (at, told) in told.iter().enumerate() {
            let told = told.lock().unwrap();
            let lost: Vec<_> = told.stored.iter().filter(|name| !root.join(name).exists()).collect();
            assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), told.stored.len());
            let last = fs::read_to_string(root.join(format!("last-{at}"))).unwrap_or_default();
            let number = last.lines().next().and_then(|line| line.rsplit_once(' ')?.1.parse().ok()).unwrap_or(0);
            assert!(number >= told.last, "pi-{at}: {number} is there, {} was acknowledged", told.last);
            stored += told.stored.len();
            println!("through pi-{at}: {} stored, {} refused or cut off", told.stored.len(), told.failed.len());
        }
        assert!(stored > 0, "nothing was ever stored");
        for entry in fs::read_dir(&root).unwrap() {
            let path = entry.unwrap().path();
            assert!(path.is_dir() || is_whole(&fs::read(&path).unwrap()), "{path:?} is torn");
        }
        for at in 0..FILES {
            let bytes = fs::read(root.join(format!("{}/{at}", at / 50))).unwrap();
            assert!(bytes.len() == FILE_BYTES && bytes.iter().all(|byte| *byte == at as u8), "{at}");
        }
    }
}
