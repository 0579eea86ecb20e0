//! Bodies nobody wants, bodies that never end, and what hides in them, with both versions of HTTP: one message stays one message,
//! and whoever holds us up is cut off in bounded time and memory while the others are served.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::time::{Duration, Instant};

use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::backend::{Backend, header};
use support::frames::{self, Frame, NoFrame, Talk, asking, field, frame, window_update};
use support::http;
use support::measure::rss_kib;
use support::sites::{Sites, drain, exchange};

const SITE: &str = "one.example";
const OLD: &str = "old.example";
const APP: &str = "app.example";

/// What a body may take of us before its connection ends: the longest waits of `base/limits.rs`, and a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn serving() -> Sites {
    let sites = Sites::ready();
    let root = sites.create(SITE, json!({}));
    fs::write(root.join("index.html"), "fine").unwrap();
    fs::write(root.join("hidden"), "it was asked for").unwrap();
    sites.create(OLD, json!({"handler": {"type": "redirect", "to": "https://new.example/", "status": 302}}));
    sites
}

fn echo() -> Backend {
    Backend::start(|asked| {
        let body = asked.body();
        asked.fine(body);
        true
    })
}

fn proxied(sites: &Sites, backend: &Backend) {
    sites.create(APP, json!({"handler": {"type": "proxy", "upstreams": [backend.url()]}}));
}

fn hidden(host: &str) -> String {
    format!("GET /hidden HTTP/1.1\r\nhost: {host}\r\n\r\n")
}

/// A body that looks like requests, before a request that ends the connection: one answer for each, or an end after the first.
/// What stands where a body was announced is the body.
#[test]
fn a_body_that_nobody_wants_is_no_request() {
    let sites = serving();
    for (host, first) in [(SITE, "405 "), (OLD, "302 ")] {
        let inner = hidden(host);
        let many = inner.repeat(4000);
        let (length, all) = (inner.len(), many.len());
        let then = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let post = |headers: &str, body: &str| format!("POST / HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n{body}{then}");
        let chunk = format!("{length:x}\r\n{inner}\r\n0\r\n");
        for (bytes, answers) in [
            (post(&format!("content-length: {length}\r\n"), &inner), 2),
            (post(&format!("content-length: {all}\r\n"), &many), 1),
            (post("transfer-encoding: chunked\r\n", &format!("{chunk}\r\n")), 2),
            (post("transfer-encoding: chunked\r\n", &format!("{chunk}x: {}\r\n\r\n", "y".repeat(100))), 2),
            (post(&format!("expect: 100-continue\r\ncontent-length: {length}\r\n"), &inner), 2),
            (post(&format!("expect: 100-continue\r\ncontent-length: {length}\r\n"), ""), 2),
            (post(&format!("content-length: {length}\r\nconnection: close\r\n"), &inner), 1),
        ] {
            let shown: String = bytes.chars().take(150).collect();
            let heard = exchange(&mut sites.tls(Some(host), &["http/1.1"]).unwrap(), bytes.as_bytes());
            assert!(!heard.contains("it was asked for") && !heard.contains("new.example/hidden"), "{shown}: {heard}");
            let statuses: Vec<_> = heard.split("HTTP/1.1 ").skip(1).collect();
            assert!((1..=answers).contains(&statuses.len()), "{shown}: {heard}");
            assert!(statuses[0].starts_with(first), "{shown}: {heard}");
        }
    }
    // Without TLS as well.
    let body = hidden(SITE);
    let post = format!("POST / HTTP/1.1\r\nhost: {SITE}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let heard = exchange(&mut sites.plain(), format!("{post}{post}GET x\r\n\r\n").as_bytes());
    assert_eq!(heard.matches("HTTP/1.1 308 ").count(), 2, "{heard}");
    assert!(!heard.contains("hidden"), "{heard}");
    sites.is_well(SITE);
}

/// Sends until it is cut off; returns how long that took, and how much was taken.
fn pour(stream: &mut (impl Read + Write), head: &str, piece: &[u8]) -> (Duration, usize) {
    let begun = Instant::now();
    let mut sent = 0;
    stream.write_all(head.as_bytes()).unwrap();
    while begun.elapsed() < PATIENCE && stream.write_all(piece).and_then(|()| stream.flush()).is_ok() {
        sent += piece.len();
    }
    (begun.elapsed(), sent)
}

#[test]
fn endless_bodies_end() {
    let sites = serving();
    let before = rss_kib(sites.node.pid());
    let chunk = [b"4000\r\n", &[b'x'; 0x4000][..], b"\r\n"].concat();
    for host in [SITE, OLD] {
        let (sized, endless) = ("content-length: 1099511627776", "transfer-encoding: chunked");
        for (headers, piece) in [(sized, &[b'x'; 0x4000][..]), (endless, &chunk)] {
            let head = format!("POST / HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n\r\n");
            let secure = pour(&mut sites.tls(Some(host), &["http/1.1"]).unwrap(), &head, piece);
            let plain = pour(&mut sites.plain(), &head, piece);
            for (took, sent) in [secure, plain] {
                println!("{host} {headers}: cut off after {took:?} and {sent} bytes");
                assert!(took < PATIENCE && sent < 64 << 20, "{host} {headers}: {took:?}, {sent} bytes");
            }
        }
    }
    let grown = rss_kib(sites.node.pid()).saturating_sub(before);
    assert!(grown < 16 << 10, "grown by {grown} KiB");
    sites.is_well(SITE);
}

/// A byte now and then, all at the same time: each is answered and ends soon, and the others are served at once.
#[test]
fn dripping_bodies_end_and_keep_nobody_waiting() {
    let sites = serving();
    let begun = Instant::now();
    let mut drips: Vec<_> = [SITE, OLD]
        .iter()
        .flat_map(|host| {
            ["content-length: 60000", "content-length: 1099511627776", "transfer-encoding: chunked"].map(|length| {
                let mut stream = sites.tls(Some(host), &["http/1.1"]).unwrap();
                stream.write_all(format!("POST / HTTP/1.1\r\nhost: {host}\r\n{length}\r\n\r\n").as_bytes()).unwrap();
                (stream, length.ends_with("chunked"), None)
            })
        })
        .collect();
    while drips.iter().any(|(_, _, end)| end.is_none()) && begun.elapsed() < PATIENCE {
        for (stream, chunked, end) in &mut drips {
            let piece: &[u8] = if *chunked { b"1\r\nx\r\n" } else { b"x" };
            if end.is_none() && stream.write_all(piece).and_then(|()| stream.flush()).is_err() {
                *end = Some(begun.elapsed());
            }
        }
        let asked = Instant::now();
        assert_eq!(sites.get("https://one.example/").status, 200);
        assert!(asked.elapsed() < Duration::from_secs(5), "the others wait");
    }
    let ends: Vec<_> = drips.iter().map(|(_, _, end)| *end).collect();
    println!("cut off after {ends:?}");
    assert!(ends.iter().all(Option::is_some), "{ends:?}");
}

/// The same within HTTP/2: the stream ends, not the connection.
#[test]
fn endless_and_dripping_bodies_end_their_stream() {
    let sites = serving();
    let before = rss_kib(sites.node.pid());
    for (host, status) in [(SITE, 405), (OLD, 302)] {
        for piece in [1, 16_384] {
            let mut talk = Talk::begun(&sites, host, &[]);
            talk.send(&frame(frames::HEADERS, frames::END_HEADERS, 1, &asking("POST", "/", host)));
            talk.patience(Duration::from_millis(20));
            let (begun, mut heard, mut window) = (Instant::now(), Vec::<Frame>::new(), 0);
            // Until the stream ends: END_STREAM of the answer and the reset of what we still send.
            while !heard.iter().any(|frame| frame.kind == frames::RST_STREAM) {
                assert!(begun.elapsed() < PATIENCE, "{host} {piece}: {heard:?}");
                if piece <= window || piece == 1 {
                    talk.send(&frame(frames::DATA, 0, 1, &vec![b'x'; piece]));
                    window = window.saturating_sub(piece);
                }
                match talk.next() {
                    Ok(frame) if frame.kind == frames::WINDOW_UPDATE && frame.stream == 0 => window += 60_000,
                    Ok(frame) => heard.push(frame),
                    Err(NoFrame::Silence) => window = window.max(16_384),
                    Err(NoFrame::End) => panic!("{host} {piece}: the connection ended: {heard:?}"),
                }
            }
            assert_eq!(heard.iter().find_map(Frame::status), Some(status), "{heard:?}");
            let reset = heard.iter().find(|frame| frame.kind == frames::RST_STREAM).unwrap();
            assert_eq!((reset.stream, reset.code()), (1, Some(0)), "no fault of the client (RFC 9113 section 8.1)");
            println!("{host}, pieces of {piece}: ended after {:?}", begun.elapsed());
            talk.patience(PATIENCE);
            talk.send(&frame(frames::HEADERS, 5, 3, &asking("GET", "/", host)));
            talk.until(&mut heard, |frame| frame.stream == 3 && frame.ends_stream()).unwrap();
        }
    }
    let grown = rss_kib(sites.node.pid()).saturating_sub(before);
    assert!(grown < 16 << 10, "grown by {grown} KiB");
    sites.is_well(SITE);
}

#[test]
fn what_stands_around_a_body_is_bounded() {
    let sites = serving();
    let backend = echo();
    proxied(&sites, &backend);
    let long = "y".repeat(300);
    let some = format!("1;x={}\r\na\r\n", "y".repeat(200)).repeat(2000);
    let large = format!("x: {}\r\n", "y".repeat(20_000));
    let many = "x: y\r\n".repeat(20_000);
    for host in [SITE, APP] {
        for (name, body) in [
            ("a long extension", format!("1;x={long}\r\na\r\n0\r\n\r\n")),
            ("many extensions", format!("{some}0\r\n\r\n")),
            ("a large trailer", format!("0\r\n{large}\r\n")),
            ("many trailers", format!("0\r\n{many}\r\n")),
            ("an endless size", "0".repeat(20_000)),
        ] {
            let then = format!("GET /hidden HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
            let head = format!("POST / HTTP/1.1\r\nhost: {host}\r\ntransfer-encoding: chunked\r\n\r\n");
            let mut stream = sites.tls(Some(host), &["http/1.1"]).unwrap();
            let heard = exchange(&mut stream, format!("{head}{body}{then}").as_bytes());
            assert!(!heard.contains(" 200 "), "{host}, {name}: {heard}");
            assert!(heard.matches("HTTP/1.1 ").count() <= 1, "{host}, {name}: {heard}");
        }
        let mut talk = Talk::begun(&sites, host, &[]);
        talk.send(&frame(frames::HEADERS, frames::END_HEADERS, 1, &asking("POST", "/", host)));
        // 20 KB of trailers in two frames.
        talk.send(&frame(frames::HEADERS, 1, 1, &field("x", "y".repeat(10_000))));
        talk.send(&frame(frames::CONTINUATION, frames::END_HEADERS, 1, &field("x", "y".repeat(10_000))));
        talk.send(&frame(frames::HEADERS, 5, 3, &asking("GET", "/", host)));
        let mut heard = Vec::new();
        let ended = talk.until(&mut heard, |frame| frame.stream == 3 && frame.ends_stream());
        assert!(ended.is_ok() || ended == Err(NoFrame::End), "{host}: {ended:?}: {heard:?}");
    }
    assert!(!backend.heads().iter().any(|head| head.contains("hidden")));
    sites.is_well(SITE);
}

/// What an HTTP/2 request could make of a message of HTTP/1 behind us: nothing but what it is.
#[test]
fn http_2_smuggles_nothing_to_a_backend() {
    let sites = serving();
    let backend = echo();
    proxied(&sites, &backend);
    let inner = hidden(APP);
    let ask = |more: &[u8], body: Option<&str>| {
        let flags = if body.is_some() { 4 } else { 5 };
        let head = frame(frames::HEADERS, flags, 1, &[&asking("POST", "/x", APP), more].concat());
        [head, body.map_or(Vec::new(), |body| frame(frames::DATA, 1, 1, body.as_bytes()))].concat()
    };
    let pseudo =
        |method: &str, path: &str, authority: &str| frame(frames::HEADERS, 4, 1, &asking(method, path, authority));
    let refused = [
        ask(&field("content-length", "0"), Some(&inner)),
        ask(&field("content-length", "5"), Some(&inner)),
        ask(&field("content-length", "1000"), Some(&inner)),
        ask(&[field("content-length", "0"), field("content-length", inner.len().to_string())].concat(), Some(&inner)),
        ask(&field("content-length", "5"), None),
        ask(&field("transfer-encoding", "chunked"), Some(&format!("0\r\n\r\n{inner}"))),
        ask(&field("connection", "x-forwarded-for"), Some(&inner)),
        ask(&field("x", format!("y\r\n\r\n{inner}")), Some("")),
        ask(&field(format!("x: y\r\n\r\n{inner}"), "z"), Some("")),
        ask(&field("x", "y\rz"), Some("")),
        ask(&field("x", "y\0"), Some("")),
        pseudo(&format!("GET /hidden HTTP/1.1\r\nhost: {APP}\r\n\r\nPOST"), "/x", APP),
        pseudo("GET /hidden", "/x", APP),
        pseudo("GET", &format!("/x HTTP/1.1\r\n\r\n{inner}"), APP),
        pseudo("GET", "/x HTTP/1.1", APP),
        pseudo("GET", "/x", &format!("{APP}\r\nx: y")),
        pseudo("GET", "/x", &format!("{APP}/hidden?")),
    ];
    for bytes in &refused {
        let mut talk = Talk::begun(&sites, APP, &[]);
        talk.send(bytes);
        let mut heard = Vec::new();
        let ended = talk.until(&mut heard, |frame| {
            frame.status().is_some_and(|status| status >= 400)
                || matches!(frame.kind, frames::RST_STREAM | frames::GOAWAY)
        });
        assert!(
            ended.is_ok() || ended == Err(NoFrame::End),
            "{ended:?}: {}: {heard:?}",
            String::from_utf8_lossy(bytes)
        );
        assert!(!heard.iter().any(|frame| frame.status() == Some(200)), "{}", String::from_utf8_lossy(bytes));
        assert!(!backend.heads().iter().any(|head| head.starts_with("GET /hidden")), "{:?}", backend.heads());
    }
    // What looks like a request in a body stays a body, with and without a length.
    let length = field("content-length", inner.len().to_string());
    for more in [&length[..], &[]] {
        let mut talk = Talk::begun(&sites, APP, &[]);
        talk.send(&ask(more, Some(&inner)));
        let mut heard = Vec::new();
        talk.until(&mut heard, |frame| frame.stream == 1 && frame.ends_stream()).unwrap();
        let data = heard.iter().filter(|frame| frame.kind == frames::DATA).flat_map(|frame| frame.payload.clone());
        assert_eq!(String::from_utf8(data.collect()).unwrap(), inner);
        let framings = ["content-length", "transfer-encoding"].map(|name| header(&backend.last(), name).is_some());
        assert_eq!(framings.iter().filter(|is_there| **is_there).count(), 1, "{}", backend.last());
    }
    assert!(!backend.heads().iter().any(|head| head.starts_with("GET /hidden")));
    sites.is_well(SITE);
}

/// Large files for clients that take nothing: each costs little, whichever the version.
#[test]
fn who_reads_nothing_costs_little() {
    let sites = serving();
    let root = sites.create("large.example", json!({}));
    File::create(root.join("large.bin")).and_then(|file| file.set_len(1 << 30)).unwrap();
    let before = rss_kib(sites.node.pid());
    let mut ones: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = sites.tls(Some("large.example"), &["http/1.1"]).unwrap();
            stream.write_all(b"GET /large.bin HTTP/1.1\r\nhost: large.example\r\n\r\n").unwrap();
            stream
        })
        .collect();
    let mut twos: Vec<_> = (0..20)
        .map(|_| {
            let mut talk = Talk::begun(&sites, "large.example", &[(4, i32::MAX as u32)]);
            talk.send(&window_update(0, i32::MAX as u32 - 65_535));
            for number in 0..100 {
                talk.send(&frame(frames::HEADERS, 5, 2 * number + 1, &asking("GET", "/large.bin", "large.example")));
            }
            talk
        })
        .collect();
    // All of them are being answered.
    for stream in &mut ones {
        assert_eq!(http::head(&mut BufReader::with_capacity(1, stream)).unwrap().0, 200);
    }
    for talk in &mut twos {
        let mut heard = Vec::new();
        talk.until(&mut heard, |frame| frame.kind == frames::DATA).unwrap();
    }
    let grown = rss_kib(sites.node.pid()).saturating_sub(before);
    println!("200 connections and 2000 streams that take nothing: {grown} KiB");
    // Each stream may hold what is sent for it (`WEB_SEND_BUFFER_MAX`) and a piece.
    assert!(grown < 300 << 10, "grown by {grown} KiB");
    let asked = Instant::now();
    assert_eq!(sites.get("https://one.example/").status, 200);
    println!("another visitor was served after {:?}, curl's start included", asked.elapsed());
    drop((ones, twos));
    sites.is_well(SITE);
}

/// A body that comes after its answer belongs to nobody.
#[test]
fn a_body_that_was_not_asked_for_is_no_request() {
    let sites = serving();
    let inner = hidden(SITE);
    let mut visitor = BufReader::new(sites.tls(Some(SITE), &["http/1.1"]).unwrap());
    let expecting =
        format!("POST / HTTP/1.1\r\nhost: {SITE}\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n", inner.len());
    visitor.get_mut().write_all(expecting.as_bytes()).unwrap();
    assert_eq!(http::head(&mut visitor).unwrap().0, 405);
    let _ = visitor.get_mut().write_all(inner.as_bytes()).and_then(|()| visitor.get_mut().flush());
    let heard = drain(&mut visitor);
    assert!(!heard.contains("HTTP/1.1") && !heard.contains("it was asked for"), "{heard}");
}
