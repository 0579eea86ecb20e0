//! What stands between a connection's bytes and the HTTP engine: it tells the pulse what moves, and lets nothing unsound in.
//! Never holds a byte back.
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::base::limits::{WEB_LINGER_BYTES_MAX, WEB_LINGER_WAIT};
use crate::web::frames::Frames;
use crate::web::framing::Framing;
use crate::web::pulse::Pulse;

/// A stream that tells its pulse, and its guard what comes in.
#[derive(Debug)]
pub(crate) struct Felt<S> {
    stream: S,
    pulse: Arc<Pulse>,
    guard: Guard,
    linger: Option<Linger>,
}

impl<S> Felt<S> {
    pub(crate) fn new(stream: S, pulse: Arc<Pulse>) -> Self {
        let guard = match pulse.is_http_1() {
            true => Guard::One(Framing::default()),
            false => Guard::Two(Frames::new(Instant::now())),
        };
        Self { stream, pulse, guard, linger: None }
    }

    fn wrote(&mut self, octets: usize) {
        self.pulse.wrote(octets);
        if let Guard::Two(frames) = &mut self.guard {
            frames.sent(octets);
        }
    }

    /// Looks at what was read before the engine sees it.
    fn look(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        match &mut self.guard {
            Guard::One(_) if self.pulse.has_switched() => {}
            Guard::One(framing) => {
                if let Err(unsound) = framing.look(&buffer.filled()[before..]) {
                    refused(unsound.as_str());
                    // The engine refuses this octet wherever it stands, answers 400 where it can, and reads no further.
                    buffer.set_filled(before);
                    buffer.put_slice(&[0]);
                }
            }
            Guard::Two(frames) => {
                if let Err(unfit) = frames.look(&buffer.filled()[before..], Instant::now()) {
                    refused(unfit.as_str());
                    return Err(io::Error::other(unfit.as_str()));
                }
            }
        }
        Ok(())
    }
}

fn refused(reason: &'static str) {
    metrics::counter!("ruche_web_refused_requests_total", "reason" => reason).increment(1);
}

/// Takes what a client still sends after its last answer: were the connection closed over it, the kernel would take the answer
/// back (RFC 9112 section 9.6).
#[derive(Debug)]
struct Linger {
    left: usize,
    end: Pin<Box<Sleep>>,
}

impl Linger {
    fn begin() -> Self {
        Self { left: WEB_LINGER_BYTES_MAX, end: Box::pin(sleep(WEB_LINGER_WAIT)) }
    }

    fn poll(&mut self, cx: &mut Context<'_>, stream: &mut (impl AsyncRead + Unpin)) -> Poll<()> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let mut piece = [0; 4 << 10];
            let mut piece = ReadBuf::new(&mut piece);
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut piece));
            let taken = piece.filled().len();
            if read.is_err() || taken == 0 || taken > self.left {
                return Poll::Ready(());
            }
            self.left -= taken;
        }
    }
}

/// By the version of HTTP that is spoken.
#[derive(Debug)]
enum Guard {
    One(Framing),
    Two(Frames),
}

impl<S: AsyncRead + Unpin> AsyncRead for Felt<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.pulse.read();
            self.look(buffer, before)?;
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Felt<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(bytes @ 1..)) = wrote {
            self.wrote(bytes);
        }
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        if let Poll::Ready(Ok(bytes @ 1..)) = wrote {
            self.wrote(bytes);
        }
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if !self.pulse.is_http_1() || !self.pulse.is_unread() {
                return Poll::Ready(Ok(()));
            }
        }
        let felt = &mut *self;
        felt.linger.get_or_insert_with(Linger::begin).poll(cx, &mut felt.stream).map(Ok)
    }
}
