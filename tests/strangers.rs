//! Who is no member and calls the peer port: guesses, comes back with a token that was used, says nothing, says nonsense. None of it
//! writes, opens or blocks anything.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use ruche::tls::peer::{PeerKey, Pin, client, generate};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::json;
use sha2::{Digest, Sha256};
use support::cluster::{Cluster, node, ruche, token};
use support::node::Node;

/// Where a node listens for peers.
fn port(node: &Node) -> SocketAddr {
    let status = node.get("/v1/status").done().json;
    let all = status["listening"].as_array().unwrap().iter();
    all.into_iter().find(|one| one["name"] == "cluster.listen").unwrap()["address"].as_str().unwrap().parse().unwrap()
}

fn join(node: &Node, token: &str) -> Result<String, String> {
    ruche(node, &["cluster", "join", token])
}

/// The same token with another secret.
fn guess(token: &str) -> String {
    let bytes = BASE64URL_NOPAD.decode(token.strip_prefix("ruche-join-").unwrap().as_bytes()).unwrap();
    let mut bytes = bytes[..bytes.len() - 4].to_vec();
    // MessagePack: `bin 8` of 24 bytes.
    let at = bytes.windows(2).position(|pair| pair == [0xc4, 24]).unwrap();
    bytes[at + 2] ^= 1;
    let check = Sha256::digest(&bytes);
    bytes.extend_from_slice(&check[..4]);
    format!("ruche-join-{}", BASE64URL_NOPAD.encode(&bytes))
}

#[test]
fn who_guesses_has_nothing_written() {
    let (mut first, mut other) = (node("pi-0"), node("pi-1"));
    first.start();
    other.start();
    let token = token(&first);
    let index = || first.get("/v1/status").done().json["raft"]["log_index"].clone();
    let before = index();
    for _ in 0..3 {
        assert!(join(&other, &guess(&token)).unwrap_err().contains("used or expired"));
    }
    assert_eq!(index(), before);
    join(&other, &token).unwrap();
}

#[test]
fn a_token_that_was_used_gives_nothing_more() {
    let (mut first, mut other) = (node("pi-0"), node("pi-1"));
    first.start();
    other.start();
    let used = token(&first);
    join(&other, &used).unwrap();
    ruche(&first, &["--yes", "node", "rm", "pi-1"]).unwrap();
    // As with a disk that was stolen: its key and its token are known, and somebody else is expected.
    token(&first);
    // It would be the node it was, with an empty log.
    let again = ruche(&other, &["cluster", "join", &used, "--discard-state"]).unwrap_err();
    assert!(again.contains("needs a new token"), "{again}");
    ruche(&other, &["--yes", "cluster", "leave"]).unwrap();
    let refused = join(&other, &used).unwrap_err();
    assert!(refused.contains("used or expired"), "{refused}");
    assert_eq!(first.all("/v1/nodes").len(), 1);
}

#[test]
fn one_token_lets_one_of_many_in() {
    let mut first = node("pi-0");
    first.start();
    let token = token(&first);
    let mut others: Vec<Node> = (1..5).map(|at| node(&format!("pi-{at}"))).collect();
    others.iter_mut().for_each(Node::start);
    let said: Vec<_> = std::thread::scope(|threads| {
        let joins: Vec<_> = others.iter().map(|other| threads.spawn(|| join(other, &token))).collect();
        joins.into_iter().map(|join| join.join().unwrap()).collect()
    });
    assert_eq!(said.iter().filter(|said| said.is_ok()).count(), 1, "{said:?}");
    for refused in said.iter().filter_map(|said| said.as_ref().err()) {
        assert!(refused.contains("used or expired") || refused.contains("expects no new node"), "{refused}");
    }
    assert_eq!(first.all("/v1/nodes").len(), 2);
}

#[test]
fn who_says_nothing_keeps_no_member_out() {
    let mut cluster = Cluster::of(2);
    let leader = cluster.leader(0).unwrap();
    let (at, over) = (port(&cluster.nodes[leader]), AtomicBool::new(false));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut silent: Vec<TcpStream> = Vec::new();
            while !over.load(Ordering::Relaxed) {
                // Whoever is hung up on calls again.
                silent.retain(|held| held.peek(&mut [0]).is_err());
                silent.extend((0..16).filter_map(|_| TcpStream::connect(at).ok()));
                silent.iter().for_each(|held| held.set_nonblocking(true).unwrap());
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        std::thread::sleep(Duration::from_secs(1));
        cluster.nodes[1 - leader].kill();
        cluster.nodes[1 - leader].start();
        let wrote: Vec<_> = (0..5)
            .map(|number| {
                let written =
                    cluster.nodes[1 - leader].post("/v1/zones", json!({"name": format!("z{number}.example")}));
                cluster.nodes[1 - leader].kill();
                cluster.nodes[1 - leader].start();
                written.status
            })
            .collect();
        over.store(true, Ordering::Relaxed);
        assert_eq!(wrote, [201; 5], "{}", cluster.nodes[1 - leader].log());
    });
}

/// A machine with a key of its own, for the port of another one.
fn stranger(at: SocketAddr) -> StreamOwned<ClientConnection, TcpStream> {
    let config = client(&PeerKey::read(&generate().unwrap()).unwrap(), Pin::new(|_| true)).unwrap();
    speaks(config, at)
}

fn speaks(config: Arc<rustls::ClientConfig>, at: SocketAddr) -> StreamOwned<ClientConnection, TcpStream> {
    let socket = TcpStream::connect(at).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    StreamOwned::new(ClientConnection::new(config, ServerName::IpAddress(at.ip().into())).unwrap(), socket)
}

fn framed(message: &serde_json::Value) -> Vec<u8> {
    let bytes = rmp_serde::to_vec_named(message).unwrap();
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], &bytes].concat()
}

/// What is said until the connection ends, and how long that took.
fn ends(mut stream: impl Read, begun: Instant) -> (Vec<u8>, Duration) {
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    (said, begun.elapsed())
}

#[test]
fn a_stranger_is_heard_briefly_and_about_joining_only() {
    let mut first = node("pi-0");
    first.start();
    let at = port(&first);
    let opening = |class: &str| json!({"protocol": 1, "cluster": 0, "from": 7, "to": 0, "class": class});
    // Without a token nobody is: the handshake already says so.
    let mut refused = stranger(at);
    let written = refused.write_all(&framed(&opening("Join")));
    let error = written.and_then(|()| refused.read(&mut [0]).map(drop)).unwrap_err().to_string();
    assert!(error.contains("AccessDenied"), "{error}");
    token(&first);
    let (begun, mut silent) = (Instant::now(), stranger(at));
    silent.write_all(&framed(&opening("Join"))).unwrap();
    let (said, took) = ends(silent, begun);
    assert!(String::from_utf8_lossy(&said).contains("Welcome"), "{said:?}");
    assert!(took < Duration::from_secs(6), "heard for {took:?}");
    for (class, why) in [("Raft", "OtherCluster"), ("Bulk", "OtherCluster"), ("Offer", "OtherCluster")] {
        let (begun, mut odd) = (Instant::now(), stranger(at));
        odd.write_all(&framed(&opening(class))).unwrap();
        let (said, _) = ends(odd, begun);
        assert!(String::from_utf8_lossy(&said).contains(why), "{class}: {}", String::from_utf8_lossy(&said));
    }
    // A message that is too large, nonsense, and no TLS at all end at once.
    for nonsense in [vec![255; 4], framed(&json!("hive")), vec![0; 4]] {
        let (begun, mut odd) = (Instant::now(), stranger(at));
        odd.write_all(&nonsense).unwrap();
        let (said, took) = ends(odd, begun);
        assert!(said.is_empty() && took < Duration::from_secs(1), "{nonsense:?}: {said:?} {took:?}");
    }
    let (begun, mut plain) = (Instant::now(), TcpStream::connect(at).unwrap());
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
    assert!(ends(plain, begun).1 < Duration::from_secs(1));
    assert_eq!(first.get("/v1/zones").status, 200);
}
