//! One connection to an upstream, one exchange at a time. Whoever waits for something on it also moves it: no task, so a
//! visitor who leaves takes the exchange along.
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::base::limits::{PROXY_BUFFER_MAX, PROXY_HEAD_WAIT};
use crate::fetch::target::Wire;
use crate::web::proxy::upload::{Progress, Upload};

pub(crate) struct Link {
    sender: SendRequest<Upload>,
    driver: Box<Connection<TokioIo<Box<dyn Wire>>, Upload>>,
    /// The driver has nothing more to do.
    over: bool,
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
    /// The connection, and the request if nothing of it was sent.
    Connection(Box<TrySendError<Request<Upload>>>),
    Late,
}

impl Link {
    pub(crate) async fn open(wire: Box<dyn Wire>, place: OwnedSemaphorePermit) -> hyper::Result<Self> {
        // More than 100 headers of an answer are no answer: the engine's own bound, which costs nothing unless it is changed.
        let (sender, driver) = Builder::new().max_buf_size(PROXY_BUFFER_MAX).handshake(TokioIo::new(wire)).await?;
        let now = Instant::now();
        Ok(Self { sender, driver: Box::new(driver), over: false, place, used: false, idle: now, until: now })
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.over {
            // Its error is told to whoever waits for something on it.
            self.over = self.driver.poll_without_shutdown(cx).is_ready();
        }
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Upload>,
        progress: Option<&Progress>,
    ) -> Result<Response<Incoming>, Lost> {
        let begun = Instant::now();
        let mut answer = pin!(self.sender.try_send_request(request));
        let mut alarm = pin!(None::<Sleep>);
        let (driver, over) = (&mut self.driver, &mut self.over);
        poll_fn(|cx| {
            if !*over {
                *over = driver.poll_without_shutdown(cx).is_ready();
            }
            // It comes through the driver alone, which wakes us.
            if let Poll::Ready(answer) = answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return Poll::Ready(answer.map_err(|error| Lost::Connection(Box::new(error))));
            }
            loop {
                let since = progress.map_or(begun, |progress| progress.moved().max(begun));
                let due = since + PROXY_HEAD_WAIT;
                if due <= Instant::now() {
                    return Poll::Ready(Err(Lost::Late));
                }
                let mut alarm = alarm.as_mut();
                if alarm.as_ref().as_pin_ref().is_none_or(|alarm| alarm.is_elapsed()) {
                    alarm.set(Some(sleep_until(due)));
                }
                if alarm.as_pin_mut().is_none_or(|alarm| alarm.poll(cx).is_pending()) {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// The next piece of an answer's body.
    pub(crate) fn poll_piece(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let mut quiet = Context::from_waker(Waker::noop());
        if let Poll::Ready(piece) = Pin::new(&mut *body).poll_frame(&mut quiet) {
            return Poll::Ready(piece);
        }
        self.drive(cx);
        Pin::new(body).poll_frame(&mut quiet)
    }

    /// Whether it can take another request, as far as is known without waiting. Nobody is woken for it any more.
    pub(crate) fn is_free(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.over && self.sender.is_ready()
    }

    /// The bare connection after an answer that switched protocols, with what came early.
    pub(crate) async fn switch(mut self) -> (Box<dyn Wire>, Bytes, OwnedSemaphorePermit) {
        poll_fn(|cx| {
            self.drive(cx);
            if self.over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let parts = self.driver.into_parts();
        (parts.io.into_inner(), parts.read_buf, self.place)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("over", &self.over).field("used", &self.used).finish_non_exhaustive()
    }
}

/// Has the progress of a body hear when the upstream asks for it.
pub(crate) fn listen(request: &mut Request<Upload>, progress: &Arc<Progress>) {
    let progress = Arc::clone(progress);
    hyper::ext::on_informational(request, move |interim| {
        if interim.status() == http::StatusCode::CONTINUE {
            progress.call();
        }
    });
}
