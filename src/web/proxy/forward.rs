//! One request and its tries: an upstream, a connection to it, the head of its answer. Tries again only what cannot have been
//! done already, or may be done twice; never longer than a named time.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::base::limits::{PROXY_TRIES_MAX, PROXY_TRIES_WAIT};
use crate::model::cluster::Cluster;
use crate::web::asked::Asked;
use crate::web::proxy::fault::Fault;
use crate::web::proxy::headers::{self, Framing, Mark, Told, Wishes};
use crate::web::proxy::link::{Link, Lost, listen};
use crate::web::proxy::pool::{Group, Peer, Pool};
use crate::web::proxy::upload::{Progress, Upload};

/// What is asked of a site's upstreams.
#[derive(Debug)]
pub(crate) struct Errand<'a> {
    /// The main host of the site.
    pub(crate) site: &'a str,
    pub(crate) parts: &'a Parts,
    pub(crate) told: &'a Told,
    pub(crate) mark: &'a Mark,
    /// Whose sites we believe beside those the machine believes.
    pub(crate) cluster: Option<Arc<Cluster>>,
}

/// A head that came, and what its body comes over.
pub(crate) struct Come {
    pub(crate) response: Response<Incoming>,
    pub(crate) link: Link,
    pub(crate) peer: Arc<Peer>,
}

struct Tries<'a> {
    errand: &'a Errand<'a>,
    pool: &'a Pool,
    wishes: &'a Wishes,
    framing: Framing,
    /// Bytes of the request that are not sent yet.
    upload: Upload,
    progress: Option<Arc<Progress>>,
}

pub(crate) async fn forward(
    pool: &Pool,
    group: &Group,
    errand: &Errand<'_>,
    wishes: &Wishes,
    asked: Asked,
) -> Result<Come, Fault> {
    let framing = framing(errand.parts, &asked);
    let (upload, progress) = if asked.is_end_stream() {
        (Upload::default(), None)
    } else {
        let (upload, progress) = Upload::new(asked, wishes.expects);
        (upload, Some(progress))
    };
    let mut tries = Tries { errand, pool, wishes, framing, upload, progress };
    let begun = Instant::now();
    let (mut tried, mut fresh, mut last) = (0, false, None);
    for number in 0..PROXY_TRIES_MAX {
        if begun.elapsed() >= PROXY_TRIES_WAIT {
            break;
        }
        let Some((index, peer)) = group.next(tried) else { break };
        if number > 0 {
            pool.shared.counts.retried.fetch_add(1, Ordering::Relaxed);
        }
        match tries.once(peer, fresh).await {
            Ok(come) => {
                if peer.upstream.health.worked() {
                    tracing::info!(upstream = peer.upstream.name, "an upstream answers again");
                }
                return Ok(come);
            }
            Err(Failed { fault, again, stale }) => {
                if stale {
                    // It closed an idle connection, which is its right: it is asked again on a new one.
                    fresh = true;
                } else {
                    tried |= 1 << index;
                    note(errand, peer, &fault);
                }
                last = Some(fault);
                if !again {
                    break;
                }
            }
        }
    }
    Err(last.unwrap_or(Fault::Busy))
}

/// A try that failed, whether another may follow, and whether an old connection was all that failed.
struct Failed {
    fault: Fault,
    again: bool,
    stale: bool,
}

impl Tries<'_> {
    async fn once(&mut self, peer: &Arc<Peer>, fresh: bool) -> Result<Come, Failed> {
        let repeatable = self.progress.is_none() && headers::is_idempotent(&self.errand.parts.method);
        let idle = if fresh { None } else { peer.take(!repeatable) };
        let mut link = match idle {
            Some(link) => link,
            None => self.connect(peer).await.map_err(|fault| {
                let again = fault.is_before();
                Failed { fault, again, stale: false }
            })?,
        };
        let request = self.request().map_err(|fault| Failed { fault, again: false, stale: false })?;
        match link.exchange(request, self.progress.as_deref()).await {
            Ok(response) => Ok(Come { response, link, peer: Arc::clone(peer) }),
            Err(Lost::Late) => Err(Failed { fault: Fault::Late, again: false, stale: false }),
            Err(Lost::Connection(mut lost)) => {
                let unsent = lost.take_message();
                let again = unsent.is_some() || repeatable;
                if let Some(request) = unsent {
                    self.upload = request.into_body();
                }
                let error = lost.into_error();
                if let Some(fault) = self.progress.as_ref().and_then(|progress| progress.fault()) {
                    return Err(Failed { fault: Fault::Asked(fault), again: false, stale: false });
                }
                let is_answer = error.is_parse();
                let fault = if is_answer { Fault::Answer(error) } else { Fault::Closed(error) };
                Err(Failed { fault, again: again && !is_answer, stale: link.used && !is_answer })
            }
        }
    }

    async fn connect(&self, peer: &Peer) -> Result<Link, Fault> {
        let shared = &self.pool.shared;
        let place = shared.place().or_else(|| {
            self.pool.clear();
            shared.place()
        });
        let wire = {
            let place = place.ok_or(Fault::Busy)?;
            (shared.reach(&peer.upstream, self.errand.cluster.as_deref()).await?, place)
        };
        Link::open(wire.0, wire.1).await.map_err(Fault::Closed)
    }

    fn request(&mut self) -> Result<Request<Upload>, Fault> {
        let Errand { site, parts, told, mark, .. } = self.errand;
        let headers = headers::request(parts, self.wishes, told, mark, self.framing, site)?;
        let mut request = Request::new(std::mem::take(&mut self.upload));
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = target(&parts.uri);
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = headers;
        if let Some(progress) = self.progress.as_ref().filter(|_| self.wishes.expects) {
            listen(&mut request, progress);
        }
        Ok(request)
    }
}

/// Path and query alone (RFC 9112 section 3.2.1).
fn target(uri: &Uri) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = uri.path_and_query().cloned();
    Uri::from_parts(parts).unwrap_or_default()
}

/// That there is no body is said where the method would have one (RFC 9110 section 8.6).
fn framing(parts: &Parts, asked: &Asked) -> Framing {
    let has_one = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
    match asked.size_hint().exact() {
        Some(0) if !has_one && !parts.headers.contains_key(CONTENT_LENGTH) => Framing::Absent,
        Some(length) => Framing::Length(length),
        None => Framing::Chunked,
    }
}

fn note(errand: &Errand<'_>, peer: &Peer, fault: &Fault) {
    let (upstream, site, reason) = (&peer.upstream.name, errand.site, fault.reason());
    if fault.is_upstreams() && peer.upstream.health.failed(Instant::now()) {
        tracing::warn!(upstream, site, reason, "failed to {fault}");
    } else {
        tracing::debug!(upstream, site, reason, "failed to {fault}");
    }
}

/// Whether an answer switches protocols.
pub(crate) fn switches(response: &Response<Incoming>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
}
