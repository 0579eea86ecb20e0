//! One connection to an upstream, one exchange at a time, in HTTP/1.1. Whoever waits for something on it also moves it: no task, so
//! a visitor who leaves takes the exchange along. Holds no buffer while it is idle. Never guesses where an answer ends.
use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use memchr::memchr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::base::limits::{PROXY_BUFFER_MAX, PROXY_HEAD_WAIT, PROXY_INTERIM_MAX, PROXY_READ, PROXY_UPLOAD_PIECE};
use crate::fetch::target::Wire;
use crate::web::asked::AskedError;
use crate::web::proxy::heads::{Head, Unsound, head};
use crate::web::proxy::upload::Upload;

pub(crate) struct Link {
    wire: Box<dyn Wire>,
    /// What of the request waits to be written, from here on.
    out: Vec<u8>,
    written: usize,
    unflushed: bool,
    upload: Option<Box<Upload>>,
    /// When the request, or a piece of its body, last came.
    pub(crate) moved: Instant,
    /// Set for then or earlier, and left set while the connection is idle.
    alarm: Option<Pin<Box<Sleep>>>,
    /// The upstream takes nothing more; what it says may still be heard.
    deaf: bool,
    /// What came and was not looked at.
    pub(crate) input: Bytes,
    /// For large pieces; the last one filled what it could.
    buffer: BytesMut,
    much: bool,
    /// Among all connections to upstreams.
    place: OwnedSemaphorePermit,
    /// It has answered before.
    pub(crate) used: bool,
    /// When it was last laid aside, and until when it is any good.
    pub(crate) idle: Instant,
    pub(crate) until: Instant,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The connection had ended before anything was said; what was to be sent.
    Unsent(Option<Box<Upload>>),
    Closed(io::Error),
    Answer(Unsound),
    /// The visitor's body did not come.
    Asked(AskedError),
    Late,
}

thread_local! {
    /// Where the thread reads what is most often small, and what it writes requests in.
    static READ: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Link {
    pub(crate) fn new(wire: Box<dyn Wire>, place: OwnedSemaphorePermit) -> Self {
        let now = Instant::now();
        Self {
            wire,
            out: Vec::new(),
            written: 0,
            unflushed: false,
            upload: None,
            moved: now,
            alarm: None,
            deaf: false,
            input: Bytes::new(),
            buffer: BytesMut::new(),
            much: false,
            place,
            used: false,
            idle: now,
            until: now,
        }
    }

    /// Sends a request, whose head is written by `say`, and waits for the head of its answer. `bodiless`: it is a HEAD.
    pub(crate) async fn exchange(
        &mut self,
        say: impl FnOnce(&mut Vec<u8>),
        upload: Option<Box<Upload>>,
        bodiless: bool,
    ) -> Result<Head, Lost> {
        // One that was used before was looked at when it was taken.
        if !self.used && !self.is_silent() {
            return Err(Lost::Unsent(upload));
        }
        self.out = SPARE.take();
        say(&mut self.out);
        self.upload = upload;
        let mut part = Vec::new();
        let mut interims = 0;
        poll_fn(|cx| {
            self.send(cx).map_err(Lost::Asked)?;
            while let Poll::Ready(head) = self.poll_head(cx, &mut part, bodiless)? {
                if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                    return Poll::Ready(Ok(head));
                }
                interims += 1;
                if interims > PROXY_INTERIM_MAX {
                    return Poll::Ready(Err(Lost::Answer(Unsound::Interim)));
                }
                if let (StatusCode::CONTINUE, Some(upload)) = (head.status, &mut self.upload) {
                    upload.call();
                    self.send(cx).map_err(Lost::Asked)?;
                }
            }
            self.poll_late(cx).map(|()| Err(Lost::Late))
        })
        .await
    }

    /// Ready when nothing has come for too long. The alarm is set when it rings: most answers come long before.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.moved + PROXY_HEAD_WAIT;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
        while alarm.as_mut().poll(cx).is_ready() {
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(due);
        }
        Poll::Pending
    }

    /// The next head, interim ones too. `part`: of one that is not whole.
    fn poll_head(&mut self, cx: &mut Context<'_>, part: &mut Vec<u8>, bodiless: bool) -> Poll<Result<Head, Lost>> {
        loop {
            if !self.input.is_empty() {
                let is_first = part.is_empty();
                // Who sends a head in drops has it read at the end of its lines, of which there are not many.
                if is_first || memchr(b'\n', &self.input).is_some() {
                    if !is_first {
                        part.extend_from_slice(&self.input);
                        self.input = Bytes::copy_from_slice(part);
                    }
                    if let Some((head, length)) = head(&self.input, bodiless).map_err(Lost::Answer)? {
                        self.input.advance(length);
                        part.clear();
                        return Poll::Ready(Ok(head));
                    }
                    part.clear();
                }
                part.extend_from_slice(&std::mem::take(&mut self.input));
                if part.len() >= PROXY_BUFFER_MAX {
                    return Poll::Ready(Err(Lost::Answer(Unsound::TooLarge)));
                }
            }
            if ready!(self.poll_small(cx)).map_err(Lost::Closed)? == 0 {
                return Poll::Ready(Err(Lost::Closed(io::ErrorKind::UnexpectedEof.into())));
            }
        }
    }

    /// Sends what can be sent of the request.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), AskedError> {
        while !self.deaf && !self.is_said() {
            while let Some(upload) = self.upload.as_mut().filter(|_| self.out.len() < PROXY_UPLOAD_PIECE) {
                match upload.poll(cx, &mut self.out) {
                    Poll::Ready(Ok(more)) => {
                        self.moved = Instant::now();
                        if !more {
                            self.upload = None;
                        }
                    }
                    Poll::Ready(Err(error)) => return Err(error),
                    Poll::Pending => break,
                }
            }
            match self.poll_write(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) | Poll::Pending => break,
                // It may have answered all the same, such as that the body is too large.
                Poll::Ready(Err(_)) => {
                    self.deaf = true;
                    self.upload = None;
                }
            }
        }
        Ok(())
    }

    /// Writes what there is; false: there was nothing.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let begun = self.written;
        while self.written < self.out.len() {
            match ready!(Pin::new(&mut self.wire).poll_write(cx, &self.out[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
            self.unflushed = true;
        }
        let wrote = self.written > begun;
        self.written = 0;
        self.out.clear();
        if self.unflushed {
            ready!(Pin::new(&mut self.wire).poll_flush(cx))?;
            self.unflushed = false;
        }
        let out = if self.upload.is_none() { std::mem::take(&mut self.out) } else { Vec::new() };
        if (1..=PROXY_READ).contains(&out.capacity()) {
            SPARE.set(out);
        }
        Poll::Ready(Ok(wrote))
    }

    /// Whether all of the request has left.
    fn is_said(&self) -> bool {
        self.upload.is_none() && self.out.is_empty() && !self.unflushed
    }

    /// More of an answer's body, while the request's goes on; how much that is, none at the end.
    pub(crate) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.send(cx).is_err() {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        if !self.much {
            return self.poll_small(cx);
        }
        if self.buffer.capacity() < PROXY_READ {
            self.buffer.reserve(PROXY_BUFFER_MAX);
        }
        let read = pin!(self.wire.read_buf(&mut self.buffer)).poll(cx);
        if let Poll::Ready(Ok(count)) = read {
            self.much = count >= PROXY_READ;
            self.input = self.buffer.split().freeze();
        } else {
            // Who waits holds nothing.
            self.buffer = BytesMut::new();
        }
        read
    }

    fn poll_small(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        READ.with_borrow_mut(|space| {
            space.resize(PROXY_READ, 0);
            let mut space = ReadBuf::new(space);
            ready!(Pin::new(&mut self.wire).poll_read(cx, &mut space))?;
            self.much = space.remaining() == 0;
            self.input = Bytes::copy_from_slice(space.filled());
            Poll::Ready(Ok(self.input.len()))
        })
    }

    /// Whether nothing has come, nor the end, as far as is known without waiting. Nobody is woken for it any more.
    fn is_silent(&mut self) -> bool {
        self.input.is_empty() && self.poll_small(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Whether it can take another request: all of one was said, and nothing but its answer was heard.
    pub(crate) fn is_free(&mut self) -> bool {
        let _ = self.send(&mut Context::from_waker(Waker::noop()));
        !self.deaf && self.is_said() && self.is_silent()
    }

    /// Gives back what an idle connection does not need.
    pub(crate) fn rest(&mut self) {
        self.buffer = BytesMut::new();
        self.much = false;
    }

    /// The bare connection after an answer that switched protocols, with what came early.
    pub(crate) fn switch(self) -> (Box<dyn Wire>, Bytes, OwnedSemaphorePermit) {
        (self.wire, self.input, self.place)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("used", &self.used).field("deaf", &self.deaf).finish_non_exhaustive()
    }
}
