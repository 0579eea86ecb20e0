//! Two connections that became one: what either side says is given to the other until both have ended, or both are silent for
//! too long. Knows no protocol. Holds nothing while nothing moves.
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

use crate::base::limits::{PROXY_TUNNEL_HALF_WAIT, PROXY_TUNNEL_PIECE, PROXY_TUNNEL_WAIT};
use crate::fetch::target::Wire;

/// The upstream's end, waiting for the visitor's.
pub(crate) struct Tunnel {
    upstream: Box<dyn Wire>,
    /// What the upstream has said already.
    early: Bytes,
    _place: OwnedSemaphorePermit,
}

impl Tunnel {
    pub(crate) fn new(upstream: Box<dyn Wire>, early: Bytes, place: OwnedSemaphorePermit) -> Self {
        Self { upstream, early, _place: place }
    }

    /// Runs until its end.
    pub(crate) async fn run(self, visitor: impl AsyncRead + AsyncWrite + Unpin) {
        metrics::gauge!("ruche_proxy_tunnels").increment(1);
        let _open = Open;
        let Self { upstream, early, _place } = self;
        if let Err(error) = both(visitor, upstream, early).await {
            tracing::debug!(%error, "a tunnel was cut");
        }
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tunnel")
    }
}

struct Open;

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!("ruche_proxy_tunnels").decrement(1);
    }
}

async fn both<A, B>(mut a: A, mut b: B, early: Bytes) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut there, mut back) = (Way::new(Bytes::new()), Way::new(early));
    let mut moved = Instant::now();
    let mut alarm = pin!(sleep_until(moved + PROXY_TUNNEL_WAIT));
    poll_fn(|cx| {
        let before = (there.moves, back.moves);
        let one = there.poll(cx, &mut a, &mut b)?;
        let other = back.poll(cx, &mut b, &mut a)?;
        if one.is_ready() && other.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if (there.moves, back.moves) != before {
            moved = Instant::now();
        }
        let half = one.is_ready() || other.is_ready();
        loop {
            let due = moved + if half { PROXY_TUNNEL_HALF_WAIT } else { PROXY_TUNNEL_WAIT };
            if due <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            if due < alarm.deadline() || alarm.is_elapsed() {
                alarm.as_mut().reset(due);
            }
            ready!(alarm.as_mut().poll(cx));
        }
    })
    .await
}

/// One direction.
struct Way {
    /// Read and not written yet.
    held: Bytes,
    /// The reader's side has ended.
    ended: bool,
    /// And the writer's side knows.
    told: bool,
    unflushed: bool,
    /// Counts pieces that were written.
    moves: u64,
}

impl Way {
    fn new(held: Bytes) -> Self {
        Self { held, ended: false, told: false, unflushed: false, moves: 0 }
    }

    /// Ready when this direction is at its end.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        loop {
            while !self.held.is_empty() {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.held))?;
                self.wrote(written)?;
                self.held.advance(written);
            }
            if self.told {
                return Poll::Ready(Ok(()));
            }
            if self.ended {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.told = true;
                continue;
            }
            let mut space = [const { MaybeUninit::<u8>::uninit() }; PROXY_TUNNEL_PIECE];
            let mut piece = ReadBuf::uninit(&mut space);
            if Pin::new(&mut *from).poll_read(cx, &mut piece)?.is_pending() {
                if self.unflushed {
                    ready!(Pin::new(&mut *to).poll_flush(cx))?;
                    self.unflushed = false;
                }
                return Poll::Pending;
            }
            let mut piece = piece.filled();
            self.ended = piece.is_empty();
            if let (false, Poll::Ready(written)) = (self.ended, Pin::new(&mut *to).poll_write(cx, piece)?) {
                self.wrote(written)?;
                piece = &piece[written..];
            }
            self.held = Bytes::copy_from_slice(piece);
        }
    }

    fn wrote(&mut self, written: usize) -> io::Result<()> {
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.unflushed = true;
        self.moves += 1;
        Ok(())
    }
}
