//! The thread and runtime of the sessions, and the accepting of clients: within the limits of connections, through a lack of
//! descriptors, until the listeners are given up. Never waits for a client.
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use crate::base::limits::FTP_ACCEPT_PAUSE;
use crate::ftp::Plane;
use crate::ftp::reply::Reply;
use crate::ftp::session::Session;
use crate::ops::places::Full;
use crate::ops::stop::Stop;
use crate::ops::tasks::TaskResult;

/// What a session holds for as long as it lives; nothing is ever sent.
type Alive = mpsc::Sender<std::convert::Infallible>;

/// Runs the plane until the stop. An error is that its runtime could not be made, or a panic of the thread.
pub(crate) async fn run(plane: Arc<Plane>, stop: Stop) -> TaskResult {
    let (done, ended) = oneshot::channel();
    std::thread::Builder::new().name("ftp".to_owned()).spawn(move || {
        let _ = done.send(body(plane, &stop));
    })?;
    match ended.await {
        Ok(ended) => Ok(ended?),
        Err(_) => Err("keep the thread of the sessions: it panicked".into()),
    }
}

/// Not the control runtime: a handshake or a large transfer must not hold up raft. One thread for each core shares all
/// sessions, so that two large transfers find two cores.
fn body(plane: Arc<Plane>, stop: &Stop) -> io::Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let runtime = Builder::new_multi_thread().worker_threads(threads).thread_name("ftp").enable_all().build()?;
    let ended = runtime.block_on(serve(plane, stop));
    // What is left was cut off by the deadline of the drain: it is not waited for.
    runtime.shutdown_background();
    ended
}

async fn serve(plane: Arc<Plane>, stop: &Stop) -> io::Result<()> {
    let (alive, mut all_gone) = mpsc::channel(1);
    {
        let mut opened = plane.ports.opened();
        let mut accepting = JoinSet::new();
        let mut taken = 0;
        while !stop.is_given_up() {
            tokio::select! {
                changed = opened.changed() => if changed.is_ok() {
                    let all = opened.borrow_and_update().clone();
                    for listener in all.iter().skip(taken) {
                        let listener = TcpListener::from_std(listener.try_clone()?)?;
                        accepting.spawn(accept(Arc::clone(&plane), listener, Alive::clone(&alive), stop.clone()));
                    }
                    taken = all.len();
                },
                Some(ended) = accepting.join_next() => ended??,
                () = stop.give_up() => {}
            }
        }
        while let Some(ended) = accepting.join_next().await {
            ended??;
        }
    }
    drop(alive);
    let deadline = stop.drain().await;
    if timeout_at(deadline, all_gone.recv()).await.is_err() {
        tracing::warn!("transfers were cut off: they did not end in time");
    }
    Ok(())
}

async fn accept(plane: Arc<Plane>, listener: TcpListener, alive: Alive, stop: Stop) -> io::Result<()> {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.give_up() => return Ok(()),
        };
        match accepted {
            Ok((stream, peer)) => match plane.places.take(peer.ip()) {
                Ok(place) => {
                    let (plane, alive, stop) = (Arc::clone(&plane), alive.clone(), stop.clone());
                    tokio::spawn(async move {
                        converse(plane, stream, peer, stop).await;
                        drop((place, alive));
                    });
                }
                Err(full) => refuse(&stream, full),
            },
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => {
                count("short");
                tracing::debug!(%error, "failed to accept connections; they wait");
                tokio::time::sleep(FTP_ACCEPT_PAUSE).await;
            }
        }
    }
}

/// As far as it can be said without waiting.
fn refuse(stream: &TcpStream, full: Full) {
    count(full.as_str());
    let _ = stream.try_write(Reply::new(421, "Too many connections; try again later").to_string().as_bytes());
}

fn count(reason: &'static str) {
    metrics::counter!("ruche_ftp_refused_connections_total", "reason" => reason).increment(1);
}

async fn converse(plane: Arc<Plane>, stream: TcpStream, peer: SocketAddr, stop: Stop) {
    // The mark of an interrupt comes as urgent data: it belongs between the bytes around it.
    let prepared =
        sockopt::set_socket_oobinline(&stream, true).map_err(io::Error::from).and_then(|()| stream.local_addr());
    let ended = match prepared {
        Ok(local) => Session::new(plane, stream, peer.ip(), local.ip()).run(&stop).await,
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a connection broke");
    }
}
