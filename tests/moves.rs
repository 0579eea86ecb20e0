//! A site moves from one node to another while it is visited and written to, and whatever is killed meanwhile it has one home.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use support::cluster::{ruche, token, web_node};
use support::ear::Ear;
use support::ftp::{PASSWORD, Uploads};
use support::node::signal_to;
use support::sites::Sites;
use support::{Over, until};

/// Nodes that serve sites, all members of one cluster.
fn nodes(count: usize) -> Vec<Sites> {
    let mut nodes: Vec<_> = (0..count).map(|at| web_node(&format!("pi-{at}"))).collect();
    nodes.iter_mut().for_each(|node| node.start());
    for node in &nodes[1..] {
        ruche(node, &["cluster", "join", &token(&nodes[0])]).unwrap();
    }
    let any = ([127, 0, 0, 1], 0).into();
    let sites = nodes.into_iter().map(|node| {
        let mut sites = Sites { node, http: any, https: any };
        sites.learn();
        sites
    });
    sites.collect()
}

fn site(sites: &Sites) -> Value {
    sites.node.get("/v1/sites/a.example").done().json
}

fn root(sites: &Sites) -> PathBuf {
    site(sites)["root"].as_str().unwrap().into()
}

fn known(sites: &Sites) {
    let there = || (sites.node.get("/v1/sites/a.example").status == 200).then_some(());
    until(20, "the other node knows the site", there);
    let served = || sites.curl(&["https://a.example/"]).is_ok_and(|got| got.status < 500).then_some(());
    until(20, "the other node serves it", served);
}

/// Everything of a tree that a move keeps.
fn facts(root: &Path) -> Vec<String> {
    let mut facts = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let stat = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(root).unwrap();
            let kept = (stat.mode(), stat.uid(), stat.gid());
            let time = (stat.mtime(), stat.mtime_nsec());
            if stat.is_dir() {
                facts.push(format!("{name:?} {kept:?} {time:?}"));
                todo.push(path);
            } else if stat.is_symlink() {
                facts.push(format!("{name:?} -> {:?}", fs::read_link(&path).unwrap()));
            } else {
                let content = fs::read(&path).unwrap();
                let sum = content.iter().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
                facts.push(format!("{name:?} {kept:?} {time:?} {} {sum:x} {}", stat.len(), stat.nlink()));
            }
        }
    }
    facts.sort();
    facts
}

/// A tree with everything that is hard to copy.
fn grow(root: &Path) {
    fs::write(root.join("index.html"), "home\n").unwrap();
    fs::create_dir_all(root.join("deep/er/empty")).unwrap();
    for at in 0..3000 {
        let dir = root.join(format!("many/{}", at / 500));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("{at}.txt")), format!("file {at}\n").repeat(at % 50)).unwrap();
    }
    let large: Vec<u8> = (0..30_000_000_u32).map(|at| (at / 7) as u8).collect();
    fs::write(root.join("large.bin"), large).unwrap();
    fs::hard_link(root.join("large.bin"), root.join("deep/same.bin")).unwrap();
    symlink("../index.html", root.join("deep/link")).unwrap();
    symlink("/etc/passwd", root.join("deep/out")).unwrap();
    let hole = fs::File::create(root.join("hole.bin")).unwrap();
    hole.set_len(1 << 32).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&hole, b"in the middle", 3 << 30).unwrap();
    drop(hole);
    let odd = std::os::unix::ffi::OsStrExt::from_bytes(&b"n\xffme \n"[..]);
    fs::write(root.join::<&std::ffi::OsStr>(odd), "odd").unwrap();
    fs::set_permissions(root.join("deep/er"), fs::Permissions::from_mode(0o550)).unwrap();
    fs::set_permissions(root.join("many/0/1.txt"), fs::Permissions::from_mode(0o604)).unwrap();
    let touched =
        Command::new("touch").args(["-d", "2001-02-03T04:05:06.789Z"]).arg(root.join("many/0/2.txt")).status();
    assert!(touched.unwrap().success());
    // It takes no room there either: a file of 4 GiB would not be read by the comparison below.
    fs::remove_file(root.join("hole.bin")).unwrap();
    let hole = fs::File::create(root.join("hole.bin")).unwrap();
    hole.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&hole, b"in the middle", 48 << 20).unwrap();
}

#[test]
fn a_site_moves_with_all_it_has_and_no_visitor_notices() {
    let mut all = nodes(2);
    let old = all[0].create("a.example", json!({"node": "pi-0"}));
    grow(&old);
    known(&all[1]);
    let before = facts(&old);
    let plan = ruche(&all[1].node, &["site", "move", "a.example", "--to", "pi-1", "--dry-run"]).unwrap();
    assert!(plan.contains("moves from pi-0 to pi-1") && plan.contains("3005 files"), "{plan}");
    assert_eq!(site(&all[1])["node"], "pi-0");
    let (done, asked, failed) = (AtomicBool::new(false), AtomicU64::new(0), std::sync::Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for sites in &all {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let got = sites.curl(&["https://a.example/", "https://a.example/many/0/7.txt"]);
                    asked.fetch_add(1, Ordering::Relaxed);
                    match got {
                        Ok(got) if got.status == 200 => {}
                        Ok(got) => failed.lock().unwrap().push(got.head),
                        Err(error) => failed.lock().unwrap().push(error),
                    }
                }
            });
        }
        let over = Over(&done);
        until(20, "visitors come", || (asked.load(Ordering::Relaxed) > 4).then_some(()));
        let said = ruche(&all[1].node, &["site", "move", "a.example", "--to", "pi-1"]);
        std::thread::sleep(Duration::from_millis(500));
        drop(over);
        let said = said.unwrap();
        assert!(said.contains("Moved the site a.example"), "{said}");
    });
    assert!(failed.lock().unwrap().is_empty(), "{:?}", failed.lock().unwrap());
    // Nothing was asked for twice because the answer was not heard of yet.
    let log = all[1].node.log();
    assert!(log.contains("the site is at home here") && !log.contains("a move failed"), "{log}");
    let new = root(&all[1]);
    assert_eq!(facts(&new), before);
    assert!(fs::metadata(new.join("hole.bin")).unwrap().blocks() < 1000, "a hole stays one");
    let (one, same) = (fs::metadata(new.join("large.bin")).unwrap(), fs::metadata(new.join("deep/same.bin")).unwrap());
    assert_eq!(one.ino(), same.ino(), "two names of one file");
    for sites in &all {
        until(10, "both know the new home", || (site(sites)["node"] == "pi-1").then_some(()));
        assert_eq!((site(sites)["epoch"].clone(), site(sites)["moving"].clone()), (json!(2), json!(null)));
        fs::write(new.join("news.txt"), "new\n").unwrap();
        assert_eq!(sites.curl(&["https://a.example/news.txt"]).unwrap().text(), "new\n");
    }
    // What the old home had goes to its trash once nobody reads it any more.
    until(60, "the old files go", || (!old.exists()).then_some(()));
    let trash: Vec<_> = fs::read_dir(old.parent().unwrap().parent().unwrap().parent().unwrap().join("trash"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(trash.len() == 1 && trash[0].join("public/index.html").exists(), "{trash:?}");
    // And back, where nothing of it is left to confuse anybody.
    ruche(&all[0].node, &["site", "move", "a.example", "--to", "pi-0"]).unwrap();
    assert_eq!(fs::read_to_string(old.join("news.txt")).unwrap(), "new\n");
    for sites in &mut all {
        assert_eq!(sites.curl(&["https://a.example/news.txt"]).unwrap().text(), "new\n");
    }
}

#[test]
fn a_move_that_is_killed_goes_on_and_one_that_is_cancelled_leaves_nothing() {
    let mut all = nodes(3);
    let old = all[0].create("a.example", json!({"node": "pi-0"}));
    grow(&old);
    known(&all[1]);
    let before = facts(&old);
    let slow = ["site", "move", "a.example", "--to", "pi-1", "--bandwidth", "6M", "--no-wait", "-o", "json"];
    let begin = |all: &[Sites]| -> String {
        let said: Value = serde_json::from_str(&ruche(&all[0].node, &slow).unwrap()).unwrap();
        said["id"].as_str().unwrap().to_owned()
    };
    let operation = |sites: &Sites, id: &str| sites.node.get(&format!("/v1/operations/{id}")).done().json;
    let copies = |all: &[Sites], id: &str| {
        until(30, "it copies", || (operation(&all[0], id)["done"].as_u64()? > 1_000_000).then_some(()));
    };
    let id = begin(&all);
    copies(&all, &id);
    assert!(ruche(&all[0].node, &["site", "rm", "a.example", "--yes"]).is_err());
    ruche(&all[2].node, &["operation", "cancel", &id]).unwrap();
    until(20, "it is cancelled", || (operation(&all[0], &id)["status"] == "cancelled").then_some(()));
    let new = root(&all[1]);
    until(20, "nothing is left", || (!new.exists()).then_some(()));
    assert_eq!((site(&all[0])["node"].clone(), facts(&old) == before), (json!("pi-0"), true));

    let id = begin(&all);
    for killed in [1, 0] {
        copies(&all, &id);
        all[killed].node.kill();
        std::thread::sleep(Duration::from_millis(300));
        all[killed].node.start();
        all[killed].learn();
    }
    let begun = Instant::now();
    until(60, "it ends", || (operation(&all[2], &id)["status"] == "succeeded").then_some(()));
    eprintln!("went on for {:?}", begun.elapsed());
    assert_eq!(facts(&new), before);
    for sites in &all {
        until(10, "all know the new home", || (site(sites)["node"] == "pi-1").then_some(()));
        assert_eq!(sites.curl(&["https://a.example/"]).unwrap().text(), "home\n");
    }
}

#[test]
fn a_node_is_drained_and_what_cannot_be_is_said() {
    let all = nodes(2);
    for at in 0..6 {
        let root = all[0].create(&format!("{at}.example"), json!({"node": "pi-0"}));
        fs::write(root.join("index.html"), format!("{at}\n")).unwrap();
    }
    let refused = ruche(&all[0].node, &["site", "move", "1.example", "--to", "pi-0"]).unwrap_err();
    assert!(refused.contains("at home on pi-0 already"), "{refused}");
    let unknown = ruche(&all[0].node, &["site", "move", "1.example", "--to", "pi-9"]).unwrap_err();
    assert!(unknown.contains("pi-9"), "{unknown}");
    let drained = ruche(&all[1].node, &["node", "drain", "pi-0"]).unwrap();
    assert!(drained.contains("Moved 6 sites"), "{drained}");
    let chosen = all[0].node.get("/v1/sites/0.example").done().json["chosen"].as_str().unwrap().to_owned();
    assert!(chosen.starts_with("the only one that could be: "), "{chosen}");
    for at in 0..6 {
        let page = all[0].curl(&[&format!("https://{at}.example/")]).unwrap();
        assert_eq!(page.text(), format!("{at}\n"));
    }
    let nodes = all[0].node.all("/v1/nodes");
    let sites: Vec<_> = nodes.iter().map(|node| (node["sites"].as_u64().unwrap(), node["cordoned"].clone())).collect();
    assert_eq!(sites, [(0, json!(true)), (6, json!(false))]);
    ruche(&all[1].node, &["node", "rm", "pi-0", "--yes"]).unwrap();
}

/// The process that serves after a hand-over; ended with the test.
struct Successor(u32);

impl Drop for Successor {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.0 as i32).unwrap();
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

#[test]
fn an_upload_in_the_process_before_keeps_its_site_and_no_other_one() {
    let (mut home, mut other) = (web_node("pi-0"), web_node("pi-1"));
    other.start();
    let mut ear = Ear::of(&mut home);
    // A port that is taken over must be the same.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let home = Uploads::listening(home, &[&port]);
    ruche(&other, &["cluster", "join", &token(&home.node)]).unwrap();
    let lone = json!({"host": "lone.example", "handler": {"type": "static"}, "node": "pi-0"});
    let lone = PathBuf::from(home.node.post("/v1/sites", lone).done().json["root"].as_str().unwrap());
    // Without web servers its first user would make it.
    fs::create_dir_all(&lone).unwrap();
    let site = json!({"host": "b.example", "handler": {"type": "static"}, "node": "pi-0"});
    let root = PathBuf::from(home.node.post("/v1/sites", site).done().json["root"].as_str().unwrap());
    let user = json!({"login": "bob", "site": "b.example", "password": PASSWORD, "allow_plain": true});
    assert_eq!(home.node.post("/v1/ftp-users", user).done().json["served"], true);
    let mut before = home.connect();
    before.logs_in("bob");
    let mut data = before.data("STOR large");
    data.write_all(&[7; 3_000_000]).unwrap();
    let incoming = root.with_file_name("incoming");
    until(20, "some of it is there", || (fs::read_dir(&incoming).ok()?.count() == 1).then_some(()));
    let first = home.node.holder().unwrap();
    signal_to(first, Signal::USR2);
    ear.hears("MAINPID=");
    ear.hears("READY=1");
    let _successor = Successor(home.node.holder().unwrap());
    assert_ne!(home.node.holder(), Some(first));
    // Who uploads through the next process leaves to the one before what is its own.
    let mut after = home.connect();
    after.logs_in("bob");
    after.store("STOR small", b"small", 226);
    let said = ruche(&home.node, &["site", "move", "lone.example", "--to", "pi-1"]).unwrap();
    assert!(said.contains("Moved the site"), "{said}");
    let said = ruche(&home.node, &["site", "move", "b.example", "--to", "pi-1", "--no-wait", "-o", "json"]).unwrap();
    let id = serde_json::from_str::<Value>(&said).unwrap()["id"].as_str().unwrap().to_owned();
    let operation = || other.get(&format!("/v1/operations/{id}")).done().json;
    until(30, "the site could not rest", || home.node.log().contains("in the process before this one").then_some(()));
    assert_eq!((other.get("/v1/sites/b.example").done().json["node"].clone(), root.exists()), (json!("pi-0"), true));
    data.write_all(&[8; 3_000_000]).unwrap();
    data.end();
    let (code, text) = before.reply();
    assert_eq!(code, 226, "{text}");
    until(60, "it moves at last", || (operation()["status"] == "succeeded").then_some(()));
    let root = PathBuf::from(other.get("/v1/sites/b.example").done().json["root"].as_str().unwrap());
    assert_eq!(fs::read(root.join("large")).unwrap(), [[7; 3_000_000], [8; 3_000_000]].concat());
    assert_eq!(fs::read(root.join("small")).unwrap(), b"small");
}

#[test]
fn commands_run_before_the_freeze_and_after_the_flip() {
    let all = nodes(2);
    let old = all[0].create("a.example", json!({"node": "pi-0"}));
    fs::write(old.join("index.html"), "home\n").unwrap();
    known(&all[1]);
    let said = all[0].node.path("said");
    let say = |word: &str| format!("echo {word} $RUCHE_SITE $RUCHE_FROM $RUCHE_TO >> {}", said.display());
    // What it writes is copied: it runs before the freeze.
    let before = format!("{} && echo dumped > {}", say("before"), old.join("dump.sql").display());
    let way = ["site", "move", "a.example", "--to", "pi-1", "--before-freeze", &before, "--after-flip", &say("after")];
    ruche(&all[0].node, &way).unwrap();
    assert_eq!(fs::read_to_string(&said).unwrap(), "before a.example pi-0 pi-1\nafter a.example pi-0 pi-1\n");
    let new = root(&all[1]);
    assert_eq!(
        (site(&all[1])["node"].as_str(), fs::read_to_string(new.join("dump.sql")).unwrap().as_str()),
        (Some("pi-1"), "dumped\n")
    );
    // Where the first fails the site stays; the second has moved it all the same.
    let back = ["site", "move", "a.example", "--to", "pi-0"];
    let failed = ruche(&all[0].node, &[&back[..], &["--before-freeze", "exit 3"]].concat()).unwrap_err();
    assert!(failed.contains("`exit 3` ended with exit status: 3"), "{failed}");
    assert_eq!((&site(&all[1])["node"], &site(&all[1])["moving"]), (&json!("pi-1"), &Value::Null));
    let failed = ruche(&all[0].node, &[&back[..], &["--after-flip", "exit 4"]].concat()).unwrap_err();
    assert!(failed.contains("has moved") && failed.contains("exit status: 4"), "{failed}");
    assert_eq!(site(&all[1])["node"], "pi-0");
    // Nobody runs a command who does not wait; a move that waits is cancelled, or told to go on, by anybody.
    let refused = ruche(&all[0].node, &[&["--no-wait"], &way[..]].concat()).unwrap_err();
    assert!(refused.contains("Leave out --no-wait"), "{refused}");
    let held = all[0].node.post("/v1/sites/a.example/move", json!({"to": "pi-1", "hold": true})).done().json;
    until(20, "it waits", || (site(&all[1])["moving"]["waits"] == true).then_some(()));
    let shown = ruche(&all[1].node, &["site", "show", "a.example"]).unwrap();
    assert!(shown.contains("waits for the word to go on"), "{shown}");
    assert_eq!(site(&all[1])["node"], "pi-0");
    ruche(&all[1].node, &["operation", "continue", held["id"].as_str().unwrap()]).unwrap();
    until(20, "it goes on", || (site(&all[1])["node"] == "pi-1").then_some(()));
    let refused = ruche(&all[1].node, &["operation", "continue", held["id"].as_str().unwrap()]).unwrap_err();
    assert!(refused.contains("There is no operation") || refused.contains("no operation"), "{refused}");
}
