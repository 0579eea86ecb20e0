//! A node with many sites that is drained while they are visited and uploaded to through the other nodes: nobody notices, and in the end
//! each site is at home once, with all that was uploaded.
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::chance::Chance;
use crate::support::cluster::{Cluster, full_node, ruche};
use crate::support::ftp::PASSWORD;
use crate::support::http;
use crate::support::node::Node;
use crate::support::sites::Sites;
use crate::support::{Over, until};

/// Sites that are uploaded to.
const WRITTEN: usize = 6;
const FILES: usize = 5;

pub struct Drained {
    sites: usize,
    nodes: Vec<Mutex<Node>>,
    /// Where the others listen; 0 while one is down.
    https: Vec<AtomicUsize>,
    ftp: Vec<AtomicUsize>,
    ca: String,
    visits: AtomicU64,
    slowest: Mutex<Duration>,
    /// What went wrong, and when it had begun.
    failed: Mutex<Vec<(Instant, String)>>,
    /// Site and name of each upload that was acknowledged.
    stored: Mutex<Vec<(usize, String)>>,
}

fn host(site: usize) -> String {
    format!("s{site}.example")
}

fn page(site: usize, file: usize) -> String {
    format!("{} {file}\n", host(site)).repeat(100 * (file + 1))
}

impl Drained {
    /// Three nodes, and so many sites on the first.
    pub fn new(sites: usize) -> Self {
        let Cluster { nodes } = Cluster::join((0..3).map(full_node).collect());
        for site in 0..sites {
            let handler = json!({"type": "static"});
            let made =
                nodes[0].post("/v1/sites", json!({"host": host(site), "handler": handler, "node": "pi-0"})).done();
            let root = PathBuf::from(made.json["root"].as_str().unwrap());
            (0..FILES).for_each(|file| fs::write(root.join(file.to_string()), page(site, file)).unwrap());
        }
        for site in 0..WRITTEN.min(sites) {
            let user =
                json!({"login": format!("u{site}"), "site": host(site), "password": PASSWORD, "allow_plain": true});
            nodes[0].post("/v1/ftp-users", user).done();
        }
        let ca = nodes[0].get("/v1/certificates/ca").done().text;
        let zeros = || (0..3).map(|_| AtomicUsize::new(0)).collect();
        let nodes = nodes.into_iter().map(Mutex::new).collect();
        let (visits, slowest, failed, stored) = Default::default();
        let drained = Self { sites, nodes, https: zeros(), ftp: zeros(), ca, visits, slowest, failed, stored };
        (0..3).for_each(|at| drained.learn(at));
        for at in 1..3 {
            let last = format!("/v1/sites/{}", host(sites - 1));
            until(30, "it knows all sites", || (drained.ask(at, &last).status == 200).then_some(()));
        }
        drained
    }

    fn ask(&self, at: usize, path: &str) -> crate::support::http::Answer {
        self.nodes[at].lock().unwrap().get(path)
    }

    fn learn(&self, at: usize) {
        let listening = self.ask(at, "/v1/status").done().json["listening"].clone();
        let port = |name: &str| {
            let found = listening.as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
            found["address"].as_str().unwrap().parse::<SocketAddr>().unwrap().port().into()
        };
        self.https[at].store(port("web.https"), Ordering::Relaxed);
        self.ftp[at].store(port("ftp.listen"), Ordering::Relaxed);
    }

    fn fail(&self, begun: Instant, what: String) {
        self.failed.lock().unwrap().push((begun, what));
    }

    /// Visits one page after the other through one node.
    fn visit(&self, at: usize, mut chance: Chance, over: &AtomicBool) {
        let any = ([127, 0, 0, 1], 0).into();
        let mut sites = Sites { node: Node::new(), http: any, https: any };
        fs::write(sites.node.path("ca.pem"), &self.ca).unwrap();
        while !over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
            let port = self.https[at].load(Ordering::Relaxed);
            if port == 0 {
                continue;
            }
            sites.https.set_port(port as u16);
            let (site, file, begun) = (chance.below(self.sites), chance.below(FILES), Instant::now());
            match visited(&sites, site, file) {
                Ok(()) => {
                    self.visits.fetch_add(1, Ordering::Relaxed);
                    let mut slowest = self.slowest.lock().unwrap();
                    *slowest = begun.elapsed().max(*slowest);
                }
                Err(said) => self.fail(begun, format!("{} through pi-{at}: {said}", host(site))),
            }
        }
    }

    /// Uploads one file after the other through one node.
    fn write(&self, at: usize, mut chance: Chance, over: &AtomicBool) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        for number in 0.. {
            let port = self.ftp[at].load(Ordering::Relaxed);
            if over.load(Ordering::Relaxed) {
                return;
            }
            if port == 0 {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            let (site, name) = (chance.below(WRITTEN.min(self.sites)), format!("new-{at}-{number}"));
            fs::write(&file, name.repeat(500)).unwrap();
            let (url, user) = (format!("ftp://127.0.0.1:{port}/{name}"), format!("u{site}:{PASSWORD}"));
            let begun = Instant::now();
            let sent = Command::new("curl").args(["-sS", "-m", "30", "-u", &user, "-T"]).arg(&file).arg(&url).output();
            let sent = sent.unwrap();
            match sent.status.success() {
                true => self.stored.lock().unwrap().push((site, name)),
                false => self.fail(begun, format!("{url}: {}", String::from_utf8_lossy(&sent.stderr).trim())),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Drains the first node, with the leader killed meanwhile or not, and evens the sites out again.
    pub fn run(&self, kill: bool) {
        let (mut chance, over) = (Chance::of_this_run(), AtomicBool::new(false));
        let mut blind = None;
        std::thread::scope(|scope| {
            for at in 1..3 {
                let (visits, writes, over) = (chance.fork(), chance.fork(), &over);
                scope.spawn(move || self.visit(at, visits, over));
                scope.spawn(move || self.write(at, writes, over));
            }
            let _over = Over(&over);
            let begun = Instant::now();
            let (from, to) = (1, 2);
            let drain = self.begin(from, &["node", "drain", "pi-0", "--no-wait", "-o", "json"]);
            if kill {
                until(120, "some sites have left", || (self.counts(from)["pi-0"] * 3 < self.sites * 2).then_some(()));
                blind = Some(self.kill_the_leader());
            }
            let asked = if self.https[from].load(Ordering::Relaxed) == 0 { to } else { from };
            self.succeeds(asked, &drain, "the drain");
            println!("{} sites left in {:.1?}: {:?}", self.sites, begun.elapsed(), self.counts(asked));
            assert_eq!(self.counts(asked)["pi-0"], 0);
            let begun = Instant::now();
            ruche(&self.nodes[asked].lock().unwrap(), &["node", "uncordon", "pi-0"]).unwrap();
            ruche(&self.nodes[asked].lock().unwrap(), &["--yes", "cluster", "rebalance"]).unwrap();
            until(600, "the sites are evened out", || {
                let moving = self.all_sites(asked).iter().any(|site| !site["moving"].is_null());
                (!moving && self.counts(asked)["pi-0"] > 0).then_some(())
            });
            let counts = self.counts(asked);
            println!("evened out in {:.1?}: {counts:?}", begun.elapsed());
            let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
            assert!(most - least <= 1 + self.sites / 30, "{counts:?}");
        });
        self.compare(blind);
    }

    fn begin(&self, at: usize, words: &[&str]) -> String {
        let begun = ruche(&self.nodes[at].lock().unwrap(), words).unwrap();
        serde_json::from_str::<Value>(&begun).unwrap()["id"].as_str().unwrap().to_owned()
    }

    fn succeeds(&self, at: usize, operation: &str, what: &str) {
        let status = until(1800, what, || {
            let answer = self.ask(at, &format!("/v1/operations/{operation}"));
            let status = answer.json["status"].as_str()?.to_owned();
            std::thread::sleep(Duration::from_millis(50));
            (status != "running").then_some(answer)
        });
        assert_eq!(status.json["status"], "succeeded", "{}", status.text);
    }

    fn all_sites(&self, at: usize) -> Vec<Value> {
        self.nodes[at].lock().unwrap().all("/v1/sites")
    }

    /// How many sites are at home on each node.
    fn counts(&self, at: usize) -> BTreeMap<String, usize> {
        let mut counts: BTreeMap<_, _> = (0..3).map(|at| (format!("pi-{at}"), 0)).collect();
        for site in self.all_sites(at) {
            *counts.get_mut(site["node"].as_str().unwrap()).unwrap() += 1;
        }
        counts
    }

    /// kill -9, and started again at once; from when to when its visitors, and those of its sites, were cut off.
    fn kill_the_leader(&self) -> (Instant, Instant) {
        let status = self.ask(1, "/v1/status").done().json;
        let name = status["raft"]["leader"].as_str().unwrap().to_owned();
        let leader: usize = name.strip_prefix("pi-").unwrap().parse().unwrap();
        let begun = Instant::now();
        let mut node = self.nodes[leader].lock().unwrap();
        self.https[leader].store(0, Ordering::Relaxed);
        self.ftp[leader].store(0, Ordering::Relaxed);
        node.kill();
        node.start();
        drop(node);
        self.learn(leader);
        // Until the others have found it again.
        std::thread::sleep(Duration::from_secs(3));
        println!("the leader pi-{leader} was killed, and was back after {:.1?}", begun.elapsed());
        (begun, Instant::now())
    }

    /// Nothing failed but what was cut off, and all that was acknowledged is at the one home.
    fn compare(&self, blind: Option<(Instant, Instant)>) {
        let (failed, stored) = (self.failed.lock().unwrap(), self.stored.lock().unwrap());
        // What had begun before lasts half a minute at most.
        let cut_off =
            |begun: Instant| blind.is_some_and(|(from, to)| begun + Duration::from_secs(30) > from && begun < to);
        let noticed: Vec<_> = failed.iter().filter(|(begun, _)| !cut_off(*begun)).map(|(_, what)| what).collect();
        let visits = self.visits.load(Ordering::Relaxed);
        println!(
            "{visits} visits, the slowest {:.1?}, {} uploads; {} cut off with the leader, {} failed",
            self.slowest.lock().unwrap(),
            stored.len(),
            failed.len() - noticed.len(),
            noticed.len()
        );
        assert!(noticed.is_empty(), "{noticed:#?}");
        assert!(visits > 100 && stored.len() > 10, "nobody looked on");
        let homes: Vec<(usize, PathBuf)> = (0..self.sites)
            .map(|site| {
                let known = |at: usize| self.ask(at, &format!("/v1/sites/{}", host(site))).done().json;
                let home = known(1)["node"].as_str().unwrap().strip_prefix("pi-").unwrap().parse().unwrap();
                (home, known(home)["root"].as_str().unwrap().into())
            })
            .collect();
        for (site, (_, root)) in homes.iter().enumerate() {
            for file in 0..FILES {
                assert_eq!(fs::read_to_string(root.join(file.to_string())).unwrap(), page(site, file));
            }
        }
        for (site, name) in stored.iter() {
            let there = fs::read_to_string(homes[*site].1.join(name));
            assert!(there.is_ok_and(|text| text == name.repeat(500)), "{name} of {} is lost", host(*site));
        }
    }
}

fn visited(sites: &Sites, site: usize, file: usize) -> Result<(), String> {
    let told = |error: std::io::Error| error.to_string();
    let stream = sites.tls_from(Ipv4Addr::LOCALHOST, Some(&host(site)), &[]).map_err(told)?;
    let mut stream = BufReader::new(stream);
    let asked = format!("GET /{file} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", host(site));
    stream.get_mut().write_all(asked.as_bytes()).map_err(told)?;
    let (status, _) = http::head(&mut stream).map_err(told)?;
    let wanted = page(site, file);
    let mut body = vec![0; wanted.len()];
    stream.read_exact(&mut body).map_err(|error| format!("{status}, {error}"))?;
    if status == 200 && body == wanted.as_bytes() { Ok(()) } else { Err(format!("{status}, or another page")) }
}
