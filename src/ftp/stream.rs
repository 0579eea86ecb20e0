//! Bytes to and from a client, with TLS or without: the control connection with its lines and replies, and a data connection,
//! whose end says whether all was sent. Never knows a command.
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{error::Elapsed, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::base::limits::{FTP_HANDSHAKE_WAIT, FTP_LINE_PIECE, FTP_REPLY_WAIT, FTP_STALL_WAIT};
use crate::ftp::line::{Lines, Next};
use crate::ftp::reply::Reply;

/// A connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// The server's side of a handshake.
    pub(crate) async fn secure(tcp: TcpStream, tls: &Arc<ServerConfig>) -> io::Result<Self> {
        let accepted =
            timeout(FTP_HANDSHAKE_WAIT, TlsAcceptor::from(Arc::clone(tls)).accept(tcp)).await.map_err(late)?;
        Ok(Self::Tls(Box::new(accepted?)))
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

fn late(_: Elapsed) -> io::Error {
    io::ErrorKind::TimedOut.into()
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// What breaks into a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    Abort,
    /// The control connection broke.
    Gone,
}

/// The control connection.
#[derive(Debug)]
pub(crate) struct Control {
    /// None while its handshake is made, and after a failed one.
    stream: Option<Stream>,
    pub(crate) lines: Lines,
    /// The client says nothing more.
    ended: bool,
    /// Replies that leave with the next one.
    held: String,
}

impl Control {
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self { stream: Some(Stream::Plain(tcp)), lines: Lines::default(), ended: false, held: String::new() }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Reads a piece into the lines. Holds no buffer while it waits.
    pub(crate) async fn read(&mut self) -> io::Result<()> {
        let (stream, lines) = (self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?, &mut self.lines);
        let read = poll_fn(|cx| {
            let mut piece = [0; FTP_LINE_PIECE];
            let mut buf = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))?;
            lines.feed(buf.filled());
            Poll::Ready(Ok::<_, io::Error>(buf.filled().len()))
        });
        let read = read.await;
        // Without a close_notify it is an end as well: a command is whole when its line is.
        self.ended = !matches!(read, Ok(1..));
        match read {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the client is still there, as far as that can be told without waiting.
    pub(crate) async fn is_there(&mut self) -> bool {
        if !self.ended && self.lines.next() == Next::Nothing {
            tokio::select! {
                biased;
                read = self.read() => return read.is_ok() && !self.ended,
                () = std::future::ready(()) => {}
            }
        }
        !self.ended
    }

    /// Returns when a transfer is to end. What else is asked stays for later, in its order.
    pub(crate) async fn interrupted(&mut self) -> Interrupt {
        loop {
            match self.lines.next() {
                Next::Abort => return Interrupt::Abort,
                Next::Nothing if !self.ended => {
                    if self.read().await.is_err() {
                        return Interrupt::Gone;
                    }
                }
                Next::Nothing | Next::Other => std::future::pending().await,
            }
        }
    }

    /// A reply that another one follows at once: both leave together.
    pub(crate) fn hold(&mut self, reply: &Reply) {
        self.held = reply.to_string();
    }

    pub(crate) async fn say(&mut self, reply: &Reply) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let text = std::mem::take(&mut self.held) + &reply.to_string();
        let said = async {
            stream.write_all(text.as_bytes()).await?;
            stream.flush().await
        };
        timeout(FTP_REPLY_WAIT, said).await.map_err(late)?
    }

    /// Goes on with TLS.
    pub(crate) async fn secure(&mut self, tls: &Arc<ServerConfig>) -> io::Result<()> {
        match self.stream.take() {
            Some(Stream::Plain(tcp)) => self.stream = Some(Stream::secure(tcp, tls).await?),
            other => self.stream = other,
        }
        Ok(())
    }

    /// Says that nothing follows.
    pub(crate) async fn close(&mut self) {
        if let Some(mut stream) = self.stream.take() {
            let _ = timeout(FTP_REPLY_WAIT, stream.shutdown()).await;
        }
    }
}

/// A data connection. Dropped before its end was said it is reset, so that what was sent cannot be taken for all.
#[derive(Debug)]
pub(crate) struct Data {
    stream: Stream,
    done: bool,
}

impl Data {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, done: false }
    }

    /// Adds what comes to the buffer, up to its capacity; 0 at an end that was said to be one.
    pub(crate) async fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        timeout(FTP_STALL_WAIT, self.stream.read_buf(buffer)).await.map_err(late)?
    }

    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = timeout(FTP_STALL_WAIT, self.stream.write(bytes)).await.map_err(late)??;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Says that this was all.
    pub(crate) async fn end(&mut self) -> io::Result<()> {
        timeout(FTP_REPLY_WAIT, self.stream.shutdown()).await.map_err(late)??;
        self.done = true;
        Ok(())
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if !self.done {
            // What cannot be reset is closed.
            let _ = self.stream.tcp().set_zero_linger();
        }
    }
}
