//! A request's body on its way to the upstream, framed anew: it waits to be asked for where the visitor's program waits for
//! that. Holds no more of it than the piece that is being written.
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::TRAILER;
use http::{HeaderMap, HeaderName};
use http_body::Body as _;
use tokio::time::{Sleep, sleep};

use crate::base::limits::PROXY_CONTINUE_WAIT;
use crate::web::asked::{Asked, AskedError};
use crate::web::proxy::headers::{Framing, is_for_trailers, list};

#[derive(Debug)]
pub(crate) struct Upload {
    asked: Asked,
    /// Octets that were announced and are still to come; none: it goes in chunks.
    left: Option<u64>,
    /// Trailers that were announced: no others are sent.
    trailers: Vec<HeaderName>,
    /// Until then it waits to be asked for.
    hold: Option<Pin<Box<Sleep>>>,
    called: bool,
}

impl Upload {
    /// `expects`: it waits to be asked for.
    pub(crate) fn new(asked: Asked, framing: Framing, headers: &HeaderMap, expects: bool) -> Self {
        let (left, trailers) = match framing {
            Framing::Absent => (Some(0), Vec::new()),
            Framing::Length(length) => (Some(length), Vec::new()),
            Framing::Chunked => {
                let names = headers.get_all(TRAILER).iter().flat_map(list);
                let names = names.filter_map(|name| HeaderName::from_bytes(name).ok());
                (None, names.filter(is_for_trailers).collect())
            }
        };
        let hold = expects.then(|| Box::pin(sleep(PROXY_CONTINUE_WAIT)));
        Self { asked, left, trailers, hold, called: false }
    }

    /// The upstream asks for it.
    pub(crate) fn call(&mut self) {
        self.called = true;
    }

    /// Writes the next piece; false: that was the last.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<Result<bool, AskedError>> {
        if let Some(hold) = &mut self.hold {
            // The call comes over the connection that this body goes to, and whoever waits for one waits for both.
            if !self.called {
                ready!(hold.as_mut().poll(cx));
            }
            self.hold = None;
        }
        let frame = match self.asked.is_end_stream() {
            true => None,
            false => ready!(Pin::new(&mut self.asked).poll_frame(cx)).transpose()?,
        };
        Poll::Ready(match frame {
            None => self.end(None, out).map(|()| false),
            Some(frame) => match frame.into_data() {
                Ok(data) => self.data(&data, out).map(|()| true),
                Err(frame) => self.end(frame.into_trailers().ok(), out).map(|()| false),
            },
        })
    }

    fn data(&mut self, data: &Bytes, out: &mut Vec<u8>) -> Result<(), AskedError> {
        match &mut self.left {
            Some(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(AskedError::Length)?;
                out.extend_from_slice(data);
            }
            // An empty chunk would be the last.
            None if data.is_empty() => {}
            None => {
                // Writing to memory does not fail.
                let _ = write!(out, "{:x}\r\n", data.len());
                out.extend_from_slice(data);
                out.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }

    fn end(&mut self, trailers: Option<HeaderMap>, out: &mut Vec<u8>) -> Result<(), AskedError> {
        match self.left {
            Some(0) => return Ok(()),
            Some(_) => return Err(AskedError::Length),
            None => out.extend_from_slice(b"0\r\n"),
        }
        let trailers = trailers.unwrap_or_default();
        for (name, value) in trailers.iter().filter(|(name, _)| self.trailers.contains(name)) {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}
