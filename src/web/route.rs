//! What becomes of a request: a pure function of the state, the door it came in by and its head. Never answers, never waits.
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};

use crate::base::ids::NodeId;
use crate::base::names::Host;
use crate::model::sites::{Handler, Site, Www};
use crate::model::state::State;
use crate::web::auth::area::area_of;
use crate::web::hosts::{self, Named};
use crate::web::redirect;

/// The way a connection came in.
#[derive(Debug, Clone, Copy)]
pub enum Door<'a> {
    /// Without TLS: everything known is sent to HTTPS.
    Plain,
    /// With TLS, and the name it was asked for.
    Tls { sni: Option<&'a Host> },
}

impl Door<'_> {
    /// The site the connection was made for.
    pub fn site(&self, state: &State) -> Option<Arc<Site>> {
        match self {
            Self::Tls { sni: Some(sni) } => site(state, sni),
            Self::Tls { sni: None } | Self::Plain => None,
        }
    }
}

/// Where the request arrived.
#[derive(Debug, Clone, Copy)]
pub struct Here {
    pub node: NodeId,
    /// Where visitors reach HTTPS.
    pub https_port: u16,
}

/// The head of a request, as far as it decides.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    pub method: &'a Method,
    pub version: Version,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// A site's, and how it answers.
    Of(Arc<Site>, Turn),
    /// An issuer's that validates a name: what it is to find.
    Challenge(String),
    /// Nobody's.
    Refused(Refused),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// By its handler.
    Serve,
    Redirect {
        status: StatusCode,
        location: String,
    },
    Suspended,
    Maintenance,
    /// For who may enter that part of the site; then as it says.
    Locked {
        area: usize,
        then: Box<Turn>,
    },
    /// It is at home on another node.
    Elsewhere,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// No single sound host, or no path.
    BadRequest,
    /// CONNECT, TRACE and requests to the server as a whole.
    NotAllowed,
    /// Without TLS: no site has this host.
    UnknownHost,
    /// With TLS: the connection was made for another site, or for none (RFC 9110 section 15.5.20).
    Misdirected,
}

impl Refused {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::NotAllowed => "not-allowed",
            Self::UnknownHost => "unknown-host",
            Self::Misdirected => "misdirected",
        }
    }
}

pub fn route(state: &State, here: Here, door: Door<'_>, head: &Head<'_>) -> Route {
    decide(state, here, door, head).unwrap_or_else(Route::Refused)
}

fn decide(state: &State, here: Here, door: Door<'_>, head: &Head<'_>) -> Result<Route, Refused> {
    if matches!(*head.method, Method::CONNECT | Method::TRACE) {
        return Err(Refused::NotAllowed);
    }
    if head.version == Version::HTTP_2 && head.headers.values().any(has_blank_ends) {
        return Err(Refused::BadRequest);
    }
    if let Some(answer) = challenge(state, door, head) {
        return Ok(Route::Challenge(answer));
    }
    let named = hosts::named(head.version, head.uri, head.headers).map_err(|_| Refused::BadRequest)?;
    let target = target(head)?;
    match door {
        Door::Plain => {
            let Named::Host(host) = named else { return Err(Refused::UnknownHost) };
            let site = site(state, &host).ok_or(Refused::UnknownHost)?;
            let location = redirect::to_host(&host, here.https_port, &target);
            Ok(Route::Of(site, Turn::Redirect { status: redirect::permanent(head.method), location }))
        }
        Door::Tls { sni } => {
            let sni = sni.ok_or(Refused::Misdirected)?;
            let site = site(state, sni).ok_or(Refused::Misdirected)?;
            let host = match named {
                Named::None => sni.clone(),
                Named::Host(host) if host == *sni || state.hosts.get(&host) == Some(&site.id) => host,
                Named::Host(_) | Named::Other => return Err(Refused::Misdirected),
            };
            let turn = turn(state, here, &site, &host, head.method, &target);
            Ok(Route::Of(site, turn))
        }
    }
}

/// What an issuer finds (RFC 8555 section 8.3), whatever the site says otherwise. Without TLS, where they ask, also for a token that
/// came to another node; with TLS a backend may have a challenge of its own.
fn challenge(state: &State, door: Door<'_>, head: &Head<'_>) -> Option<String> {
    let token = head.uri.path().strip_prefix("/.well-known/acme-challenge/")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !matches!(*head.method, Method::GET | Method::HEAD) || !TOKEN.contains(&token.len()) || !token.bytes().all(plain)
    {
        return None;
    }
    match door {
        Door::Plain => state.http_answer(token),
        Door::Tls { .. } => state.known_http_answer(token).map(str::to_owned),
    }
}

/// Characters of a token.
const TOKEN: std::ops::RangeInclusive<usize> = 16..=128;

/// Blanks around a value, which HTTP/1 takes off and HTTP/2 forbids (RFC 9113 section 8.2.1); the engine lets them in.
fn has_blank_ends(value: &HeaderValue) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    blank(value.as_bytes().first()) || blank(value.as_bytes().last())
}

fn site(state: &State, host: &Host) -> Option<Arc<Site>> {
    state.hosts.get(host).and_then(|id| state.sites.get(id)).cloned()
}

/// Path and query as they came, beginning with a slash.
fn target<'a>(head: &Head<'a>) -> Result<std::borrow::Cow<'a, str>, Refused> {
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    match target.as_bytes().first() {
        Some(b'/') => Ok(target.into()),
        // `http://example.org?x` has an empty path, which is that of the root (RFC 9110 section 4.2.3).
        None | Some(b'?') if head.uri.authority().is_some() => Ok(format!("/{target}").into()),
        _ if target == "*" && head.method == Method::OPTIONS => Err(Refused::NotAllowed),
        _ => Err(Refused::BadRequest),
    }
}

fn turn(state: &State, here: Here, site: &Site, host: &Host, method: &Method, target: &str) -> Turn {
    let account = site.account.as_ref().and_then(|account| state.accounts.get(account));
    if site.suspended || account.is_some_and(|account| account.suspended) {
        return Turn::Suspended;
    }
    if site.www == Www::Redirect && *host != site.host && Some(host) == site.host.www().as_ref() {
        let location = redirect::to_host(&site.host, here.https_port, target);
        return Turn::Redirect { status: redirect::permanent(method), location };
    }
    if site.maintenance {
        return Turn::Maintenance;
    }
    let then = handled(here, site, target);
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    match area_of(&site.options.areas, path) {
        // Its home asks who enters.
        Some(_) if then == Turn::Elsewhere => then,
        Some(area) => Turn::Locked { area, then: then.into() },
        None => then,
    }
}

fn handled(here: Here, site: &Site, target: &str) -> Turn {
    match &site.handler {
        Handler::Redirect { to, status } => Turn::Redirect {
            status: StatusCode::from_u16(*status).unwrap_or(StatusCode::PERMANENT_REDIRECT),
            location: redirect::to_url(to, target),
        },
        Handler::Static | Handler::Php { .. } | Handler::Proxy { .. } if site.home != here.node => Turn::Elsewhere,
        Handler::Static | Handler::Php { .. } | Handler::Proxy { .. } => Turn::Serve,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http::header::HOST;

    use super::*;
    use crate::base::clock::Time;
    use crate::base::names::AccountName;
    use crate::model::accounts::Account;
    use crate::model::effect::Stored;
    use crate::model::options::{Area, Options};
    use crate::model::row::Row;
    use crate::model::tests::world::{host, stored_site as site};

    const HERE: Here = Here { node: NodeId(1), https_port: 443 };

    fn state() -> State {
        let redirect = |to: &str| Handler::Redirect { to: to.into(), status: 302 };
        let suspended = AccountName::parse("late").unwrap();
        let locked = |path: &str| {
            let area = Area { path: path.to_owned(), realm: None, users: Vec::new() };
            Options { areas: vec![area], ..Options::default() }
        };
        let mut state = State::default();
        let mut put = |row| state.put(&Stored::new(row));
        let name = suspended.clone();
        put(Row::Account(Account { name, plan: None, contact: None, suspended: true, created: Time(1), revision: 1 }));
        for site in [
            Site { aliases: vec![host("alias.example")], www: Www::Redirect, ..site(1, "one.example") },
            Site { www: Www::Serve, ..site(2, "two.example") },
            Site { suspended: true, www: Www::Redirect, ..site(3, "suspended.example") },
            Site { account: Some(suspended), ..site(4, "late.example") },
            Site { maintenance: true, ..site(5, "closed.example") },
            Site { handler: redirect("https://new.example"), ..site(6, "old.example") },
            Site { handler: redirect("https://new.example/start?x"), ..site(7, "older.example") },
            Site { home: NodeId(2), ..site(8, "far.example") },
            Site { home: NodeId(2), handler: redirect("https://new.example"), ..site(9, "far-old.example") },
            Site { options: locked("/in"), www: Www::Redirect, ..site(10, "locked.example") },
            Site { options: locked("/"), handler: redirect("https://new.example"), ..site(11, "old-locked.example") },
            Site { options: locked("/"), maintenance: true, ..site(12, "closed-locked.example") },
        ] {
            put(Row::Site(site.into()));
        }
        state
    }

    fn asked(door: Door<'_>, method: &str, uri: &str, hosts: &[&str]) -> String {
        let mut request = Request::builder().method(method).uri(uri).version(Version::HTTP_11);
        for host in hosts {
            request = request.header(HOST, HeaderValue::from_str(host).unwrap());
        }
        shown(door, request.body(()).unwrap())
    }

    fn shown(door: Door<'_>, request: Request<()>) -> String {
        let (parts, ()) = request.into_parts();
        let head = Head { method: &parts.method, version: parts.version, uri: &parts.uri, headers: &parts.headers };
        match route(&state(), HERE, door, &head) {
            Route::Refused(refused) => refused.as_str().to_owned(),
            Route::Challenge(answer) => answer,
            Route::Of(site, Turn::Redirect { status, location }) => {
                format!("{} {} {location}", site.host, status.as_u16())
            }
            Route::Of(site, turn) => format!("{} {turn:?}", site.host),
        }
    }

    fn tls(sni: &str, method: &str, uri: &str, name: &str) -> String {
        asked(Door::Tls { sni: Some(&host(sni)) }, method, uri, &[name])
    }

    #[test]
    fn without_tls_everything_known_goes_to_https() {
        let plain = |method, uri, hosts: &[&str]| asked(Door::Plain, method, uri, hosts);
        for (method, uri, name, expected) in [
            ("GET", "/a/b?c=%20d&e", "one.example", "one.example 301 https://one.example/a/b?c=%20d&e"),
            ("HEAD", "/", "ONE.example.:80", "one.example 301 https://one.example/"),
            ("POST", "/x", "alias.example", "one.example 308 https://alias.example/x"),
            ("DELETE", "/x", "www.one.example", "one.example 308 https://www.one.example/x"),
            ("GET", "/x", "www.two.example", "two.example 301 https://www.two.example/x"),
            // The visitor's own words never become the host.
            ("GET", "//evil.example/x", "one.example", "one.example 301 https://one.example//evil.example/x"),
            ("GET", "/\\evil.example", "one.example", "one.example 301 https://one.example/\\evil.example"),
            ("GET", "/@evil.example", "one.example:8080", "one.example 301 https://one.example/@evil.example"),
            ("GET", "http://one.example/x", "two.example", "one.example 301 https://one.example/x"),
            ("GET", "http://one.example?x", "one.example", "one.example 301 https://one.example/?x"),
            ("GET", "http://evil.example/x", "one.example", "unknown-host"),
            ("GET", "http://evil.example@one.example/x", "one.example", "bad-request"),
            // What a site is does not show before TLS.
            ("GET", "/", "suspended.example", "suspended.example 301 https://suspended.example/"),
            ("GET", "/", "closed.example", "closed.example 301 https://closed.example/"),
            ("GET", "/x", "old.example", "old.example 301 https://old.example/x"),
            ("GET", "/", "far.example", "far.example 301 https://far.example/"),
            ("GET", "/", "www.far.example", "unknown-host"),
            ("GET", "/", "nobody.example", "unknown-host"),
            ("GET", "/", "192.0.2.1", "unknown-host"),
            ("GET", "/", "[2001:db8::1]:80", "unknown-host"),
            ("GET", "/", "user@one.example", "bad-request"),
            ("GET", "/", "one.example/x", "bad-request"),
            ("OPTIONS", "*", "one.example", "not-allowed"),
            ("GET", "*", "one.example", "bad-request"),
            ("GET", "one.example", "one.example", "bad-request"),
            ("TRACE", "/", "one.example", "not-allowed"),
            ("CONNECT", "one.example:443", "one.example:443", "not-allowed"),
        ] {
            assert_eq!(plain(method, uri, &[name]), expected, "{method} {uri} for {name}");
        }
        assert_eq!(plain("GET", "/", &[]), "bad-request");
        assert_eq!(plain("GET", "/", &["one.example", "one.example"]), "bad-request");
        let old = Request::builder().version(Version::HTTP_10).uri("/").body(()).unwrap();
        assert_eq!(shown(Door::Plain, old), "unknown-host");
    }

    #[test]
    fn another_port_is_named_in_the_redirect() {
        let head = Request::builder().uri("/x").header(HOST, "one.example").body(()).unwrap().into_parts().0;
        let head = Head { method: &head.method, version: head.version, uri: &head.uri, headers: &head.headers };
        let here = Here { https_port: 8443, ..HERE };
        let Route::Of(_, Turn::Redirect { location, .. }) = route(&state(), here, Door::Plain, &head) else {
            panic!("no redirect")
        };
        assert_eq!(location, "https://one.example:8443/x");
    }

    #[test]
    fn with_tls_the_host_must_be_of_the_site_the_connection_was_made_for() {
        for (sni, name, expected) in [
            ("one.example", "one.example", "one.example Serve"),
            ("one.example", "One.Example.:443", "one.example Serve"),
            ("one.example", "alias.example", "one.example Serve"),
            ("alias.example", "one.example", "one.example Serve"),
            ("two.example", "www.two.example", "two.example Serve"),
            ("www.two.example", "two.example", "two.example Serve"),
            ("one.example", "two.example", "misdirected"),
            ("one.example", "nobody.example", "misdirected"),
            ("one.example", "192.0.2.1", "misdirected"),
            ("nobody.example", "nobody.example", "misdirected"),
            ("nobody.example", "one.example", "misdirected"),
            ("one.example", "two.example@one.example", "bad-request"),
        ] {
            assert_eq!(tls(sni, "GET", "/", name), expected, "{sni} {name}");
        }
        for name in ["one.example", "nobody.example", "192.0.2.1"] {
            assert_eq!(asked(Door::Tls { sni: None }, "GET", "/", &[name]), "misdirected");
        }
        let one = host("one.example");
        let door = Door::Tls { sni: Some(&one) };
        let old = Request::builder().version(Version::HTTP_10).uri("/").body(()).unwrap();
        assert_eq!(shown(door, old), "one.example Serve");
        for (uri, named, expected) in [
            ("https://one.example/x", None, "one.example Serve"),
            ("https://two.example/x", None, "misdirected"),
            ("https://one.example/x", Some("two.example"), "bad-request"),
            ("/x", Some("one.example"), "one.example Serve"),
        ] {
            let mut request = Request::builder().version(Version::HTTP_2).uri(uri);
            if let Some(named) = named {
                request = request.header(HOST, named);
            }
            assert_eq!(shown(door, request.body(()).unwrap()), expected, "{uri} {named:?}");
        }
        for (version, value, expected) in [
            (Version::HTTP_2, "a b", "one.example Serve"),
            (Version::HTTP_2, "", "one.example Serve"),
            (Version::HTTP_2, " a", "bad-request"),
            (Version::HTTP_2, "a\t", "bad-request"),
            (Version::HTTP_11, " a", "one.example Serve"),
        ] {
            let request = Request::builder().version(version).uri("https://one.example/x");
            let request = request.header(HOST, "one.example").header("x", value).body(()).unwrap();
            assert_eq!(shown(door, request), expected, "{version:?} {value:?}");
        }
    }

    #[test]
    fn how_a_site_answers() {
        for (method, uri, name, expected) in [
            ("GET", "/x?y", "www.one.example", "one.example 301 https://one.example/x?y"),
            ("POST", "/x?y", "www.one.example", "one.example 308 https://one.example/x?y"),
            ("GET", "/", "suspended.example", "suspended.example Suspended"),
            ("GET", "/", "www.suspended.example", "suspended.example Suspended"),
            ("GET", "/", "late.example", "late.example Suspended"),
            ("GET", "/", "closed.example", "closed.example Maintenance"),
            ("GET", "/x?y", "old.example", "old.example 302 https://new.example/x?y"),
            ("GET", "//evil.example", "old.example", "old.example 302 https://new.example//evil.example"),
            ("GET", "/x?y", "older.example", "older.example 302 https://new.example/start?x"),
            ("GET", "/", "far.example", "far.example Elsewhere"),
            ("GET", "/", "far-old.example", "far-old.example 302 https://new.example/"),
            ("TRACE", "/", "one.example", "not-allowed"),
            ("GET", "/", "locked.example", "locked.example Serve"),
            ("GET", "/%69n?x", "locked.example", "locked.example Locked { area: 0, then: Serve }"),
            ("GET", "/x?/in", "locked.example", "locked.example Serve"),
            ("GET", "/in", "www.locked.example", "locked.example 301 https://locked.example/in"),
            ("GET", "/", "closed-locked.example", "closed-locked.example Maintenance"),
            (
                "GET",
                "/x",
                "old-locked.example",
                "old-locked.example Locked { area: 0, then: Redirect { status: 302, location: \"https://new.example/x\" } }",
            ),
        ] {
            assert_eq!(tls(name, method, uri, name), expected, "{method} {name}{uri}");
        }
    }
}
