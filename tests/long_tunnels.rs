//! What stays open through many changes of the configuration: 200 idle WebSockets, and a long download, none of which may notice.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::io::{BufReader, Read, Write};
use std::time::{Duration, Instant};

use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::backend::Backend;
use support::http;
use support::measure::rss_kib;
use support::sites::{Sites, Tls};

const SITE: &str = "app.example";
const TUNNELS: usize = 200;
const CHANGES: usize = 1000;
/// Pieces of the download, one for each few milliseconds.
const PIECES: usize = 4000;

fn ask(sites: &Sites, head: &str) -> BufReader<Tls> {
    let mut visitor = BufReader::new(sites.tls(Some(SITE), &["http/1.1"]).unwrap());
    visitor.get_mut().write_all(format!("{head}host: {SITE}\r\n\r\n").as_bytes()).unwrap();
    visitor
}

#[test]
#[ignore = "long"]
fn idle_websockets_and_a_download_outlive_a_thousand_changes() {
    let backend = Backend::start(|asked| {
        if asked.path() == "/download" {
            asked.say(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", PIECES * 4096));
            for _ in 0..PIECES {
                asked.say([b'x'; 4096]);
                std::thread::sleep(Duration::from_millis(2));
            }
            return true;
        }
        asked.say("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
        let mut piece = [0; 64];
        while let Ok(read @ 1..) = asked.stream.read(&mut piece) {
            asked.say(&piece[..read]);
        }
        false
    });
    let sites = Sites::ready();
    sites.create(SITE, json!({"handler": {"type": "proxy", "upstreams": [backend.url()]}}));
    let before = rss_kib(sites.node.pid());
    let upgrade = "GET /chat HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n";
    let mut all: Vec<_> = (0..TUNNELS).map(|_| ask(&sites, upgrade)).collect();
    for visitor in &mut all {
        assert_eq!(http::head(visitor).unwrap().0, 101);
    }
    let each = (rss_kib(sites.node.pid()) - before) / TUNNELS as u64;
    let mut download = ask(&sites, "GET /download HTTP/1.1\r\n");
    assert_eq!(http::head(&mut download).unwrap().0, 200);
    let reading = std::thread::spawn(move || download.read_exact(&mut vec![0; PIECES * 4096]));
    let begun = Instant::now();
    for number in 0..CHANGES {
        let change = match number % 4 {
            0 => json!({"maintenance": true}),
            1 => json!({"maintenance": false}),
            2 => json!({"handler": {"type": "static"}}),
            _ => json!({"handler": {"type": "proxy", "upstreams": [backend.url()]}}),
        };
        sites.set(SITE, change);
    }
    println!("{CHANGES} changes in {} ms; an idle tunnel takes {each} KiB", begun.elapsed().as_millis());
    for (number, visitor) in all.iter_mut().enumerate() {
        let word = format!("still here {number:3}");
        visitor.get_mut().write_all(word.as_bytes()).unwrap();
        let mut heard = vec![0; word.len()];
        visitor.read_exact(&mut heard).unwrap();
        assert_eq!(heard, word.as_bytes());
    }
    reading.join().unwrap().expect("the download came to its end");
    assert_eq!(sites.metric("ruche_proxy_tunnels"), TUNNELS as u64);
}
