//! Proxied sites: what backends get, what visitors get, and what happens when either side misbehaves. Real visitors (curl, bare
//! connections), backends whose every byte is the test's.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::io::{BufReader, Read, Write};
use std::process::Command;

use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::backend::{Backend, header};
use support::http;
use support::measure::rss_kib;
use support::sites::{Sites, drain, exchange};
use support::until;

const SITE: &str = "app.example";
const URL: &str = "https://app.example/";
const BOTH: [&str; 2] = ["--http1.1", "--http2"];

fn proxied(backends: &[&Backend]) -> Sites {
    let upstreams: Vec<_> = backends.iter().map(|backend| backend.url()).collect();
    proxied_to(json!(upstreams))
}

fn proxied_to(upstreams: serde_json::Value) -> Sites {
    let sites = Sites::ready();
    sites.create(SITE, json!({"handler": {"type": "proxy", "upstreams": upstreams}}));
    sites
}

/// What a visitor gets who sends these bytes over TLS, until the connection ends.
fn raw(sites: &Sites, bytes: &[u8]) -> String {
    exchange(&mut sites.tls(Some(SITE), &["http/1.1"]).unwrap(), bytes)
}

fn echo() -> Backend {
    Backend::start(|asked| {
        let body = asked.body();
        let body = if body.is_empty() { asked.head.clone().into_bytes() } else { body };
        asked.fine(body);
        true
    })
}

#[test]
fn requests_and_answers_pass_and_connections_are_used_again() {
    let backend = echo();
    let sites = proxied(&[&backend]);
    for version in BOTH {
        let got = sites.curl(&[version, "https://app.example/a%20b?c=d&e=%2f"]).unwrap();
        assert_eq!(got.status, 200, "{}", got.head);
        assert!(got.text().starts_with("GET /a%20b?c=d&e=%2f HTTP/1.1\r\nhost: app.example"), "{}", got.text());
        assert_eq!(got.header("server"), Some("ruche"));
        let posted = sites.curl(&[version, "--data", "some=form", URL]).unwrap();
        assert_eq!(posted.text(), "some=form");
        assert_eq!(header(&backend.last(), "content-length"), Some("9"));
        assert_eq!(header(&backend.last(), "transfer-encoding"), None);
        let head = sites.curl(&[version, "--head", URL]).unwrap();
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert!(head.header("content-length").is_some_and(|length| length != "0"), "{}", head.head);
        let empty = sites.curl(&[version, "--request", "POST", "--header", "content-length: 0", URL]).unwrap();
        assert_eq!(empty.status, 200);
        assert_eq!(header(&backend.last(), "content-length"), Some("0"), "{}", backend.last());
    }
    let before = backend.connections();
    let last = "GET /last HTTP/1.1\r\nhost: app.example\r\nconnection: close\r\n\r\n";
    let many = "GET /x HTTP/1.1\r\nhost: app.example\r\n\r\n".repeat(20) + last;
    assert_eq!(raw(&sites, many.as_bytes()).matches("HTTP/1.1 200 OK").count(), 21);
    assert!(backend.connections() <= before + 2, "{} connections more", backend.connections() - before);
    assert!(sites.metric("ruche_proxy_connections_reused_total") >= 19);
}

#[test]
fn bodies_of_any_size_stream_both_ways() {
    let backend = Backend::start(|asked| {
        if asked.path() == "/down" {
            asked.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            let piece = format!("{:x}\r\n{}\r\n", 1 << 16, "y".repeat(1 << 16));
            (0..320).for_each(|_| asked.say(&piece));
            asked.say("0\r\n\r\n");
        } else {
            let got = asked.body();
            let sum = got.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            asked.fine(format!("{} {sum}", got.len()));
        }
        true
    });
    let sites = proxied(&[&backend]);
    let large: Vec<u8> = (0..20_000_000_u32).map(|number| (number % 251) as u8).collect();
    let sum: u64 = large.iter().map(|byte| u64::from(*byte)).sum();
    let file = sites.node.path("large");
    std::fs::write(&file, &large).unwrap();
    let data = format!("@{}", file.display());
    for version in BOTH {
        let got = sites.curl(&[version, "--data-binary", &data, "--header", "expect:", URL]).unwrap();
        assert_eq!(got.text(), format!("{} {sum}", large.len()));
        assert_eq!(header(&backend.last(), "content-length"), Some("20000000"));
        let chunked = ["--header", "transfer-encoding: chunked", "--header", "expect:"];
        let got = sites.curl(&[&[version, "--data-binary", &data, URL][..], &chunked].concat()).unwrap();
        assert_eq!(got.text(), format!("{} {sum}", large.len()));
        let got = sites.curl(&[version, "https://app.example/down"]).unwrap();
        assert_eq!((got.status, got.body.len()), (200, 320 << 16));
    }
    let memory = rss_kib(sites.node.pid());
    assert!(memory < 120 << 10, "{memory} KiB: bodies are not held");
}

#[test]
fn a_get_may_have_a_body_and_methods_of_any_name_pass() {
    let backend = echo();
    let sites = proxied(&[&backend]);
    for version in BOTH {
        for method in ["GET", "DELETE", "PATCH", "PURGE", "REPORT"] {
            let got = sites.curl(&[version, "--request", method, "--data", "query", URL]).unwrap();
            assert_eq!((got.status, got.text()), (200, "query".into()), "{method}");
            assert!(backend.last().starts_with(&format!("{method} / HTTP/1.1\r\n")));
        }
    }
    let chunked = "GET / HTTP/1.1\r\nhost: app.example\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    assert!(raw(&sites, chunked.as_bytes()).ends_with("abc"));
    assert_eq!(header(&backend.last(), "transfer-encoding"), Some("chunked"));
}

#[test]
fn events_come_when_they_are_said() {
    let (say, said) = std::sync::mpsc::sync_channel::<()>(1);
    let said = std::sync::Mutex::new(said);
    let backend = Backend::start(move |asked| {
        asked.say("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        while said.lock().unwrap().recv().is_ok() {
            asked.say("9\r\ndata: x\n\n\r\n");
        }
        asked.say("0\r\n\r\n");
        true
    });
    let sites = proxied(&[&backend]);
    let mut visitor = BufReader::new(sites.tls(Some(SITE), &["http/1.1"]).unwrap());
    visitor.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: app.example\r\n\r\n").unwrap();
    let (status, _) = http::head(&mut visitor).unwrap();
    assert_eq!(status, 200, "the head comes before any event");
    for _ in 0..5 {
        say.send(()).unwrap();
        let lines: Vec<_> = (0..4).map(|_| http::line(&mut visitor).unwrap()).collect();
        assert_eq!(lines, ["9", "data: x", "", ""]);
    }
    drop(say);
    assert_eq!(http::line(&mut visitor).unwrap(), "0");
}

#[test]
fn trailers_pass_to_those_who_take_them() {
    let backend = Backend::start(|asked| {
        asked.say(
            "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nx-sum: 7\r\n\r\n",
        );
        true
    });
    let sites = proxied(&[&backend]);
    let ask = |te: &str| {
        let head = format!("GET / HTTP/1.1\r\nhost: app.example\r\n{te}connection: close\r\n\r\n");
        raw(&sites, head.as_bytes())
    };
    assert!(ask("te: trailers\r\n").ends_with("2\r\nab\r\n0\r\nx-sum: 7\r\n\r\n"));
    assert!(backend.last().contains("te: trailers\r\n"), "{}", backend.last());
    assert!(ask("").ends_with("2\r\nab\r\n0\r\n\r\n"));
    // curl shows trailers of HTTP/2 after the body.
    let got = sites.curl(&["--http2", URL]).unwrap();
    assert!(got.text().starts_with("ab") && got.text().contains("x-sum: 7"), "{}", got.text());

    let echo = Backend::start(|asked| {
        let mut rest = Vec::new();
        while !rest.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            asked.stream.read_exact(&mut byte).unwrap();
            rest.push(byte[0]);
        }
        asked.fine(rest);
        true
    });
    sites.set(SITE, json!({"handler": {"type": "proxy", "upstreams": [echo.url()]}}));
    let post = "POST / HTTP/1.1\r\nhost: app.example\r\nconnection: close\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nx-sum: 7\r\n\r\n";
    let heard = raw(&sites, post.as_bytes());
    assert!(heard.ends_with("2\r\nab\r\n0\r\nx-sum: 7\r\n\r\n"), "{heard}");
}

#[test]
fn a_body_is_asked_for_when_the_backend_asks() {
    let (go, gone) = std::sync::mpsc::sync_channel::<&'static str>(1);
    let gone = std::sync::Mutex::new(gone);
    let backend = Backend::start(move |asked| {
        let word = gone.lock().unwrap().recv().unwrap();
        asked.say(word);
        if word.starts_with("HTTP/1.1 100") {
            let body = asked.body();
            asked.fine(body);
            return true;
        }
        false
    });
    let sites = proxied(&[&backend]);
    let head = b"POST / HTTP/1.1\r\nhost: app.example\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n";
    let mut visitor = BufReader::new(sites.tls(Some(SITE), &["http/1.1"]).unwrap());
    visitor.get_mut().write_all(head).unwrap();
    until(10, "the request is at the backend", || (!backend.heads().is_empty()).then_some(()));
    assert_eq!(header(&backend.last(), "expect"), Some("100-continue"));
    go.send("HTTP/1.1 100 Continue\r\n\r\n").unwrap();
    assert_eq!(http::head(&mut visitor).unwrap().0, 100);
    visitor.get_mut().write_all(b"body").unwrap();
    assert_eq!(http::head(&mut visitor).unwrap().0, 200);
    let mut body = [0; 4];
    visitor.read_exact(&mut body).unwrap();
    assert_eq!(&body, b"body");
    // A refusal comes without anybody having sent the body.
    go.send("HTTP/1.1 417 No\r\ncontent-length: 0\r\n\r\n").unwrap();
    visitor.get_mut().write_all(head).unwrap();
    assert_eq!(http::head(&mut visitor).unwrap().0, 417);
    assert_eq!(drain(&mut visitor), "", "the body would follow, or not: the connection ends");
}

#[test]
fn interim_answers_are_no_answers() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
    let backend = Backend::saying(format!("{hints}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine"));
    let sites = proxied(&[&backend]);
    for version in BOTH {
        let got = sites.curl(&[version, URL]).unwrap();
        assert_eq!((got.status, got.text()), (200, "fine".into()));
    }
}

#[test]
fn answers_without_a_body_and_answers_that_end_with_their_connection() {
    let backend = Backend::start(|asked| {
        match asked.path() {
            "/204" => asked.say("HTTP/1.1 204 No Content\r\n\r\n"),
            "/304" => asked.say("HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\ncontent-length: 100\r\n\r\n"),
            "/0" => asked.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
            "/old" => {
                asked.say("HTTP/1.0 200 OK\r\n\r\nold");
                return false;
            }
            _ => {
                asked.say("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end");
                return false;
            }
        }
        true
    });
    let sites = proxied(&[&backend]);
    for version in BOTH {
        for (path, status, body) in
            [("204", 204, ""), ("304", 304, ""), ("0", 200, ""), ("old", 200, "old"), ("end", 200, "until the end")]
        {
            let got = sites.curl(&[version, &format!("{URL}{path}")]).unwrap();
            assert_eq!((got.status, got.text()), (status, body.into()), "{path}");
            assert!(!got.head.starts_with("HTTP/1.0"), "the version is the visitor's: {}", got.head);
        }
        let head = sites.curl(&[version, "--head", &format!("{URL}end")]).unwrap();
        assert_eq!((head.status, head.header("content-length")), (200, None), "nobody said how long it would be");
    }
}

#[test]
fn unix_sockets_and_several_upstreams() {
    let one = Backend::saying("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none");
    let two = Backend::saying("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ntwo");
    let sites = proxied(&[&one, &two]);
    let mut heard: Vec<_> = (0..10).map(|_| sites.get(URL).text()).collect();
    heard.sort();
    assert!(heard[0] == "one" && heard[9] == "two", "both have their turns: {heard:?}");

    let path = sites.node.path("app.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            while !http::line(&mut stream).unwrap_or_default().is_empty() {}
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nunix").unwrap();
        }
    });
    sites.set(SITE, json!({"handler": {"type": "proxy", "upstreams": [format!("unix:{}", path.display())]}}));
    assert_eq!(sites.get(URL).text(), "unix");
}

#[test]
fn upstreams_with_tls_are_verified() {
    let mut sites = Sites::ready();
    let (key, certificate) = (sites.node.path("key.pem"), sites.node.path("certificate.pem"));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=backend", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .args([key.as_os_str(), "-out".as_ref(), certificate.as_os_str()])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut backend = Command::new("openssl")
        .args(["s_server", "-quiet", "-www", "-accept", &format!("127.0.0.1:{port}"), "-key"])
        .args([key.as_os_str(), "-cert".as_ref(), certificate.as_os_str()])
        .stdin(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let upstream = json!({"handler": {"type": "proxy", "upstreams": [format!("https://127.0.0.1:{port}")]}});
    sites.create(SITE, upstream);
    until(10, "the backend listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    assert_eq!(sites.get(URL).status, 502, "nobody vouches for its certificate");
    assert_eq!(sites.metric("ruche_proxy_failures_total{reason=\"tls\"}"), 1);
    assert!(sites.node.log().contains("failed to agree on TLS: invalid peer certificate"), "{}", sites.node.log());
    // The machine's authorities are read anew after a restart.
    sites.node.env.push(("SSL_CERT_FILE".into(), certificate.display().to_string()));
    sites.node.restart();
    sites.learn();
    let got = sites.get(URL);
    let _ = backend.kill().and_then(|()| backend.wait());
    assert_eq!(got.status, 200, "{}", got.head);
    assert!(got.text().contains("TLSv1.3"), "{}", got.text());
}
