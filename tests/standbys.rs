//! A site stands by on a second node: its copy follows, takes over when the home is killed or cut off, and what comes back is no second home.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use support::cluster::{Cluster, full_node, ruche};
use support::ftp::PASSWORD;
use support::node::signal_to;
use support::sites::Sites;
use support::{Over, until};

const HOST: &str = "a.example";
const LARGE: usize = 192 << 20;

/// Nodes that serve sites and take uploads.
fn nodes(count: usize) -> Vec<Sites> {
    let Cluster { nodes } = Cluster::join((0..count).map(full_node).collect());
    let any = ([127, 0, 0, 1], 0).into();
    let sites = nodes.into_iter().map(|node| {
        let mut sites = Sites { node, http: any, https: any };
        sites.learn();
        sites
    });
    sites.collect()
}

/// With a site at home on the first, that stands by on the second, and somebody who uploads.
fn standing() -> (Vec<Sites>, [PathBuf; 3]) {
    let all = nodes(3);
    let root = all[0].create(HOST, json!({"node": "pi-0", "standbys": ["pi-1"]}));
    fs::write(root.join("index.html"), "home\n").unwrap();
    let user = json!({"login": "old", "site": HOST, "password": PASSWORD, "allow_plain": true});
    all[0].node.post("/v1/ftp-users", user).done();
    for sites in &all {
        until(20, "all know the site", || (sites.node.get(&format!("/v1/sites/{HOST}")).status == 200).then_some(()));
    }
    let roots = [0, 1, 2].map(|at: usize| root_at(&all[at]));
    (all, roots)
}

fn site(sites: &Sites) -> Value {
    sites.node.get(&format!("/v1/sites/{HOST}")).done().json
}

/// Where the files of the site are on a node, if they are.
fn root_at(sites: &Sites) -> PathBuf {
    site(sites)["root"].as_str().unwrap().into()
}

fn copy(sites: &Sites) -> Value {
    sites.node.get(&format!("/v1/sites/{HOST}/standbys")).done().json["standbys"][0].clone()
}

fn follows(sites: &Sites) {
    let whole = || {
        let copy = copy(sites);
        (copy["whole"] == true && copy["behind"].is_null()).then_some(())
    };
    until(30, "the copy has everything", whole);
}

fn has(root: &Path, name: &str, content: &str) -> Option<()> {
    (fs::read_to_string(root.join(name)).ok()? == content).then_some(())
}

fn upload(sites: &Sites, name: &str, content: &str) -> Result<(), String> {
    let ftp = sites.listening_on("ftp.listen").unwrap();
    let path = sites.node.path(&format!("upload-{name}"));
    fs::write(&path, content).unwrap();
    let (url, user) = (format!("ftp://{ftp}/{name}"), format!("old:{PASSWORD}"));
    let said = Command::new("curl").args(["-sS", "--max-time", "20", "-u", &user, "-T"]).arg(&path).arg(&url).output();
    let said = said.unwrap();
    if said.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said.stderr).into_owned()) }
}

fn get(sites: &Sites, name: &str) -> Option<String> {
    let got = sites.curl(&["--max-time", "5", &format!("https://{HOST}/{name}")]).ok()?;
    (got.status == 200).then(|| got.text())
}

#[test]
fn a_copy_follows_its_home_and_takes_over_when_that_is_killed() {
    let (mut all, roots) = standing();
    until(30, "the copy is there", || has(&roots[1], "index.html", "home\n"));
    follows(&all[2]);
    let shown = ruche(&all[2].node, &["site", "show", HOST]).unwrap();
    assert!(shown.contains("standby") && shown.contains("pi-1: has everything"), "{shown}");
    // What is uploaded through any node, and what is changed by hand, also in directories made since.
    upload(&all[2], "up.txt", "uploaded\n").unwrap();
    until(20, "it follows", || has(&roots[1], "up.txt", "uploaded\n"));
    fs::create_dir_all(roots[0].join("a/b")).unwrap();
    fs::write(roots[0].join("a/b/deep.txt"), "1").unwrap();
    until(20, "it follows", || has(&roots[1], "a/b/deep.txt", "1"));
    fs::write(roots[0].join("a/b/deep.txt"), "2").unwrap();
    fs::remove_file(roots[0].join("up.txt")).unwrap();
    until(20, "it follows", || has(&roots[1], "a/b/deep.txt", "2").filter(|()| !roots[1].join("up.txt").exists()));
    follows(&all[2]);
    // A standby is no home: what is written there is nobody's, and the home is up.
    let refused = ruche(&all[2].node, &["site", "failover", HOST, "--yes"]).unwrap_err();
    assert!(refused.contains("is up: move the site instead"), "{refused}");

    let killed = Instant::now();
    all[0].node.kill();
    until(30, "it is served again", || get(&all[2], "index.html").filter(|text| text == "home\n"));
    let gap = killed.elapsed();
    eprintln!("served again {gap:?} after the death of its home");
    let after = site(&all[1]);
    assert_eq!((&after["node"], &after["epoch"], &after["standbys"]), (&json!("pi-1"), &json!(2), &json!(["pi-0"])));
    until(20, "it is written again", || upload(&all[2], "new.txt", "new\n").ok());
    assert_eq!(get(&all[1], "new.txt").unwrap(), "new\n");

    // What the old home had and its standby did not is kept there, and told.
    fs::write(roots[0].join("late.txt"), "nobody saw it\n").unwrap();
    fs::write(roots[0].join("a/b/deep.txt"), "3").unwrap();
    all[0].node.start();
    until(30, "it stands by now", || {
        let in_line = has(&roots[0], "new.txt", "new\n").and(has(&roots[0], "a/b/deep.txt", "2"));
        in_line.filter(|()| !roots[0].join("late.txt").exists())
    });
    let told = until(20, "it is told", || {
        let shown = ruche(&all[2].node, &["operation", "ls", "-o", "json"]).unwrap();
        let all: Value = serde_json::from_str(&shown).unwrap();
        let items = all.as_array().cloned().unwrap_or_else(|| all["items"].as_array().unwrap().clone());
        items.into_iter().find(|operation| operation["action"] == "site.recover")
    });
    assert_eq!((&told["subject"], &told["done"]), (&json!(HOST), &json!(2)), "{told}");
    let folder = told["stage"].as_str().unwrap().rsplit_once(" in ").unwrap().1.to_owned();
    let kept = |name: &str| fs::read_to_string(Path::new(&folder).join(name)).unwrap();
    assert_eq!((kept("late.txt").as_str(), kept("a/b/deep.txt").as_str()), ("nobody saw it\n", "3"));
    for sites in &mut all {
        sites.learn();
    }
    follows(&all[2]);
    // And back by a move, which makes the home of now the standby.
    ruche(&all[2].node, &["site", "move", HOST, "--to", "pi-0"]).unwrap();
    assert_eq!(site(&all[2])["standbys"], json!(["pi-1"]));
    upload(&all[1], "again.txt", "again\n").unwrap();
    assert_eq!(fs::read_to_string(roots[0].join("again.txt")).unwrap(), "again\n");
    until(20, "it follows the other way", || has(&roots[1], "again.txt", "again\n"));
    assert!(gap < Duration::from_secs(25), "{gap:?}");
}

/// The home is frozen, as a machine that is swapping to death; its writers must not find it alive as a second home.
#[test]
fn a_home_that_comes_back_from_a_pause_takes_no_write_any_more() {
    let (mut all, roots) = standing();
    upload(&all[0], "first.txt", "first\n").unwrap();
    until(30, "it follows", || has(&roots[1], "first.txt", "first\n"));
    follows(&all[2]);
    let pid = all[0].node.pid();
    signal_to(pid, rustix::process::Signal::STOP);
    until(30, "the standby is the home", || (site(&all[2])["node"] == "pi-1").then_some(()));
    until(20, "it takes uploads", || upload(&all[2], "second.txt", "second\n").ok());
    signal_to(pid, rustix::process::Signal::CONT);
    // Refused, or carried to the new home; never taken here.
    let _ = upload(&all[0], "third.txt", "third\n");
    until(30, "it knows where the home is", || (site(&all[0])["node"] == "pi-1").then_some(()));
    // It heard nobody while it was frozen, and says of nobody that they are down.
    let nodes = all[2].node.get("/v1/nodes").done().json;
    let down: Vec<_> = nodes["items"].as_array().unwrap().iter().filter(|node| node["up"] == false).collect();
    assert!(down.iter().all(|node| node["name"] == "pi-0"), "{down:?}");
    until(30, "it stands by", || has(&roots[0], "second.txt", "second\n"));
    until(20, "it takes uploads", || upload(&all[0], "fourth.txt", "fourth\n").ok());
    assert_eq!(fs::read_to_string(roots[1].join("fourth.txt")).unwrap(), "fourth\n");
    assert_eq!(roots[1].join("third.txt").exists(), get(&all[2], "third.txt").is_some());
    for sites in &mut all {
        assert!(sites.node.term().success());
    }
}

/// A file that changes all the time is never read as it was told: until it is let alone the copy has not everything.
#[test]
fn a_copy_has_everything_once_a_whole_look_brought_it_and_not_before() {
    let all = nodes(3);
    let root = all[0].create(HOST, json!({"node": "pi-0"}));
    fs::write(root.join("index.html"), "home\n").unwrap();
    let busy = root.join("busy.bin");
    fs::write(&busy, vec![1; 24 << 20]).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = fs::File::options().write(true).open(&busy).unwrap();
            while !over.load(Ordering::Relaxed) {
                file.write_all_at(b"2", 0).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let over = Over(&over);
        ruche(&all[2].node, &["site", "set", HOST, "--standby", "pi-1"]).unwrap();
        let there = until(20, "it is known", || site(&all[1])["root"].as_str().map(PathBuf::from));
        let lacks = || copy(&all[2])["fault"].as_str().is_some_and(|fault| fault.contains("busy.bin"));
        until(30, "a look is over", || (lacks() && has(&there, "index.html", "home\n").is_some()).then_some(()));
        let until = Instant::now() + Duration::from_secs(4);
        while Instant::now() < until {
            let copy = copy(&all[2]);
            assert_eq!(copy["whole"], false, "{copy}");
        }
        drop(over);
    });
    follows(&all[2]);
}

/// What a move leaves behind that came to nothing is a copy still, where the site stands by.
#[test]
fn a_copy_outlives_a_move_to_it_that_was_cancelled() {
    let (all, roots) = standing();
    until(30, "the copy is there", || has(&roots[1], "index.html", "home\n"));
    follows(&all[2]);
    let inode = || fs::metadata(roots[1].join("index.html")).unwrap().ino();
    let before = inode();
    fs::write(roots[0].join("large.bin"), vec![7; LARGE]).unwrap();
    let begun = all[0].node.post(&format!("/v1/sites/{HOST}/move"), json!({"to": "pi-1", "bandwidth": 100_000}));
    let path = format!("/v1/operations/{}", begun.done().json["id"].as_str().unwrap());
    until(30, "the move copies", || {
        all[1].node.get(&path).json["stage"].as_str().filter(|stage| stage.starts_with("copying")).map(drop)
    });
    ruche(&all[2].node, &["operation", "cancel", path.rsplit('/').next().unwrap()]).unwrap();
    until(30, "it ends", || (all[2].node.get(&path).json["status"] == "cancelled").then_some(()));
    until(60, "it follows", || fs::metadata(roots[1].join("large.bin")).ok().filter(|file| file.len() == LARGE as u64));
    assert_eq!((inode(), site(&all[2])["node"].as_str()), (before, Some("pi-0")));
}

/// A node fetches two copies at one time. With a move under way it fetches one beside it: what was begun before makes way.
#[test]
fn a_move_goes_before_copies_that_were_begun() {
    const COPIED: [&str; 2] = ["b.example", "c.example"];
    let (all, _) = standing();
    fs::write(root_at(&all[0]).join("large.bin"), vec![7; LARGE]).unwrap();
    ruche(&all[0].node, &["site", "set", HOST, "--no-standby"]).unwrap();
    let there = COPIED.map(|host| {
        let root = all[2].create(host, json!({"node": "pi-2"}));
        fs::write(root.join("large.bin"), vec![7; LARGE]).unwrap();
        let known = || all[1].node.get(&format!("/v1/sites/{host}")).json["root"].as_str().map(PathBuf::from);
        until(20, "it knows the site", known)
    });
    // Their home falls silent in the middle of both.
    let pid = all[2].node.pid();
    let begun =
        |root: &PathBuf| fs::read_dir(root.with_file_name("incoming")).is_ok_and(|mut files| files.next().is_some());
    std::thread::scope(|scope| {
        for host in COPIED {
            let asked = (format!("/v1/sites/{host}"), json!({"standbys": ["pi-1"]}));
            let node = &all[1].node;
            scope.spawn(move || node.ask("PATCH", &asked.0, Some(asked.1), &[]).done());
        }
        until(20, "both are copied", || there.iter().all(begun).then_some(()));
        signal_to(pid, rustix::process::Signal::STOP);
    });
    let before = all[1].node.log_lines();
    let cut = || {
        let log = all[1].node.log();
        let lines = log.lines().skip(before).filter(|line| line.contains("a copy that stands by lacks something"));
        COPIED.map(|host| lines.clone().filter(|line| line.ends_with(&format!("site={host}"))).count())
    };
    std::thread::sleep(Duration::from_secs(1));
    let large = |root: &PathBuf| fs::metadata(root.join("large.bin")).is_ok_and(|file| file.len() == LARGE as u64);
    assert_eq!((cut(), [large(&there[0]), large(&there[1])]), ([0, 0], [false, false]), "both are under way, and wait");
    let moved = all[0].node.post(&format!("/v1/sites/{HOST}/move"), json!({"to": "pi-1", "bandwidth": 100_000}));
    let path = format!("/v1/operations/{}", moved.done().json["id"].as_str().unwrap());
    until(5, "one makes way", || cut().contains(&1).then_some(()));
    std::thread::sleep(Duration::from_millis(1500));
    let mut cuts = cut();
    cuts.sort_unstable();
    assert_eq!(cuts, [0, 1], "the other one has its place, and the one that was cut does not try again beside it");
    signal_to(pid, rustix::process::Signal::CONT);
    ruche(&all[0].node, &["operation", "cancel", path.rsplit('/').next().unwrap()]).unwrap();
    until(60, "both are copied after it", || there.iter().all(large).then_some(()));
}

#[test]
fn the_cluster_chooses_standbys_and_replaces_one_whose_node_is_drained() {
    let mut all = nodes(3);
    ruche(&all[0].node, &["site", "create", HOST, "--static", "--node", "pi-0", "--standby", "1"]).unwrap();
    fs::write(root_at(&all[0]).join("index.html"), "home\n").unwrap();
    // It takes longer to copy than to stop a process.
    fs::write(root_at(&all[0]).join("large.bin"), vec![7; LARGE]).unwrap();
    let chosen = || site(&all[0])["standbys"].as_array().unwrap().clone();
    let first = until(20, "one is chosen", || chosen().first().cloned());
    follows(&all[0]);
    let shown = ruche(&all[0].node, &["site", "show", HOST]).unwrap();
    assert!(shown.contains("chosen: it fits best: "), "{shown}");
    let (drained, other) = if first == "pi-1" { ("pi-1", "pi-2") } else { ("pi-2", "pi-1") };
    let at = if other == "pi-1" { 1 } else { 2 };
    let begun = ruche(&all[0].node, &["node", "drain", drained, "--no-wait", "-o", "json"]).unwrap();
    let begun: Value = serde_json::from_str(&begun).unwrap();
    until(20, "another one stands in", || (chosen() == [json!(other), json!(drained)]).then_some(()));
    let pid = all[at].node.pid();
    signal_to(pid, rustix::process::Signal::STOP);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(chosen().len(), 2, "it does not have everything yet");
    signal_to(pid, rustix::process::Signal::CONT);
    let drain = format!("/v1/operations/{}", begun["id"].as_str().unwrap());
    until(60, "the drain ends", || (all[0].node.get(&drain).json["status"] == "succeeded").then_some(()));
    assert_eq!(chosen(), [json!(other)]);
    assert_eq!(copy(&all[0])["whole"], true, "and another one has everything");
    assert_eq!(fs::metadata(root_at(&all[at]).join("large.bin")).unwrap().len(), LARGE as u64);
    // Nobody else is there: what is asked for is told, and placed once somebody is.
    ruche(&all[0].node, &["site", "set", HOST, "--standby", "2"]).unwrap();
    let shown = ruche(&all[0].node, &["site", "show", HOST]).unwrap();
    assert!(shown.contains("1 of 2 standbys are not placed yet"), "{shown}");
    ruche(&all[0].node, &["node", "uncordon", drained]).unwrap();
    until(30, "a second one is chosen", || (chosen() == [json!(other), json!(drained)]).then_some(()));
    // Drained, and nobody else is there: the copy stays, and keeps nobody waiting.
    ruche(&all[0].node, &["node", "drain", other]).unwrap();
    assert_eq!(chosen().len(), 2);
    let refused = ruche(&all[0].node, &["site", "set", HOST, "--standby", "2", "--standby", other]).unwrap_err();
    assert!(refused.contains("a number and more"), "{refused}");
    ruche(&all[0].node, &["site", "set", HOST, "--standby", other]).unwrap();
    assert_eq!(chosen(), [json!(other)]);
    for sites in &mut all {
        assert!(sites.node.term().success());
    }
}

#[test]
fn an_administrator_decides_where_failover_is_manual() {
    let (mut all, roots) = standing();
    ruche(&all[0].node, &["site", "set", HOST, "--failover", "manual"]).unwrap();
    until(30, "the copy is there", || has(&roots[1], "index.html", "home\n"));
    follows(&all[2]);
    all[0].node.kill();
    until(30, "it is known to be down", || {
        let nodes = all[2].node.get("/v1/nodes").done().json;
        let nodes = nodes["items"].as_array().unwrap().clone();
        nodes.iter().any(|node| node["name"] == "pi-0" && node["up"] == false).then_some(())
    });
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(site(&all[2])["node"], "pi-0", "nobody asked for it");
    // The only copy that is left goes nowhere.
    let begun = ruche(&all[2].node, &["node", "drain", "pi-1", "--no-wait", "-o", "json"]).unwrap();
    let drain: Value = serde_json::from_str(&begun).unwrap();
    let path = format!("/v1/operations/{}", drain["id"].as_str().unwrap());
    until(30, "the drain says what it waits for", || {
        let said = all[2].node.get(&path).json;
        (said["stage"] == format!("waiting: pi-0, the home of {HOST}, is down")).then_some(())
    });
    ruche(&all[2].node, &["operation", "cancel", drain["id"].as_str().unwrap()]).unwrap();
    until(10, "it ends", || (all[2].node.get(&path).json["status"] == "cancelled").then_some(()));
    ruche(&all[2].node, &["node", "uncordon", "pi-1"]).unwrap();
    let plan = ruche(&all[2].node, &["site", "failover", HOST, "--dry-run"]).unwrap();
    assert!(plan.contains("from pi-0 to pi-1") && plan.contains("May be lost"), "{plan}");
    let refused = ruche(&all[2].node, &["site", "failover", HOST]).unwrap_err();
    assert!(refused.contains("--yes"), "{refused}");
    let said = ruche(&all[2].node, &["node", "evacuate", "pi-0", "--yes"]).unwrap();
    assert!(said.contains("1 sites of pi-0 have other homes"), "{said}");
    until(20, "it is served", || get(&all[2], "index.html").filter(|text| text == "home\n"));
    ruche(&all[2].node, &["site", "set", HOST, "--no-standby"]).unwrap();
    // Nobody stands by: the node can go for good.
    ruche(&all[2].node, &["node", "rm", "pi-0", "--yes"]).unwrap();
    assert_eq!(site(&all[1])["standbys"], json!([]));
}

#[test]
fn the_second_of_two_nodes_says_that_it_cannot_decide() {
    let mut all = nodes(2);
    all[0].create(HOST, json!({"node": "pi-0", "standbys": ["pi-1"]}));
    until(20, "it knows the site", || (all[1].node.get(&format!("/v1/sites/{HOST}")).status == 200).then_some(()));
    until(20, "all is well", || ruche(&all[1].node, &["status"]).unwrap().contains("all is well").then_some(()));
    let shown = ruche(&all[1].node, &["site", "show", HOST]).unwrap();
    assert!(shown.contains("pi-0 decides alone"), "{shown}");
    all[0].node.kill();
    until(30, "it says so", || {
        ruche(&all[1].node, &["status"]).unwrap().contains("the leader is silent").then_some(())
    });
    for asked in [["site", "failover", HOST, "--yes"], ["node", "evacuate", "pi-0", "--yes"]] {
        let refused = ruche(&all[1].node, &asked).unwrap_err();
        assert!(refused.contains("it cannot be decided here who is down"), "{refused}");
    }
    let plan = ruche(&all[1].node, &["site", "failover", HOST, "--dry-run"]).unwrap();
    assert!(plan.contains("recover --force-single"), "{plan}");
}
