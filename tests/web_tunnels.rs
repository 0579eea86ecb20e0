//! Upgrades through a proxied site: WebSockets with HTTP/1.1 and HTTP/2, and protocols nobody knows; they outlive changes of the
//! configuration and end with either side.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::io::{BufReader, Read, Write};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::backend::{Backend, header};
use support::http as wire;
use support::sites::{Sites, Tls, drain};
use support::until;

const SITE: &str = "app.example";

/// Switches to a protocol in which everything is said back.
fn parrot() -> Backend {
    Backend::start(|asked| {
        if header(&asked.head, "upgrade").is_none() {
            asked.fine("plain");
            return true;
        }
        asked.say("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: parrot\r\n\r\nhello");
        let mut piece = [0; 64 << 10];
        while let Ok(read @ 1..) = asked.stream.read(&mut piece) {
            asked.say(&piece[..read]);
        }
        asked.say("bye");
        false
    })
}

fn proxied(backend: &Backend) -> Sites {
    let sites = Sites::ready();
    sites.create(SITE, json!({"handler": {"type": "proxy", "upstreams": [backend.url()]}}));
    sites
}

fn upgraded(sites: &Sites) -> BufReader<Tls> {
    let mut visitor = BufReader::new(sites.tls(Some(SITE), &["http/1.1"]).unwrap());
    let ask = "GET /x HTTP/1.1\r\nhost: app.example\r\nconnection: keep-alive, Upgrade\r\nupgrade: parrot\r\n\r\n";
    visitor.get_mut().write_all(ask.as_bytes()).unwrap();
    let (status, headers) = wire::head(&mut visitor).unwrap();
    assert_eq!(status, 101);
    assert!(headers.contains(&("upgrade".into(), "parrot".into())), "{headers:?}");
    hears(&mut visitor, b"hello");
    visitor
}

fn hears(visitor: &mut BufReader<Tls>, bytes: &[u8]) {
    let mut heard = vec![0; bytes.len()];
    visitor.read_exact(&mut heard).unwrap();
    assert!(heard == bytes, "another {} bytes", bytes.len());
}

#[test]
fn what_is_said_goes_both_ways_until_either_side_ends() {
    let backend = parrot();
    let sites = proxied(&backend);
    let mut visitor = upgraded(&sites);
    assert_eq!(header(&backend.last(), "connection"), Some("upgrade"));
    until(10, "it is counted", || (sites.metric("ruche_proxy_tunnels") == 1).then_some(()));
    for size in [1, 100, 20_000, 200_000] {
        let said: Vec<u8> = (0..size).map(|number| (number % 251) as u8).collect();
        visitor.get_mut().write_all(&said).unwrap();
        hears(&mut visitor, &said);
    }
    // Half of it ends; the rest of the other half still comes.
    visitor.get_mut().conn.send_close_notify();
    visitor.get_mut().flush().unwrap();
    assert_eq!(drain(&mut visitor), "bye");
    until(10, "it is over", || (sites.metric("ruche_proxy_tunnels") == 0).then_some(()));
    let early = "GET /x HTTP/1.1\r\nhost: app.example\r\nconnection: upgrade\r\nupgrade: parrot\r\n\r\nat once";
    let mut visitor = BufReader::new(sites.tls(Some(SITE), &["http/1.1"]).unwrap());
    visitor.get_mut().write_all(early.as_bytes()).unwrap();
    assert_eq!(wire::head(&mut visitor).unwrap().0, 101);
    let mut heard = [0; 12];
    visitor.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"helloat once");
}

#[test]
fn tunnels_outlive_changes_and_have_their_time_at_the_end() {
    let backend = parrot();
    let mut sites = proxied(&backend);
    let mut all: Vec<_> = (0..20).map(|_| upgraded(&sites)).collect();
    for number in 0..100 {
        sites.set(SITE, json!({"maintenance": number % 2 == 0}));
    }
    sites.set(SITE, json!({"handler": {"type": "static"}}));
    for visitor in &mut all {
        visitor.get_mut().write_all(b"still here").unwrap();
        hears(visitor, b"still here");
    }
    sites.node.ask("DELETE", &format!("/v1/sites/{SITE}"), None, &[]).done();
    sites.node.signal(rustix::process::Signal::TERM);
    let mut last = all.pop().unwrap();
    drop(all);
    last.get_mut().write_all(b"one more word").unwrap();
    hears(&mut last, b"one more word");
    drop(last);
    assert!(sites.node.wait_end(40).success());
}

#[test]
fn what_is_no_upgrade_is_answered_as_ever() {
    let backend = parrot();
    let sites = proxied(&backend);
    let got = sites.curl(&[
        "--http1.1",
        "--header",
        "connection: upgrade",
        "--header",
        "upgrade: h2c",
        "https://app.example/",
    ]);
    assert_eq!(got.unwrap().text(), "plain", "requests inside it would not be seen");
    let got = sites.curl(&["--http1.1", "--header", "upgrade: parrot", "https://app.example/"]);
    assert_eq!(got.unwrap().text(), "plain", "nobody asked this connection to switch");
}

/// The WebSocket library of the distribution, as client and as server.
#[test]
fn websockets_of_a_real_library() {
    let sites = Sites::ready();
    let ca = sites.node.path("ca.pem");
    std::fs::write(&ca, sites.node.get("/v1/certificates/ca").done().text).unwrap();
    let socket = sites.node.path("ws.sock");
    sites.create(SITE, json!({"handler": {"type": "proxy", "upstreams": [format!("unix:{}", socket.display())]}}));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/websocket_suite.py");
    let output = Command::new("/usr/bin/python3")
        .args([script, socket.to_str().unwrap(), ca.to_str().unwrap(), SITE, &sites.https.port().to_string()])
        .output()
        .expect("python3 is installed: tests/run sees to it");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.trim() == "fine", "{out}{err}");
}

/// A visitor with HTTP/2, whose streams may become WebSockets (RFC 8441).
async fn over_http_2(sites: &Sites) -> SendRequest<Empty<Bytes>> {
    let connector = tokio_rustls::TlsConnector::from(Arc::new(sites.client(&["h2"])));
    let stream = tokio::net::TcpStream::connect(sites.https).await.unwrap();
    let stream = connector.connect(ServerName::try_from(SITE).unwrap(), stream).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn connect(protocol: Option<&'static str>) -> Request<Empty<Bytes>> {
    let mut request = Request::connect(format!("https://{SITE}/chat")).body(Empty::new()).unwrap();
    if let Some(protocol) = protocol {
        request.extensions_mut().insert(Protocol::from_static(protocol));
    }
    request
}

#[test]
fn websockets_over_http_2() {
    let backend = parrot();
    let sites = proxied(&backend);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut sender = over_http_2(&sites).await;
        // The node has said that it knows this before anything is asked.
        let mut streams = Vec::new();
        for _ in 0..10 {
            sender.ready().await.unwrap();
            let mut response = sender.send_request(connect(Some("websocket"))).await.unwrap();
            assert_eq!(response.status(), 200);
            assert!(!response.headers().contains_key("upgrade") && !response.headers().contains_key("connection"));
            streams.push(TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap()));
        }
        let head = backend.last();
        assert!(head.starts_with("GET /chat HTTP/1.1\r\nhost: app.example\r\n"), "{head}");
        assert_eq!(header(&head, "upgrade"), Some("websocket"));
        assert_eq!(header(&head, "sec-websocket-key").map(str::len), Some(24));
        for (number, stream) in streams.iter_mut().enumerate() {
            let word = vec![number as u8; 100_000];
            let mut heard = vec![0; 5 + word.len()];
            let (read, mut write) = tokio::io::split(stream);
            let mut read = read;
            let (said, listened) = tokio::join!(write.write_all(&word), read.read_exact(&mut heard));
            said.unwrap();
            listened.unwrap();
            assert!(heard.starts_with(b"hello") && heard[5..] == word, "stream {number}");
        }
        let mut last = streams.pop().unwrap();
        last.shutdown().await.unwrap();
        let mut rest = Vec::new();
        last.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"bye");

        // What is no WebSocket stays a CONNECT, and no success comes from where no tunnel is.
        for protocol in [None, Some("connect-udp")] {
            sender.ready().await.unwrap();
            assert_eq!(sender.send_request(connect(protocol)).await.unwrap().status(), 405, "{protocol:?}");
        }
        sites.set(SITE, json!({"handler": {"type": "static"}}));
        std::fs::write(root(&sites).join("chat"), "a file").unwrap();
        assert_eq!(sender.send_request(connect(Some("websocket"))).await.unwrap().status(), 405);
    });
    drop(runtime);
    until(10, "the tunnels went with their connection", || (sites.metric("ruche_proxy_tunnels") == 0).then_some(()));
}

fn root(sites: &Sites) -> std::path::PathBuf {
    sites.node.get(&format!("/v1/sites/{SITE}")).done().json["root"].as_str().unwrap().into()
}
