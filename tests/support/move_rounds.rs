//! A site that moves again and again among three nodes while files are uploaded through all of them and machines are killed, parted
//! from the others, or have a full disk. What was acknowledged is at the one home afterwards, whole and no older than its acknowledgement. Where nothing is killed visitors of every
//! kind look on, and none of them may notice.
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::onlookers::{KINDS, Place, Seen};
use crate::support::backend::Backend;
use crate::support::chance::Chance;
use crate::support::cluster::{node, node_at, ruche, token};
use crate::support::faults::SmallDisk;
use crate::support::ftp::PASSWORD;
use crate::support::net::Net;
use crate::support::node::Node;
use crate::support::sites::Sites;
use crate::support::{Over, until};

const HOST: &str = "moving.example";
const APP: &str = "app.example";
const LARGE: &str = "large.bin";

/// What a site holds beside what is uploaded, and how it moves.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub files: usize,
    pub file_bytes: usize,
    /// One more file.
    pub large: usize,
    /// How long a download of that takes.
    pub lasts: Duration,
    pub bandwidth: Option<u64>,
}

/// Small, and so slow that a pass takes a while.
pub const SLOW: Shape =
    Shape { files: 400, file_bytes: 20_000, large: 1 << 20, lasts: Duration::from_secs(1), bandwidth: Some(3 << 20) };

/// What happens to the machines while it moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faults {
    None,
    Kills,
    /// One of them hears nobody and is heard by nobody; its writer goes on, and so do those of the others.
    Partitions,
    /// That of where it moves to.
    FullDisks,
}

/// With 64 MiB that a copy leaves free.
const DISK_KIB: usize = 160 << 10;

pub struct Moving {
    shape: Shape,
    nodes: Vec<Mutex<Node>>,
    ftp: Vec<AtomicUsize>,
    /// Of the proxied site that moves along.
    _backend: Backend,
    /// Dropped after the nodes, in this order.
    disks: Vec<SmallDisk>,
    net: Option<Net>,
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

/// Where a file is, as visitors say it.
fn place(at: usize) -> String {
    format!("/{}/{at}", at / 50)
}

impl Moving {
    pub fn new(shape: Shape) -> Self {
        Self::of(shape, (None, Vec::new()), (0..3).map(|at| node(&format!("pi-{at}"))).collect())
    }

    /// On machines with networks and small disks of their own. None where these cannot be made, which is said aloud.
    pub fn apart(shape: Shape) -> Option<Self> {
        let net = Net::of(3)?;
        let (mut disks, mut nodes) = (Vec::new(), Vec::new());
        for at in 0..3 {
            let dir = tempfile::Builder::new().prefix("ruche-test-").tempdir().unwrap();
            disks.push(SmallDisk::mount(&dir.path().join("disk"), DISK_KIB)?);
            let data = disks[at].path().join("data");
            let mut node = node_at(Node::with_data(dir, data), &format!("pi-{at}"), Some(net.address(at)));
            node.under = net.under(at);
            nodes.push(node);
        }
        Some(Self::of(shape, (Some(net), disks), nodes))
    }

    fn of(shape: Shape, (net, disks): (Option<Net>, Vec<SmallDisk>), mut nodes: Vec<Node>) -> Self {
        for (at, node) in nodes.iter().enumerate() {
            let config = fs::read_to_string(node.config()).unwrap();
            let first = 30_000 + at * 5_000;
            let ftp = format!("[ftp]\nlisten = [\"127.0.0.1:0\"]\npassive_ports = \"{first}-{}\"", first + 4_999);
            let config = config.replace("[ftp]\nlisten = []", &ftp);
            let config = config.replace("http = []\nhttps = []", "http = []\nhttps = [\"127.0.0.1:0\"]");
            let config = config.replace("[dns]\nlisten = []", "[dns]\nlisten = [\"127.0.0.1:0\"]");
            fs::write(node.config(), config).unwrap();
        }
        nodes.iter_mut().for_each(Node::start);
        for node in &nodes[1..] {
            ruche(node, &["cluster", "join", &token(&nodes[0])]).unwrap();
        }
        let site = json!({"host": HOST, "handler": {"type": "static"}, "node": "pi-0"});
        let made = nodes[0].post("/v1/sites", site).done();
        let root = PathBuf::from(made.json["root"].as_str().unwrap());
        for at in 0..shape.files {
            let path = root.join(&place(at)[1..]);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![at as u8; shape.file_bytes]).unwrap();
        }
        let large: Vec<u8> = (0..shape.large).map(|at| (at / 7) as u8).collect();
        fs::write(root.join(LARGE), large).unwrap();
        let backend = Backend::start(|asked| {
            asked.say("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
            let mut piece = [0; 1 << 10];
            while let Ok(read @ 1..) = std::io::Read::read(&mut asked.stream, &mut piece) {
                asked.say(&piece[..read]);
            }
            false
        });
        let app = json!({"host": APP, "handler": {"type": "proxy", "upstreams": [backend.url()]}, "node": "pi-0"});
        nodes[0].post("/v1/sites", app).done();
        nodes[0].post("/v1/zones", json!({"name": HOST})).done();
        for at in 1..=3 {
            let addresses = json!({"addresses": [format!("192.0.2.{at}")]});
            nodes[0].ask("PATCH", &format!("/v1/nodes/pi-{}", at - 1), Some(addresses), &[]).done();
        }
        let user = json!({"login": "old", "site": HOST, "password": PASSWORD, "allow_plain": true});
        nodes[0].post("/v1/ftp-users", user).done();
        let ftp = nodes.iter().map(|_| AtomicUsize::new(0)).collect();
        let moving =
            Self { shape, nodes: nodes.into_iter().map(Mutex::new).collect(), ftp, _backend: backend, disks, net };
        (0..3).for_each(|at| moving.learn(at));
        moving
    }

    fn learn(&self, at: usize) {
        self.ftp[at].store(self.listens(at, "ftp.listen").port().into(), Ordering::Relaxed);
    }

    fn listens(&self, at: usize, name: &str) -> SocketAddr {
        let listeners = self.nodes[at].lock().unwrap().get("/v1/status").done().json["listening"].clone();
        let found = listeners.as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
        found["address"].as_str().unwrap().parse().unwrap()
    }

    /// What visitors of a node find.
    fn place(&self, at: usize) -> Place<'static> {
        let Shape { files, file_bytes, large, lasts, .. } = self.shape;
        let sites =
            Sites { node: Node::new(), http: self.listens(at, "web.https"), https: self.listens(at, "web.https") };
        let ca = self.nodes[at].lock().unwrap().get("/v1/certificates/ca").done().text;
        fs::write(sites.node.path("ca.pem"), ca).unwrap();
        let pages = (0..files).map(|at| (place(at), vec![at as u8; file_bytes])).collect();
        let dns = self.listens(at, "dns.listen");
        until(30, "it serves the site", || sites.tls(Some(APP), &[]).is_ok().then_some(()));
        Place { sites, dns, host: HOST, app: APP, pages, large: ("/large.bin", large, lasts) }
    }

    /// So many moves, with visitors of every kind at each node: none is failed, nothing is lost or torn, all see one certificate.
    pub fn watched(&self, rounds: usize) {
        let places: Vec<_> = (0..3).map(|at| self.place(at)).collect();
        let (seen, over): (Vec<_>, _) = ((0..3).map(|_| Seen::default()).collect(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for (place, seen) in places.iter().zip(&seen) {
                for kind in 0..KINDS.len() {
                    let over = &over;
                    scope.spawn(move || place.look_on(kind, seen, over));
                }
            }
            let _over = Over(&over);
            self.rounds(rounds, Faults::None);
        });
        for (at, seen) in seen.iter().enumerate() {
            let served: Vec<_> = seen.served.iter().map(|served| served.load(Ordering::Relaxed)).collect();
            println!("visitors of pi-{at}: {KINDS:?} {served:?}, the slowest {:?}", seen.slowest.lock().unwrap());
            let failed = seen.failed.lock().unwrap();
            assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
            assert!(served.iter().all(|served| *served > 0), "{served:?}");
        }
        let certificates: Vec<_> = seen.iter().flat_map(|seen| seen.certificates.lock().unwrap().clone()).collect();
        assert!(certificates.iter().all(|one| *one == certificates[0]), "another certificate was shown");
        let rests = |node: &Mutex<Node>| -> Vec<String> {
            let log = node.lock().unwrap().log();
            log.lines().filter_map(|line| Some(line.split_once("rested=")?.1.split(' ').next()?.to_owned())).collect()
        };
        println!("rested: {:?}", self.nodes.iter().map(rests).collect::<Vec<_>>());
    }

    /// The site as a node knows it; none while it is down.
    fn site(&self, at: usize) -> Option<Value> {
        let answer = self.nodes[at].try_lock().ok()?.get(&format!("/v1/sites/{HOST}"));
        (answer.status == 200).then_some(answer.json)
    }

    fn home(&self) -> usize {
        let newest = || (0..3).filter_map(|at| self.site(at)).max_by_key(|site| site["epoch"].as_u64());
        let site = until(30, "somebody knows the site", newest);
        site["node"].as_str().unwrap().strip_prefix("pi-").unwrap().parse().unwrap()
    }

    /// So many moves; in most of them a machine is killed somewhere, or in none, and then no upload may fail.
    pub fn rounds(&self, rounds: usize, faults: Faults) {
        let mut chance = Chance::of_this_run();
        let over = AtomicBool::new(false);
        let told: Vec<Mutex<Told>> = (0..3).map(|_| Mutex::default()).collect();
        std::thread::scope(|scope| {
            for at in 0..3 {
                let (told, over) = (&told[at], &over);
                scope.spawn(move || self.write(at, told, over));
            }
            let _over = Over(&over);
            for round in 0..rounds {
                self.round(round, faults, &mut chance);
            }
        });
        self.compare(&told);
        let failed: Vec<_> = told.iter().flat_map(|told| told.lock().unwrap().failed.clone()).collect();
        assert!(faults != Faults::None || failed.is_empty(), "{failed:?}");
    }

    fn round(&self, round: usize, faults: Faults, chance: &mut Chance) {
        let home = self.home();
        let to = (home + 1 + chance.below(2)) % 3;
        let (name, bandwidth) = (format!("pi-{to}"), self.shape.bandwidth.unwrap_or(1 << 40).to_string());
        let begin = |host| {
            let begin = ["site", "move", host, "--to", &name, "--bandwidth", &bandwidth, "--no-wait", "-o", "json"];
            let begun = until(30, "a move begins", || {
                let node = self.nodes[home].lock().unwrap();
                ruche(&node, &begin).ok()
            });
            serde_json::from_str::<Value>(&begun).unwrap()["id"].as_str().unwrap().to_owned()
        };
        let operation = |id: &str| {
            let answer = self.nodes[home].lock().unwrap().get(&format!("/v1/operations/{id}"));
            (answer.status == 200).then_some(answer.json)
        };
        let mut going = [HOST, APP].map(|host| (host, begin(host)));
        let (wait, begun) = (Duration::from_millis(chance.below(2500) as u64), Instant::now());
        let rests =
            |id: &str| operation(id).is_some_and(|json| json["stage"].as_str().unwrap().starts_with("the last"));
        if chance.below(2) == 0 {
            std::thread::sleep(wait);
        } else {
            while begun.elapsed() < Duration::from_secs(5) && !rests(&going[0].1) {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        let made = self.make(faults, (home, to), chance);
        let (after, started, mut again) = (begun.elapsed(), Instant::now(), 0);
        until(300, "the moves end", || {
            going
                .iter_mut()
                .all(|(host, id)| {
                    let status = operation(id).map(|json| json["status"].clone());
                    // The second run finishes the work.
                    if faults != Faults::None && status.as_ref().is_some_and(|status| status == "failed") {
                        *id = begin(host);
                        again += 1;
                    }
                    status.is_some_and(|status| status == "succeeded")
                })
                .then_some(())
        });
        let took = started.elapsed();
        println!(
            "round {round}: pi-{home} to {name}, {made} after {after:.1?}, then {took:.1?}, begun again {again} times"
        );
    }

    /// One fault from its beginning to its end; says which.
    fn make(&self, faults: Faults, (home, to): (usize, usize), chance: &mut Chance) -> String {
        let third = 3 - home - to;
        let lasts = Duration::from_millis(chance.below(1500) as u64);
        match faults {
            Faults::None => "nothing".to_owned(),
            Faults::Kills => {
                let Some(killed) = [Some(home), Some(to), Some(third), None][chance.below(4)] else {
                    return "nothing".into();
                };
                let mut node = self.nodes[killed].lock().unwrap();
                node.kill();
                std::thread::sleep(lasts);
                node.start();
                drop(node);
                self.learn(killed);
                format!("killed {killed}")
            }
            Faults::Partitions => {
                let net = self.net.as_ref().expect("they are apart");
                let alone = [home, to, third][chance.below(3)];
                net.part(alone, &[(alone + 1) % 3, (alone + 2) % 3]);
                std::thread::sleep(lasts * 5);
                net.heal();
                format!("parted {alone} for {:.1?}", lasts * 5)
            }
            Faults::FullDisks => {
                self.disks[to].fill();
                std::thread::sleep(lasts * 3);
                self.disks[to].free();
                format!("no room for {:.1?}", lasts * 3)
            }
        }
    }

    /// Uploads new files, and one again and again, through one node.
    fn write(&self, at: usize, told: &Mutex<Told>, over: &AtomicBool) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        for number in 1.. {
            if over.load(Ordering::Relaxed) {
                return;
            }
            for name in [format!("new-{at}-{number}"), format!("last-{at}")] {
                fs::write(&file, content(&name, number)).unwrap();
                let url = format!("ftp://127.0.0.1:{}/{name}", self.ftp[at].load(Ordering::Relaxed));
                let user = format!("old:{PASSWORD}");
                let under = self.net.as_ref().map(|net| net.under(at)).unwrap_or_default();
                let words = [&under[..], &["curl".to_owned()]].concat();
                let mut curl = Command::new(&words[0]);
                curl.args(&words[1..]).args(["-sS", "-m", "25", "--user", &user, "-T"]).arg(&file).arg(url);
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
            assert!(path.is_dir() || path.ends_with(LARGE) || is_whole(&fs::read(&path).unwrap()), "{path:?} is torn");
        }
        for at in 0..self.shape.files {
            let bytes = fs::read(root.join(&place(at)[1..])).unwrap();
            assert!(bytes.len() == self.shape.file_bytes && bytes.iter().all(|byte| *byte == at as u8), "{at}");
        }
    }
}
