//! One connection, from its first byte to its last: the TLS handshake, HTTP/1.1 or HTTP/2 as agreed there, the limits of both,
//! and the end. The only place that knows which HTTP engine we use. Never knows a site.
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout};

use crate::base::limits::{
    WEB_ERROR_RESETS_MAX, WEB_HANDSHAKE_WAIT, WEB_HEAD_MAX, WEB_HEAD_WAIT, WEB_IDLE_WAIT, WEB_LEAVE_WAIT,
    WEB_PENDING_RESETS_MAX, WEB_PING_EVERY, WEB_PING_WAIT, WEB_SEND_BUFFER_MAX, WEB_STREAMS_MAX,
};
use crate::base::names::Host;
use crate::cluster::inbound::Carried;
use crate::ops::places::Place;
use crate::ops::stop::Stop;
use crate::tls::order::ACME_TLS;
use crate::web::answer::{Guest, answer};
use crate::web::carried::Visit;
use crate::web::felt::Felt;
use crate::web::listen::Alive;
use crate::web::pages;
use crate::web::pulse::{Pulse, Waits};
use crate::web::secure::{Outbox, Secure};
use crate::web::sent::Sent;
use crate::web::threads::Thread;

/// What the client and we agreed to speak (RFC 7301); nothing agreed means HTTP/1.1.
const HTTP_2: &[u8] = b"h2";

const WAITS: Waits = Waits { head: WEB_HEAD_WAIT, idle: WEB_IDLE_WAIT, leave: WEB_LEAVE_WAIT };

/// Who came, and from where.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) stream: TcpStream,
    pub(crate) peer: IpAddr,
    pub(crate) held: Held,
}

/// What a connection holds for as long as it lives, also after an upgrade: its place among all, and the end of its thread.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) _place: Seat,
    pub(crate) _alive: Alive,
}

/// A place among visitors, or among what other nodes carry here.
#[derive(Debug)]
pub(crate) enum Seat {
    Visitor { _place: Place },
    Node { _place: OwnedSemaphorePermit },
}

/// Talks with a visitor until either has had enough.
pub(crate) async fn converse(thread: Arc<Thread>, visitor: Visitor, secure: bool, https_port: u16, stop: Stop) {
    let Visitor { stream, peer, held } = visitor;
    if !secure {
        let pulse = Pulse::new(true, &WAITS);
        let guest = Guest::new((thread, Arc::new(held)), &pulse, (peer, https_port), None);
        return http_1(stream, None, &pulse, service(guest), &stop).await;
    }
    let accepted = timeout(WEB_HANDSHAKE_WAIT, Secure::accept(thread.tls(), stream)).await;
    let (stream, outbox) = match accepted {
        Ok(Ok(secure)) => secure,
        Ok(Err(error)) => return failed("handshake", &error),
        Err(elapsed) => return failed("handshake-late", &elapsed),
    };
    if stream.speaks(ACME_TLS) {
        // The handshake was all they wanted (RFC 8737 section 3).
        return stream.leave().await;
    }
    let sni = stream.server_name().and_then(|name| Host::parse(&name).ok());
    let two = stream.speaks(HTTP_2);
    let pulse = Pulse::new(!two, &WAITS);
    let guest = Guest::new((thread, Arc::new(held)), &pulse, (peer, https_port), Some(sni));
    if two {
        http_2(stream, Some(outbox), &pulse, service(guest), &stop).await;
    } else {
        http_1(stream, Some(outbox), &pulse, service(guest), &stop).await;
    }
}

/// Serves what another node carries here, request by request of whichever visitor.
pub(crate) async fn attend(thread: Arc<Thread>, carried: Carried, alive: Alive, stop: Stop) {
    let socket = match TcpStream::from_std(carried.socket) {
        Ok(socket) => socket,
        Err(error) => return failed("carried", &error),
    };
    let (stream, outbox) = Secure::carry_on(carried.session, socket);
    let pulse = Pulse::new(true, &WAITS);
    let held = Arc::new(Held { _place: Seat::Node { _place: carried.place }, _alive: alive });
    let (felt, caller) = (Arc::clone(&pulse), carried.caller);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (ground, pulse) = ((Arc::clone(&thread), Arc::clone(&held)), Arc::clone(&felt));
        let visit = Visit::take(request.headers_mut()).filter(|_| caller.is_member());
        async move {
            let Some(visit) = visit else {
                return Ok(pages::bad_request().map(|body| Sent::new(body, None, None, pulse.open())));
            };
            ground.0.catches_up(visit.revision).await;
            answer(Arc::new(Guest::carried(ground, &pulse, visit)), request).await
        }
    });
    http_1(stream, Some(outbox), &pulse, service, &stop).await;
}

fn failed(reason: &'static str, error: &dyn std::error::Error) {
    metrics::counter!("ruche_web_failed_connections_total", "reason" => reason).increment(1);
    tracing::debug!(%error, reason, "a connection was not made");
}

/// What answers on a connection.
trait Answers: Service<Request<Incoming>, Response = Response<Sent>, Error = Infallible, Future: Send + 'static> {}

impl<S> Answers for S where
    S: Service<Request<Incoming>, Response = Response<Sent>, Error = Infallible, Future: Send + 'static>
{
}

async fn http_1<S>(stream: S, outbox: Option<Outbox>, pulse: &Arc<Pulse>, service: impl Answers, stop: &Stop)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let io = TokioIo::new(Felt::new(stream, Arc::clone(pulse)));
    let mut builder = http1::Builder::new();
    // The pulse watches the time a head takes, and silence.
    // More than 100 headers are refused: the engine's own bound, which costs nothing unless it is changed.
    builder.header_read_timeout(None).max_buf_size(WEB_HEAD_MAX);
    keep(builder.serve_connection(io, service).with_upgrades(), outbox, pulse, stop).await;
}

async fn http_2<S>(stream: S, outbox: Option<Outbox>, pulse: &Arc<Pulse>, service: impl Answers, stop: &Stop)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let io = TokioIo::new(Felt::new(stream, Arc::clone(pulse)));
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(WEB_STREAMS_MAX)
        .max_header_list_size(WEB_HEAD_MAX as u32)
        .max_pending_accept_reset_streams(WEB_PENDING_RESETS_MAX)
        .max_local_error_reset_streams(WEB_ERROR_RESETS_MAX)
        .max_send_buf_size(WEB_SEND_BUFFER_MAX)
        .keep_alive_interval(WEB_PING_EVERY)
        .keep_alive_timeout(WEB_PING_WAIT)
        // WebSockets over HTTP/2 (RFC 8441).
        .enable_connect_protocol();
    keep(builder.serve_connection(io, service), outbox, pulse, stop).await;
}

fn service(guest: Guest) -> impl Answers {
    let guest = Arc::new(guest);
    service_fn(move |request| answer(Arc::clone(&guest), request))
}

/// A connection that can be asked to finish what it has and take nothing more.
trait Leave: Future<Output = hyper::Result<()>> {
    fn leave(self: Pin<&mut Self>);
}

impl<S, I> Leave for http1::UpgradeableConnection<I, S>
where
    S: Answers,
    I: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    fn leave(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S, I> Leave for http2::Connection<I, S, TokioExecutor>
where
    S: Answers,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    fn leave(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// How it came to the end of a connection.
enum Ended {
    ByItself(hyper::Result<()>),
    /// The client takes nothing any more.
    Gone(io::Error),
    Silent,
}

/// Keeps the connection going until it ends by itself, the node drains, or nothing moves on it any more.
async fn keep(connection: impl Leave, outbox: Option<Outbox>, pulse: &Pulse, stop: &Stop) {
    let mut connection = pin!(connection);
    let mut drain = pin!(stop.drain());
    // Since when the node drains and by when that ends, and since when the connection has been asked to end.
    let (mut parting, mut cut, mut left) = (None, None, None);
    let waits = pulse.waits();
    let mut alarm = pin!(sleep_until(Instant::now() + waits.idle));
    let ended = poll_fn(|cx| {
        loop {
            let now = pulse.tick();
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                if let Some(outbox) = &outbox {
                    outbox.hand_over();
                    // Its last words; who does not take them at once has gone.
                    let _ = outbox.send(cx);
                }
                return Poll::Ready(Ended::ByItself(ended));
            }
            let waiting = match outbox.as_ref().map(|outbox| outbox.send(cx)) {
                Some(Err(error)) => return Poll::Ready(Ended::Gone(error)),
                Some(Ok(sent)) => sent.is_pending(),
                None => false,
            };
            if parting.is_none()
                && let Poll::Ready(by) = drain.as_mut().poll(cx)
            {
                (parting, cut) = (Some(now), Some(by));
                pulse.part();
            }
            // Whoever has not taken all of its answer yet has the time of one who is answered.
            let mut due = pulse.due(left.filter(|_| !waiting)).unwrap_or(now + waits.idle);
            if let (Some(since), None) = (parting, left) {
                // HTTP/2 has a way to say which requests it still takes.
                due = if pulse.is_http_1() { pulse.parts(since).map_or(due, |parts| parts.min(due)) } else { now };
            }
            if due <= now && (left.is_some() || pulse.is_in_head()) {
                return Poll::Ready(Ended::Silent);
            }
            if left.is_none() && due <= now {
                left = Some(now);
                connection.as_mut().leave();
                continue;
            }
            // Later it is set only when it rings: most connections move more often than that.
            if due < alarm.deadline() || alarm.is_elapsed() {
                alarm.as_mut().reset(due);
            }
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    });
    let ended = ended.await;
    if let (Ended::ByItself(Ok(())), Some(outbox)) = (&ended, &outbox)
        && !pulse.is_http_1()
    {
        // Who is asked to end has some time for it, and at the end of the node half of what is left: others need theirs.
        let now = Instant::now();
        let most = cut.map_or(waits.leave, |by| by.saturating_duration_since(now) / 2);
        outbox.linger(now + most).await;
    }
    match ended {
        Ended::ByItself(Ok(())) => {}
        Ended::ByItself(Err(error)) => failed("broken", &error),
        Ended::Gone(error) => failed("broken", &error),
        Ended::Silent => metrics::counter!("ruche_web_failed_connections_total", "reason" => "silent").increment(1),
    }
}

#[cfg(test)]
mod tests;
