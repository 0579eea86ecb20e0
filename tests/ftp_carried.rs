//! An FTP session on any node reaches the files of its site at their home: what it stores is there whole or not at all, whichever of
//! the two nodes goes away meanwhile.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::cluster::{ruche, token, web_node};
use support::ftp::{HOST, PASSWORD, Uploads, plain};
use support::node::Node;
use support::scripts;
use support::until;

/// The home of the site, which takes no FTP itself, and another node that does.
struct Pair {
    home: Node,
    other: Uploads,
}

fn pair() -> Pair {
    let (mut home, mut other) = (web_node("pi-0"), web_node("test"));
    let config = fs::read_to_string(other.config()).unwrap();
    let ftp = "[ftp]\nlisten = [\"127.0.0.1:0\"]\npassive_ports = \"20000-29999\"";
    fs::write(other.config(), config.replace("[ftp]\nlisten = []", ftp)).unwrap();
    home.start();
    other.start();
    ruche(&other, &["cluster", "join", &token(&home)]).unwrap();
    let site = json!({"host": HOST, "handler": {"type": "static"}, "node": "pi-0"});
    let made = home.post("/v1/sites", site).done();
    let root = PathBuf::from(made.json["root"].as_str().unwrap());
    let mut other = Uploads { node: other, ftp: ([127, 0, 0, 1], 0).into(), root };
    other.learn();
    for (login, plain) in [("ada", false), ("old", true)] {
        let user = json!({"login": login, "site": HOST, "password": PASSWORD, "allow_plain": plain});
        home.post("/v1/ftp-users", user).done();
    }
    let pair = Pair { home, other };
    pair.agrees();
    pair
}

impl Pair {
    /// Waits until the other node knows what was changed on the home.
    fn agrees(&self) {
        let revision = |node: &Node| node.get("/v1/status").done().json["revision"].as_u64().unwrap();
        let newest = revision(&self.home);
        until(20, "the other node knows", || (revision(&self.other.node) >= newest).then_some(()));
    }

    fn incoming(&self) -> usize {
        fs::read_dir(self.other.root.parent().unwrap().join("incoming")).map_or(0, Iterator::count)
    }
}

fn large() -> Vec<u8> {
    (0..2_000_000_u32).flat_map(u32::to_le_bytes).collect()
}

#[test]
fn clients_find_what_is_at_home_elsewhere() {
    let pair = pair();
    scripts::lftp_mirrors_both_ways(&pair.other);
    scripts::curl_uploads_resumes_and_is_refused_without_tls(&pair.other);
    assert_eq!(pair.incoming(), 0);
}

#[test]
fn a_session_does_there_what_it_does_at_home() {
    let pair = pair();
    scripts::names_paths_and_facts(&pair.other);
    scripts::lines_of_text_are_converted_both_ways(&pair.other);
    scripts::an_offset_is_good_for_one_transfer_whatever_becomes_of_it(&pair.other);
    scripts::a_transfer_can_be_aborted_and_the_session_goes_on(&pair.other);
    until(20, "nothing is left of it", || (pair.incoming() == 0).then_some(()));
}

#[test]
fn a_session_lists_there_and_finds_no_way_out() {
    let pair = pair();
    let mut ada = pair.other.ada();
    ada.store("STOR b", b"", 226);
    assert!(ada.says("STAT b", 213).contains(" b\r\n"));
    for line in ["RETR nothing", "STOR d/nothing", "MLSD b"] {
        ada.port();
        ada.says(line, 550);
    }
    // A link that leads out is none.
    std::os::unix::fs::symlink("/etc/passwd", pair.other.root.join("out")).unwrap();
    ada.port();
    ada.says("RETR out", 550);
    fs::remove_file(pair.other.root.join("out")).unwrap();
    for number in 0..3500 {
        fs::write(pair.other.root.join(format!("n{number}")), "").unwrap();
    }
    for line in ["MLSD", "LIST", "NLST"] {
        let listed = ada.retrieve(line, 226);
        assert_eq!(listed.iter().filter(|byte| **byte == b'\n').count(), 3501, "{line}");
    }
    pair.other.is_well();
}

#[test]
fn the_home_counts_and_decides() {
    let pair = pair();
    let mut ada = pair.other.ada();
    let set = |path: &str, change| {
        pair.home.ask("PATCH", path, Some(change), &[]).done();
        pair.agrees();
    };
    set(&format!("/v1/sites/{HOST}"), json!({"quota": 1_000_000}));
    ada.store("STOR a", &[1; 600_000], 226);
    ada.store("STOR b", &[1; 3_000_000], 552);
    ada.store("STOR b", &[1; 300_000], 226);
    ada.port();
    ada.says("APPE a", 552);
    assert_eq!((pair.incoming(), ada.retrieve("RETR a", 226).len()), (0, 600_000));
    ada.says("DELE a", 250);
    ada.store("STOR c", &[1; 600_000], 226);
    set("/v1/ftp-users/ada", json!({"disabled": true}));
    ada.says("SIZE c", 421);
}

#[test]
fn a_home_that_dies_is_told_of_soon_and_found_again() {
    let mut pair = pair();
    let other = &pair.other;
    let mut ada = other.ada();
    ada.store("STOR kept", &large(), 226);
    // In the middle of an upload.
    let mut data = ada.data("STOR kept");
    data.write_all(&large()[..3_000_000]).unwrap();
    until(20, "the home has some of it", || (pair.incoming() == 1).then_some(()));
    pair.home.kill();
    let _ = data.write_all(&large()[..3_000_000]);
    data.end();
    assert_eq!(ada.reply().0, 451);
    assert!(fs::read(other.root.join("kept")).unwrap() == large());
    // Meanwhile.
    let begun = Instant::now();
    ada.says("SIZE kept", 450);
    ada.port();
    ada.says("MLSD", 450);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    ada.says("PWD", 257);
    let mut late = other.ada();
    late.says("DELE kept", 450);
    pair.home.start();
    // The same session goes on.
    until(20, "it is found again", || {
        ada.try_send(b"SIZE kept\r\n").unwrap();
        (ada.try_reply().unwrap().0 == 213).then_some(())
    });
    until(20, "nothing is left of it", || {
        ada.store("STOR more", b"more", 226);
        (pair.incoming() == 0).then_some(())
    });
    assert!(ada.retrieve("RETR kept", 226) == large());
    // In the middle of a download.
    let mut data = ada.data("RETR kept");
    data.read_exact(&mut [0; 1000]).unwrap();
    pair.home.kill();
    let mut rest = Vec::new();
    let cut = data.read_to_end(&mut rest);
    assert!(cut.is_err() || rest.len() < large().len() - 1000, "all came though the home was gone");
    assert!(matches!(ada.reply().0, 426 | 451));
    pair.home.start();
    until(20, "it is found again", || {
        ada.try_send(b"SIZE kept\r\n").unwrap();
        (ada.try_reply().unwrap().0 == 213).then_some(())
    });
    pair.other.is_well();
}

#[test]
fn a_node_that_dies_leaves_nothing_at_the_home() {
    let mut pair = pair();
    let mut ada = pair.other.ada();
    ada.store("STOR kept", b"before", 226);
    let mut data = ada.data("STOR kept");
    data.write_all(&large()).unwrap();
    until(20, "the home has some of it", || (pair.incoming() == 1).then_some(()));
    drop(ada);
    pair.other.node.kill();
    until(20, "nothing is left of it", || (pair.incoming() == 0).then_some(()));
    assert_eq!(fs::read(pair.other.root.join("kept")).unwrap(), b"before");
}

#[test]
fn a_home_that_hangs_is_given_up() {
    let pair = pair();
    let mut ada = pair.other.ada();
    ada.store("STOR a", b"1", 226);
    pair.home.signal(Signal::STOP);
    let begun = Instant::now();
    ada.send(b"DELE a\r\n");
    let (code, _) = ada.reply();
    let took = begun.elapsed();
    pair.home.signal(Signal::CONT);
    assert_eq!(code, 451);
    assert!(took < Duration::from_secs(30), "{took:?}");
    until(20, "it is served again", || {
        ada.try_send(b"PWD\r\n").unwrap();
        ada.try_reply().unwrap();
        ada.try_send(b"SIZE nothing\r\n").unwrap();
        (ada.try_reply().unwrap().0 == 550).then_some(())
    });
}

#[test]
fn a_session_follows_a_site_that_moves_to_its_node_and_away_again() {
    let pair = pair();
    let root = |node: &Node| -> PathBuf {
        let site = node.get(&format!("/v1/sites/{HOST}")).done().json;
        site["root"].as_str().unwrap().into()
    };
    let mut ada = pair.other.ada();
    ada.store("STOR large", &large(), 226);
    let mut stored = Vec::new();
    for to in ["test", "pi-0"] {
        std::thread::scope(|scope| {
            let moving = scope.spawn(|| ruche(&pair.home, &["site", "move", HOST, "--to", to]));
            // Through the whole of the move the session goes on; what was said to be stored is.
            while !moving.is_finished() {
                let name = format!("{to}-{}", stored.len());
                let stream = plain(ada.port());
                ada.send(format!("STOR {name}\r\n").as_bytes());
                let mut reply = ada.reply();
                if reply.0 == 150 {
                    let mut data = ada.protect(stream);
                    data.write_all(name.as_bytes()).unwrap();
                    data.end();
                    reply = ada.reply();
                }
                match reply {
                    (226, _) => stored.push(name),
                    (code, text) => assert_eq!(code, 450, "{text}"),
                }
            }
            moving.join().unwrap().unwrap();
        });
        assert!(stored.iter().any(|name| name.starts_with(to)), "{stored:?}");
        ada.says("MKD after", 257);
        ada.says("RMD after", 250);
        assert!(ada.retrieve("RETR large", 226) == large());
        let home = root(if to == "test" { &pair.other.node } else { &pair.home });
        for name in &stored {
            assert_eq!(fs::read_to_string(home.join(name)).unwrap(), *name, "after the move to {to}");
        }
    }
    pair.other.is_well();
}
