//! What visitors meet: sites by their names, with and without TLS, in both versions of HTTP, while the configuration changes,
//! a port is taken, and the node stops.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::http;
use support::sites::{Sites, connect, drain, exchange};
use support::until;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: one.example\r\n\r\n";

fn page(sites: &Sites, host: &str, more: serde_json::Value) {
    let root = sites.create(host, more);
    fs::write(root.join("index.html"), format!("<p>{host}")).unwrap();
}

#[test]
fn a_site_is_served_as_soon_as_its_creation_is_answered() {
    let sites = Sites::ready();
    for number in 0..10 {
        let host = format!("s{number}.example");
        page(&sites, &host, json!({}));
        for version in ["--http1.1", "--http2"] {
            let got = sites.curl(&[version, &format!("https://{host}/")]).unwrap();
            assert_eq!((got.status, got.text()), (200, format!("<p>{host}")));
            assert_eq!(got.head.starts_with("HTTP/2"), version == "--http2", "{}", got.head);
        }
    }
    let head = sites.curl(&["--head", "https://s0.example/"]).unwrap();
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("13"), 0));
    assert!(head.header("server") == Some("ruche") && head.header("date").is_some(), "{}", head.head);
    assert_eq!(sites.metric("ruche_site_requests_total{site=\"s0.example\"}"), 3);
    assert_eq!(sites.metric("ruche_site_bytes_total{site=\"s0.example\"}"), 26);
    let root = sites.node.get("/v1/sites/s0.example").done().json["root"].as_str().unwrap().to_owned();
    sites.node.ask("DELETE", "/v1/sites/s0.example", None, &[]).done();
    assert!(sites.curl(&["https://s0.example/"]).unwrap_err().contains("alert"), "its name is unknown now");
    assert!(!fs::exists(root).unwrap(), "its files are in the trash");
    let metrics = sites.node.get("/metrics").done().text;
    assert!(!metrics.contains("s0.example") && metrics.contains("site=\"s1.example\""), "what is gone is not counted");
}

/// Nagle's algorithm keeps a client's first request until its handshake is acknowledged; the kernel leaves that for 40 ms.
#[test]
fn a_client_that_gathers_what_it_sends_is_not_kept_waiting() {
    let sites = Sites::ready();
    page(&sites, "one.example", json!({}));
    let asked = || {
        let begun = Instant::now();
        let mut stream = sites.tls(Some("one.example"), &["http/1.1"]).unwrap();
        assert!(!stream.sock.nodelay().unwrap());
        stream.write_all(GET).unwrap();
        assert_eq!(http::head(&mut BufReader::new(stream)).unwrap().0, 200);
        begun.elapsed()
    };
    let fastest = (0..10).map(|_| asked()).min().unwrap();
    assert!(fastest < Duration::from_millis(35), "{fastest:?}");
}

#[test]
fn names_decide_and_nobody_is_named_to_strangers() {
    let sites = Sites::ready();
    page(&sites, "one.example", json!({"aliases": ["alias.example"], "www": "redirect"}));
    page(&sites, "two.example", json!({"www": "serve"}));
    sites.create("old.example", json!({"handler": {"type": "redirect", "to": "https://one.example"}}));
    let port = sites.https.port();

    let moved = sites.get("http://one.example//evil.example/%2e%2e?x=%20y");
    assert_eq!(moved.status, 301);
    assert_eq!(moved.header("location").unwrap(), format!("https://one.example:{port}//evil.example/%2e%2e?x=%20y"));
    assert_eq!(sites.curl(&["--data", "x", "http://alias.example/"]).unwrap().status, 308);
    for (url, host) in [("http://nobody.example/", "nobody.example"), ("http://127.0.0.1/", "127.0.0.1")] {
        let nothing = sites.get(url);
        assert_eq!(nothing.status, 404);
        for word in ["one", "two", "test", "127.0.0.1", host] {
            assert!(
                !nothing.text().contains(word) && !nothing.head.contains(word),
                "{} {}",
                nothing.head,
                nothing.text()
            );
        }
    }

    assert_eq!(sites.get("https://alias.example/").text(), "<p>one.example");
    assert_eq!(sites.get("https://www.two.example/").text(), "<p>two.example");
    let main = sites.get("https://www.one.example/x?y");
    assert_eq!((main.status, main.header("location").unwrap()), (301, &*format!("https://one.example:{port}/x?y")));
    let old = sites.get("https://old.example/x?y");
    assert_eq!((old.status, old.header("location").unwrap()), (308, "https://one.example/x?y"));
    for version in ["--http1.1", "--http2"] {
        for host in ["two.example", "nobody.example", "127.0.0.1"] {
            let got = sites.curl(&[version, "--header", &format!("host: {host}"), "https://one.example/"]).unwrap();
            assert_eq!(got.status, 421, "{version} {host}");
        }
    }

    assert!(sites.tls(Some("nobody.example"), &[]).is_err(), "an unknown name gets no handshake");
    let mut unnamed = sites.tls(None, &[]).expect("the node shows a certificate of its own");
    let answer = exchange(&mut unnamed, b"GET / HTTP/1.1\r\nhost: one.example\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    sites.is_well("one.example");
}

#[test]
fn a_suspended_site_and_one_in_maintenance_say_so() {
    let sites = Sites::ready();
    sites.node.post("/v1/accounts", json!({"name": "asso"})).done();
    page(&sites, "one.example", json!({"account": "asso"}));
    let retry = |url: &str| {
        let got = sites.get(url);
        assert_eq!((got.status, got.header("cache-control")), (503, Some("no-store")));
        got.header("retry-after").unwrap().parse::<u32>().unwrap()
    };
    sites.set("one.example", json!({"maintenance": true}));
    let soon = retry("https://one.example/x");
    sites.set("one.example", json!({"suspended": true}));
    assert!(retry("https://one.example/") > soon, "a suspension lasts longer");
    sites.set("one.example", json!({"suspended": false, "maintenance": false}));
    assert_eq!(sites.get("https://one.example/").status, 200);
    sites.node.ask("PATCH", "/v1/accounts/asso", Some(json!({"suspended": true})), &[]).done();
    retry("https://one.example/");
}

#[test]
fn no_change_of_configuration_touches_a_connection() {
    let sites = Sites::ready();
    page(&sites, "one.example", json!({}));
    let root = sites.node.get("/v1/sites/one.example").done().json["root"].as_str().unwrap().to_owned();
    let size = 64 << 20;
    fs::File::create(format!("{root}/large")).unwrap().set_len(size).unwrap();

    let mut idle: Vec<_> = (0..100).map(|_| sites.tls(Some("one.example"), &["http/1.1"]).unwrap()).collect();
    let mut plain: Vec<_> = (0..100).map(|_| sites.plain()).collect();
    let mut download = sites.tls(Some("one.example"), &["http/1.1"]).unwrap();
    download.write_all(b"GET /large HTTP/1.1\r\nhost: one.example\r\nconnection: close\r\n\r\n").unwrap();
    let mut piece = [0; 4096];
    let mut taken = 0;
    for number in 0..100 {
        taken += download.read(&mut piece).unwrap() as u64;
        match number % 4 {
            0 => drop(sites.create(&format!("s{number}.example"), json!({}))),
            1 => sites.set("one.example", json!({"aliases": [format!("a{number}.example")]})),
            2 => sites.set("one.example", json!({"maintenance": number % 8 == 2})),
            _ => drop(sites.node.ask("DELETE", &format!("/v1/sites/s{}.example", number - 3), None, &[]).done()),
        }
    }
    let rest = std::io::copy(&mut download, &mut std::io::sink()).unwrap();
    assert!(taken + rest > size, "{}", taken + rest);
    for stream in &mut idle {
        stream.write_all(GET).unwrap();
        let (status, _) = http::head(&mut BufReader::new(stream)).unwrap();
        assert_eq!(status, 503, "the last change left it in maintenance");
    }
    for stream in &mut plain {
        stream.write_all(GET).unwrap();
        assert_eq!(http::head(&mut BufReader::new(stream)).unwrap().0, 301);
    }
}

#[test]
fn a_port_that_is_taken_is_said_and_had_when_it_is_free() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut sites = Sites::listening(&address.to_string(), "127.0.0.1:0");
    page(&sites, "one.example", json!({}));
    assert_eq!(sites.get("https://one.example/").status, 200, "the other listener works");
    let status = sites.node.get("/v1/status").done().json;
    let entries = status["board"].as_array().unwrap();
    let name = format!("web.http {address}");
    let entry = entries.iter().find(|entry| entry["name"] == *name).expect("the board has an entry for it");
    assert_eq!(entry["health"], "yellow");
    assert!(entry["text"].as_str().unwrap().contains("address in use; `ss -ltunp` shows by whom"), "{entry}");
    drop(taken);
    until(30, "the port is listened on", || sites.listening_on("web.http"));
    sites.learn();
    assert_eq!(sites.http, address);
    assert_eq!(sites.get("http://one.example/").status, 301);
    let status = sites.node.get("/v1/status").done().json;
    assert!(!status["board"].as_array().unwrap().iter().any(|entry| entry["name"] == *name));
}

#[test]
fn a_stop_frees_the_ports_at_once_and_finishes_what_is_under_way() {
    let mut sites = Sites::ready();
    page(&sites, "one.example", json!({}));
    let root = sites.node.get("/v1/sites/one.example").done().json["root"].as_str().unwrap().to_owned();
    let size = 32 << 20;
    fs::File::create(format!("{root}/large")).unwrap().set_len(size).unwrap();
    let mut idle = sites.tls(Some("one.example"), &["http/1.1"]).unwrap();
    let mut download = sites.tls(Some("one.example"), &["http/1.1"]).unwrap();
    download.write_all(b"GET /large HTTP/1.1\r\nhost: one.example\r\n\r\n").unwrap();
    let mut piece = [0; 4096];
    let taken = download.read(&mut piece).unwrap() as u64;
    sites.node.signal(Signal::TERM);
    // Without the option that would let several in.
    for address in [sites.http, sites.https] {
        until(30, "the port is free", || TcpListener::bind(address).ok());
    }
    assert_eq!(drain(&mut idle), "", "an idle connection ends with the drain");
    let rest = std::io::copy(&mut download, &mut std::io::sink()).unwrap();
    assert!(taken + rest > size, "the download was cut off at {}", taken + rest);
    assert!(sites.node.wait_end(60).success());
}

#[test]
fn a_restart_listens_where_it_did() {
    let mut sites = Sites::ready();
    page(&sites, "one.example", json!({}));
    let (http, https) = (sites.http, sites.https);
    let config = fs::read_to_string(sites.node.config()).unwrap();
    let config = config.replace("http = [\"127.0.0.1:0\"]", &format!("http = [\"{http}\"]"));
    fs::write(sites.node.config(), config.replace("https = [\"127.0.0.1:0\"]", &format!("https = [\"{https}\"]")))
        .unwrap();
    let held = connect(https);
    for _ in 0..3 {
        sites.node.restart();
        until(30, "both are listened on", || {
            let both = (sites.listening_on("web.http"), sites.listening_on("web.https"));
            (both == (Some(http), Some(https))).then_some(())
        });
        assert_eq!(sites.get("https://one.example/").text(), "<p>one.example");
    }
    drop(held);
}
