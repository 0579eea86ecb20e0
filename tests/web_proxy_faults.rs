//! Proxied sites when something is wrong: backends that are gone, slow, cut off or no backends at all; visitors who send what two
//! programs might read differently. Nobody hangs, nothing looks whole that is not, and one message stays one message.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::io::{BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::backend::{Backend, header};
use support::http;
use support::sites::{Sites, drain, exchange};
use support::until;

const SITE: &str = "app.example";
const URL: &str = "https://app.example/";
const BOTH: [&str; 2] = ["--http1.1", "--http2"];
const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";
const GET: &str = "GET / HTTP/1.1\r\nhost: app.example\r\n\r\n";

fn proxied(urls: &[String]) -> Sites {
    let sites = Sites::ready();
    sites.create(SITE, json!({"handler": {"type": "proxy", "upstreams": urls}}));
    sites
}

fn raw(sites: &Sites, bytes: &[u8]) -> String {
    exchange(&mut sites.tls(Some(SITE), &["http/1.1"]).unwrap(), bytes)
}

/// An address where nobody listens.
fn nobody() -> String {
    format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

fn failures(sites: &Sites, reason: &str) -> u64 {
    sites.metric(&format!("ruche_proxy_failures_total{{reason=\"{reason}\"}}"))
}

/// The node's own page, which names nothing of the machine.
fn is_page(sites: &Sites, status: u16) {
    for version in BOTH {
        let got = sites.curl(&[version, URL]).unwrap();
        assert_eq!(
            (got.status, got.header("content-type")),
            (status, Some("text/html; charset=utf-8")),
            "{}",
            got.head
        );
        assert!(!got.text().contains("127.0.0.1") && !got.head.contains("127.0.0.1"));
    }
}

#[test]
fn a_backend_that_is_gone_costs_a_page_and_one_that_is_back_is_asked_again() {
    let sites = proxied(&[nobody()]);
    is_page(&sites, 502);
    assert_eq!(failures(&sites, "connect"), 2);
    assert_eq!(sites.metric("ruche_proxy_upstreams_down"), 1);
    assert_eq!(sites.node.log().matches("failed to connect").count(), 1, "{}", sites.node.log());
    // With another one nobody notices.
    let fine = Backend::saying(FINE);
    sites.set(SITE, json!({"handler": {"type": "proxy", "upstreams": [nobody(), fine.url()]}}));
    for _ in 0..10 {
        assert_eq!(sites.get(URL).status, 200);
    }
    for _ in 0..10 {
        assert_eq!(sites.curl(&["--data", "x", URL]).unwrap().status, 200, "nothing had reached the first");
    }

    let late = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = late.local_addr().unwrap();
    drop(late);
    sites.set(SITE, json!({"handler": {"type": "proxy", "upstreams": [format!("http://{address}")]}}));
    assert_eq!(sites.get(URL).status, 502);
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            while !http::line(&mut stream).unwrap_or_default().is_empty() {}
            stream.get_mut().write_all(FINE.as_bytes()).unwrap();
        }
    });
    assert_eq!(sites.get(URL).status, 200, "the only one is asked, however it did before");
    let all_up = || (sites.metric("ruche_proxy_upstreams_down") == 0).then_some(());
    until(40, "those that are not asked any more are not counted", all_up);
}

#[test]
fn answers_that_are_none_cost_a_page() {
    let head = |more: &str| format!("HTTP/1.1 200 OK\r\n{more}\r\n");
    for bytes in [
        String::new(),
        "\r\n\r\n".into(),
        "HTTP/1.1 200".into(),
        "HTTP/1.1 2000 OK\r\n\r\n".into(),
        "SSH-2.0-OpenSSH_9.2\r\n".into(),
        "HTTP/1.1 200 OK\r\nbroken\r\n\r\n".into(),
        head("content-length: 4\r\ncontent-length: 5\r\n"),
        head("content-length: -4\r\n"),
        head("content-length: 4x\r\n"),
        head("content-length: 4\r\ntransfer-encoding: chunked\r\n"),
        head("transfer-encoding: gzip, chunked\r\n"),
        head("x: y\r\n content-length: 4\r\n"),
        head("x: y\rcontent-length: 4\r\n"),
        "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000),
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".into(),
        head(&format!("x: {}\r\n", "y".repeat(200 << 10))),
        head(&"x: y\r\n".repeat(1000)),
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".into(),
    ] {
        let backend = Backend::start(move |asked| {
            asked.say(&bytes);
            false
        });
        is_page(&proxied(&[backend.url()]), 502);
    }
}

#[test]
fn an_answer_that_is_cut_off_never_looks_whole() {
    for bytes in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nxyz\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nx: y\n\r\n",
    ] {
        let backend = Backend::start(move |asked| {
            asked.say(bytes);
            false
        });
        let sites = proxied(&[backend.url()]);
        for version in BOTH {
            let error = sites.curl(&[version, URL]).expect_err(bytes);
            let cut = ["Empty reply", "transfer closed", "not closed cleanly", "unexpected eof", "end of response"];
            assert!(cut.iter().any(|cut| error.contains(cut)), "{bytes:?} {version}: {error}");
        }
        sites_well(&sites);
    }
}

fn sites_well(sites: &Sites) {
    assert_eq!(sites.metric("ruche_web_panics_total"), 0);
}

#[test]
fn what_may_be_asked_twice_is_and_nothing_else() {
    // Each connection answers once, then takes a request and dies without a word.
    let backend = Backend::start({
        let known = Arc::new(AtomicBool::new(false));
        move |asked| {
            if asked.path() == "/first" {
                known.store(true, Ordering::SeqCst);
                asked.fine("first");
                return true;
            }
            asked.body();
            if known.swap(false, Ordering::SeqCst) {
                return false;
            }
            asked.fine("again");
            true
        }
    });
    let sites = proxied(&[backend.url()]);
    let ask = |request: &str| {
        let mut visitor = BufReader::new(sites.tls(Some(SITE), &["http/1.1"]).unwrap());
        for _ in 0..2 {
            // Whichever thread answers, this connection has it, and with it an idle connection to the backend.
            visitor.get_mut().write_all(b"GET /first HTTP/1.1\r\nhost: app.example\r\n\r\n").unwrap();
            assert_eq!(http::head(&mut visitor).unwrap().0, 200);
            visitor.read_exact(&mut [0; 5]).unwrap();
        }
        let before = backend.heads().len();
        visitor.get_mut().write_all(request.as_bytes()).unwrap();
        let status = http::head(&mut visitor).unwrap().0;
        (status, backend.heads().len() - before)
    };
    assert_eq!(ask(GET), (200, 2), "a GET is asked again on a new connection");
    assert_eq!(ask(&GET.replace("GET", "PUT")), (200, 2));
    assert_eq!(ask(&GET.replace("GET", "POST")), (502, 1), "a POST may have been done");
    let put = "PUT / HTTP/1.1\r\nhost: app.example\r\ncontent-length: 1\r\n\r\nx";
    assert_eq!(ask(put), (502, 1), "its body is gone");
    assert_eq!(sites.metric("ruche_proxy_retries_total"), 2);
    assert_eq!(sites.metric("ruche_proxy_upstreams_down"), 0, "an idle connection may end at any time");
}

#[test]
fn backends_that_close_idle_connections_are_no_trouble() {
    let backend = Backend::start(|asked| {
        asked.body();
        asked.say(FINE);
        false
    });
    let sites = proxied(&[backend.url()]);
    let mut visitor = BufReader::new(sites.tls(Some(SITE), &["http/1.1"]).unwrap());
    for number in 0..50 {
        let method = if number % 2 == 0 { "GET" } else { "POST" };
        visitor.get_mut().write_all(GET.replace("GET", method).as_bytes()).unwrap();
        assert_eq!(http::head(&mut visitor).unwrap().0, 200, "request {number}");
        visitor.read_exact(&mut [0; 4]).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(backend.heads().len(), 50 + sites.metric("ruche_proxy_retries_total") as usize);
}

#[test]
fn a_body_without_measure_is_refused_before_it_comes() {
    let backend = Backend::start(|asked| {
        // Until the other side ends the connection: nobody says anything to half a body.
        let _ = std::io::copy(&mut asked.stream, &mut std::io::sink());
        false
    });
    let sites = proxied(&[backend.url()]);
    let head = format!("POST / HTTP/1.1\r\nhost: app.example\r\ncontent-length: {}\r\n\r\n", u64::MAX / 4);
    let mut visitor = sites.tls(Some(SITE), &["http/1.1"]).unwrap();
    visitor.write_all(head.as_bytes()).unwrap();
    let heard = drain(&mut visitor);
    assert!(heard.starts_with("HTTP/1.1 413 "), "{heard}");
    assert_eq!(backend.heads().len(), 0);
    // One that does not say its length is cut off where it passes the site's limit.
    sites.set(SITE, json!({"options": {"max_body": 1000}}));
    let chunked = "POST / HTTP/1.1\r\nhost: app.example\r\ntransfer-encoding: chunked\r\n\r\n";
    let heard = raw(&sites, format!("{chunked}3e9\r\n{}\r\n0\r\n\r\n", "x".repeat(1001)).as_bytes());
    assert!(heard.starts_with("HTTP/1.1 413 ") && heard.contains("connection: close"), "{heard}");
    assert_eq!(failures(&sites, "too-large"), 1);
}

#[test]
fn an_early_answer_is_heard_while_the_upload_runs() {
    let backend = Backend::start(|asked| {
        asked.say("HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nno!");
        // It reads on for a while, as polite servers do.
        let _ = std::io::copy(&mut (&mut asked.stream).take(4 << 20), &mut std::io::sink());
        false
    });
    let sites = proxied(&[backend.url()]);
    let file = sites.node.path("large");
    std::fs::write(&file, vec![b'x'; 8 << 20]).unwrap();
    let data = format!("@{}", file.display());
    // With HTTP/2 it ends with RST_STREAM(NO_ERROR), as RFC 9113 section 8.1 has it; curl 7 takes that for a failure.
    let got = sites.curl(&["--http1.1", "--data-binary", &data, "--header", "expect:", URL]).unwrap();
    assert_eq!((got.status, got.text()), (413, "no!".into()));
}

#[test]
fn a_visitor_who_leaves_takes_the_request_along() {
    let ended = Arc::new(AtomicUsize::new(0));
    let backend = Backend::start({
        let ended = Arc::clone(&ended);
        move |asked| {
            if asked.path() == "/fine" {
                asked.fine("fine");
                return true;
            }
            if asked.path() == "/stream" {
                asked.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n");
            }
            // Nothing more is said until the other side ends the connection.
            let _ = asked.stream.read(&mut [0; 16]);
            ended.fetch_add(1, Ordering::SeqCst);
            false
        }
    });
    let sites = proxied(&[backend.url()]);
    let mut count = 0;
    for path in ["wait", "stream"] {
        for version in BOTH {
            let url = format!("{URL}{path}");
            sites.curl(&[version, "--max-time", "1", &url]).expect_err("nobody answers");
            count += 1;
            until(10, "the backend is left alone", || (ended.load(Ordering::SeqCst) == count).then_some(()));
        }
    }
    assert_eq!(sites.get(&format!("{URL}fine")).status, 200);
}

#[test]
fn a_site_that_asks_itself_is_told_so() {
    let sites = Sites::ready();
    // Its own certificate is not for an address: let the loop go through a second hop that speaks plainly.
    let https = sites.https;
    let hop = Backend::start(move |asked| {
        asked.body();
        asked.fine(format!("{https}"));
        true
    });
    sites.create(SITE, json!({"handler": {"type": "proxy", "upstreams": [hop.url()]}}));
    assert_eq!(sites.get(URL).status, 200);
    let mark = header(&hop.last(), "cdn-loop").unwrap().to_owned();
    let got = sites.curl(&["--header", &format!("cdn-loop: {mark}"), URL]).unwrap();
    assert_eq!(got.status, 508);
    assert_eq!(hop.heads().len(), 1, "it went no further");
    assert_eq!(failures(&sites, "loop"), 1);
}

/// What the backend sees of messages that two programs might read differently: either nothing, or one message that says one
/// thing.
#[test]
fn one_message_stays_one_message() {
    let backend = Backend::start(|asked| {
        let body = String::from_utf8_lossy(&asked.body()).into_owned();
        asked.fine(body);
        true
    });
    let sites = proxied(&[backend.url()]);
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: app.example\r\n\r\n";
    let post = |headers: &str, rest: &str| format!("POST /x HTTP/1.1\r\nhost: app.example\r\n{headers}\r\n{rest}");
    let chunked = "transfer-encoding: chunked\r\n";
    let cases = [
        post("content-length: 5\r\ncontent-length: 6\r\n", smuggled),
        post("content-length: 5, 6\r\n", smuggled),
        post("content-length: +5\r\n", smuggled),
        post("content-length: 0x5\r\n", smuggled),
        post("content-length : 5\r\n", smuggled),
        post("transfer-encoding: xchunked\r\n", &format!("0\r\n\r\n{smuggled}")),
        post("transfer-encoding: identity\r\n", smuggled),
        post("transfer-encoding: chunked, identity\r\n", &format!("0\r\n\r\n{smuggled}")),
        post("transfer-encoding : chunked\r\n", &format!("0\r\n\r\n{smuggled}")),
        post(" transfer-encoding: chunked\r\n", &format!("0\r\n\r\n{smuggled}")),
        post("x: y\r\n transfer-encoding: chunked\r\n", &format!("0\r\n\r\n{smuggled}")),
        post("transfer-encoding:\u{b}chunked\r\n", &format!("0\r\n\r\n{smuggled}")),
        post(chunked, &format!("0x0\r\n\r\n{smuggled}")),
        post(chunked, &format!("-1\r\n\r\n{smuggled}")),
        post(chunked, &format!("fffffffffffffffff\r\n{smuggled}")),
        post(chunked, &format!("3\r\nabcd\r\n0\r\n\r\n{smuggled}")),
    ];
    for bytes in &cases {
        let heard = raw(&sites, bytes.as_bytes());
        let answers = heard.matches("HTTP/1.1 ").count();
        assert!(answers <= 1 && !heard.contains("HTTP/1.1 200"), "{bytes:?}: {heard:?}");
        let heads = backend.heads();
        assert!(!heads.iter().any(|head| head.starts_with("GET /smuggled")), "{bytes:?}");
    }
    // What is read is said anew in one way.
    let heard =
        raw(&sites, post(&format!("{chunked}connection: close\r\n"), "3;x=\"y\"\r\nabc\r\n0\r\n\r\n").as_bytes());
    assert!(heard.starts_with("HTTP/1.1 200") && heard.ends_with("abc"), "{heard}");
    assert_eq!(header(&backend.last(), "transfer-encoding"), Some("chunked"));
    assert_eq!(header(&backend.last(), "content-length"), None);
    sites_well(&sites);
}

#[test]
fn a_backend_that_answers_more_than_it_was_asked_is_not_believed() {
    let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let backend = Backend::start(move |asked| {
        asked.say(format!("{FINE}{evil}"));
        true
    });
    let sites = proxied(&[backend.url()]);
    let mut visitor = BufReader::new(sites.tls(Some(SITE), &["http/1.1"]).unwrap());
    for _ in 0..20 {
        visitor.get_mut().write_all(GET.as_bytes()).unwrap();
        assert_eq!(http::head(&mut visitor).unwrap().0, 200);
        let mut body = [0; 4];
        visitor.read_exact(&mut body).unwrap();
        assert_eq!(&body, b"fine");
    }
}

#[test]
fn answers_in_drops_are_whole() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n";
    let chunks = "transfer-encoding: chunked\r\n\r\n3\r\nwho\r\n2;x\r\nle\r\n0\r\nx-sum: 7\r\n\r\n";
    let backend = Backend::start(move |asked| {
        let answer = match asked.path() {
            "/length" => format!("{hints}HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole"),
            _ => format!("{hints}HTTP/1.1 200 OK\r\n{chunks}"),
        };
        let size = asked.header("x-size").unwrap().parse().unwrap();
        for drop in answer.as_bytes().chunks(size) {
            asked.say(drop);
            std::thread::sleep(Duration::from_micros(200));
        }
        true
    });
    let sites = proxied(&[backend.url()]);
    for size in [1, 2, 7, 50, 100] {
        for path in ["length", "chunks"] {
            let got =
                sites.curl(&["--http1.1", "--header", &format!("x-size: {size}"), &format!("{URL}{path}")]).unwrap();
            assert_eq!((got.status, got.text()), (200, "whole".into()), "{path} by {size}");
        }
    }
    assert!(backend.connections() <= 4, "each thread asks on one connection: {}", backend.connections());
}

#[test]
fn a_body_that_nobody_wants_costs_nobody_the_answer() {
    let sites = Sites::ready();
    sites.create(SITE, json!({}));
    sites.set(SITE, json!({"maintenance": true}));
    let mut visitor = BufReader::new(sites.tls(Some(SITE), &["http/1.1"]).unwrap());
    for _ in 0..3 {
        let body = "x".repeat(10_000);
        let post = format!("POST / HTTP/1.1\r\nhost: app.example\r\ncontent-length: 10000\r\n\r\n{body}");
        visitor.get_mut().write_all(post.as_bytes()).unwrap();
        let (status, headers) = http::head(&mut visitor).unwrap();
        assert_eq!(status, 503);
        let length = headers.iter().find(|(name, _)| name == "content-length").unwrap().1.parse().unwrap();
        visitor.read_exact(&mut vec![0; length]).unwrap();
    }
    // A large one is cut off, after the answer was heard.
    let file = sites.node.path("large");
    std::fs::write(&file, vec![b'x'; 900_000]).unwrap();
    let data = format!("@{}", file.display());
    for _ in 0..10 {
        let got = sites.curl(&["--http1.1", "--data-binary", &data, "--header", "expect:", URL]).unwrap();
        assert_eq!(got.status, 503);
    }
    let begun = Instant::now();
    let expecting = "POST / HTTP/1.1\r\nhost: app.example\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n";
    let mut visitor = sites.tls(Some(SITE), &["http/1.1"]).unwrap();
    visitor.write_all(expecting.as_bytes()).unwrap();
    let heard = drain(&mut visitor);
    assert!(heard.starts_with("HTTP/1.1 503"), "no 100 comes first: {heard}");
    assert!(begun.elapsed() < Duration::from_secs(30));
}
