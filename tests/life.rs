//! The life of a process: what the service manager hears, how it stops under load, how quickly another one takes its place.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::ear::Ear;
use support::http;
use support::node::{self, Node};
use support::until;

#[test]
fn the_service_manager_hears_of_each_turn() {
    let mut node = Node::new();
    let mut ear = Ear::of(&mut node);
    node.env.push(("WATCHDOG_USEC".into(), "200000".into()));
    node.spawn();
    ear.hears("READY=1");
    ear.hears("STATUS=");
    assert_eq!(node.get("/readyz").status, 200, "READY was said too early");
    for _ in 0..3 {
        ear.hears("WATCHDOG=1");
    }
    node.signal(Signal::HUP);
    ear.hears("RELOADING=1");
    ear.hears("MONOTONIC_USEC=");
    ear.hears("READY=1");
    ear.hears("WATCHDOG=1");
    node.signal(Signal::TERM);
    ear.hears("STOPPING=1");
    assert!(node.wait_end(60).success());
}

#[test]
fn a_hanging_process_does_not_feed_the_watchdog() {
    let mut node = Node::new();
    let mut ear = Ear::of(&mut node);
    node.env.push(("WATCHDOG_USEC".into(), "200000".into()));
    node.spawn();
    ear.hears("WATCHDOG=1");
    node.signal(Signal::STOP);
    assert!(ear.falls_silent(Duration::from_secs(1)));
    node.signal(Signal::CONT);
    ear.hears("WATCHDOG=1");
}

#[test]
fn a_refused_start_says_why() {
    let mut node = Node::new();
    let mut ear = Ear::of(&mut node);
    fs::create_dir_all(&node.data).unwrap();
    fs::write(node.data.join("state.db"), "never a database").unwrap();
    node.spawn();
    ear.hears("STATUS=failed to read");
    assert_eq!(node.wait_end(60).code(), Some(65));
}

#[test]
fn sighup_changes_the_levels_of_the_log_and_names_what_waits_for_a_restart() {
    let node = Node::ready();
    let sound = fs::read_to_string(node.config()).unwrap();
    let reload = |text: &str, said: &str| {
        let lines = node.log_lines();
        fs::write(node.config(), text).unwrap();
        node.signal(Signal::HUP);
        until(30, said, || node.log_after(lines).contains(said).then_some(()));
    };
    reload(&sound, "read the configuration again");
    reload(&sound.replace("name = \"test\"", "name = \"other\""), "after a restart keys=\"[node]\"");
    reload("[nonsense]", "the one in force stays");
    reload(&sound.replace("\"info\"", "\"debug\""), "read the configuration again");
    // A connection that breaks off is told at level debug only.
    let break_off = || {
        let lines = node.log_lines();
        let mut stream = http::connect(&node.socket()).unwrap();
        stream.get_mut().write_all(b"nonsense\r\n\r\n").unwrap();
        drop(stream);
        lines
    };
    let lines = break_off();
    until(30, "a debug line", || node.log_after(lines).contains("DEBUG").then_some(()));
}

#[test]
fn a_stop_ends_slow_requests_and_streams_in_time() {
    let mut node = Node::ready();
    let mut events = http::connect(&node.socket()).unwrap();
    http::send(events.get_mut(), "GET", "/v1/events", None, &[("accept", "text/event-stream")]).unwrap();
    assert_eq!(http::head(&mut events).unwrap().0, 200);
    // A body that goes on coming while the node stops is still taken.
    let body = json!({"name": "slow"}).to_string();
    let mut slow = http::connect(&node.socket()).unwrap();
    let head = format!("POST /v1/accounts HTTP/1.1\r\nhost: ruche\r\ncontent-length: {}\r\n\r\n", body.len());
    slow.get_mut().write_all(head.as_bytes()).unwrap();
    // The other one never ends.
    let mut stuck = http::connect(&node.socket()).unwrap();
    stuck.get_mut().write_all(head.as_bytes()).unwrap();
    // Both heads were read once a later request was answered.
    node.get("/v1/status").done();
    let lines = node.log_lines();
    node.signal(Signal::TERM);
    until(30, "the stream of events ends", || http::line(&mut events).is_err().then_some(()));
    slow.get_mut().write_all(body.as_bytes()).unwrap();
    let (status, _) = http::head(&mut slow).unwrap();
    assert_eq!(status, 503, "the databases were given up: the change is refused, not lost");
    let asked = Instant::now();
    assert!(node.wait_end(60).success(), "{}", node.log_after(lines));
    println!("stopped after {:?} with a request that never ended", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(40), "the drain has a deadline of 30 s");
}

#[test]
fn the_next_process_starts_while_this_one_drains() {
    let mut node = Node::ready();
    node.post("/v1/accounts", json!({"name": "kept"})).done();
    let mut draining = http::connect(&node.socket()).unwrap();
    draining.get_mut().write_all(b"POST /v1/accounts HTTP/1.1\r\nhost: ruche\r\ncontent-length: 9\r\n\r\n").unwrap();
    node.get("/v1/status").done();
    let mut next = Node::new();
    fs::copy(node.config(), next.config()).unwrap();
    node.signal(Signal::TERM);
    // Listeners and databases come free within moments; the service manager would try again as often.
    until(30, "the next process is ready beside the draining one", || {
        let lines = next.log_lines();
        next.spawn();
        until(30, "it is ready or refused", || {
            (next.has_ended() || next.log_after(lines).contains(" ready ")).then_some(())
        });
        if next.has_ended() {
            next.wait_end(1);
            return None;
        }
        Some(())
    });
    assert!(!node.has_ended(), "the first process was to be draining still");
    let mut client = http::Client::new(&node.socket());
    assert_eq!(client.ask("GET", "/v1/accounts/kept", None, &[]).unwrap().status, 200);
    assert_eq!(client.ask("GET", "/readyz", None, &[]).unwrap().status, 200);
    drop(draining);
    assert!(node.wait_end(60).success());
    // The first one must not take the other's socket with it.
    assert_eq!(client.ask("GET", "/v1/accounts/kept", None, &[]).unwrap().status, 200);
}

#[test]
fn quick_restarts_keep_everything() {
    let mut node = Node::ready();
    for number in 0..4 {
        node.post("/v1/accounts", json!({"name": format!("a{number}")})).done();
        node.restart();
        assert_eq!(node.all("/v1/accounts").len(), number + 1);
    }
}

#[test]
fn the_shipped_samples_are_sound() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    for sample in fs::read_dir(samples).unwrap() {
        let path = sample.unwrap().path();
        let checked = node::ruche(&["check", "--config", &path.display().to_string()]);
        assert!(checked.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&checked.stderr));
    }
}

#[test]
fn every_command_has_a_manual_page_and_completions() {
    let dir = tempfile::tempdir().unwrap();
    let written = node::ruche(&["docs", &dir.path().display().to_string()]);
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let help = String::from_utf8(node::ruche(&["--help"]).stdout).unwrap();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<&str> =
        commands.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let page = fs::read_to_string(dir.path().join(format!("man1/ruche-{name}.1")));
        assert!(page.unwrap_or_default().contains(".SH NAME"), "{name} has no page");
    }
    for file in ["ruche.bash", "_ruche", "ruche.fish"] {
        assert!(fs::metadata(dir.path().join("completions").join(file)).unwrap().len() > 1000, "{file}");
    }
}
