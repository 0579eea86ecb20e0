//! The thread and runtime of the sessions, and the accepting of clients: within the limits of connections, through a lack of
//! descriptors, until the listeners are given up. Never waits for a client.
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use crate::base::limits::FTP_ACCEPT_PAUSE;
use crate::cluster::inbound::Carried;
use crate::ftp::Plane;
use crate::ftp::home::attend;
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

/// Not the control runtime: a handshake or a large transfer must not hold up raft. One thread for each core; a session stays on
/// the one it was given, so that no command waits for another thread to wake.
fn body(plane: Arc<Plane>, stop: &Stop) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let others = std::thread::available_parallelism().map_or(0, |threads| threads.get() - 1);
    let (ending, _) = watch::channel(());
    let mut threads = vec![Thread::of(&runtime)];
    for _ in 0..others {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        threads.push(Thread::of(&runtime));
        let mut ended = ending.subscribe();
        std::thread::Builder::new().name("ftp".to_owned()).spawn(move || {
            let _ = runtime.block_on(ended.changed());
            runtime.shutdown_background();
        })?;
    }
    let ended = runtime.block_on(serve(plane, threads.into(), stop));
    // What is left was cut off by the deadline of the drain: it is not waited for.
    runtime.shutdown_background();
    ended
}

/// Where sessions run.
#[derive(Debug)]
struct Thread {
    runtime: Handle,
    /// Each of its sessions has a clone.
    sessions: Arc<()>,
}

impl Thread {
    fn of(runtime: &Runtime) -> Self {
        Self { runtime: runtime.handle().clone(), sessions: Arc::default() }
    }
}

async fn serve(plane: Arc<Plane>, threads: Arc<[Thread]>, stop: &Stop) -> io::Result<()> {
    let (alive, mut all_gone) = mpsc::channel(1);
    {
        let mut opened = plane.ports.opened();
        let mut accepting = JoinSet::new();
        let mut reached = true;
        while !stop.is_given_up() {
            tokio::select! {
                one = opened.next() => {
                    let listener = TcpListener::from_std(one.what.try_clone()?)?;
                    let (plane, threads) = (Arc::clone(&plane), Arc::clone(&threads));
                    accepting.spawn(accept(plane, threads, (one.serial, listener), Alive::clone(&alive), stop.clone()));
                }
                carried = plane.arrivals.next(), if reached => match carried {
                    Some(carried) => begin_home(&plane, &threads, carried, Alive::clone(&alive), stop.clone()),
                    None => reached = false,
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

fn idlest(threads: &[Thread]) -> Option<&Thread> {
    threads.iter().min_by_key(|thread| Arc::strong_count(&thread.sessions))
}

/// Serves a session of another node.
fn begin_home(plane: &Arc<Plane>, threads: &[Thread], carried: Carried, alive: Alive, stop: Stop) {
    let Some(thread) = idlest(threads) else { return };
    let (plane, session) = (Arc::clone(plane), Arc::clone(&thread.sessions));
    thread.runtime.spawn(async move {
        if let Err(error) = attend(plane, carried, stop).await {
            tracing::debug!("a session of another node ended: failed to {error}");
        }
        drop((alive, session));
    });
}

async fn accept(
    plane: Arc<Plane>,
    threads: Arc<[Thread]>,
    (serial, listener): (u64, TcpListener),
    alive: Alive,
    stop: Stop,
) -> io::Result<()> {
    let ports = Arc::clone(&plane);
    let mut given_up = pin!(ports.ports.given_up(serial, &stop));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut given_up => return Ok(()),
            () = stop.give_up() => return Ok(()),
        };
        match accepted {
            Ok((stream, peer)) => match plane.places.take(peer.ip()) {
                Ok(place) => {
                    let (Some(thread), Ok(stream)) = (idlest(&threads), stream.into_std()) else { continue };
                    let (plane, alive, stop) = (Arc::clone(&plane), alive.clone(), stop.clone());
                    let session = Arc::clone(&thread.sessions);
                    thread.runtime.spawn(async move {
                        converse(plane, stream, peer, stop).await;
                        drop((place, alive, session));
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

async fn converse(plane: Arc<Plane>, stream: std::net::TcpStream, peer: SocketAddr, stop: Stop) {
    // The mark of an interrupt comes as urgent data: it belongs between the bytes around it.
    let prepared = sockopt::set_socket_oobinline(&stream, true)
        .map_err(io::Error::from)
        .and_then(|()| Ok((stream.local_addr()?, TcpStream::from_std(stream)?)));
    let ended = match prepared {
        Ok((local, stream)) => Session::new(plane, stream, peer.ip(), local.ip()).run(&stop).await,
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a connection broke");
    }
}
