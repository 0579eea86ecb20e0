//! Bad answers and no answer: each ends soon, bounded, and with its own word.
use std::time::{Duration, Instant};

use crate::cli::client::Write;
use crate::cli::failure::Failure;
use crate::cli::tests::fake::{Fake, Play, brief, json};
use crate::cli::tree::WriteArgs;
use crate::fetch::client::{Bounds, Client};
use crate::fetch::error::FetchError;
use crate::fetch::target::Target;

async fn read(play: Play) -> Failure {
    let started = Instant::now();
    let failure = Fake::start(vec![play]).api(brief()).get("read", "/v1/status").await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(5), "{failure}");
    failure
}

async fn read_bytes(bytes: &[u8]) -> Failure {
    read(Play::Say(bytes.to_vec())).await
}

#[tokio::test]
async fn silence() {
    let slow = |failure: &Failure| matches!(failure, Failure::Fetch(FetchError::Slow { .. }));
    let failure = read(Play::Stall(Vec::new())).await;
    assert!(slow(&failure) && failure.exit() == 4, "{failure}");
    assert!(slow(&read(Play::Stall(b"HTTP/1.1 200 OK\r\n".to_vec())).await));
    assert!(slow(&read(Play::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab".to_vec())).await));
}

#[tokio::test]
async fn garbage() {
    for bytes in [&b"SSH-2.0-x\r\n"[..], b"\x16\x03\x01\x00\x00", b"HTTP/9.9 200 OK\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"] {
        let failure = read_bytes(bytes).await;
        assert!(matches!(failure, Failure::Fetch(FetchError::Garbled { .. })), "{failure:?}");
    }
    let failure = read_bytes(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n").await;
    assert!(matches!(failure, Failure::Fetch(_)), "{failure:?}");
    let failure = read(json(502, "<html>\x1b[2JBad Gateway</html>")).await;
    assert!(matches!(failure, Failure::Odd { status: 502, .. }) && !failure.to_string().contains('\x1b'), "{failure}");
}

#[tokio::test]
async fn too_much() {
    let large =
        |failure: Failure| assert!(matches!(failure, Failure::Fetch(FetchError::TooLarge { .. })), "{failure:?}");
    large(read(Play::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 10001\r\n\r\n".to_vec())).await);
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    endless.extend(vec![b'a'; 20_000]);
    large(read(Play::Stall(endless)).await);
    let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
    head.extend(b"a: ".iter().chain(&vec![b'b'; 200_000]));
    assert!(matches!(read_bytes(&head).await, Failure::Fetch(FetchError::Garbled { .. })));
}

#[tokio::test]
async fn a_connection_that_breaks_off() {
    for play in [Play::HangUp, Play::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc".to_vec())] {
        let failure = read(play).await;
        assert!(matches!(failure, Failure::Fetch(FetchError::Broken { .. })), "{failure:?}");
        assert_eq!(failure.exit(), 4);
    }
}

#[tokio::test]
async fn nobody_there() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(vec![Play::HangUp]);
    let mut api = fake.api(brief());
    api.client.target = Target::Unix(dir.path().join("none"));
    let failure = api.get("read", "/v1/status").await.unwrap_err();
    assert!(failure.exit() == 4 && failure.to_string().starts_with("reach /"), "{failure}");
    assert!(failure.remedy().contains("systemctl start ruche"));
    // A missing socket does not appear by waiting: no write is held up for it.
    let started = Instant::now();
    let write = Write::new("write", http::Method::POST, "/v1/sites".into(), &WriteArgs::default());
    assert!(matches!(api.write(write).await.unwrap_err(), Failure::Fetch(FetchError::Unreachable { .. })));
    assert!(started.elapsed() < Duration::from_millis(150));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let client = Client { target: Target::Tcp { host: "127.0.0.1".into(), port }, bounds: Bounds::default() };
    let request = http::Request::new(bytes::Bytes::new());
    assert!(matches!(client.send(request).await, Err(FetchError::Unreachable { .. })));
}

#[tokio::test]
async fn a_write_that_was_sent_and_never_answered_is_unknown() {
    let fake = Fake::start(vec![Play::Stall(Vec::new())]);
    let write = Write::new("write", http::Method::POST, "/v1/sites".into(), &WriteArgs::default());
    let failure = fake.api(brief()).write(write).await.unwrap_err();
    assert_eq!((failure.exit(), failure.code(), fake.asked().len()), (4, "outcome-unknown", 1));
}
