//! Hostile visitors: whatever the bytes, they get a refusal or nothing, nobody else notices, and nothing stays behind.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;
use std::io::{BufReader, Read, Write};
use std::time::{Duration, Instant};

use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::chance::Chance;
use support::frames::{PREFACE, asking, frame};
use support::http;
use support::sites::{Sites, exchange};
use support::until;

fn serving() -> Sites {
    let sites = Sites::ready();
    let root = sites.create("one.example", json!({}));
    fs::write(root.join("index.html"), "fine").unwrap();
    sites
}

/// Each case with the beginning of what it may be answered with, on both ports; nothing may follow on the connection.
#[test]
fn heads_that_are_no_heads_are_refused_and_the_connection_ends() {
    let sites = serving();
    let many: String = (0..200).map(|number| format!("x{number}: y\r\n")).collect();
    let large = format!("x: {}\r\n", "y".repeat(64 << 10));
    let long = format!("GET /{} HTTP/1.1\r\nhost: one.example\r\n\r\n", "a".repeat(64 << 10));
    let after = "GET / HTTP/1.1\r\nhost: one.example\r\n\r\n";
    let host = "host: one.example\r\n";
    let chunked = "transfer-encoding: chunked\r\n";
    let cases = [
        (format!("GET / HTTP/1.1\r\n\r\n{after}"), "HTTP/1.1 400 "),
        (format!("GET / HTTP/1.1\r\n{host}{host}\r\n{after}"), "HTTP/1.1 400 "),
        (format!("GET / HTTP/1.1\r\n{host}host: two.example\r\n\r\n{after}"), "HTTP/1.1 400 "),
        (format!("GET / HTTP/1.1\r\nhost: user@one.example\r\n\r\n{after}"), "HTTP/1.1 400 "),
        (format!("GET / HTTP/1.1\r\nhost: one.example/x\r\n\r\n{after}"), "HTTP/1.1 400 "),
        (format!("GET one.example HTTP/1.1\r\n{host}\r\n{after}"), "HTTP/1.1 400 "),
        (format!("GET / HTTP/1.1\r\nhost : one.example\r\n\r\n{after}"), "HTTP/1.1 400 "),
        (format!("GET / HTTP/1.1\r\n{host} folded: x\r\n\r\n{after}"), "HTTP/1.1 400 "),
        (format!("GET / HTTP/1.1\r\n{host}x: a\0b\r\n\r\n{after}"), "HTTP/1.1 400 "),
        (format!("GET / HTTP/1.1\r\n{host}x\r\n\r\n{after}"), "HTTP/1.1 400 "),
        (format!("GET / HTTP/2.0\r\n{host}\r\n{after}"), ""),
        (format!("GET / HTTP/0.9\r\n{host}\r\n{after}"), ""),
        (format!("GET /\r\n{after}"), ""),
        (format!("G\x01T / HTTP/1.1\r\n{host}\r\n{after}"), "HTTP/1.1 400 "),
        (format!("GET / HTTP/1.1\r\n{host}{many}\r\n{after}"), "HTTP/1.1 431 "),
        (format!("GET / HTTP/1.1\r\n{host}{large}\r\n{after}"), ""),
        (long, ""),
        (format!("POST / HTTP/1.1\r\n{host}content-length: 1\r\ncontent-length: 2\r\n\r\nxx{after}"), "HTTP/1.1 400 "),
        (format!("POST / HTTP/1.1\r\n{host}content-length: -1\r\n\r\n{after}"), "HTTP/1.1 400 "),
        (format!("POST / HTTP/1.1\r\n{host}transfer-encoding: gzip\r\n\r\n{after}"), "HTTP/1.1 400 "),
        (format!("POST / HTTP/1.0\r\n{host}transfer-encoding: chunked\r\n\r\n{after}"), "HTTP/1.1 400 "),
        (format!("POST / HTTP/1.1\r\n{host}content-length: 1\r\ncontent-length: 1\r\n\r\nx{after}"), "HTTP/1.1 400 "),
        (format!("POST / HTTP/1.1\r\n{host}content-length: 3\r\n{chunked}\r\n0\r\n\r\n{after}"), "HTTP/1.1 400 "),
        (format!("POST / HTTP/1.1\r\n{host}{chunked}content-length: 3\r\n\r\n0\r\n\r\n{after}"), "HTTP/1.1 400 "),
        (format!("POST / HTTP/1.1\r\n{host}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n{after}"), "HTTP/1.1 400 "),
        (format!("POST / HTTP/1.1\r\n{host}{chunked}{chunked}\r\n0\r\n\r\n{after}"), "HTTP/1.1 400 "),
        (format!("GET / HTTP/1.1\n{host}\r\n{after}"), "HTTP/1.1 400 "),
        (format!("GET / HTTP/1.1\r\nhost: one.example\n\r\n{after}"), "HTTP/1.1 400 "),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_owned(), ""),
        ("\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03".to_owned() + &"x".repeat(512), ""),
        ("\r\n".repeat(9000), ""),
    ];
    for (bytes, expected) in cases {
        let shown = bytes.chars().take(120).collect::<String>();
        for secure in [false, true] {
            let answer = if secure {
                exchange(&mut sites.tls(Some("one.example"), &["http/1.1"]).unwrap(), bytes.as_bytes())
            } else {
                exchange(&mut sites.plain(), bytes.as_bytes())
            };
            assert!(answer.starts_with(expected), "{shown:?}: {answer:?}");
            assert!(answer.matches("HTTP/1.").count() <= 1, "{shown:?} was followed by an answer: {answer:?}");
            assert!(!answer.contains(" 200 ") && !answer.contains(" 301 "), "{shown:?}: {answer:?}");
        }
    }
    sites.is_well("one.example");
}

/// Allowed by RFC 9112 or harmless here: answered once, never twice, and never later.
#[test]
fn odd_heads_are_answered_like_others() {
    let sites = serving();
    for (bytes, expected) in [
        ("\r\nGET / HTTP/1.1\r\nhost: one.example\r\nconnection: close\r\n\r\n", "HTTP/1.1 200 "),
        ("GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 200 "),
        ("GET / HTTP/1.0\r\nhost: one.example\r\n\r\n", "HTTP/1.0 200 "),
        ("GET https://one.example/ HTTP/1.1\r\nhost: two.example\r\nconnection: close\r\n\r\n", "HTTP/1.1 200 "),
        ("GET http://two.example/ HTTP/1.1\r\nhost: one.example\r\nconnection: close\r\n\r\n", "HTTP/1.1 421 "),
        ("TRACE / HTTP/1.1\r\nhost: one.example\r\nconnection: close\r\n\r\n", "HTTP/1.1 405 "),
        ("CONNECT one.example:443 HTTP/1.1\r\nhost: one.example\r\nconnection: close\r\n\r\n", "HTTP/1.1 405 "),
        ("OPTIONS * HTTP/1.1\r\nhost: one.example\r\nconnection: close\r\n\r\n", "HTTP/1.1 405 "),
    ] {
        let answer = exchange(&mut sites.tls(Some("one.example"), &["http/1.1"]).unwrap(), bytes.as_bytes());
        assert!(answer.starts_with(expected), "{bytes:?}: {answer:?}");
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{bytes:?}: {answer:?}");
    }
}

#[test]
fn garbage_in_place_of_a_handshake_ends_the_connection() {
    let sites = serving();
    let mut chance = Chance::of_this_run();
    let hello = "GET / HTTP/1.1\r\nhost: one.example\r\n\r\n".as_bytes().to_vec();
    let mut cases = vec![hello, vec![0; 4096], vec![0x16, 3, 1, 0xff, 0xff], b"\x80\x2e\x01\x03\x01".to_vec()];
    cases.extend((0..50).map(|_| (0..chance.below(2000) + 6).map(|_| chance.below(256) as u8).collect()));
    for bytes in cases {
        let mut stream = support::sites::connect(sites.https);
        stream.write_all(&bytes).unwrap();
        // Whoever waits for more bytes of a record waits for these.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        assert!(!support::sites::drain(&mut stream).contains("HTTP"), "{bytes:x?}");
    }
    sites.is_well("one.example");
}

#[test]
fn whoever_drips_is_cut_off_and_the_others_are_served() {
    let sites = serving();
    let begun = Instant::now();
    let mut head = sites.plain();
    head.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let mut handshake = support::sites::connect(sites.https);
    // The beginning of a ClientHello in a record of 512 bytes.
    handshake.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).unwrap();
    let mut secure = sites.tls(Some("one.example"), &["http/1.1"]).unwrap();
    secure.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let drips = std::thread::spawn(move || {
        let mut ends = [None, None, None];
        while ends.iter().any(Option::is_none) && begun.elapsed() < Duration::from_secs(50) {
            let sent =
                [head.write_all(b"x").is_ok(), handshake.write_all(b"\0").is_ok(), secure.write_all(b"x").is_ok()];
            for (end, sent) in ends.iter_mut().zip(sent) {
                if !sent {
                    end.get_or_insert(begun.elapsed());
                }
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        ends
    });
    while !drips.is_finished() {
        assert_eq!(sites.get("https://one.example/").status, 200);
        std::thread::sleep(Duration::from_millis(500));
    }
    let ends = drips.join().unwrap();
    println!("cut off after {ends:?}");
    for (end, least) in ends.iter().zip([15, 10, 15]) {
        assert!(end.is_some_and(|end| end >= Duration::from_secs(least)), "{ends:?}");
    }
}

#[test]
fn a_thousand_idle_connections_keep_nobody_out() {
    let sites = serving();
    let mut idle: Vec<_> = (0..500).map(|_| sites.plain()).collect();
    let mut secure: Vec<_> = (0..500).map(|_| sites.tls(Some("one.example"), &["http/1.1"]).unwrap()).collect();
    until(30, "they are counted", || (sites.metric("ruche_web_connections") >= 1000).then_some(()));
    for _ in 0..10 {
        assert_eq!(sites.get("https://one.example/").status, 200);
    }
    // All of them are still there.
    for stream in &mut idle {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: one.example\r\n\r\n").unwrap();
        assert_eq!(http::head(&mut BufReader::new(stream)).unwrap().0, 301);
    }
    for stream in &mut secure {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: one.example\r\n\r\n").unwrap();
        assert_eq!(http::head(&mut BufReader::new(stream)).unwrap().0, 200);
    }
    drop((idle, secure));
    until(30, "they are gone", || (sites.metric("ruche_web_connections") == 0).then_some(()));
}

#[test]
fn a_lack_of_descriptors_is_survived() {
    let mut sites = serving();
    sites.node.term();
    sites.node.under = ["prlimit", "--nofile=300:300"].map(Into::into).into();
    sites.node.start();
    sites.learn();
    // Descriptors are kept for files and the desk, so visitors are turned away before the kernel has none left.
    let mut streams: Vec<_> = (0..400).map(|_| sites.plain()).collect();
    until(30, "some were turned away", || {
        (sites.metric("ruche_web_refused_connections_total{reason=\"full\"}") > 0).then_some(())
    });
    let log = sites.node.log();
    assert_eq!(log.matches("a connection was refused").count(), 1, "one line a minute");
    streams.retain_mut(|stream| {
        let asked = stream.write_all(b"GET / HTTP/1.1\r\nhost: one.example\r\n\r\n").is_ok();
        asked && http::head(&mut BufReader::new(stream)).is_ok_and(|(status, _)| status == 301)
    });
    assert!(!streams.is_empty(), "those within the limit are served");
    drop(streams);
    until(30, "there is room again", || (sites.metric("ruche_web_connections") == 0).then_some(()));
    sites.is_well("one.example");
}

#[test]
fn without_any_descriptor_visitors_wait_and_are_served_when_there_are_some() {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    let sites = serving();
    let pid = Pid::from_raw(sites.node.pid() as i32);
    let maximum = getrlimit(Resource::Nofile).maximum;
    let before = prlimit(pid, Resource::Nofile, Rlimit { current: Some(8), maximum }).unwrap();
    let lines = sites.node.log_lines();
    let mut waiting: Vec<_> = (0..20).map(|_| sites.plain()).collect();
    until(30, "it is said", || sites.node.log_after(lines).contains("failed to accept connections").then_some(()));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(sites.node.log_after(lines).matches("failed to accept").count(), 1, "one line a minute");
    prlimit(pid, Resource::Nofile, before).unwrap();
    for stream in &mut waiting {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: one.example\r\n\r\n").unwrap();
        assert_eq!(http::head(&mut BufReader::new(stream)).unwrap().0, 301);
    }
    let refused = sites.metric("ruche_web_refused_connections_total{reason=\"short\"}");
    assert!((2..200).contains(&refused), "{refused} tries within two seconds: it spins, or never tried again");
    sites.is_well("one.example");
}

/// GET / of one.example.
fn fields() -> Vec<u8> {
    asking("GET", "/", "one.example")
}

#[test]
fn floods_of_http_2_end_their_connection() {
    let sites = serving();
    let settings = frame(4, 0, 0, &[]);
    let resets: Vec<u8> = (0..20_000)
        .flat_map(|number| {
            let stream = 2 * number + 1;
            [frame(1, 5, stream, &fields()), frame(3, 0, stream, &8_u32.to_be_bytes())].concat()
        })
        .collect();
    let endless: Vec<u8> = std::iter::once(frame(1, 1, 1, &fields()))
        .chain((0..20_000).map(|_| frame(9, 0, 1, &[0, 1, b'x', 1, b'y'])))
        .flatten()
        .collect();
    let empty: Vec<u8> =
        std::iter::once(frame(1, 1, 1, &fields())).chain((0..200_000).map(|_| frame(9, 0, 1, &[]))).flatten().collect();
    let streams: Vec<u8> = (0..200).flat_map(|number| frame(1, 4, 2 * number + 1, &fields())).collect();
    let wrong = frame(0, 0, 0, b"data on stream 0");
    let large = frame(4, 0, 0, &vec![0; 60_000]);
    let open = frame(1, 4, 1, &fields());
    let many = |frame: Vec<u8>| [&open[..], &frame.repeat(100_000)].concat();
    for (name, flood) in [
        ("rapid resets", resets),
        ("endless heads", endless),
        ("empty continuations", empty),
        ("data on stream 0", wrong),
        ("a frame too large", large),
        ("pings", many(frame(6, 0, 0, &[0; 8]))),
        ("settings", many(frame(4, 0, 0, &[]))),
        ("priorities", many(frame(2, 0, 3, &[0, 0, 0, 1, 7]))),
        ("window updates", many(frame(8, 0, 0, &[0, 0, 0, 1]))),
        ("empty data", many(frame(0, 0, 1, &[]))),
        ("unknown frames", many(frame(0xfe, 0, 0, &[]))),
    ] {
        let mut stream = sites.tls(Some("one.example"), &["h2"]).unwrap();
        let counted = || sites.metric("ruche_web_refused_requests_total{reason=\"flood\"}");
        let (began, before) = (Instant::now(), counted());
        exchange(&mut stream, &[PREFACE, &settings, &flood].concat());
        println!("{name}: ended after {:?}", began.elapsed());
        // The engine bears these for as long as they come: the guard in front of it does not.
        let for_nothing = ["pings", "settings", "priorities", "window updates", "unknown frames"];
        if for_nothing.contains(&name) {
            assert_eq!(counted(), before + 1, "{name} were not taken for a flood");
        }
    }
    // More streams than are allowed are refused one by one; the connection answers the others.
    let mut stream = sites.tls(Some("one.example"), &["h2"]).unwrap();
    stream.write_all(&[PREFACE, &settings, &streams].concat()).unwrap();
    let mut piece = [0; 1024];
    assert_ne!(stream.read(&mut piece).unwrap(), 0);
    drop(stream);
    sites.is_well("one.example");
}
