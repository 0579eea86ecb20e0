//! One connection and its driver: whoever waits for something on it also moves it. No task, so nothing outlives the request.
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;

use crate::base::limits::CLIENT_BUFFER_MAX;
use crate::fetch::target::Wire;

type Driver = hyper::client::conn::http1::Connection<TokioIo<Box<dyn Wire>>, Full<Bytes>>;

pub(super) struct Link {
    /// Absent once the connection is over.
    driver: Option<Pin<Box<Driver>>>,
}

impl Link {
    pub(super) async fn start(wire: Box<dyn Wire>) -> hyper::Result<(Self, SendRequest<Full<Bytes>>)> {
        let (sender, driver) = Builder::new().max_buf_size(CLIENT_BUFFER_MAX).handshake(TokioIo::new(wire)).await?;
        Ok((Self { driver: Some(Box::pin(driver)) }, sender))
    }

    pub(super) async fn send(
        &mut self,
        mut sender: SendRequest<Full<Bytes>>,
        request: Request<Bytes>,
    ) -> hyper::Result<Response<Incoming>> {
        self.drive(sender.send_request(request.map(Full::new))).await
    }

    /// Waits for a thing that comes over this connection. The driver's own error needs no look: the thing has it too.
    pub(super) async fn drive<T>(&mut self, thing: impl Future<Output = T>) -> T {
        let mut thing = pin!(thing);
        poll_fn(|cx| {
            if let Poll::Ready(out) = thing.as_mut().poll(cx) {
                return Poll::Ready(out);
            }
            if self.driver.as_mut().is_some_and(|driver| driver.as_mut().poll(cx).is_ready()) {
                self.driver = None;
                return thing.as_mut().poll(cx);
            }
            Poll::Pending
        })
        .await
    }
}
