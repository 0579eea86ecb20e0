//! A node hands over to a new process: nobody is refused, who is served is served to the end, and where the new one fails the program
//! that ran before serves on.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::UdpSocket;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::ear::Ear;
use support::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, NoFrame, PING, Talk, asking, frame, window_update,
};
use support::node::{binary, signal_to};
use support::sites::{Sites, Tls};
use support::until;

const HOST: &str = "www.example.org";
const PAGE: &str = "<h1>It works</h1>";

/// A node whose program can be replaced, on ports that stay, with a site; ended with the test.
struct Replaceable {
    sites: Sites,
    dns: String,
    root: PathBuf,
    ear: Ear,
}

impl Replaceable {
    fn new() -> Self {
        let mut sites = Sites::ready();
        let root = sites.create(HOST, json!({}));
        fs::write(root.join("index.html"), PAGE).unwrap();
        sites.node.post("/v1/zones", json!({"name": "example.org"})).done();
        sites.node.ask("PATCH", "/v1/nodes/test", Some(json!({"addresses": ["192.0.2.7"]})), &[]).done();
        // A port that is taken over must be the same.
        let dns = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = fs::read_to_string(sites.node.config()).unwrap();
        let config = config.replacen("\"127.0.0.1:0\"", &format!("{:?}", sites.http.to_string()), 1);
        let config = config.replacen("\"127.0.0.1:0\"", &format!("{:?}", sites.https.to_string()), 1);
        let config = config.replace("[dns]\nlisten = []", &format!("[dns]\nlisten = [{dns:?}]"));
        fs::write(sites.node.config(), config).unwrap();
        assert!(sites.node.term().success());
        let program = sites.node.path("ruche");
        symlink(binary(), &program).unwrap();
        sites.node.program = Some(program);
        let ear = Ear::of(&mut sites.node);
        sites.node.start();
        // Visitors know the CA by now.
        assert_eq!(sites.get(&format!("https://{HOST}/")).text(), PAGE);
        Self { sites, dns, root, ear }
    }

    /// Another program under the same name, as an upgrade puts it there.
    fn replace(&self, script: &str) {
        let (program, new) = (self.sites.node.path("ruche"), self.sites.node.path("new"));
        fs::write(&new, script).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, program).unwrap();
    }

    fn holder(&self) -> u32 {
        self.sites.node.holder().unwrap()
    }

    /// Tells whoever serves to hand over, and waits until another process does.
    fn hand_over(&mut self) {
        let before = self.holder();
        signal_to(before, Signal::USR2);
        self.ear.hears("MAINPID=");
        self.ear.hears("READY=1");
        self.ear.hears("FDSTORE=1");
        assert_ne!(self.holder(), before);
    }
}

impl Drop for Replaceable {
    fn drop(&mut self) {
        if let Some(holder) = self.sites.node.holder() {
            let pid = rustix::process::Pid::from_raw(holder as i32).unwrap();
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

/// Asks on a connection that is kept; says whether it was the last time.
fn ask(stream: &mut BufReader<Tls>) -> Result<bool, String> {
    let told = |error: std::io::Error| error.to_string();
    stream.get_mut().write_all(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes()).map_err(told)?;
    let (mut length, mut last, mut line) = (0, false, String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).map_err(told)? == 0 {
            return Err("the connection ended without an answer".into());
        }
        let lower = line.trim_end().to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        last |= lower == "connection: close";
        if lower.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).map_err(told)?;
    if body == PAGE.as_bytes() { Ok(last) } else { Err(format!("another page: {}", String::from_utf8_lossy(&body))) }
}

#[test]
fn nobody_is_refused_while_process_after_process_takes_over() {
    let mut node = Replaceable::new();
    fs::write(node.root.join("large"), vec![7; 32 << 20]).unwrap();
    let (ended, served) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 5]);
    let slowest = Mutex::new(Duration::ZERO);
    let sites = &Sites { node: support::node::Node::new(), http: node.sites.http, https: node.sites.https };
    // It has the CA that visitors know.
    fs::copy(node.sites.node.path("ca.pem"), sites.node.path("ca.pem")).unwrap();
    let open = || sites.tls(Some(HOST), &["http/1.1"]).map(BufReader::new).map_err(|error| error.to_string());
    let dns = node.dns.clone();
    let until_ended = |kind: usize, mut work: Box<dyn FnMut() -> Result<(), String> + '_>| {
        while !ended.load(Ordering::Acquire) {
            work().unwrap_or_else(|error| panic!("visitor {kind} after {:?}: {error}", served[kind]));
            served[kind].fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            until_ended(
                0,
                Box::new(|| {
                    let began = Instant::now();
                    open().and_then(|mut stream| ask(&mut stream))?;
                    let mut slowest = slowest.lock().unwrap();
                    *slowest = slowest.max(began.elapsed());
                    Ok(())
                }),
            );
        });
        scope.spawn(|| {
            let mut kept = None;
            until_ended(
                1,
                Box::new(|| {
                    let mut stream = kept.take().map_or_else(open, Ok)?;
                    // Whoever was told that it was the last answer comes again.
                    kept = if ask(&mut stream)? { None } else { Some(stream) };
                    Ok(())
                }),
            );
        });
        scope.spawn(|| {
            until_ended(
                2,
                Box::new(|| {
                    // One try: what the kernel took is answered, by whichever process.
                    let (at, port) = dns.rsplit_once(':').unwrap();
                    let (at, port) = (format!("@{at}"), format!("-p{port}"));
                    let asked = ["+short", "+tries=1", "+time=20", &at, &port, HOST];
                    let answer = std::process::Command::new("dig").args(asked).output().unwrap();
                    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
                    if text.trim() == "192.0.2.7" { Ok(()) } else { Err(text) }
                }),
            );
        });
        scope.spawn(|| {
            until_ended(
                3,
                Box::new(|| {
                    let url = format!("https://{HOST}/large");
                    let got = sites.curl(&["--limit-rate", "16M", &url])?;
                    if got.body.len() == 32 << 20 { Ok(()) } else { Err(format!("{} bytes", got.body.len())) }
                }),
            );
        });
        scope.spawn(|| {
            until_ended(
                4,
                Box::new(|| {
                    let (at, port) = dns.rsplit_once(':').unwrap();
                    let (at, port) = (format!("@{at}"), format!("-p{port}"));
                    let asked = ["+short", "+tcp", "+tries=1", "+time=20", &at, &port, HOST];
                    let answer = std::process::Command::new("dig").args(asked).output().unwrap();
                    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
                    if text.trim() == "192.0.2.7" { Ok(()) } else { Err(text) }
                }),
            );
        });
        // Also where a hand-over fails the visitors are told to end, or nobody would hear why.
        let handed_over = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..5 {
                node.hand_over();
                std::thread::sleep(Duration::from_millis(200));
            }
        }));
        ended.store(true, Ordering::Release);
        handed_over.unwrap();
    });
    println!("served: {served:?}, the slowest page after {:?}", slowest.lock().unwrap());
    assert!(served.iter().all(|served| served.load(Ordering::Relaxed) > 0), "{served:?}");
    // What was written is known to the last one, and it can be stopped.
    assert_eq!(node.sites.node.all("/v1/sites").len(), 1);
    let (last, http, log) = (node.holder(), node.sites.http, node.sites.node.log());
    assert!(!log.contains("set aside"), "each process found the statistics free: {log}");
    signal_to(last, Signal::TERM);
    until(60, "the address is free", || std::net::TcpListener::bind(http).ok());
}

/// Asks for a file over HTTP/2 with windows that hold all of it.
fn asking_for_all(sites: &Sites, path: &str) -> Talk {
    const WINDOW: u16 = 4;
    let mut talk = Talk::begun(sites, HOST, &[(WINDOW, 1 << 30)]);
    let ask = frame(HEADERS, END_HEADERS | END_STREAM, 1, &asking("GET", path, HOST));
    talk.send(&[window_update(0, 1 << 30), ask].concat());
    talk
}

/// Reads to the end of the answer; how much of the body came.
fn all_of(talk: &mut Talk) -> Result<usize, NoFrame> {
    let mut octets = 0;
    loop {
        let frame = talk.next()?;
        if frame.kind == DATA {
            octets += frame.payload.len();
        }
        if frame.kind != GOAWAY && frame.ends_stream() {
            return Ok(octets);
        }
    }
}

#[test]
fn what_the_kernel_holds_for_a_client_is_not_taken_back() {
    // The buffers of a connection hold less than the whole and more than the rest: the process has nothing more to send then, and the
    // client has not read it yet.
    const WHOLE: usize = 16 << 20;
    const REST: usize = 256 << 10;
    let mut node = Replaceable::new();
    fs::write(node.root.join("some"), vec![7; WHOLE]).unwrap();
    let mut talk = asking_for_all(&node.sites, "/some");
    assert!(talk.next().is_ok());
    node.hand_over();
    let (mut octets, mut asked) = (0, false);
    while octets < WHOLE - REST {
        let came = talk.next().unwrap();
        match came.kind {
            DATA => octets += came.payload.len(),
            // Whether the client knows by now that nothing else will be answered.
            PING if came.flags == 0 => asked = talk.send(&frame(PING, ACK, 0, &came.payload)),
            _ => {}
        }
    }
    assert!(asked, "the whole is in the buffers already");
    // Clients say such things while they read. To a socket that was closed they would be said too late.
    for _ in 0..20 {
        talk.send(&window_update(0, 1));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(all_of(&mut talk).map(|rest| octets + rest), Ok(WHOLE));
    drop(talk);
    assert!(node.sites.node.wait_end(60).success());
}

#[test]
fn a_client_that_pauses_at_the_end_of_its_answer_is_not_cut_off() {
    // For one of these sizes the last piece is the engine's while the socket takes nothing.
    let sizes = (16..64).map(|step| step * (64 << 10));
    let mut node = Replaceable::new();
    let mut talks = Vec::new();
    for size in sizes {
        fs::write(node.root.join(size.to_string()), vec![7; size]).unwrap();
        talks.push((size, asking_for_all(&node.sites, &format!("/{size}"))));
    }
    node.hand_over();
    // Longer than an idle connection has.
    std::thread::sleep(Duration::from_secs(7));
    for (size, talk) in &mut talks {
        assert_eq!(all_of(talk), Ok(*size));
    }
}

#[test]
fn the_process_that_handed_over_ends_when_those_it_serves_are_served() {
    let mut node = Replaceable::new();
    let mut kept = BufReader::new(node.sites.tls(Some(HOST), &["http/1.1"]).unwrap());
    assert_eq!(ask(&mut kept), Ok(false));
    node.hand_over();
    // What was on its way when the node handed over is answered, and told that it was the last.
    assert_eq!(ask(&mut kept), Ok(true));
    assert!(node.sites.node.wait_end(60).success());
    assert_eq!(node.sites.get(&format!("https://{HOST}/")).text(), PAGE);
}

#[test]
fn a_program_that_cannot_be_started_costs_nothing() {
    let node = Replaceable::new();
    let (before, lines) = (node.holder(), node.sites.node.log_lines());
    node.replace("#!/bin/sh\nexit 1\n");
    node.sites.node.signal(Signal::USR2);
    until(60, "the log says so", || {
        node.sites.node.log_after(lines).contains("the process that was there serves on").then_some(())
    });
    assert_eq!(node.holder(), before);
    assert_eq!(node.sites.get(&format!("https://{HOST}/")).text(), PAGE);
    assert!(node.sites.node.get("/v1/status").done().text.contains("hand-over"));
}

#[test]
fn a_faulty_configuration_costs_nothing() {
    let node = Replaceable::new();
    let (before, lines) = (node.holder(), node.sites.node.log_lines());
    fs::write(node.sites.node.config(), "[nonsense]\n").unwrap();
    node.sites.node.signal(Signal::USR2);
    until(60, "the log says so", || node.sites.node.log_after(lines).contains("exit status: 78").then_some(()));
    assert_eq!(node.holder(), before);
    assert_eq!(node.sites.get(&format!("https://{HOST}/")).text(), PAGE);
}

#[test]
fn where_the_new_program_fails_with_the_databases_the_one_before_goes_back_into_service() {
    let mut node = Replaceable::new();
    let before = node.holder();
    let script = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/test/fails-late")).unwrap();
    node.replace(&script);
    let mut asked = BufReader::new(node.sites.tls(Some(HOST), &["http/1.1"]).unwrap());
    node.hand_over();
    assert_ne!(node.holder(), before);
    assert_eq!(ask(&mut asked), Ok(true));
    assert_eq!(node.sites.get(&format!("https://{HOST}/")).text(), PAGE);
    let status = node.sites.node.get("/v1/status").done().text;
    assert!(status.contains("the one before went back into service"), "{status}");
    // And the next version that works takes over from it.
    fs::remove_file(node.sites.node.path("ruche")).unwrap();
    symlink(binary(), node.sites.node.path("ruche")).unwrap();
    node.hand_over();
    assert!(!node.sites.node.get("/v1/status").done().text.contains("hand-over"));
}
