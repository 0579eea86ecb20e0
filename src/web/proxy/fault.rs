//! Why a request was not answered by an upstream: one line for the log, one word for the metrics, one page for the visitor that
//! names nothing of the machine.
use std::io;

use http::header::CONNECTION;
use http::{HeaderValue, Response};

use crate::web::asked::AskedError;
use crate::web::body::Body;
use crate::web::pages;
use crate::web::proxy::heads::Unsound;

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("find room for one more connection to an upstream")]
    Busy,
    #[error("make sense of the upstream's address")]
    Address,
    #[error("resolve the upstream's name: {0}")]
    Resolve(String),
    #[error("reach the upstream: its name means this machine, which the site's account may not reach")]
    Forbidden,
    #[error("connect: {0}")]
    Connect(io::Error),
    #[error("connect in time")]
    ConnectLate,
    #[error("agree on TLS: {0}")]
    Tls(io::Error),
    #[error("agree on TLS in time")]
    TlsLate,
    #[error("get an answer: {0}")]
    Closed(io::Error),
    #[error("get an answer in time")]
    Late,
    #[error("read the answer: {0}")]
    Answer(Unsound),
    #[error("read the answer: it switches to a protocol that nobody asked for")]
    Switch,
    #[error("forward a request that has been here already")]
    Loop,
    #[error(transparent)]
    Asked(AskedError),
}

impl Fault {
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Address => "address",
            Self::Resolve(_) => "resolve",
            Self::Forbidden => "forbidden",
            Self::Connect(_) => "connect",
            Self::ConnectLate => "connect-late",
            Self::Tls(_) => "tls",
            Self::TlsLate => "tls-late",
            Self::Closed(_) => "closed",
            Self::Late => "late",
            Self::Answer(_) => "answer",
            Self::Switch => "switch",
            Self::Loop => "loop",
            Self::Asked(AskedError::TooLarge) => "too-large",
            Self::Asked(AskedError::Slow) => "slow-visitor",
            Self::Asked(AskedError::Broken(_) | AskedError::Length) => "visitor-gone",
        }
    }

    /// Whether it says something about the upstream, rather than about the request or this node.
    pub(crate) fn is_upstreams(&self) -> bool {
        !matches!(self, Self::Busy | Self::Loop | Self::Asked(_))
    }

    /// Whether nothing of the request can have reached the upstream.
    pub(crate) fn is_before(&self) -> bool {
        use Fault::{Address, Connect, ConnectLate, Forbidden, Resolve, Tls, TlsLate};
        matches!(self, Address | Resolve(_) | Forbidden | Connect(_) | ConnectLate | Tls(_) | TlsLate)
    }

    pub(crate) fn page(&self) -> Response<Body> {
        match self {
            Self::Busy => pages::busy(),
            Self::ConnectLate | Self::TlsLate | Self::Late => pages::upstream_late(),
            Self::Loop => pages::turned_in_circles(),
            Self::Asked(AskedError::TooLarge) => closing(pages::too_large()),
            Self::Asked(AskedError::Slow) => closing(pages::too_slow()),
            Self::Asked(AskedError::Broken(_) | AskedError::Length) => closing(pages::bad_request()),
            _ => pages::upstream_failed(),
        }
    }
}

/// What is left of the body is not worth waiting for. HTTP/2 has no such header, and ends the stream by itself.
fn closing(mut page: Response<Body>) -> Response<Body> {
    page.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    page
}
