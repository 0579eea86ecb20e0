//! A node gets its state back from a copy: with all of it where the log is whole, else as it was when the copy was made.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::node::binary;
use support::sites::Sites;

const KEPT: &str = "kept.example.org";
const LATER: &str = "later.example.org";

/// A stopped node with two sites, and a copy of its state from before the second.
fn stopped() -> (Sites, PathBuf) {
    let mut sites = Sites::ready();
    let root = sites.create(KEPT, json!({}));
    fs::write(root.join("index.html"), "kept").unwrap();
    assert!(sites.node.term().success());
    let copy = sites.node.path("state.db.gz");
    let (from, to) = (File::open(sites.node.data.join("state.db")).unwrap(), File::create(&copy).unwrap());
    assert!(Command::new("gzip").arg("-c").stdin(from).stdout(to).status().unwrap().success());
    sites.node.start();
    sites.create(LATER, json!({}));
    assert!(sites.node.term().success());
    (sites, copy)
}

fn recover(sites: &Sites, copy: &Path) -> Output {
    let mut command = Command::new(binary());
    command.args(["cluster", "recover", "--config"]).arg(sites.node.config()).arg("--copy").arg(copy);
    command.output().unwrap()
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.windows(KEPT.len()).position(|window| window == KEPT.as_bytes()).expect("a row holds the name");
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Serves, keeps what is written, and opens the keys of the certificates.
fn works(sites: &mut Sites, hosts: usize) {
    sites.node.start();
    sites.learn();
    assert_eq!(sites.node.all("/v1/sites").len(), hosts);
    assert_eq!(sites.get(&format!("https://{KEPT}/")).text(), "kept");
    sites.create("new.example.org", json!({}));
    sites.node.restart();
    sites.learn();
    assert_eq!(sites.node.all("/v1/sites").len(), hosts + 1);
    assert_eq!(sites.get("https://new.example.org/").status, 404);
}

#[test]
fn a_damaged_state_is_replaced_and_the_log_brings_it_up_to_date() {
    let (mut sites, copy) = stopped();
    flip(&sites.node.data.join("state.db"));
    sites.node.spawn();
    assert_eq!(sites.node.wait_end(60).code(), Some(65), "{}", sites.node.log());
    let done = recover(&sites, &copy);
    assert!(done.status.success() && told(&done).contains("The log was whole"), "{}", told(&done));
    works(&mut sites, 2);
}

#[test]
fn where_the_log_is_lost_too_the_state_of_the_copy_is_there() {
    let (mut sites, copy) = stopped();
    let data = sites.node.data.clone();
    for name in ["state.db", "log.db", "local.db"] {
        fs::remove_file(data.join(name)).unwrap();
    }
    let done = recover(&sites, &copy);
    assert!(done.status.success() && told(&done).contains("is lost"), "{}", told(&done));
    works(&mut sites, 1);
}

#[test]
fn a_new_machine_takes_the_copy_and_the_key_in_the_place_of_its_own() {
    let (sites, copy) = stopped();
    let mut new = Sites::ready();
    new.create("its.own.example.org", json!({}));
    assert!(new.node.term().success());
    // Without the key it says which is missing.
    assert!(recover(&new, &copy).status.success());
    new.node.spawn();
    assert_eq!(new.node.wait_end(60).code(), Some(1));
    assert!(new.node.log().contains("belongs to another cluster"), "{}", new.node.log());
    fs::copy(sites.node.data.join("keyring"), new.node.data.join("keyring")).unwrap();
    for root in fs::read_dir(sites.node.data.join("sites")).unwrap() {
        let to = new.node.data.join("sites").join(root.unwrap().file_name()).join("public");
        fs::create_dir_all(&to).unwrap();
        fs::write(to.join("index.html"), "kept").unwrap();
    }
    // The CA is that of the copy.
    let _ = fs::remove_file(new.node.path("ca.pem"));
    works(&mut new, 1);
}

#[test]
fn nothing_is_touched_for_a_copy_that_is_damaged_or_under_a_node_that_runs() {
    let (mut sites, copy) = stopped();
    let (plain, before) = (sites.node.path("plain.db"), fs::read(sites.node.data.join("state.db")).unwrap());
    fs::write(&plain, &before).unwrap();
    flip(&plain);
    let refused = recover(&sites, &plain);
    assert!(!refused.status.success() && told(&refused).contains("it is damaged"), "{}", told(&refused));
    for wrong in ["nothing.db.gz", "ruche.toml"] {
        assert!(!recover(&sites, &sites.node.path(wrong)).status.success());
    }
    assert_eq!(fs::read(sites.node.data.join("state.db")).unwrap(), before);
    sites.node.start();
    let refused = recover(&sites, &copy);
    assert!(!refused.status.success() && told(&refused).contains("stop that one first"), "{}", told(&refused));
    assert_eq!(sites.node.all("/v1/sites").len(), 2);
    assert!(sites.node.term().success());
    let names = fs::read_dir(&sites.node.data).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.into_iter().all(|name| !name.starts_with("set-aside") && !name.starts_with("restoring")));
}
