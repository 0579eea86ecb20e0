//! An answer: its head at once, its body whole or piece by piece.
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use crate::fetch::client::Bounds;
use crate::fetch::error::FetchError;
use crate::fetch::link::Link;
use crate::fetch::target::Target;

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// An answer whose body is still coming.
pub(crate) struct Streaming {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    link: Link,
    bounds: Bounds,
    target: Target,
}

impl Streaming {
    pub(super) fn new(response: http::Response<Incoming>, link: Link, bounds: Bounds, target: Target) -> Self {
        let (head, body) = response.into_parts();
        Self { status: head.status, headers: head.headers, body, link, bounds, target }
    }

    /// The next piece, a few KiB; `None` at the end. Silence longer than `idle` is an error.
    pub(crate) async fn next(&mut self, idle: Duration) -> Result<Option<Bytes>, FetchError> {
        let slow = |_| FetchError::Slow { target: self.target.clone(), wait: idle };
        timeout(idle, piece(&mut self.link, &mut self.body, &self.target)).await.map_err(slow)?
    }

    pub(crate) async fn whole(self) -> Result<Response, FetchError> {
        let Self { status, headers, body, mut link, bounds, target } = self;
        let slow = |_| FetchError::Slow { target: target.clone(), wait: bounds.body };
        let whole = collect(&mut link, body, bounds.body_max, &target);
        let body = timeout(bounds.body, whole).await.map_err(slow)??;
        Ok(Response { status, headers, body })
    }
}

async fn collect(link: &mut Link, mut body: Incoming, max: usize, target: &Target) -> Result<Bytes, FetchError> {
    let too_large = || FetchError::TooLarge { target: target.clone(), max };
    if body.size_hint().lower() > max as u64 {
        return Err(too_large());
    }
    let mut whole = BytesMut::new();
    while let Some(piece) = piece(link, &mut body, target).await? {
        if whole.len() + piece.len() > max {
            return Err(too_large());
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

async fn piece(link: &mut Link, body: &mut Incoming, target: &Target) -> Result<Option<Bytes>, FetchError> {
    loop {
        match link.drive(body.frame()).await {
            None => return Ok(None),
            Some(Err(error)) => return Err(FetchError::of(&error, target)),
            // Trailers say nothing we ask for.
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                _ => {}
            },
        }
    }
}
