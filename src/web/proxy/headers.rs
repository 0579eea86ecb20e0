//! Heads on their way through: what concerns one connection stays behind, what tells of the visitor is said by us alone, and the
//! framing is ours. Pure.
use std::net::IpAddr;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, COOKIE, EXPECT, HOST,
    MAX_FORWARDS, SET_COOKIE, TE, TRAILER, UPGRADE,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use crate::base::ids::NodeId;
use crate::web::carried::{CARRIED, Visit};

pub(crate) const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// RFC 8586. No `Via`: upstreams take it as a reason not to compress, and it names the software to whoever reads their logs.
const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// What upstreams are told of a visitor, the same for all requests of a connection.
#[derive(Debug)]
pub(crate) struct Told {
    /// Whole headers.
    lines: String,
    /// As `Forwarded` names it (RFC 7239 section 6).
    node: String,
    proto: &'static str,
}

impl Told {
    pub(crate) fn new(address: IpAddr, secure: bool) -> Self {
        let address = address.to_canonical();
        let node = if address.is_ipv6() { format!("\"[{address}]\"") } else { address.to_string() };
        let proto = if secure { "https" } else { "http" };
        let lines = format!("x-forwarded-for: {address}\r\nx-real-ip: {address}\r\nx-forwarded-proto: {proto}\r\n");
        Self { lines, node, proto }
    }

    /// What the home of a site is told beside that.
    pub(crate) fn carried(visit: &Visit) -> Self {
        let mut told = Self::new(visit.peer, true);
        told.lines.push_str(&format!("{CARRIED}: {visit}\r\n"));
        told
    }

    fn write(&self, out: &mut Vec<u8>, host: &[u8]) {
        out.extend_from_slice(self.lines.as_bytes());
        field(out, "x-forwarded-host", &[host]);
        let is_token = host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'*+".contains(byte));
        let quote: &[u8] = if is_token { b"" } else { b"\"" };
        let (node, proto) = (self.node.as_bytes(), self.proto.as_bytes());
        field(out, "forwarded", &[b"for=", node, b";host=", quote, host, quote, b";proto=", proto]);
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

    /// Whether a request has been here already.
    pub(crate) fn is_on(&self, headers: &HeaderMap) -> bool {
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

/// Writes the head an upstream gets. `name`: of the site, for a request that names no host.
pub(crate) fn request(
    out: &mut Vec<u8>,
    parts: &Parts,
    wishes: &Wishes,
    told: &Told,
    mark: &Mark,
    framing: Framing,
    name: &str,
) {
    out.extend_from_slice(parts.method.as_str().as_bytes());
    out.push(b' ');
    // Path and query alone (RFC 9112 section 3.2.1).
    let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    if !target.starts_with('/') {
        out.push(b'/');
    }
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let host = host(parts, name);
    field(out, "host", &[host]);
    let named: Vec<_> = parts.headers.get_all(CONNECTION).iter().flat_map(option_names).collect();
    for (name, value) in &parts.headers {
        if !is_ours(name.as_str()) && *name != COOKIE && !named.contains(name) {
            field(out, name.as_str(), &[value.as_bytes()]);
        }
    }
    if !named.contains(&COOKIE) {
        cookies(out, &parts.headers);
    }
    match framing {
        Framing::Absent => {}
        Framing::Length(length) => field(out, "content-length", &[HeaderValue::from(length).as_bytes()]),
        Framing::Chunked => field(out, "transfer-encoding", &[b"chunked"]),
    }
    let trailers =
        parts.headers.get_all(TE).iter().flat_map(list).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    if trailers {
        field(out, "te", &[b"trailers"]);
    }
    match (&wishes.upgrade, trailers) {
        (Some(_), true) => field(out, "connection", &[b"upgrade, te"]),
        (Some(_), false) => field(out, "connection", &[b"upgrade"]),
        (None, true) => field(out, "connection", &[b"te"]),
        (None, false) => {}
    }
    if let Some(protocol) = &wishes.upgrade {
        field(out, "upgrade", &[protocol.as_bytes()]);
    }
    if wishes.expects && framing != Framing::Absent {
        field(out, "expect", &[b"100-continue"]);
    }
    told.write(out, host);
    field(out, "cdn-loop", &[mark.0.as_bytes()]);
    out.extend_from_slice(b"\r\n");
}

/// One header. None of its parts can hold the end of a line: they were headers before, or are ours.
fn field(out: &mut Vec<u8>, name: &str, parts: &[&[u8]]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.extend_from_slice(b"\r\n");
}

/// Whether asking twice is as good as asking once (RFC 9110 section 9.2.2).
pub(crate) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

/// The host as the visitor wrote it; a target in absolute form decides.
fn host<'a>(parts: &'a Parts, name: &'a str) -> &'a [u8] {
    let target = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = target.or_else(|| parts.headers.get(HOST).map(HeaderValue::as_bytes));
    host.unwrap_or(name.as_bytes())
}

/// HTTP/2 cuts the cookie into crumbs; in HTTP/1 it is one (RFC 9113 section 8.2.3).
fn cookies(out: &mut Vec<u8>, from: &HeaderMap) {
    for (number, crumb) in from.get_all(COOKIE).iter().enumerate() {
        out.extend_from_slice(if number == 0 { b"cookie: " } else { b"; " });
        out.extend_from_slice(crumb.as_bytes());
    }
    if from.contains_key(COOKIE) {
        out.extend_from_slice(b"\r\n");
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
                | CARRIED
        ) || name.starts_with("x-forwarded-")
    };
    if name.contains('_') { known(&name.replace('_', "-")) } else { known(name) }
}

/// Headers that the other side means for this connection only, of one `Connection`.
pub(crate) fn option_names(value: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    let usual = [&b"close"[..], b"keep-alive", b"upgrade", b"te", b"host"];
    let unusual = list(value).filter(move |option| !usual.iter().any(|usual| option.eq_ignore_ascii_case(usual)));
    unusual.filter_map(|option| HeaderName::from_bytes(option).ok())
}

/// Whether it may stand behind a body: what frames a message, says who asks or what may be done is said before it or not at
/// all (RFC 9110 section 6.5.1).
pub(crate) fn is_for_trailers(name: &HeaderName) -> bool {
    let before = [
        AUTHORIZATION,
        CACHE_CONTROL,
        CONTENT_ENCODING,
        CONTENT_RANGE,
        CONTENT_TYPE,
        COOKIE,
        MAX_FORWARDS,
        SET_COOKIE,
        TRAILER,
    ];
    !is_ours(name.as_str()) && !before.contains(name)
}

fn options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(CONNECTION).iter().flat_map(list)
}

pub(crate) fn list(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests;
