//! The head of an upstream's answer, from its bytes to what a visitor gets of it and how the body behind it ends (RFC 9112
//! section 6.3). What two programs could read differently is no answer: a reader who guesses mixes up the answers of two visitors. Pure.
use std::mem::MaybeUninit;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::base::limits::{PROXY_BUFFER_MAX, PROXY_HEADERS_MAX};
use crate::web::proxy::headers::{KEEP_ALIVE, list, option_names};
use crate::web::proxy::pieces::Rest;

const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const PROXY_AUTHENTICATE: HeaderName = HeaderName::from_static("proxy-authenticate");

#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    /// What a visitor gets of them.
    pub(crate) headers: HeaderMap,
    pub(crate) rest: Rest,
    /// Whether the connection may be used again, and for how long the upstream keeps it, if it says so.
    pub(crate) keeps: bool,
    pub(crate) kept: Option<Duration>,
}

/// Why what an upstream says is no answer. Completes "failed to read the answer: …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsound {
    #[error("its head is not HTTP/1: {0}")]
    Head(httparse::Error),
    #[error("its head has an odd status or header")]
    Header,
    #[error("its head is too large")]
    TooLarge,
    #[error("too many interim answers come first")]
    Interim,
    #[error("its length is none, or more than one")]
    Length,
    #[error("its coding is not chunked alone")]
    Coding,
    #[error("it has a length and a coding")]
    Both,
    #[error("it has a broken chunk")]
    Chunk,
    #[error("it has broken trailers")]
    Trailers,
}

/// Reads a head and says how many bytes it has; none: it is not whole. `bodiless`: it answers a HEAD.
pub(crate) fn head(bytes: &Bytes, bodiless: bool) -> Result<Option<(Head, usize)>, Unsound> {
    let mut space = [const { MaybeUninit::uninit() }; PROXY_HEADERS_MAX];
    let mut found = httparse::Response::new(&mut []);
    let parsed = if matches!(bytes.first(), Some(b'\r' | b'\n')) {
        // The parser passes over empty lines, which belong to no answer.
        Err(httparse::Error::Version)
    } else {
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut found, bytes, &mut space)
    };
    let length = match parsed.map_err(Unsound::Head)? {
        httparse::Status::Complete(length) if length <= PROXY_BUFFER_MAX => length,
        httparse::Status::Partial if bytes.len() < PROXY_BUFFER_MAX => return Ok(None),
        _ => return Err(Unsound::TooLarge),
    };
    let status = StatusCode::from_u16(found.code.unwrap_or_default()).map_err(|_| Unsound::Header)?;
    let mut said = Said { headers: HeaderMap::with_capacity(found.headers.len() + 4), ..Said::default() };
    for header in found.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| Unsound::Header)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(header.value)).map_err(|_| Unsound::Header)?;
        said.hear(name, value)?;
    }
    said.over(status, found.version == Some(1), bodiless).map(|head| Some((head, length)))
}

/// What the headers say, one after the other.
#[derive(Default)]
struct Said {
    headers: HeaderMap,
    length: Option<(u64, HeaderValue)>,
    chunked: bool,
    upgrade: Option<HeaderValue>,
    closes: bool,
    stays: bool,
    /// Headers that concern the connection alone.
    named: Vec<HeaderName>,
    kept: Option<Duration>,
}

impl Said {
    fn hear(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Unsound> {
        if name == CONTENT_LENGTH {
            // The same one twice is a length still (section 6.3).
            for text in list(&value) {
                let length = number(text).ok_or(Unsound::Length)?;
                if self.length.as_ref().is_some_and(|(before, _)| *before != length) {
                    return Err(Unsound::Length);
                }
                self.length = Some((length, HeaderValue::from(length)));
            }
        } else if name == TRANSFER_ENCODING {
            if self.chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(Unsound::Coding);
            }
            self.chunked = true;
        } else if name == CONNECTION {
            self.closes |= list(&value).any(|option| option.eq_ignore_ascii_case(b"close"));
            self.stays |= list(&value).any(|option| option.eq_ignore_ascii_case(b"keep-alive"));
            self.named.extend(option_names(&value));
        } else if name == KEEP_ALIVE {
            let seconds = list(&value).find_map(|option| option.strip_prefix(b"timeout="));
            self.kept = seconds.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()).map(Duration::from_secs);
        } else if name == UPGRADE {
            self.upgrade = Some(value);
        } else if name != TE && name != PROXY_CONNECTION && name != PROXY_AUTHENTICATE {
            self.headers.append(name, value);
        }
        Ok(())
    }

    fn over(mut self, status: StatusCode, newer: bool, bodiless: bool) -> Result<Head, Unsound> {
        let keeps = !self.closes && (newer || self.stays);
        for name in self.named {
            self.headers.remove(name);
        }
        let rest = match (&self.length, self.chunked) {
            (Some(_), true) => return Err(Unsound::Both),
            // What speaks HTTP/1.0 knows of no coding, and whoever relays it might not either.
            (None, true) if !newer => return Err(Unsound::Coding),
            _ if bodiless || is_bare(status) || status == StatusCode::NOT_MODIFIED => Rest::Nothing,
            (None, true) => Rest::chunked(),
            (Some((0, _)), false) => Rest::Nothing,
            (Some((length, _)), false) => Rest::Length(*length),
            (None, false) => Rest::Close,
        };
        // One without a body has no length either (RFC 9110 section 8.6).
        if let Some((_, value)) = self.length.filter(|_| !is_bare(status)) {
            self.headers.insert(CONTENT_LENGTH, value);
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            self.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            if let Some(protocol) = self.upgrade {
                self.headers.insert(UPGRADE, protocol);
            }
        }
        Ok(Head { status, headers: self.headers, keeps: keeps && rest != Rest::Close, rest, kept: self.kept })
    }
}

/// Whether an answer with that status never has a body, nor says how long it would be.
fn is_bare(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT
}

/// Digits and nothing else.
fn number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    if digits { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
