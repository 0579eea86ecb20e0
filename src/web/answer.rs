//! One request, from its head to a response: routed on the newest snapshot, answered by the site's handler or by a page of the
//! node, counted. Never fails: what goes wrong is a page too.
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_LENGTH, SERVER};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::base::limits::WEB_BODY_MAX;
use crate::base::names::Host;
use crate::model::sites::{Handler, Site};
use crate::web::asked::Asked;
use crate::web::auth::Entry;
use crate::web::body::Body;
use crate::web::carried::Visit;
use crate::web::conn::Held;
use crate::web::options;
use crate::web::pages;
use crate::web::proxy::Answer;
use crate::web::proxy::headers::Told;
use crate::web::pulse::Pulse;
use crate::web::route::{Door, Head, Refused, Route, Turn};
use crate::web::sent::Sent;
use crate::web::switch::Switch;
use crate::web::threads::{Decided, Thread};

/// Who asks on one connection: all its requests have this in common.
#[derive(Debug)]
pub(crate) struct Guest {
    thread: Arc<Thread>,
    pulse: Arc<Pulse>,
    _held: Arc<Held>,
    /// What a node knew of the site that carried the visitor here. They are carried on by who knows more, after a move: never in a
    /// circle.
    carried: Option<u64>,
    /// Where the connection comes from; an IPv4 address is never written as IPv6.
    peer: IpAddr,
    /// The same, as it is written.
    peer_text: String,
    /// The name the TLS connection was made for, if it was made with TLS.
    secure: Option<Option<Host>>,
    /// Where visitors reach HTTPS.
    https_port: u16,
    told: Told,
}

pub(crate) async fn answer(guest: Arc<Guest>, mut request: Request<Incoming>) -> Result<Response<Sent>, Infallible> {
    let _owed = guest.pulse.begin();
    let _counted = Panics;
    let switch = Switch::of(&mut request);
    let (parts, body) = request.into_parts();
    let Decided { route, mut site, mut tally } = guest.decide(&parts);
    let most = site.as_ref().and_then(|site| site.options.max_body);
    let asked = Asked::new(body, &guest.pulse, most.unwrap_or(WEB_BODY_MAX));
    if guest.carries(&route) {
        // Its home counts it.
        (site, tally) = (None, None);
    }
    let mut user = None;
    let Answer { response, tunnel } = match route {
        Route::Of(site, turn) => guest.serve(&site, turn, &parts, asked, &mut user).await,
        Route::Challenge(answer) => {
            asked.discard(&parts.headers).await;
            Answer::from(pages::challenge(answer))
        }
        Route::Refused(refused) => {
            metrics::counter!("ruche_web_refused_requests_total", "reason" => refused.as_str()).increment(1);
            tracing::debug!(peer = %guest.peer, reason = refused.as_str(), "a request was refused");
            asked.discard(&parts.headers).await;
            Answer::from(refuse(refused, parts.version))
        }
    };
    let response = match switch {
        Some(switch) => switch.answer(response, tunnel, &guest),
        None => response,
    };
    let mut response = finished(response, &parts.method);
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        guest.pulse.switch();
    } else if guest.pulse.is_parting() && guest.pulse.is_http_1() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(tally) = &tally {
        tally.answered(response.status());
    }
    let line = site.map(|site| guest.thread.line(&site, &guest.peer_text, user.as_deref(), response.status(), &parts));
    Ok(response.map(|body| Sent::new(body, tally, line, guest.pulse.open())))
}

impl Guest {
    /// `at`: where the connection comes from, and where HTTPS is reached. `secure`: as the field.
    pub(crate) fn new(
        (thread, held): (Arc<Thread>, Arc<Held>),
        pulse: &Arc<Pulse>,
        (peer, https_port): (IpAddr, u16),
        secure: Option<Option<Host>>,
    ) -> Self {
        let (told, peer_text) = (Told::new(peer, secure.is_some()), peer.to_string());
        let pulse = Arc::clone(pulse);
        Self { thread, pulse, _held: held, carried: None, peer, peer_text, secure, https_port, told }
    }

    /// A visitor of another node.
    pub(crate) fn carried(ground: (Arc<Thread>, Arc<Held>), pulse: &Arc<Pulse>, visit: Visit) -> Self {
        let Visit { peer, https_port, host, revision } = visit;
        Self { carried: Some(revision), ..Self::new(ground, pulse, (peer, https_port), Some(Some(host))) }
    }

    pub(crate) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    fn decide(&self, parts: &Parts) -> Decided {
        let door = self.secure.as_ref().map_or(Door::Plain, |sni| Door::Tls { sni: sni.as_ref() });
        let head = Head { method: &parts.method, version: parts.version, uri: &parts.uri, headers: &parts.headers };
        self.thread.decide(door, self.https_port, &head)
    }

    /// Whether a request goes on to another node.
    fn carries(&self, route: &Route) -> bool {
        matches!(route, Route::Of(site, Turn::Elsewhere) if self.sends_on(site))
    }

    fn sends_on(&self, site: &Site) -> bool {
        goes_on(self.carried, site.revision)
    }

    /// Has the home of a site answer, which dresses the answer too.
    async fn carry(&self, site: &Site, parts: &Parts, asked: Asked) -> Answer {
        let Some(Some(host)) = &self.secure else { return Answer::from(pages::elsewhere()) };
        let (peer, https_port, revision) = (self.peer, self.https_port, site.revision);
        let told = Told::carried(&Visit { peer, https_port, revision, host: host.clone() });
        self.thread.proxied(site, parts, asked, &told).await
    }

    /// Answers for a site: by its handler, where the visitor may enter, and dressed as the site wants it.
    async fn serve(&self, site: &Site, turn: Turn, parts: &Parts, asked: Asked, user: &mut Option<String>) -> Answer {
        if turn == Turn::Elsewhere && self.sends_on(site) {
            // In a box, as below.
            return Box::pin(self.carry(site, parts, asked)).await;
        }
        // That is the provider's word.
        let suspended = matches!(turn, Turn::Suspended);
        let mut answer = match self.unlock(site, turn, parts, user).await {
            Ok(turn) => self.handle(site, turn, parts, asked).await,
            Err(page) => {
                asked.discard(&parts.headers).await;
                Answer::from(page)
            }
        };
        if !suspended {
            self.thread.stand_in(site, &mut answer.response).await;
        }
        options::dress(answer.response.headers_mut(), &site.options, self.secure.is_some());
        answer
    }

    /// What follows for who may enter; for who may not, the page that says so.
    async fn unlock(
        &self,
        site: &Site,
        turn: Turn,
        parts: &Parts,
        user: &mut Option<String>,
    ) -> Result<Turn, Response<Body>> {
        let Turn::Locked { area, then } = turn else { return Ok(turn) };
        let Some(area) = site.options.areas.get(area) else { return Err(pages::failed()) };
        match self.thread.enter(area, &parts.headers, self.peer).await {
            Entry::Open(name) => {
                *user = Some(name);
                Ok(*then)
            }
            Entry::Ask => Err(pages::locked(area.realm.as_deref().unwrap_or(site.host.as_str()))),
            Entry::Later(wait) => Err(pages::too_many(wait)),
        }
    }

    async fn handle(&self, site: &Site, turn: Turn, parts: &Parts, asked: Asked) -> Answer {
        let response = match turn {
            Turn::Redirect { status, location } => pages::redirect(status, &location),
            Turn::Suspended => pages::suspended(),
            Turn::Maintenance => pages::maintenance(),
            Turn::Elsewhere => pages::elsewhere(),
            // A lock behind a lock there is not.
            Turn::Locked { .. } => pages::failed(),
            Turn::Serve if asked.is_too_large() => pages::too_large(),
            Turn::Serve => match &site.handler {
                Handler::Static => self.thread.file(site, parts).await,
                // In a box: every request's future would be moved about with the room for this one.
                Handler::Proxy { .. } => return Box::pin(self.thread.proxied(site, parts, asked, &self.told)).await,
                Handler::Redirect { .. } | Handler::Php { .. } => pages::not_served(),
            },
        };
        asked.discard(&parts.headers).await;
        Answer::from(response)
    }
}

fn refuse(refused: Refused, version: Version) -> Response<Body> {
    match refused {
        Refused::NotAllowed => pages::not_allowed(),
        Refused::UnknownHost => pages::unknown_host(),
        Refused::Misdirected => pages::misdirected(),
        Refused::BadRequest => {
            let mut page = pages::bad_request();
            if version < Version::HTTP_2 {
                // Whoever sends such a head may mean the next bytes differently than we would read them.
                page.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            page
        }
    }
}

/// What every response has. HEAD is answered as GET would be, without the body.
fn finished(mut response: Response<Body>, method: &Method) -> Response<Body> {
    response.headers_mut().insert(SERVER, HeaderValue::from_static("ruche"));
    if *method == Method::HEAD {
        let body = std::mem::take(response.body_mut());
        let length = body.size_hint().exact().filter(|length| *length > 0);
        if let (Some(length), None) = (length, response.headers().get(CONTENT_LENGTH)) {
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
    }
    response
}

/// Counts a panic that goes through it.
struct Panics;

impl Drop for Panics {
    fn drop(&mut self) {
        if std::thread::panicking() {
            metrics::counter!("ruche_web_panics_total").increment(1);
        }
    }
}

/// Whether a visitor goes on to the home of a site that is `known` here as of a revision: who came by themselves does; who was carried
/// here by a node only where that one knew less.
fn goes_on(carried: Option<u64>, known: u64) -> bool {
    carried.is_none_or(|carried| carried < known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_carried_in_a_circle() {
        assert!(goes_on(None, 7) && goes_on(Some(6), 7));
        assert!(!goes_on(Some(7), 7) && !goes_on(Some(8), 7), "who knows as much, or more, was wrong about the home");
        // Through nodes that know whatever they know, each hop needs a newer site: as many as there are revisions, and no more.
        for known in [[5, 6, 7], [7, 5, 6], [6, 6, 6], [7, 6, 5]] {
            let mut carried = None;
            let hops = known.iter().cycle().take(100).take_while(|known| {
                let goes = goes_on(carried, **known);
                carried = Some(**known);
                goes
            });
            assert!(hops.count() <= 3, "{known:?}");
        }
    }
}
