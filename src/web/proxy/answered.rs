//! An upstream's answer on its way to the visitor, piece by piece as it comes. An answer that is cut off on one side is cut off on
//! the other: it never looks whole.
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use crate::base::limits::PROXY_PIECE_WAIT;
use crate::web::body::Body;
use crate::web::proxy::link::Link;
use crate::web::proxy::pool::Peer;

#[derive(Debug)]
struct Answered {
    body: Incoming,
    /// What has come already.
    first: Option<hyper::Result<Frame<Bytes>>>,
    /// Until the answer is whole.
    link: Option<Link>,
    peer: Arc<Peer>,
    /// How long the upstream keeps the connection afterwards, if it says so.
    kept: Option<Duration>,
    alarm: Option<Pin<Box<Sleep>>>,
    /// Whether the alarm is set for the piece that is waited for.
    waiting: bool,
}

/// The body of an answer; its connection is laid aside as soon as the answer is whole.
pub(crate) fn body(incoming: Incoming, link: Link, peer: &Arc<Peer>, kept: Option<Duration>) -> Body {
    let peer = Arc::clone(peer);
    if incoming.is_end_stream() {
        peer.put(link, kept);
        return Body::Empty;
    }
    let mut answered =
        Answered { body: incoming, first: None, link: Some(link), peer, kept, alarm: None, waiting: false };
    // Small answers come whole with their heads, and need no stream.
    match answered.poll_piece(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(None) => return Body::Empty,
        Poll::Ready(Some(Ok(piece))) if piece.is_data() && answered.body.is_end_stream() => {
            return Body::Bytes(piece.into_data().unwrap_or_default());
        }
        Poll::Ready(first) => answered.first = first,
        Poll::Pending => {}
    }
    Body::stream(answered)
}

impl Answered {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Some(link) = &mut self.link else { return Poll::Ready(None) };
        let piece = ready!(link.poll_piece(&mut self.body, cx));
        let over = match &piece {
            None => true,
            Some(Ok(_)) => self.body.is_end_stream(),
            Some(Err(_)) => {
                self.link = None;
                false
            }
        };
        if over && let Some(link) = self.link.take() {
            self.peer.put(link, self.kept);
        }
        Poll::Ready(piece)
    }

    fn cut(&self, reason: &'static str, error: &dyn std::fmt::Display) -> io::Error {
        metrics::counter!("ruche_proxy_failures_total", "reason" => reason).increment(1);
        tracing::debug!(upstream = self.peer.upstream.name, %error, "an answer was cut off");
        io::ErrorKind::UnexpectedEof.into()
    }
}

impl http_body::Body for Answered {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let answered = &mut *self;
        let piece = match answered.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => answered.poll_piece(cx),
        };
        if let Poll::Ready(piece) = piece {
            answered.waiting = false;
            return Poll::Ready(piece.map(|piece| piece.map_err(|error| answered.cut("cut", &error))));
        }
        let alarm = answered.alarm.get_or_insert_with(|| Box::pin(sleep(PROXY_PIECE_WAIT)));
        if !std::mem::replace(&mut answered.waiting, true) {
            alarm.as_mut().reset(Instant::now() + PROXY_PIECE_WAIT);
        }
        ready!(alarm.as_mut().poll(cx));
        answered.link = None;
        Poll::Ready(Some(Err(answered.cut("silent", &"nothing came for too long"))))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().and_then(|first| first.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
        let left = self.body.size_hint().exact();
        left.map_or_else(SizeHint::default, |left| SizeHint::with_exact(left + first as u64))
    }
}
