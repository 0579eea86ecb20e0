//! A start on what is not as it was left: a flipped byte, a lost or foreign keyring, a directory in use, a faulty configuration.
//! Either it is refused with what was found and what to do, or all data is right.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::chance::Chance;
use support::load::{self, Outcome, Writer};
use support::node::{self, Node, flip};

const FLIPS: usize = 40;
const DAMAGED: i32 = 65;
const BAD_CONFIG: i32 = 78;

fn filled(chance: &mut Chance) -> (Node, Vec<Writer>) {
    let node = Node::ready();
    let mut writers = vec![Writer::new(&node, 0, chance.fork())];
    for _ in 0..120 {
        assert!(matches!(writers[0].step(), Outcome::Done));
    }
    (node, writers)
}

/// The databases of a node that does not run.
fn databases(node: &Node) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(&node.data).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.to_string_lossy().contains(".db"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn put_back(node: &Node, files: &BTreeMap<PathBuf, Vec<u8>>) {
    databases(node).keys().for_each(|path| fs::remove_file(path).unwrap());
    files.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
}

/// Starts on damaged files: refused, or everything is there.
fn refuses_or_is_right(node: &mut Node, writers: &[Writer], what: &str) -> bool {
    let lines = node.log_lines();
    node.spawn();
    let mut client = node.client();
    let code = support::until(60, "it starts or refuses", || {
        if node.has_ended() {
            return Some(node.wait_end(1).code());
        }
        let ready = client.ask("GET", "/readyz", None, &[]);
        ready.is_ok_and(|answer| answer.status == 200).then_some(Some(-1))
    });
    let said = node.log_after(lines);
    if code == Some(-1) {
        load::compare(node, writers);
        let count = writers[0].acknowledged.len() as u64;
        assert_eq!(load::revision(node), writers[0].acknowledged[count as usize - 1].revision, "{what}");
        node.kill();
        return false;
    }
    assert_eq!(code, Some(DAMAGED), "{what}: ended otherwise than by a refusal: {said}");
    assert!(
        said.contains(".db") && said.contains("`ruche cluster recover` puts "),
        "{what}: file or remedy are not named: {said}"
    );
    assert!(!said.contains("panicked"), "{what}: {said}");
    true
}

fn flips(stopped: bool) {
    let mut chance = Chance::of_this_run();
    let (mut node, writers) = filled(&mut chance);
    if stopped {
        assert!(node.term().success());
    } else {
        // `state.db` follows the log by two milliseconds, and bears witness of what the log held from then on.
        std::thread::sleep(Duration::from_secs(1));
        node.kill();
    }
    let sound = databases(&node);
    let mut refused = 0;
    for _ in 0..FLIPS {
        let (path, bytes) = sound.iter().nth(chance.below(sound.len())).unwrap();
        if bytes.is_empty() {
            continue;
        }
        let (at, mask) = (chance.below(bytes.len()), 1 << chance.below(8));
        flip(path, at, mask);
        let what = format!("bit {mask:#x} of byte {at} of {}", path.display());
        refused += usize::from(refuses_or_is_right(&mut node, &writers, &what));
        put_back(&node, &sound);
    }
    println!("{FLIPS} flipped bits in {} files: {refused} refused, the others did no harm", sound.len());
    assert!(refused > 0, "no flip was noticed");
    node.start();
    load::compare(&node, &writers);
}

#[test]
fn a_flipped_bit_is_refused_or_harmless_after_a_stop() {
    flips(true);
}

#[test]
fn a_flipped_bit_is_refused_or_harmless_after_a_kill() {
    flips(false);
}

/// Starts, must be refused, and gives the exit code and what was said.
fn refusal(node: &mut Node) -> (i32, String) {
    let lines = node.log_lines();
    node.spawn();
    let code = node.wait_end(60).code().unwrap();
    (code, node.log_after(lines))
}

#[test]
fn a_lost_foreign_or_damaged_keyring_is_refused() {
    let mut chance = Chance::of_this_run();
    let (mut node, writers) = filled(&mut chance);
    node.term();
    let path = node.data.join("keyring");
    let own = fs::read(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let foreign = Node::ready();
    let cases = [
        ("lost", None, "cluster key export"),
        ("foreign", Some(fs::read(foreign.data.join("keyring")).unwrap()), "another cluster"),
        ("empty", Some(Vec::new()), "keyring"),
        ("cut", Some(own[..own.len() / 2].to_vec()), "keyring"),
        (
            "flipped",
            Some(own.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == own.len() / 2)).collect()),
            "keyring",
        ),
    ];
    for (what, bytes, told) in cases {
        match &bytes {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let (code, said) = refusal(&mut node);
        assert_ne!(code, 0, "{what}");
        assert!(said.contains(told) && said.contains("keyring") && !said.contains("panicked"), "{what}: {said}");
        assert_eq!(bytes, fs::read(&path).ok(), "{what}: the file was changed");
    }
    fs::write(&path, own).unwrap();
    node.start();
    load::compare(&node, &writers);
}

#[test]
fn a_directory_or_socket_in_use_is_left_alone() {
    let node = Node::ready();
    let mut second = Node::new();
    let text = node::config(second.path("").as_path(), &node.data);
    fs::write(second.config(), text).unwrap();
    let (code, said) = refusal(&mut second);
    assert!(code != 0 && said.contains(&format!("process {} holds it", node.pid())), "{said}");

    let mut third = Node::new();
    let text = fs::read_to_string(third.config()).unwrap();
    let socket = |path: PathBuf| text.replace(&third.socket().display().to_string(), &path.display().to_string());
    fs::write(third.config(), socket(node.socket())).unwrap();
    let (code, said) = refusal(&mut third);
    assert!(code != 0 && said.contains("another process answers there"), "{said}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    fs::write(third.config(), text.replace("127.0.0.1:0", &port)).unwrap();
    let (code, said) = refusal(&mut third);
    assert!(code != 0 && said.contains(&port) && said.contains("in use"), "{said}");
    drop(taken);

    // A socket whose process is gone is replaced.
    fs::write(third.config(), &text).unwrap();
    let _ = fs::remove_file(third.socket());
    drop(UnixListener::bind(third.socket()).unwrap());
    assert!(third.socket().exists());
    third.start();
    assert_eq!(node.get("/readyz").status, 200, "the first node was disturbed");
}

#[test]
fn a_faulty_configuration_is_refused_with_all_its_faults() {
    let mut node = Node::new();
    let sound = fs::read_to_string(node.config()).unwrap();
    fs::write(node.config(), format!("{sound}[nod]\nname = 1\n[extra]\nx = 1\n").replace("\"info\"", "\"loud\""))
        .unwrap();
    let (code, said) = refusal(&mut node);
    assert_eq!(code, BAD_CONFIG);
    for fault in ["[nod]", "[extra]", "loud"] {
        assert!(said.contains(fault), "{fault}: {said}");
    }
    assert!(!node.data.exists(), "a refused configuration must change nothing");
    let checked = node::ruche(&["check", "--config", &node.config().display().to_string()]);
    assert_eq!(checked.status.code(), Some(BAD_CONFIG));
    assert_eq!(String::from_utf8_lossy(&checked.stderr).lines().count(), said.lines().count());
}

#[test]
fn a_data_directory_that_is_none_is_refused() {
    let mut node = Node::new();
    fs::write(&node.data, "a file").unwrap();
    let (code, said) = refusal(&mut node);
    assert!(code != 0 && said.contains(&node.data.display().to_string()), "{said}");
    fs::remove_file(&node.data).unwrap();
    for name in ["state.db", "log.db"] {
        fs::create_dir_all(&node.data).unwrap();
        fs::write(node.data.join(name), "this was never a database, whoever put it here").unwrap();
        let (code, said) = refusal(&mut node);
        assert!(code == DAMAGED && said.contains(name), "{code}: {said}");
        fs::remove_dir_all(&node.data).unwrap();
    }
    node.start();
}
