//! TLS on one connection, from the handshake on. What the engine writes is gathered, and leaves in as few records and calls as it
//! fills when the engine has nothing more to say: whoever polls the connection calls `Outbox::send` each time it waits. Holds no
//! buffer while nothing is under way. Never decides what is said.
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, BufRead, ErrorKind, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use rustix::net::sockopt;
use rustls::{ProtocolVersion, ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::base::limits::{WEB_LEAVE_WAIT, WEB_LINGER_BYTES_MAX, WEB_SEALED_MAX, WEB_SPARE_BUFFERS_MAX};

/// Plaintext of one full record (RFC 8446 section 5.1).
const RECORD: usize = 16 << 10;

/// The engine's end.
#[derive(Debug)]
pub(crate) struct Secure(Arc<Mutex<State>>);

/// What was written and has not left yet.
#[derive(Debug)]
pub(crate) struct Outbox(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    socket: TcpStream,
    session: ServerConnection,
    /// Less than a record, to be sealed.
    gathered: Vec<u8>,
    /// Whether a flush sends: the engine is gone, and nobody calls the outbox.
    at_once: bool,
    /// Whether what is sealed is nothing but tickets for later sessions, which leave with the first answer.
    holds_tickets: bool,
    /// Whether the end was said.
    ended: bool,
}

impl Secure {
    /// Agrees with a client on keys, a name and a protocol.
    pub(crate) async fn accept(config: Arc<ServerConfig>, socket: TcpStream) -> io::Result<(Self, Outbox)> {
        let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
        // How much is sealed before it is sent is decided here.
        session.set_buffer_limit(None);
        let mut state =
            State { socket, session, gathered: Vec::new(), at_once: false, holds_tickets: false, ended: false };
        poll_fn(|cx| state.shake_hands(cx)).await?;
        // With TLS 1.2 the client still waits for our last words.
        state.holds_tickets = state.session.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        Ok(Self::of(state))
    }

    /// Goes on where a handshake was made already.
    pub(crate) fn carry_on(mut session: ServerConnection, socket: TcpStream) -> (Self, Outbox) {
        session.set_buffer_limit(None);
        Self::of(State { socket, session, gathered: Vec::new(), at_once: false, holds_tickets: false, ended: false })
    }

    fn of(state: State) -> (Self, Outbox) {
        let state = Arc::new(Mutex::new(state));
        (Self(Arc::clone(&state)), Outbox(state))
    }

    /// The name the client asked for.
    pub(crate) fn server_name(&self) -> Option<String> {
        lock(&self.0).session.server_name().map(str::to_owned)
    }

    /// Ends the connection before anything was said on it.
    pub(crate) async fn leave(mut self) {
        // Who has gone already misses nothing.
        let _ = tokio::time::timeout(WEB_LEAVE_WAIT, self.shutdown()).await;
    }

    pub(crate) fn speaks(&self, protocol: &[u8]) -> bool {
        lock(&self.0).session.alpn_protocol() == Some(protocol)
    }
}

impl Outbox {
    /// Sends what there is. What the socket does not take now is pending, and wakes the task when it does.
    pub(crate) fn send(&self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        match lock(&self.0).send(cx) {
            Poll::Ready(sent) => sent.map(Poll::Ready),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    /// After the end was said, takes what the client still says until it has closed too. HTTP/2 has something to say while it reads
    /// (WINDOW_UPDATE, answers to PING), and were the socket closed over that, the kernel would take back what it holds for the client:
    /// megabytes of an answer that is on its way.
    pub(crate) async fn linger(&self, by: Instant) {
        let mut left = WEB_LINGER_BYTES_MAX;
        let closed = poll_fn(|cx| {
            let state = &mut *lock(&self.0);
            loop {
                let mut piece = [0; 4 << 10];
                match (Socket { socket: &mut state.socket, cx }).read(&mut piece) {
                    Ok(taken @ 1..) if taken <= left => left -= taken,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
                    Ok(_) | Err(_) => return Poll::Ready(()),
                }
            }
        });
        // Who says nothing and does not close has what it wanted, or is gone.
        let _ = timeout_at(by, closed).await;
    }

    /// The engine has let go: what is written from now on leaves when it is flushed.
    pub(crate) fn hand_over(&self) {
        lock(&self.0).at_once = true;
    }
}

impl State {
    fn shake_hands(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.is_handshaking() {
            ready!(self.send_sealed(cx))?;
            if ready!(self.receive(cx))? == 0 {
                return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.gathered.is_empty() {
            let gathered = std::mem::take(&mut self.gathered);
            let sealed = self.session.writer().write_all(&gathered);
            give_back(gathered);
            sealed?;
        }
        if self.holds_tickets { Poll::Ready(Ok(())) } else { self.send_sealed(cx) }
    }

    fn send_sealed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Socket { socket: &mut self.socket, cx }) {
                Ok(0) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes of `parts` what may be under way at one time.
    fn write(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        // Nothing is taken that the socket does not take: a client that reads slowly is not given memory.
        if !std::mem::take(&mut self.holds_tickets) {
            ready!(self.send_sealed(cx))?;
        }
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if self.gathered.len() + total < RECORD {
            if self.gathered.capacity() == 0 {
                self.gathered = spare();
            }
            for part in parts {
                self.gathered.extend_from_slice(part);
            }
            return Poll::Ready(Ok(total));
        }
        let gathered = std::mem::take(&mut self.gathered);
        let mut all = Vec::with_capacity(parts.len() + 1);
        all.push(IoSlice::new(&gathered));
        let mut room = WEB_SEALED_MAX;
        for part in parts {
            let part = &part[..part.len().min(room)];
            room -= part.len();
            all.push(IoSlice::new(part));
        }
        let sealed = self.session.writer().write_vectored(&all);
        drop(all);
        let taken = sealed?.saturating_sub(gathered.len());
        give_back(gathered);
        match self.send_sealed(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(taken)),
        }
    }

    fn read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.session.reader().fill_buf() {
                Ok(plain) => {
                    let count = plain.len().min(buffer.remaining());
                    buffer.put_slice(&plain[..count]);
                    self.session.reader().consume(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            ready!(self.receive(cx))?;
        }
    }

    /// Opens what came; how much that was.
    fn receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let count = match self.session.read_tls(&mut Socket { socket: &mut self.socket, cx }) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if self.holds_tickets {
                    // Many clients ask only when they know that their last part of the handshake came (Nagle's algorithm): the
                    // tickets would have told them, and the kernel alone takes 40 ms. It may refuse, and they wait.
                    let _ = sockopt::set_tcp_quickack(&self.socket, true);
                }
                return Poll::Pending;
            }
            Err(error) => return Poll::Ready(Err(error)),
        };
        if let Err(error) = self.session.process_new_packets() {
            // The client is told what was wrong, if it still listens.
            let _ = self.send_sealed(cx);
            return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, error)));
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncRead for Secure {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).read(cx, buffer)
    }
}

impl AsyncWrite for Secure {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        lock(&self.0).write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).write(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        if state.at_once { state.send(cx) } else { Poll::Ready(Ok(())) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        state.holds_tickets = false;
        ready!(state.send(cx))?;
        if !state.ended {
            state.ended = true;
            state.session.send_close_notify();
        }
        ready!(state.send_sealed(cx))?;
        Pin::new(&mut state.socket).poll_shutdown(cx)
    }
}

/// The socket as rustls wants it: what would wait is an error, and the task is woken.
struct Socket<'a, 'c> {
    socket: &'a mut TcpStream,
    cx: &'a mut Context<'c>,
}

fn now<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(done) => done,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

impl Read for Socket<'_, '_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(bytes);
        now(Pin::new(&mut *self.socket).poll_read(self.cx, &mut buffer))?;
        Ok(buffer.filled().len())
    }
}

impl Write for Socket<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        now(Pin::new(&mut *self.socket).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        // One record is the rule, for which the kernel has a shorter way.
        match parts {
            [part] => self.write(part),
            _ => now(Pin::new(&mut *self.socket).poll_write_vectored(self.cx, parts)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

thread_local! {
    /// Buffers that wait for the next answer of the thread.
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

fn spare() -> Vec<u8> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(RECORD))
}

fn give_back(mut buffer: Vec<u8>) {
    buffer.clear();
    SPARE.with_borrow_mut(|spare| {
        if buffer.capacity() > 0 && spare.len() < WEB_SPARE_BUFFERS_MAX {
            spare.push(buffer);
        }
    });
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // One task holds both ends, and a panic of it ends the connection.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
