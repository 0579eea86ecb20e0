//! What a connection of HTTP/1.1, or a stream of HTTP/2, may become after an answer: a tunnel. A CONNECT of HTTP/2 that names a
//! WebSocket (RFC 8441) is treated as the upgrade it would be with HTTP/1.1, and its answer turned back; any other CONNECT stays
//! what it is.
use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64;
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::web::answer::Guest;
use crate::web::body::Body;
use crate::web::pages;
use crate::web::proxy::tunnel::Tunnel;
use crate::web::pulse::Owed;

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// The connection, or the stream, that may be asked to become something else.
#[derive(Debug)]
pub(crate) struct Switch {
    stream: OnUpgrade,
    /// It was asked for by a CONNECT of HTTP/2.
    connect: bool,
}

impl Switch {
    /// Of a request that asks for it; a CONNECT for a WebSocket becomes what it would be with HTTP/1.1.
    pub(crate) fn of(request: &mut Request<Incoming>) -> Option<Self> {
        if *request.method() != Method::CONNECT {
            let asks = request.headers().contains_key(UPGRADE) && request.version() == Version::HTTP_11;
            return asks.then(|| Self { stream: hyper::upgrade::on(&mut *request), connect: false });
        }
        if request.extensions().get::<Protocol>().is_none_or(|protocol| WEBSOCKET != protocol.as_str()) {
            return None;
        }
        let mut nonce = [0; 16];
        // Upstreams prove with it that they speak WebSocket; nothing depends on its being a surprise.
        let _ = getrandom::fill(&mut nonce);
        let key = HeaderValue::from_maybe_shared(Bytes::from(BASE64.encode(&nonce))).ok()?;
        let host = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok())?;
        let stream = hyper::upgrade::on(&mut *request);
        *request.method_mut() = Method::GET;
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        headers.insert(HOST, host);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, WEBSOCKET);
        headers.insert(SEC_WEBSOCKET_KEY, key);
        Some(Self { stream, connect: true })
    }

    /// Starts the tunnel where there is one, and turns back the answer to a CONNECT. The tunnel keeps the place of its visitor, and
    /// the thread waits for it at the end.
    pub(crate) fn answer(
        self,
        mut response: Response<Body>,
        tunnel: Option<Tunnel>,
        guest: &Arc<Guest>,
    ) -> Response<Body> {
        let Some(tunnel) = tunnel else {
            // A success would say that the stream is a tunnel now.
            return if self.connect && response.status().is_success() { pages::not_allowed() } else { response };
        };
        if self.connect {
            *response.status_mut() = StatusCode::OK;
            for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT] {
                response.headers_mut().remove(name);
            }
        }
        let (owed, guest) = (Owed::new(guest.pulse()), Arc::clone(guest));
        tokio::spawn(async move {
            if let Ok(stream) = self.stream.await {
                tunnel.run(TokioIo::new(stream)).await;
            }
            drop((owed, guest));
        });
        response
    }
}
