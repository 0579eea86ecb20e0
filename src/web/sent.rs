//! A response's body on its way out: counted for its site, and felt by the pulse of its connection.
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::web::body::Body;
use crate::web::counts::Tally;
use crate::web::log::Line;
use crate::web::pulse::{Open, Owed};

#[derive(Debug)]
pub(crate) struct Sent {
    body: Body,
    /// Of the site whose body it is; none for the node's own.
    tally: Option<Arc<Tally>>,
    /// Of the site's access log; written when the body is gone.
    line: Option<Line>,
    open: Open,
    /// While the next piece is to come from us, and not to be taken by the client.
    owed: Option<Owed>,
}

impl Sent {
    pub(crate) fn new(body: Body, tally: Option<Arc<Tally>>, line: Option<Line>, open: Open) -> Self {
        Self { body, tally, line, open, owed: None }
    }
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let sent = &mut *self;
        let frame = Pin::new(&mut sent.body).poll_frame(cx);
        match &frame {
            Poll::Pending => {
                sent.owed.get_or_insert_with(|| Owed::new(sent.open.pulse()));
            }
            Poll::Ready(frame) => {
                sent.owed = None;
                if let Some(Ok(frame)) = frame {
                    sent.open.pulse().touch();
                    let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                    if let Some(tally) = &sent.tally {
                        tally.sent(bytes);
                    }
                    if let Some(line) = &mut sent.line {
                        line.sent(bytes);
                    }
                }
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
