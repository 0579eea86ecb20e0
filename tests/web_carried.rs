//! A site is served by any node: what is at home elsewhere is carried there and back, as if its visitor had come to its home.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::json;

use support::backend::{Backend, header};
use support::cluster::{ruche, token, web_node};
use support::sites::{Sites, exchange};
use support::until;

/// Two nodes that serve sites: the home of all of them, and the other one.
fn pair() -> (Sites, Sites) {
    let mut nodes = ["pi-0", "pi-1"].map(web_node);
    nodes.iter_mut().for_each(|node| node.start());
    ruche(&nodes[1], &["cluster", "join", &token(&nodes[0])]).unwrap();
    let any = ([127, 0, 0, 1], 0).into();
    let [home, other] = nodes.map(|node| {
        let mut sites = Sites { node, http: any, https: any };
        sites.learn();
        sites
    });
    (home, other)
}

fn at_home(more: serde_json::Value) -> serde_json::Value {
    let mut site = json!({"node": "pi-0"});
    site.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    site
}

/// Waits until the other node serves what its home has just made.
fn known(other: &Sites, host: &str) {
    let home = format!("/v1/sites/{host}");
    until(20, "the other node knows the site", || (other.node.get(&home).status == 200).then_some(()));
    let url = format!("https://{host}/");
    until(20, "the other node serves it", || other.curl(&[&url]).is_ok_and(|got| got.status < 500).then_some(()));
}

#[test]
fn files_come_from_the_home_through_any_node() {
    let (mut home, other) = pair();
    let root = home.create("a.example", at_home(json!({})));
    let large: Vec<u8> = (0..20_000_000_u32).map(|at| (at / 7) as u8).collect();
    fs::write(root.join("index.html"), "home\n").unwrap();
    fs::write(root.join("large.bin"), &large).unwrap();
    ruche(&home.node, &["site", "set", "a.example", "--hsts", "1d"]).unwrap();
    known(&other, "a.example");
    for version in ["--http1.1", "--http2"] {
        let got = other.curl(&[version, "https://a.example/"]).unwrap();
        assert_eq!((got.status, got.text().as_str()), (200, "home\n"), "{}", got.head);
        assert_eq!(got.header("strict-transport-security"), Some("max-age=86400"), "{}", got.head);
        assert_eq!(other.curl(&[version, "https://a.example/large.bin"]).unwrap().body, large);
        let part = other.curl(&[version, "--range", "5-9", "https://a.example/large.bin"]).unwrap();
        assert_eq!((part.status, &part.body[..]), (206, &large[5..10]));
        let tag = got.header("etag").unwrap().to_owned();
        let same = other.curl(&[version, "-H", &format!("If-None-Match: {tag}"), "https://a.example/"]).unwrap();
        assert_eq!(same.status, 304);
        assert_eq!(other.curl(&[version, "https://a.example/nothing"]).unwrap().status, 404);
        assert_eq!(other.curl(&[version, "--head", "https://a.example/"]).unwrap().status, 200);
    }
    // The home counts and writes down who came, by the address they came from.
    let mut visitor = other.tls_from(Ipv4Addr::new(127, 0, 0, 9), Some("a.example"), &[]).unwrap();
    let said = exchange(&mut visitor, b"GET /seen HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    assert!(said.starts_with("HTTP/1.1 404 "), "{said}");
    let logged = || {
        let lines = home.node.get("/v1/sites/a.example/logs").text;
        lines.lines().find(|line| line.contains("/seen")).map(|line| line.contains("127.0.0.9 - - ["))
    };
    assert!(until(20, "the visit is in the log", logged));
    // A home that is gone is told of soon, and served again when it is back.
    home.node.kill();
    let begun = Instant::now();
    let got = other.get("https://a.example/");
    assert!(matches!(got.status, 502..=504), "{}", got.head);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    home.node.start();
    until(40, "the home is reached again", || (other.get("https://a.example/").status == 200).then_some(()));
}

#[test]
fn upstreams_of_the_home_see_the_visitor_and_believe_nobody_else() {
    let (home, other) = pair();
    let backend = Backend::start(|asked| {
        let path = asked.path().to_owned();
        if path == "/switch" {
            asked.say("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: parrot\r\n\r\nhello");
            let mut word = [0; 5];
            asked.stream.read_exact(&mut word).unwrap();
            asked.say(word);
            return false;
        }
        let body = asked.body();
        asked.fine(body);
        true
    });
    let handler = json!({"type": "proxy", "upstreams": [backend.url()]});
    home.create("p.example", at_home(json!({"handler": handler})));
    known(&other, "p.example");
    let body = "x".repeat(300_000);
    let mut visitor = other.tls_from(Ipv4Addr::new(127, 0, 0, 9), Some("p.example"), &[]).unwrap();
    let lie = "Ruche-Carried: 192.0.2.66 1 1 q.example\r\nX-Forwarded-For: 192.0.2.66\r\n";
    let request = format!(
        "POST /say HTTP/1.1\r\nHost: p.example\r\n{lie}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let said = exchange(&mut visitor, request.as_bytes());
    assert!(said.starts_with("HTTP/1.1 200 ") && said.ends_with(&body), "{}", &said[..200.min(said.len())]);
    let head = backend.last();
    assert_eq!(header(&head, "x-forwarded-for"), Some("127.0.0.9"), "{head}");
    assert_eq!(header(&head, "ruche-carried"), None, "{head}");
    assert!(!head.contains("192.0.2.66"), "{head}");
    // Who comes to the home itself says nothing that is believed either.
    let got = home.curl(&["-H", "Ruche-Carried: 192.0.2.66 1 1 q.example", "https://p.example/"]).unwrap();
    assert_eq!(got.status, 200);
    assert_eq!(header(&backend.last(), "x-forwarded-for"), Some("127.0.0.1"));
    // What follows an upgrade goes both ways.
    let mut visitor = other.tls(Some("p.example"), &[]).unwrap();
    let ask = "GET /switch HTTP/1.1\r\nHost: p.example\r\nConnection: upgrade\r\nUpgrade: parrot\r\n\r\nagain";
    visitor.write_all(ask.as_bytes()).unwrap();
    let mut heard = String::new();
    let _ = visitor.read_to_string(&mut heard);
    assert!(heard.starts_with("HTTP/1.1 101 ") && heard.ends_with("helloagain"), "{heard}");
}

#[test]
fn what_the_home_decides_is_decided_there() {
    let (home, other) = pair();
    let root = home.create("l.example", at_home(json!({})));
    fs::write(root.join("index.html"), "inside\n").unwrap();
    let auth = json!({"/": {"users": {"ada": {"password": "engine of 1843"}}}});
    home.set("l.example", json!({"options": {"auth": auth}}));
    known(&other, "l.example");
    until(20, "the lock is known", || (other.get("https://l.example/").status == 401).then_some(()));
    let got = other.curl(&["--user", "ada:engine of 1843", "https://l.example/"]).unwrap();
    assert_eq!((got.status, got.text().as_str()), (200, "inside\n"), "{}", got.head);
    // Both know what needs no file.
    home.set("l.example", json!({"maintenance": true}));
    until(20, "both are closed", || {
        [&home, &other].iter().all(|node| node.get("https://l.example/").status == 503).then_some(())
    });
}
