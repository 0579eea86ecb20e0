//! What becomes of a request: a pure function of the state, the door it came in by and its head. Never answers, never waits.
use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, Uri, Version};

use crate::base::ids::NodeId;
use crate::base::names::Host;
use crate::model::sites::{Handler, Site, Www};
use crate::model::state::State;
use crate::web::hosts::{self, Named};
use crate::web::redirect;

/// The way a connection came in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Door<'a> {
    /// Without TLS: everything known is sent to HTTPS.
    Plain,
    /// With TLS, and the name it was asked for.
    Tls { sni: Option<&'a Host> },
}

/// Where the request arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Here {
    pub(crate) node: NodeId,
    /// Where visitors reach HTTPS.
    pub(crate) https_port: u16,
}

/// The head of a request, as far as it decides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a Method,
    pub(crate) version: Version,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// A site's, and how it answers.
    Of(Arc<Site>, Turn),
    /// Nobody's.
    Refused(Refused),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Turn {
    /// By its handler.
    Serve,
    Redirect {
        status: StatusCode,
        location: String,
    },
    Suspended,
    Maintenance,
    /// Its files are at home on another node.
    Elsewhere,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
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
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::NotAllowed => "not-allowed",
            Self::UnknownHost => "unknown-host",
            Self::Misdirected => "misdirected",
        }
    }
}

pub(crate) fn route(state: &State, here: Here, door: Door<'_>, head: &Head<'_>) -> Route {
    decide(state, here, door, head).unwrap_or_else(Route::Refused)
}

fn decide(state: &State, here: Here, door: Door<'_>, head: &Head<'_>) -> Result<Route, Refused> {
    if matches!(*head.method, Method::CONNECT | Method::TRACE) {
        return Err(Refused::NotAllowed);
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
    match &site.handler {
        Handler::Redirect { to, status } => Turn::Redirect {
            status: StatusCode::from_u16(*status).unwrap_or(StatusCode::PERMANENT_REDIRECT),
            location: redirect::to_url(to, target),
        },
        Handler::Static | Handler::Php { .. } if site.home != here.node => Turn::Elsewhere,
        Handler::Static | Handler::Php { .. } | Handler::Proxy { .. } => Turn::Serve,
    }
}
