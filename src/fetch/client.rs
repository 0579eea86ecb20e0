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
        if let (Ok(host), false) =
            (HeaderValue::from_str(&target.authority()), request.headers().contains_key(header::HOST))
        {
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_request_over_tcp() {
        let listener = TcpListener::bind("[::1]:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let answer = b"HTTP/1.1 201 Created\r\nx-a: b\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nt: v\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            String::from_utf8(head).unwrap()
        };
        let client = Client::new(Target::Tcp { host: "::1".into(), port });
        let request = Request::get("/v1/sites?a=b").body(Bytes::new()).unwrap();
        let (head, response) = tokio::join!(server, client.send(request));
        let response = response.unwrap();
        assert_eq!((response.status.as_u16(), &response.body[..]), (201, &b"abc"[..]));
        assert_eq!(response.headers["x-a"], "b");
        assert!(head.starts_with("GET /v1/sites?a=b HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("host: [::1]:{port}\r\n")) && head.contains("connection: close\r\n"), "{head}");
    }
}
