//! Serving the API on its listeners: accepts within a bound, gives each connection its limits, and ends in two phases. Knows
//! nothing of what is asked.
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};
use tower::ServiceExt;

use crate::admin::Api;
use crate::admin::peers::Peer;
use crate::admin::reader::Reader;
use crate::base::limits::{
    ADMIN_ACCEPT_PAUSE, ADMIN_CONNECTIONS_MAX, ADMIN_HEAD_MAX, ADMIN_HEAD_WAIT, ADMIN_READER_WAIT,
};
use crate::ops::stop::Stop;

/// Where admins come in.
#[derive(Debug)]
pub enum Listener {
    Socket(UnixListener),
    Loopback(TcpListener),
}

enum Stream {
    Socket(UnixStream),
    Loopback(TcpStream),
}

impl Listener {
    fn poll_accept(&self, cx: &mut std::task::Context<'_>) -> Poll<io::Result<Stream>> {
        match self {
            Self::Socket(listener) => listener.poll_accept(cx).map_ok(|(stream, _)| Stream::Socket(stream)),
            Self::Loopback(listener) => listener.poll_accept(cx).map_ok(|(stream, _)| Stream::Loopback(stream)),
        }
    }
}

/// Serves until the stop: first the listeners are given up and no connection takes a further request, then those under way are
/// finished until the deadline of the drain.
pub async fn serve(listeners: Vec<Listener>, router: Api, stop: Stop) {
    // Apart, so that whoever fills loopback TCP, for which no permission is needed, does not keep root from the socket.
    let (sockets, loopback): (Vec<_>, Vec<_>) =
        listeners.into_iter().partition(|listener| matches!(listener, Listener::Socket(_)));
    let socket_places = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
    let loopback_places = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    {
        let mut given_up = pin!(stop.give_up());
        loop {
            let accepted = tokio::select! {
                accepted = accept(&sockets, &socket_places) => accepted,
                accepted = accept(&loopback, &loopback_places) => accepted,
                Some(ended) = connections.join_next() => {
                    report(ended);
                    continue;
                }
                () = &mut given_up => break,
            };
            let (stream, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "failed to accept an admin connection");
                    sleep(ADMIN_ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (router, stop) = (router.clone(), stop.clone());
            connections.spawn(async move {
                converse(stream, router, stop).await;
                drop(place);
            });
        }
    }
    drop((sockets, loopback));
    let deadline = stop.drain().await;
    let drained = timeout_at(deadline, async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    });
    if drained.await.is_err() {
        tracing::warn!(connections = connections.len(), "admin requests were cut off: they did not end in time");
    }
}

type Accepted = (Stream, tokio::sync::OwnedSemaphorePermit);

/// Takes a place first: at the bound, who comes next waits in the kernel's queue.
async fn accept(listeners: &[Listener], places: &Arc<Semaphore>) -> io::Result<Accepted> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let next = poll_fn(|cx| {
        let ready = listeners.iter().find_map(|listener| match listener.poll_accept(cx) {
            Poll::Ready(accepted) => Some(accepted),
            Poll::Pending => None,
        });
        ready.map_or(Poll::Pending, Poll::Ready)
    });
    Ok((next.await?, place))
}

async fn converse(stream: Stream, router: Api, stop: Stop) {
    match stream {
        Stream::Socket(stream) => match stream.peer_cred() {
            Ok(user) => speak(stream, Peer::Local { uid: user.uid(), gid: user.gid() }, router, stop).await,
            Err(error) => tracing::warn!(%error, "failed to learn who connected to the admin socket"),
        },
        Stream::Loopback(stream) => speak(stream, Peer::Tcp, router, stop).await,
    }
}

/// One HTTP/1.1 connection, until it ends; after the listeners were given up it takes no further request.
async fn speak<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(io: S, peer: Peer, router: Api, stop: Stop) {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(ADMIN_HEAD_WAIT).max_buf_size(ADMIN_HEAD_MAX);
    let known = stop.clone();
    let service = router.map_request(move |request: Request<_>| introduced(request, peer, known.clone()));
    let mut connection = pin!(
        builder.serve_connection(TokioIo::new(Reader::new(io, ADMIN_READER_WAIT)), TowerToHyperService::new(service))
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.give_up() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an admin connection broke off");
    }
}

/// The request with who asks and when to stop beside it.
fn introduced<B>(request: Request<B>, peer: Peer, stop: Stop) -> Request<Body>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(peer);
    request.extensions_mut().insert(stop);
    request
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        metrics::counter!("ruche_admin_panics_total").increment(1);
        tracing::error!(%error, "an admin request panicked");
    }
}
