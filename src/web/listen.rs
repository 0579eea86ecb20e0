//! Accepting visitors on one listener of one thread: within the limits of connections, through a lack of descriptors, until the
//! listener is given up. Never waits for a visitor.
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::base::limits::{WEB_ACCEPT_PAUSE, WEB_LOG_EVERY};
use crate::ops::ports;
use crate::ops::stop::Stop;
use crate::web::conn::{Held, Seat, Visitor, converse};
use crate::web::ports::Opened;
use crate::web::threads::Thread;

/// What a connection holds for as long as it lives; nothing is ever sent.
pub(crate) type Alive = mpsc::Sender<std::convert::Infallible>;

/// Accepts until the listener is given up; whom the kernel had accepted by then is served too.
pub(crate) async fn accept(thread: Arc<Thread>, held: ports::Held<Opened>, alive: Alive, stop: Stop) -> io::Result<()> {
    let ports::Held { what: opened, serial, .. } = held;
    let listener = TcpListener::from_std(opened.listener(thread.index())?)?;
    let (port, secure) = (listener.local_addr()?.port(), opened.secure);
    drop(opened);
    let mut given_up = pin!(thread.ports().given_up(serial, &stop));
    let admit = |accepted: io::Result<(TcpStream, SocketAddr)>| -> Option<Duration> {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => return pause(&error),
        };
        let place = match thread.places().take(peer.ip()) {
            Ok(place) => place,
            Err(full) => {
                metrics::counter!("ruche_web_refused_connections_total", "reason" => full.as_str()).increment(1);
                if FULL.is_due() {
                    tracing::warn!(reason = full.as_str(), %peer, "a connection was refused: there are too many");
                }
                return None;
            }
        };
        let https_port = if secure { port } else { thread.https_port() };
        let (thread, stop) = (Arc::clone(&thread), stop.clone());
        let held = Held { _place: Seat::Visitor { _place: place }, _alive: alive.clone() };
        let visitor = Visitor { stream, peer: peer.ip().to_canonical(), held };
        tokio::spawn(converse(thread, visitor, secure, https_port, stop));
        None
    };
    loop {
        tokio::select! {
            biased;
            () = &mut given_up => break,
            accepted = listener.accept() => if let Some(pause) = admit(accepted) {
                tokio::time::sleep(pause).await;
            },
        }
    }
    let listener = listener.into_std()?;
    while let Ok((stream, peer)) = listener.accept() {
        stream.set_nonblocking(true)?;
        admit(TcpStream::from_std(stream).map(|stream| (stream, peer)));
    }
    Ok(())
}

static FULL: Seldom = Seldom::new();
static SHORT: Seldom = Seldom::new();

/// How long to wait after an error of `accept`. Those of a connection that is gone already are nobody's.
fn pause(error: &io::Error) -> Option<Duration> {
    if error.kind() == ErrorKind::ConnectionAborted {
        return None;
    }
    let short = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    let reason =
        if Errno::from_io_error(error).is_some_and(|error| short.contains(&error)) { "short" } else { "error" };
    metrics::counter!("ruche_web_refused_connections_total", "reason" => reason).increment(1);
    if SHORT.is_due() {
        tracing::warn!(%error, "failed to accept connections; they wait");
    }
    Some(WEB_ACCEPT_PAUSE)
}

/// Lets a line through now and then.
struct Seldom(AtomicU64);

impl Seldom {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    fn is_due(&self) -> bool {
        static BEGUN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let now = BEGUN.get_or_init(Instant::now).elapsed().as_secs() + WEB_LOG_EVERY.as_secs();
        let last = self.0.load(Ordering::Relaxed);
        now >= last + WEB_LOG_EVERY.as_secs()
            && self.0.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
