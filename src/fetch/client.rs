//! Sending one request: connect, send, read the head, each within its limit.
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use tokio::time::timeout;

use crate::base::limits::{CLIENT_BODY_MAX, CLIENT_BODY_WAIT, CLIENT_CONNECT_WAIT, CLIENT_HEAD_WAIT};
use crate::fetch::error::FetchError;
use crate::fetch::link::Link;
use crate::fetch::response::{Response, Streaming};
use crate::fetch::target::Target;

/// How long each part of one exchange may last, and how large its body may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) connect: Duration,
    pub(crate) head: Duration,
    pub(crate) body: Duration,
    pub(crate) body_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connect: CLIENT_CONNECT_WAIT, head: CLIENT_HEAD_WAIT, body: CLIENT_BODY_WAIT, body_max: CLIENT_BODY_MAX }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) target: Target,
    pub(crate) bounds: Bounds,
}

impl Client {
    pub(crate) fn new(target: Target) -> Self {
        Self { target, bounds: Bounds::default() }
    }

    /// Sends a request, whose URI is a path and a query, and reads the whole answer.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<Response, FetchError> {
        self.open(request).await?.whole().await
    }

    /// Sends a request and reads the head of the answer; the body is read as it comes.
    pub(crate) async fn open(&self, mut request: Request<Bytes>) -> Result<Streaming, FetchError> {
        let target = &self.target;
        let broken = |error: hyper::Error| FetchError::of(&error, target);
        let wire = target.connect(self.bounds.connect).await?;
        if let Ok(host) = HeaderValue::from_str(&target.authority()) {
            request.headers_mut().insert(header::HOST, host);
        }
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        let exchange = async {
            let (mut link, sender) = Link::start(wire).await.map_err(broken)?;
            let response = link.send(sender, request).await.map_err(broken)?;
            Ok(Streaming::new(response, link, self.bounds, target.clone()))
        };
        let slow = |_| FetchError::Slow { target: target.clone(), wait: self.bounds.head };
        timeout(self.bounds.head, exchange).await.map_err(slow)?
    }
}
