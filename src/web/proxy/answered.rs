//! An upstream's answer on its way to the visitor, piece by piece as it comes. An answer that is cut off on one side is cut off on
//! the other: it never looks whole.
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::base::limits::PROXY_PIECE_WAIT;
use crate::web::body::Body;
use crate::web::proxy::heads::Unsound;
use crate::web::proxy::link::Link;
use crate::web::proxy::pieces::Rest;
use crate::web::proxy::pool::Peer;

#[derive(Debug)]
struct Answered {
    rest: Rest,
    /// What has come already, and what ends it.
    first: Bytes,
    trailers: Option<HeaderMap>,
    broken: Option<Unsound>,
    /// Until the answer is whole.
    link: Option<Link>,
    peer: Arc<Peer>,
    keeps: Keeps,
    alarm: Option<Pin<Box<Sleep>>>,
    /// Whether the alarm is set for the piece that is waited for.
    waiting: bool,
}

/// Whether the connection may be used again, and for how long the upstream keeps it, if it says so.
type Keeps = Option<Option<Duration>>;

/// The body of an answer; its connection is laid aside as soon as the answer is whole.
pub(crate) fn body(rest: Rest, link: Link, peer: Arc<Peer>, keeps: Keeps) -> Body {
    let (first, trailers, broken, alarm) = (Bytes::new(), None, None, None);
    let mut answered = Answered { rest, first, trailers, broken, link: Some(link), peer, keeps, alarm, waiting: false };
    answered.gather();
    // Small answers come whole with their heads, and need no stream.
    if answered.rest == Rest::Nothing && answered.trailers.is_none() {
        return Body::from(answered.first);
    }
    Body::stream(answered)
}

impl Answered {
    /// Takes all of the body that has come.
    fn gather(&mut self) {
        let Some(link) = &mut self.link else { return };
        let mut more = BytesMut::new();
        loop {
            match self.rest.take(&mut link.input) {
                Ok(Some(frame)) => match frame.into_data() {
                    Ok(data) if self.first.is_empty() => self.first = data,
                    Ok(data) => {
                        // Most come in one piece; many small ones are one to the visitor.
                        if more.is_empty() {
                            more.extend_from_slice(&self.first);
                        }
                        more.extend_from_slice(&data);
                    }
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
                Ok(None) => break,
                Err(unsound) => {
                    self.broken = Some(unsound);
                    break;
                }
            }
        }
        if !more.is_empty() {
            self.first = more.freeze();
        }
        if self.rest == Rest::Nothing {
            self.over();
        }
    }

    /// The answer is whole.
    fn over(&mut self) {
        if let (Some(link), Some(kept)) = (self.link.take(), self.keeps) {
            self.peer.put(link, kept);
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            if !self.first.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.first)))));
            }
            if let Some(trailers) = self.trailers.take() {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            if let Some(unsound) = self.broken.take() {
                return Poll::Ready(Some(Err(self.cut("answer", &unsound))));
            }
            let Some(link) = &mut self.link else { return Poll::Ready(None) };
            match ready!(link.poll_more(cx)) {
                Ok(1..) => self.gather(),
                Ok(0) if self.rest.ends_here() => {
                    self.rest = Rest::Nothing;
                    self.link = None;
                }
                Ok(0) => return Poll::Ready(Some(Err(self.cut("cut", &"the connection ended before it did")))),
                Err(error) => return Poll::Ready(Some(Err(self.cut("cut", &error)))),
            }
        }
    }

    fn cut(&mut self, reason: &'static str, error: &dyn fmt::Display) -> io::Error {
        self.link = None;
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
        if let Poll::Ready(piece) = answered.poll_piece(cx) {
            answered.waiting = false;
            return Poll::Ready(piece);
        }
        let alarm = answered.alarm.get_or_insert_with(|| Box::pin(sleep(PROXY_PIECE_WAIT)));
        if !std::mem::replace(&mut answered.waiting, true) {
            alarm.as_mut().reset(Instant::now() + PROXY_PIECE_WAIT);
        }
        ready!(alarm.as_mut().poll(cx));
        Poll::Ready(Some(Err(answered.cut("silent", &"nothing came for too long"))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest == Rest::Nothing && self.first.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let left = match self.rest {
            // With a length nothing could follow.
            Rest::Nothing if self.trailers.is_none() => 0,
            Rest::Length(left) => left,
            Rest::Nothing | Rest::Chunked(_) | Rest::Close => return SizeHint::default(),
        };
        SizeHint::with_exact(left + self.first.len() as u64)
    }
}
