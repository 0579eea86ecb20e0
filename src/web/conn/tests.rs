//! One connection over a pipe in memory: what ends it and what does not, with both versions of HTTP.
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2 as client;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::ops::stop::Stopper;
use crate::web::body::Body;

const WAITS: Waits =
    Waits { head: Duration::from_millis(200), idle: Duration::from_millis(600), leave: Duration::from_millis(100) };
/// Silence ends nothing while a test lasts.
const PATIENT: Waits = Waits { idle: Duration::from_secs(600), ..WAITS };
/// Longer than any of the waits.
const LONG: Duration = Duration::from_millis(1200);
/// Bytes a client leaves lying before the server's writes wait.
const PIPE: usize = 4096;

async fn answers(pulse: Arc<Pulse>, request: Request<Incoming>) -> Result<Response<Sent>, Infallible> {
    let _owed = pulse.begin();
    let body = match request.uri().path() {
        "/slow" => {
            sleep(LONG).await;
            Body::from("slow")
        }
        "/panic" => panic!("as it was asked to"),
        "/large" => Body::from(vec![b'x'; 1 << 20]),
        _ => Body::from("fine"),
    };
    Ok(Response::new(Sent::new(body, None, None, pulse.open())))
}

/// A client's end, and the task of the connection.
fn open(two: bool, stop: &Stop) -> (DuplexStream, JoinHandle<()>) {
    open_for(&WAITS, two, stop)
}

fn open_for(waits: &'static Waits, two: bool, stop: &Stop) -> (DuplexStream, JoinHandle<()>) {
    let (client, server) = duplex(PIPE);
    let (pulse, stop) = (Pulse::new(!two, waits), stop.clone());
    let service = {
        let pulse = Arc::clone(&pulse);
        service_fn(move |request| answers(Arc::clone(&pulse), request))
    };
    let task = tokio::spawn(async move {
        if two {
            http_2(server, None, &pulse, service, &stop).await
        } else {
            http_1(server, None, &pulse, service, &stop).await
        }
    });
    (client, task)
}

async fn ask(client: &mut DuplexStream, path: &str) {
    client.write_all(format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n\r\n").as_bytes()).await.unwrap();
}

/// Reads until the text has come.
async fn hears(client: &mut DuplexStream, text: &str) {
    let mut heard = Vec::new();
    while !heard.ends_with(text.as_bytes()) {
        let read = client.read_buf(&mut heard).await.unwrap();
        assert_ne!(read, 0, "the end came before `{text}`: {}", String::from_utf8_lossy(&heard));
    }
}

async fn rest(client: &mut DuplexStream) -> Vec<u8> {
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    rest
}

#[tokio::test]
async fn silence_ends_a_connection_before_and_between_requests() {
    let (_stopper, stop) = Stopper::new();
    let (mut silent, task) = open(false, &stop);
    let begun = Instant::now();
    assert_eq!(rest(&mut silent).await, b"");
    assert!(begun.elapsed() >= WAITS.idle);
    task.await.unwrap();
    let (mut client, task) = open(false, &stop);
    let begun = Instant::now();
    for _ in 0..4 {
        ask(&mut client, "/").await;
        hears(&mut client, "fine").await;
        sleep(WAITS.idle / 2).await;
    }
    assert_eq!(rest(&mut client).await, b"");
    assert!(begun.elapsed() >= WAITS.idle * 2, "each request gives it time again");
    task.await.unwrap();
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off() {
    let (_stopper, stop) = Stopper::new();
    for first in ["", "/"] {
        let (mut client, task) = open_for(&PATIENT, false, &stop);
        if !first.is_empty() {
            ask(&mut client, first).await;
            hears(&mut client, "fine").await;
            // The wait between requests is none of the head's time.
            sleep(WAITS.head * 2).await;
        }
        let begun = Instant::now();
        for byte in b"GET / HTTP/1.1\r\nhost: a.example\r\nx: y".iter().cycle() {
            if client.write_all(&[*byte]).await.is_err() || begun.elapsed() > LONG {
                break;
            }
            sleep(WAITS.head / 20).await;
        }
        assert!((WAITS.head..LONG).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        task.await.unwrap();
    }
}

#[tokio::test]
async fn what_we_owe_is_waited_for() {
    let (_stopper, stop) = Stopper::new();
    let (mut client, _task) = open(false, &stop);
    ask(&mut client, "/slow").await;
    hears(&mut client, "slow").await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off_and_one_that_takes_little_is_not() {
    let (_stopper, stop) = Stopper::new();
    let (mut client, task) = open(false, &stop);
    ask(&mut client, "/large").await;
    tokio::time::timeout(LONG, task).await.expect("it takes nothing").unwrap();
    assert!(rest(&mut client).await.len() <= PIPE);
    let (mut client, task) = open(false, &stop);
    ask(&mut client, "/large").await;
    let begun = Instant::now();
    let mut piece = [0; PIPE];
    while begun.elapsed() < LONG {
        assert_ne!(client.read(&mut piece).await.unwrap(), 0, "it was cut off while it read");
        sleep(WAITS.idle / 4).await;
    }
    drop(client);
    task.await.unwrap();
}

#[tokio::test]
async fn a_panic_ends_its_connection_only() {
    let (_stopper, stop) = Stopper::new();
    let ((mut other, _), (mut client, task)) = (open(false, &stop), open(false, &stop));
    ask(&mut client, "/panic").await;
    assert_eq!(rest(&mut client).await, b"");
    assert!(task.await.unwrap_err().is_panic());
    ask(&mut other, "/").await;
    hears(&mut other, "fine").await;
}

#[tokio::test]
async fn a_drain_ends_idle_connections_and_lets_answers_finish() {
    for two in [false, true] {
        let (stopper, stop) = Stopper::new();
        let (idle, idle_task) = open_for(&PATIENT, two, &stop);
        let (busy, busy_task) = open_for(&PATIENT, two, &stop);
        let busy = tokio::spawn(async move {
            if two {
                let mut sender = shake_hands(busy).await;
                return fetch(&mut sender, "/slow").await;
            }
            let mut busy = busy;
            ask(&mut busy, "/slow").await;
            rest(&mut busy).await
        });
        sleep(WAITS.head / 4).await;
        stopper.give_up();
        sleep(WAITS.head / 4).await;
        assert!(!idle_task.is_finished(), "only the listeners are given up in the first phase");
        let deadline = Instant::now() + LONG * 10;
        stopper.drain(deadline);
        timeout(LONG * 5, idle_task).await.expect("it has nothing to finish").unwrap();
        assert!(busy.await.unwrap().ends_with(b"slow"));
        timeout(LONG * 5, busy_task).await.expect("it has finished").unwrap();
        drop(idle);
    }
}

async fn shake_hands(stream: DuplexStream) -> client::SendRequest<Empty<Bytes>> {
    let (sender, connection) = client::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn fetch(sender: &mut client::SendRequest<Empty<Bytes>>, path: &str) -> Vec<u8> {
    let request = Request::get(format!("https://a.example{path}")).body(Empty::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    response.into_body().collect().await.unwrap().to_bytes().into()
}

#[tokio::test]
async fn silence_ends_http_2_too() {
    let (_stopper, stop) = Stopper::new();
    let (mut silent, task) = open(true, &stop);
    // The server's settings, then nothing more.
    let begun = Instant::now();
    rest(&mut silent).await;
    assert!(begun.elapsed() >= WAITS.idle);
    task.await.unwrap();
    let (client, task) = open(true, &stop);
    let mut sender = shake_hands(client).await;
    assert_eq!(fetch(&mut sender, "/slow").await, b"slow");
    assert_eq!(fetch(&mut sender, "/").await, b"fine");
    assert_eq!(fetch(&mut sender, "/large").await.len(), 1 << 20);
    task.await.unwrap();
    assert!(sender.send_request(Request::new(Empty::new())).await.is_err());
}
