//! Heads on their way through: what concerns one connection stays behind, what tells of the visitor is said by us alone, and the
//! framing is ours. Pure.
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use crate::base::ids::NodeId;
use crate::web::proxy::fault::Fault;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// RFC 8586. No `Via`: upstreams take it as a reason not to compress, and it names the software to whoever reads their logs.
const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// What upstreams are told of a visitor, the same for all requests of a connection.
#[derive(Debug)]
pub(crate) struct Told {
    address: HeaderValue,
    /// As `Forwarded` names it (RFC 7239 section 6).
    node: String,
    secure: bool,
}

impl Told {
    pub(crate) fn new(address: IpAddr, secure: bool) -> Self {
        let address = address.to_canonical();
        let text = address.to_string();
        let node = if address.is_ipv6() { format!("\"[{text}]\"") } else { text.clone() };
        // An address has no characters that a header cannot have.
        let address = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("unknown"));
        Self { address, node, secure }
    }
}

/// What names this node in `CDN-Loop`.
#[derive(Debug)]
pub(crate) struct Mark(HeaderValue);

impl Mark {
    pub(crate) fn of(node: NodeId) -> Self {
        let text = format!("ruche-{node}");
        Self(HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static("ruche")))
    }

    fn is_on(&self, headers: &HeaderMap) -> bool {
        let parts = headers.get_all(CDN_LOOP).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        // A parameter may follow the name.
        let mut names = parts.filter_map(|part| part.split(|byte| *byte == b';').next());
        names.any(|name| name.trim_ascii() == self.0.as_bytes())
    }
}

/// How long a request's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    Absent,
    Length(u64),
    Chunked,
}

/// What a request asks of the way to its upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// The protocol to switch to.
    pub(crate) upgrade: Option<HeaderValue>,
    /// The body waits until it is asked for.
    pub(crate) expects: bool,
}

impl Wishes {
    pub(crate) fn of(parts: &Parts) -> Self {
        let headers = &parts.headers;
        let one = parts.version == Version::HTTP_11;
        let wanted = one && options(headers).any(|option| option.eq_ignore_ascii_case(b"upgrade"));
        // Through a tunnel that speaks HTTP/2 requests would reach the upstream that nobody has routed.
        let sound = |value: &&HeaderValue| !list(value).any(|name| name.eq_ignore_ascii_case(b"h2c"));
        let upgrade = headers.get(UPGRADE).filter(|_| wanted).filter(sound).cloned();
        let expects =
            one && headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        Self { upgrade, expects }
    }
}

/// The headers an upstream gets. `name`: of the site, for a request that names no host.
pub(crate) fn request(
    parts: &Parts,
    wishes: &Wishes,
    told: &Told,
    mark: &Mark,
    framing: Framing,
    name: &str,
) -> Result<HeaderMap, Fault> {
    if mark.is_on(&parts.headers) {
        return Err(Fault::Loop);
    }
    let mut headers = HeaderMap::with_capacity(parts.headers.len() + 12);
    let host = host(parts, name);
    headers.insert(HOST, host.clone());
    let named = named(&parts.headers);
    for (name, value) in &parts.headers {
        if !is_ours(name.as_str()) && *name != COOKIE && !named.contains(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    if !named.contains(&COOKIE) {
        cookies(&parts.headers, &mut headers);
    }
    match framing {
        Framing::Absent => {}
        Framing::Length(length) => drop(headers.insert(CONTENT_LENGTH, length.into())),
        Framing::Chunked => drop(headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))),
    }
    let trailers =
        parts.headers.get_all(TE).iter().flat_map(list).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    let options = match (&wishes.upgrade, trailers) {
        (Some(_), true) => Some("upgrade, te"),
        (Some(_), false) => Some("upgrade"),
        (None, true) => Some("te"),
        (None, false) => None,
    };
    if let Some(options) = options {
        headers.insert(CONNECTION, HeaderValue::from_static(options));
    }
    if let Some(protocol) = &wishes.upgrade {
        headers.insert(UPGRADE, protocol.clone());
    }
    if wishes.expects && framing != Framing::Absent {
        headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
    }
    tell(&mut headers, told, host);
    headers.append(CDN_LOOP, mark.0.clone());
    Ok(headers)
}

/// Whether asking twice is as good as asking once (RFC 9110 section 9.2.2).
pub(crate) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

fn tell(headers: &mut HeaderMap, told: &Told, host: HeaderValue) {
    let proto = if told.secure { "https" } else { "http" };
    let name = String::from_utf8_lossy(host.as_bytes());
    let is_token = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'*+".contains(&byte));
    let quote = if is_token { "" } else { "\"" };
    let forwarded = format!("for={};host={quote}{name}{quote};proto={proto}", told.node);
    if let Ok(forwarded) = HeaderValue::from_maybe_shared(Bytes::from(forwarded)) {
        headers.insert(FORWARDED, forwarded);
    }
    headers.insert(X_FORWARDED_FOR, told.address.clone());
    headers.insert(X_REAL_IP, told.address.clone());
    headers.insert(X_FORWARDED_HOST, host);
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
}

/// The host as the visitor wrote it; a target in absolute form decides.
fn host(parts: &Parts, name: &str) -> HeaderValue {
    let target = parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let host = target.or_else(|| parts.headers.get(HOST).cloned());
    host.or_else(|| HeaderValue::from_str(name).ok()).unwrap_or(HeaderValue::from_static(""))
}

/// HTTP/2 cuts the cookie into crumbs; in HTTP/1 it is one (RFC 9113 section 8.2.3).
fn cookies(from: &HeaderMap, headers: &mut HeaderMap) {
    let mut crumbs = from.get_all(COOKIE).iter();
    let (Some(first), second) = (crumbs.next(), crumbs.next()) else { return };
    let whole = match second {
        None => Some(first.clone()),
        Some(second) => {
            let all: Vec<&[u8]> = [first, second].into_iter().chain(crumbs).map(HeaderValue::as_bytes).collect();
            HeaderValue::from_maybe_shared(Bytes::from(all.join(&b"; "[..]))).ok()
        }
    };
    if let Some(whole) = whole {
        headers.insert(COOKIE, whole);
    }
}

/// Headers that a visitor does not say to an upstream: those of one connection, those that frame a message, and those by which
/// upstreams know who asks, in any of the spellings that CGI cannot tell apart.
fn is_ours(name: &str) -> bool {
    let known = |name: &str| {
        matches!(
            name,
            "connection"
                | "keep-alive"
                | "proxy-connection"
                | "te"
                | "transfer-encoding"
                | "upgrade"
                | "http2-settings"
                | "content-length"
                | "expect"
                | "host"
                | "proxy"
                | "proxy-authorization"
                | "proxy-authenticate"
                | "forwarded"
                | "x-real-ip"
                | "x-client-ip"
                | "x-cluster-client-ip"
                | "true-client-ip"
                | "x-original-url"
                | "x-rewrite-url"
                | "x-url-scheme"
                | "front-end-https"
        ) || name.starts_with("x-forwarded-")
    };
    if name.contains('_') { known(&name.replace('_', "-")) } else { known(name) }
}

/// Headers the other side means for this connection only.
fn named(headers: &HeaderMap) -> Vec<HeaderName> {
    let usual = [&b"close"[..], b"keep-alive", b"upgrade", b"te", b"host"];
    let unusual = options(headers).filter(|option| !usual.iter().any(|usual| option.eq_ignore_ascii_case(usual)));
    unusual.filter_map(|option| HeaderName::from_bytes(option).ok()).collect()
}

fn options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(CONNECTION).iter().flat_map(list)
}

fn list(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// What is left of an answer's headers, and how long the upstream keeps an idle connection, if it says so.
pub(crate) fn response(headers: &mut HeaderMap, switches: bool) -> Option<Duration> {
    let mut kept = None;
    if headers.contains_key(CONNECTION) {
        for name in named(headers) {
            if name != CONTENT_LENGTH {
                headers.remove(name);
            }
        }
        headers.remove(CONNECTION);
    }
    if let Some(value) = headers.remove(KEEP_ALIVE) {
        let seconds = list(&value).find_map(|option| option.strip_prefix(b"timeout="));
        kept = seconds.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()).map(Duration::from_secs);
    }
    if headers.remove(TRANSFER_ENCODING).is_some() {
        // The coding decides (RFC 9112 section 6.3).
        headers.remove(CONTENT_LENGTH);
    }
    for name in ["proxy-connection", "proxy-authenticate", "te"] {
        headers.remove(name);
    }
    if switches {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    } else {
        headers.remove(UPGRADE);
    }
    kept
}

#[cfg(test)]
mod tests;
