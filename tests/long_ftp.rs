//! FTP at its bounds: ten thousand clients that say nothing, a directory of a hundred thousand names. Prints its figures.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::ftp::Uploads;
use support::measure::{is_judged, rss_kib};

const IDLE: usize = 10_000;
const NAMES: usize = 100_000;
/// A logged in client's next request.
const ANSWER_MAX: Duration = Duration::from_millis(100);
const GROWTH_MAX_KIB: u64 = 32 << 10;

#[test]
#[ignore = "long: ten thousand connections"]
fn silent_clients_cost_little_and_keep_nobody_out() {
    let uploads = Uploads::ready();
    let mut ada = uploads.ada();
    let before = rss_kib(uploads.node.pid());
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let wanted = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, wanted).unwrap();
    let (mut idle, mut slowest) = (Vec::new(), Duration::ZERO);
    for number in 0..IDLE {
        idle.push(TcpStream::connect(uploads.ftp).unwrap());
        if number % 500 == 0 {
            let asked = Instant::now();
            ada.says("NOOP", 200);
            ada.store("STOR f", b"small", 226);
            slowest = slowest.max(asked.elapsed());
        }
    }
    let asked = Instant::now();
    uploads.is_well();
    let (login, growth) = (asked.elapsed(), rss_kib(uploads.node.pid()).saturating_sub(before));
    println!("{IDLE} silent clients: {growth} KiB more, slowest upload {slowest:?}, login and upload {login:?}");
    if is_judged() {
        assert!(slowest <= ANSWER_MAX && growth <= GROWTH_MAX_KIB);
    }
}

#[test]
#[ignore = "long: a hundred thousand files"]
fn a_large_directory_is_listed_in_pieces() {
    let uploads = Uploads::ready();
    let mut ada = uploads.ada();
    let dir = uploads.root.join("many");
    fs::create_dir(&dir).unwrap();
    for number in 0..NAMES {
        fs::write(dir.join(format!("a file with a name of some length {number}")), "").unwrap();
    }
    let before = rss_kib(uploads.node.pid());
    let started = Instant::now();
    for command in ["LIST many", "NLST many", "MLSD many"] {
        let lines = ada.retrieve(command, 226).iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(lines, NAMES, "{command}");
    }
    let (seconds, growth) = (started.elapsed(), rss_kib(uploads.node.pid()).saturating_sub(before));
    println!("{NAMES} names listed three times in {seconds:?}: {growth} KiB more");
    assert!(growth <= GROWTH_MAX_KIB, "{growth} KiB");
}
