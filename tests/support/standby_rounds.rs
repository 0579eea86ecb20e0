//! A site that stands by on two machines while its home is cut off again and again, and files are uploaded on both sides: never are
//! both sides told that theirs was taken, and what the new home lacks is kept by the old one.
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::chance::Chance;
use crate::support::cluster::{Cluster, node_at, ruche};
use crate::support::ftp::PASSWORD;
use crate::support::net::Net;
use crate::support::node::Node;
use crate::support::{Over, until};

const HOST: &str = "parted.example";
/// Each machine has a network of its own, and so all ports.
const FTP: &str = "127.0.0.1:2121";
const LINES: usize = 200;

/// How a home is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Nothing passes, either way.
    Parted,
    /// What it says reaches nobody.
    Unheard,
    /// It hears nobody.
    Deaf,
    /// Most of what comes to it is lost.
    Lossy,
    /// It comes back for a moment, is known to be down still, and somebody makes a standby the home just when it is cut off again.
    Twice,
}

/// An upload that was acknowledged.
#[derive(Debug, Clone)]
struct Taken {
    name: String,
    /// The last of it was not sent before.
    begun: Instant,
    ended: Instant,
    /// The machine that had it when it was acknowledged; none where several had, or one has had it and lost it.
    by: Option<usize>,
}

/// Three machines.
pub struct Hive {
    nodes: Vec<Mutex<Node>>,
    /// Where the files of the site are on each.
    roots: Vec<PathBuf>,
    taken: Mutex<Vec<Taken>>,
    /// Of uploads that were not acknowledged: through which machine, and when that was known.
    refused: Mutex<Vec<(usize, Instant)>>,
    net: Net,
}

fn content(name: &str) -> String {
    format!("{name}\n").repeat(LINES)
}

impl Hive {
    /// None where no network can be cut, which is said aloud.
    pub fn new() -> Option<Self> {
        let net = Net::of(3)?;
        let nodes = (0..3).map(|at| {
            let mut node = node_at(Node::new(), &format!("pi-{at}"), Some(net.address(at)));
            node.under = net.under(at);
            let config = fs::read_to_string(node.config()).unwrap();
            let ftp = format!("[ftp]\nlisten = [{FTP:?}]\npassive_ports = \"30000-39999\"");
            let config = config.replace("[ftp]\nlisten = []", &ftp);
            fs::write(node.config(), config.replace("https = []", "https = [\"127.0.0.1:0\"]")).unwrap();
            node
        });
        let Cluster { nodes } = Cluster::join(nodes.collect());
        let handler = json!({"type": "static"});
        let site = json!({"host": HOST, "handler": handler, "node": "pi-0", "standbys": ["pi-1", "pi-2"]});
        nodes[0].post("/v1/sites", site).done();
        let user = json!({"login": "old", "site": HOST, "password": PASSWORD, "allow_plain": true});
        nodes[0].post("/v1/ftp-users", user).done();
        let root = |node: &Node| {
            until(20, "it knows the site", || {
                let root = node.get(&format!("/v1/sites/{HOST}")).json["root"].as_str()?.into();
                Some(root)
            })
        };
        let roots = nodes.iter().map(root).collect();
        let nodes = nodes.into_iter().map(Mutex::new).collect();
        Some(Self { nodes, roots, taken: Mutex::default(), refused: Mutex::default(), net })
    }

    /// The site as a machine knows it.
    fn site(&self, at: usize) -> Value {
        self.nodes[at].lock().unwrap().get(&format!("/v1/sites/{HOST}")).json
    }

    fn home(&self, at: usize) -> Option<usize> {
        self.site(at)["node"].as_str()?.strip_prefix("pi-")?.parse().ok()
    }

    fn is_down(&self, asked: usize, at: usize) -> bool {
        let node = self.nodes[asked].lock().unwrap().get(&format!("/v1/nodes/pi-{at}")).json;
        node["up"] == false
    }

    fn curl(&self, at: usize, name: &str, what: &Path) -> Command {
        let words = [&self.net.under(at)[..], &["curl".to_owned()]].concat();
        let (url, user) = (format!("ftp://{FTP}/{name}"), format!("old:{PASSWORD}"));
        let mut curl = Command::new(&words[0]);
        curl.args(&words[1..]).args(["-sS", "-m", "90", "-u", &user, "-T"]).arg(what).arg(url);
        curl
    }

    /// Notes what became of an upload.
    fn note(&self, at: usize, name: String, begun: Instant, taken: bool) {
        let ended = Instant::now();
        if !taken {
            self.refused.lock().unwrap().push((at, ended));
            return;
        }
        let holders: Vec<_> = (0..3).filter(|at| self.roots[*at].join(&name).exists()).collect();
        let by = if let [by] = holders[..] { Some(by) } else { None };
        self.taken.lock().unwrap().push(Taken { name, begun, ended, by });
    }

    /// Uploads one file after the other.
    fn write(&self, writer: usize, over: &AtomicBool) {
        let (at, dir) = (writer % 3, tempfile::tempdir().unwrap());
        let file = dir.path().join("file");
        for number in 0.. {
            if over.load(Ordering::Relaxed) {
                return;
            }
            let name = format!("w{writer}-{number}");
            fs::write(&file, content(&name)).unwrap();
            let begun = Instant::now();
            // One that is carried to a home that is gone is given up: it would be waited for.
            let sent = self.curl(at, &name, &file).args(["-m", "5"]).output().unwrap();
            self.note(at, name, begun, sent.status.success());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Returns once an upload that was taken from here on is on all machines.
    fn mark(&self, at: usize, round: usize) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let mut tries = 0;
        let name = until(90, "an upload is taken", || {
            tries += 1;
            let name = format!("mark-{round}-{tries}");
            fs::write(&file, content(&name)).unwrap();
            let sent = self.curl(at, &name, &file).args(["-m", "5"]).output().unwrap();
            sent.status.success().then_some(name)
        });
        until(90, "all copies follow", || {
            self.roots.iter().all(|root| is_whole(&root.join(&name), &name)).then_some(())
        });
    }

    /// An upload that lasts until `over`; whether it was taken, and when the last of it was sent.
    fn write_slowly(&self, at: usize, name: &str, over: &AtomicBool) -> (bool, Instant) {
        let mut curl = self.curl(at, name, Path::new("-"));
        let mut curl = curl.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdin = curl.stdin.take().unwrap();
        while !over.load(Ordering::Relaxed) {
            // It may have been refused already.
            let _ = stdin.write_all(content(name).as_bytes());
            std::thread::sleep(Duration::from_millis(300));
        }
        let last = Instant::now();
        drop(stdin);
        (curl.wait().unwrap().success(), last)
    }

    /// A home that is written without a lease is cut off, and its site is to fail over by itself from then on: nobody can have told it.
    pub fn switched_while_cut_off(&self) {
        let set = |at: usize, failover| {
            let set = ["site", "set", HOST, "--failover", failover];
            until(30, "it is set", || ruche(&self.nodes[at].lock().unwrap(), &set).ok());
        };
        let notes = || self.standbys(1)["notes"].to_string();
        set(0, "manual");
        self.mark(0, 0);
        until(60, "both copies know that they have everything", || {
            (self.stands(1, 0) && self.stands(2, 0)).then_some(())
        });
        self.net.part(0, &[1, 2]);
        set(1, "automatic");
        assert!(!self.is_down(1, 0), "it is known to be down already");
        assert!(notes().contains("has not said yet"), "{}", notes());
        until(60, "it is known to be down", || self.is_down(1, 0).then_some(()));
        // Others take over within two seconds, or four.
        std::thread::sleep(Duration::from_secs(8));
        assert_eq!(self.home(1), Some(0), "the home knows nothing of a lease");
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), content("there")).unwrap();
        let sent = self.curl(0, "there", &dir.path().join("file")).output().unwrap();
        assert!(sent.status.success(), "it is written without a lease");
        self.net.heal();
        until(30, "it has said that it knows", || (!notes().contains("has not said yet")).then_some(()));
        assert!(self.is_down(1, 0), "it is up already");
        // It has its lease: nobody takes over, though it is said to be down for a while.
        until(60, "it is up", || (!self.is_down(1, 0)).then_some(()));
        assert_eq!(self.home(1), Some(0));
        self.mark(0, 1);
        until(60, "a copy knows that it has everything", || (self.stands(1, 0) && self.stands(2, 0)).then_some(()));
        self.net.part(0, &[1, 2]);
        until(60, "another one is the home", || self.home(1).filter(|home| *home != 0));
    }

    /// So many homes cut off.
    pub fn rounds(&self, rounds: usize) {
        let (mut chance, over) = (Chance::of_this_run(), AtomicBool::new(false));
        let mut failovers = 0;
        std::thread::scope(|scope| {
            let _over = Over(&over);
            for writer in 0..6 {
                let over = &over;
                scope.spawn(move || self.write(writer, over));
            }
            let (mut cuts, mut rest) = (vec![Cut::Parted, Cut::Twice], Vec::new());
            for round in 0..rounds {
                if cuts.is_empty() {
                    cuts.push(rest_of(&mut rest, &mut chance));
                }
                failovers += usize::from(self.round(round, cuts.remove(0), &mut chance));
            }
        });
        assert!(failovers * 2 > rounds, "{failovers} failovers in {rounds} rounds");
        let home = self.home(0).unwrap();
        self.mark(home, rounds);
        self.compare(home);
    }

    /// One home cut off from beginning to end; says whether there is another one then.
    fn round(&self, round: usize, cut: Cut, chance: &mut Chance) -> bool {
        let home = self.home(0).unwrap();
        self.mark(home, round);
        until(60, "a copy knows that it has everything", || (0..3).any(|at| self.stands(at, home)).then_some(()));
        let (first, slow, over) = (self.taken.lock().unwrap().len(), format!("slow-{round}"), AtomicBool::new(false));
        let had = [0, 1, 2].map(|at| names(&self.roots[at]));
        let (to, since, taken) = std::thread::scope(|scope| {
            let over = Over(&over);
            let slowly = || scope.spawn(|| self.write_slowly(home, &slow, over.0));
            let (slowly, since, to) = match cut {
                Cut::Twice => {
                    self.come_back_for_a_moment(home);
                    let slowly = slowly();
                    std::thread::sleep(Duration::from_millis(chance.below(2000) as u64));
                    (slowly, Instant::now(), self.put_in_its_place(home))
                }
                cut => {
                    let slowly = slowly();
                    std::thread::sleep(Duration::from_millis(500));
                    let since = Instant::now();
                    (slowly, since, self.cut_off(home, cut, chance))
                }
            };
            if to != home {
                until(40, "the new home takes uploads", || {
                    self.taken.lock().unwrap()[first..].iter().any(|taken| taken.by == Some(to)).then_some(())
                });
            }
            drop(over);
            let (taken, last) = slowly.join().unwrap();
            self.note(home, slow.clone(), last, taken);
            (to, since, taken)
        });
        std::thread::sleep(Duration::from_millis(chance.below(2000) as u64));
        self.net.heal();
        let to = until(60, "all know one home", || {
            let home = self.home(0)?;
            (self.home(1)? == home && self.home(2)? == home && (home == to || cut == Cut::Lossy)).then_some(home)
        });
        self.judge(first, (home, to));
        let all = self.taken.lock().unwrap()[first..].to_vec();
        let late = all.iter().filter(|taken| taken.by == Some(home) && taken.begun > since).count();
        println!(
            "round {round}: {cut:?}, from pi-{home} to pi-{to}, {late} of {} taken by the old home after it was cut off",
            all.len()
        );
        if cut != Cut::Lossy {
            assert!(late > 0, "the home wrote nothing under its lease");
            assert!(!taken, "an upload was taken that ended after another home took one");
            let refused = self.refused.lock().unwrap();
            assert!(refused.iter().any(|(at, when)| *at == home && *when > since), "no upload was refused");
        }
        let lost: Vec<_> =
            had[to].iter().filter(|name| is_file(name) && !is_whole(&self.roots[to].join(name), name)).collect();
        assert!(lost.is_empty(), "the standby had what its site lacks: {lost:?}");
        to != home
    }

    /// Makes the fault and waits for what comes of it: another home, or none where it is a fault that may be lived with.
    fn cut_off(&self, home: usize, cut: Cut, chance: &mut Chance) -> usize {
        let others = [(home + 1) % 3, (home + 2) % 3];
        match cut {
            Cut::Parted | Cut::Twice => self.net.part(home, &others),
            Cut::Unheard => others.iter().for_each(|other| self.net.deafen(*other, &[home])),
            Cut::Deaf => self.net.deafen(home, &others),
            Cut::Lossy => {
                self.net.lose(home, 50 + chance.below(45));
                std::thread::sleep(Duration::from_secs(18));
                return self.home(others[0]).unwrap();
            }
        }
        until(60, "another one is the home", || self.home(others[0]).filter(|now| *now != home))
    }

    /// Cuts the home off until it is known to be down; that is not taken back for half a minute, though it has its lease again
    /// before. Who stands by has just started, and leaves it the time to come back.
    fn come_back_for_a_moment(&self, home: usize) {
        let others = [(home + 1) % 3, (home + 2) % 3];
        self.net.part(home, &others);
        others.iter().for_each(|other| self.nodes[*other].lock().unwrap().restart());
        until(60, "it is known to be down", || self.is_down(others[0], home).then_some(()));
        self.net.heal();
        let healed = Instant::now();
        until(25, "it takes uploads again", || {
            let taken = self.taken.lock().unwrap();
            taken.iter().any(|taken| taken.by == Some(home) && taken.begun > healed).then_some(())
        });
    }

    /// Cuts it off again, and asks for another home at once.
    fn put_in_its_place(&self, home: usize) -> usize {
        let others = [(home + 1) % 3, (home + 2) % 3];
        let to = others.into_iter().find(|other| !self.is_down(others[0], *other)).unwrap();
        self.net.part(home, &others);
        let node = self.nodes[others[0]].lock().unwrap();
        assert_eq!(node.get(&format!("/v1/sites/{HOST}")).json["node"], format!("pi-{home}"));
        ruche(&node, &["site", "failover", HOST, "--to", &format!("pi-{to}"), "--yes"]).unwrap();
        to
    }

    fn standbys(&self, asked: usize) -> Value {
        self.nodes[asked].lock().unwrap().get(&format!("/v1/sites/{HOST}/standbys")).json
    }

    /// A copy of which its machine knows that it has all of the present home.
    fn stands(&self, at: usize, asked: usize) -> bool {
        let copies = self.standbys(asked);
        let name = format!("pi-{at}");
        copies["standbys"].as_array().unwrap().iter().any(|copy| copy["node"] == name && copy["whole"] == true)
    }

    /// Once another home had taken an upload, the old one took none.
    fn judge(&self, first: usize, (home, to): (usize, usize)) {
        let all = self.taken.lock().unwrap()[first..].to_vec();
        let strange: Vec<_> = all.iter().filter(|taken| taken.by.is_some_and(|by| by != home && by != to)).collect();
        assert!(strange.is_empty(), "neither home took {strange:?}");
        let known = all.iter().filter(|taken| taken.by.is_some()).count();
        assert!(known * 2 > all.len(), "of {} uploads it is known of {known} who took them", all.len());
        let by_the_new = all.iter().filter(|taken| to != home && taken.by == Some(to));
        let Some(changed) = by_the_new.map(|taken| taken.ended).min() else { return };
        let both: Vec<_> = all.iter().filter(|taken| taken.by == Some(home) && taken.begun > changed).collect();
        assert!(
            both.is_empty(),
            "two homes: {} uploads were taken by the old one after the new one took one: {both:?}",
            both.len()
        );
    }

    /// What was taken is at the home, or kept where it had been taken; nothing else is, and nothing is torn.
    fn compare(&self, home: usize) {
        let kept: Vec<PathBuf> =
            self.roots.iter().flat_map(|root| folders(&root.with_file_name("recovered"))).collect();
        let (taken, mut aside) = (self.taken.lock().unwrap(), 0);
        for Taken { name, .. } in taken.iter() {
            if !is_whole(&self.roots[home].join(name), name) {
                assert!(kept.iter().any(|folder| is_whole(&folder.join(name), name)), "{name} is lost");
                aside += 1;
            }
        }
        let torn: Vec<_> =
            names(&self.roots[home]).into_iter().filter(|name| !is_whole(&self.roots[home].join(name), name)).collect();
        assert!(torn.is_empty(), "{torn:?}");
        assert!(aside > 0, "nothing was ever taken that the standby did not have");
        let refused = self.refused.lock().unwrap().len();
        println!("{} uploads taken, 0 lost, {aside} of them kept aside; {refused} refused", taken.len());
    }
}

/// Each kind of fault once before any comes again.
fn rest_of(rest: &mut Vec<Cut>, chance: &mut Chance) -> Cut {
    if rest.is_empty() {
        rest.extend([Cut::Unheard, Cut::Deaf, Cut::Lossy, Cut::Parted, Cut::Twice]);
    }
    rest.swap_remove(chance.below(rest.len()))
}

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).map(|all| all.map(|entry| entry.unwrap().path()).collect()).unwrap_or_default()
}

/// Not one that is still on its way.
fn is_file(name: &str) -> bool {
    !name.starts_with('.')
}

fn is_whole(path: &Path, name: &str) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.ends_with('\n') && text.lines().count() >= LINES && text.lines().all(|line| line == name)
}
