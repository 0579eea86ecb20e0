//! Configuration changes a thousand times while visitors stay: idle connections, idle WebSockets through a proxied site, a long
//! download, a load.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::sites::{Sites, Tls};

const CHANGES: usize = 1000;
const IDLE: usize = 200;
const APP: &str = "app.example";
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: one.example\r\n\r\n";

fn ask(stream: &mut Tls) {
    stream.write_all(GET).unwrap();
    let (mut heard, mut piece) = (Vec::new(), [0; 4096]);
    while !heard.ends_with(b"<p>one") {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "the connection was closed: {}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&piece[..read]);
    }
    assert!(heard.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&heard));
}

fn percentile(times: &mut [Duration], part: usize) -> Duration {
    times.sort();
    times.get(times.len() * part / 100).copied().unwrap_or_default()
}

/// WebSockets of the distribution's library, behind a proxied site, and the lines their program says.
struct WebSockets {
    program: Child,
    says: BufReader<std::process::ChildStdout>,
}

impl WebSockets {
    fn open(sites: &Sites) -> Self {
        let (socket, ca) = (sites.node.path("ws.sock"), sites.node.path("ca.pem"));
        fs::write(&ca, sites.node.get("/v1/certificates/ca").done().text).unwrap();
        sites.create(APP, json!({"handler": {"type": "proxy", "upstreams": [format!("unix:{}", socket.display())]}}));
        let mut program = Command::new("/usr/bin/python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/websocket_idle.py"))
            .args([socket.to_str().unwrap(), ca.to_str().unwrap(), APP])
            .args([sites.https.port().to_string(), IDLE.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed: tests/run sees to it");
        let says = BufReader::new(program.stdout.take().unwrap());
        let mut sockets = Self { program, says };
        assert_eq!(sockets.line(), "open");
        sockets
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// All of them still speak.
    fn stayed(mut self) {
        self.program.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert_eq!(self.line(), "fine", "not all WebSockets stayed");
        assert!(self.program.wait().unwrap().success());
    }
}

#[test]
#[ignore = "long: a thousand changes"]
fn a_thousand_changes_close_no_connection() {
    let sites = Sites::ready();
    let root = sites.create("one.example", json!({}));
    fs::write(root.join("index.html"), "<p>one").unwrap();
    let content: Vec<u8> = (0..30_000_000u32).flat_map(u32::to_le_bytes).collect();
    fs::write(root.join("large.bin"), &content).unwrap();
    let mut idle: Vec<Tls> = (0..IDLE).map(|_| sites.tls(Some("one.example"), &["http/1.1"]).unwrap()).collect();
    idle.iter_mut().for_each(ask);
    let sockets = WebSockets::open(&sites);

    let over = AtomicBool::new(false);
    let (changed, mut asked) = std::thread::scope(|scope| {
        let download = scope.spawn(|| {
            let mut stream = sites.tls(Some("one.example"), &["http/1.1"]).unwrap();
            stream.write_all(b"GET /large.bin HTTP/1.1\r\nhost: one.example\r\nconnection: close\r\n\r\n").unwrap();
            let (mut heard, mut piece) = (Vec::new(), vec![0; 256 << 10]);
            loop {
                let read = stream.read(&mut piece).unwrap();
                if read == 0 {
                    return heard;
                }
                heard.extend_from_slice(&piece[..read]);
                if !over.load(Ordering::Relaxed) {
                    // As slow as the changes: it lasts until the last of them.
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        let load = scope.spawn(|| {
            let mut stream = sites.tls(Some("one.example"), &["http/1.1"]).unwrap();
            let mut times = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                ask(&mut stream);
                times.push(begun.elapsed());
            }
            times
        });
        let mut times = Vec::new();
        for number in 0..CHANGES {
            let begun = Instant::now();
            match number % 4 {
                0 => drop(sites.create(&format!("s{number}.example"), json!({}))),
                1 => {
                    sites.set(["one.example", APP][number / 4 % 2], json!({"aliases": [format!("a{number}.example")]}))
                }
                2 => sites.set(&format!("s{}.example", number - 2), json!({"maintenance": true})),
                _ => drop(sites.node.ask("DELETE", &format!("/v1/sites/s{}.example", number - 3), None, &[]).done()),
            }
            if number % 4 == 0 {
                times.push(begun.elapsed());
            }
        }
        over.store(true, Ordering::Relaxed);
        let heard = download.join().unwrap();
        let body = heard.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        assert!(heard[body..] == content, "the download is not whole");
        (times, load.join().unwrap())
    });
    idle.iter_mut().for_each(ask);
    sockets.stayed();
    let mut changed = changed;
    println!(
        "{CHANGES} changes: {IDLE} idle connections, {IDLE} WebSockets and a download of {} MB stayed; a new site was served after {:?} (median), {:?} (p99); \
         {} requests meanwhile, median {:?}, p99 {:?}",
        content.len() / 1_000_000,
        percentile(&mut changed, 50),
        percentile(&mut changed, 99),
        asked.len(),
        percentile(&mut asked, 50),
        percentile(&mut asked, 99),
    );
}
