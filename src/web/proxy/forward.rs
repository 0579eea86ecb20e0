//! One request and its tries: an upstream, a connection to it, the head of its answer. Tries again only what cannot have been
//! done already, or may be done twice; never longer than a named time.
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::Method;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http_body::Body as _;

use crate::base::limits::{PROXY_TRIES_MAX, PROXY_TRIES_WAIT};
use crate::model::cluster::Cluster;
use crate::web::asked::Asked;
use crate::web::proxy::fault::Fault;
use crate::web::proxy::headers::{self, Framing, Mark, Told, Wishes};
use crate::web::proxy::heads::Head;
use crate::web::proxy::link::{Link, Lost};
use crate::web::proxy::pool::{Group, Peer, Pool};
use crate::web::proxy::upload::Upload;

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
    pub(crate) head: Head,
    pub(crate) link: Link,
    pub(crate) peer: Arc<Peer>,
}

struct Tries<'a> {
    errand: &'a Errand<'a>,
    pool: &'a Pool,
    wishes: &'a Wishes,
    framing: Framing,
    /// Until it is on its way.
    upload: Option<Box<Upload>>,
    /// Whether asking twice is as good as asking once.
    repeatable: bool,
}

pub(crate) async fn forward(
    pool: &Pool,
    group: &Group,
    errand: &Errand<'_>,
    wishes: &Wishes,
    asked: Asked,
) -> Result<Come, Fault> {
    let framing = framing(errand.parts, &asked);
    let upload =
        (!asked.is_end_stream()).then(|| Box::new(Upload::new(asked, framing, &errand.parts.headers, wishes.expects)));
    let repeatable = upload.is_none() && headers::is_idempotent(&errand.parts.method);
    let mut tries = Tries { errand, pool, wishes, framing, upload, repeatable };
    let begun = Instant::now();
    let (mut tried, mut fresh, mut last) = (0, false, None);
    for number in 0..PROXY_TRIES_MAX {
        if number > 0 && begun.elapsed() >= PROXY_TRIES_WAIT {
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
        let idle = if fresh { None } else { peer.take(!self.repeatable) };
        let mut link = match idle {
            Some(link) => link,
            None => self.connect(peer).await.map_err(|fault| {
                let again = fault.is_before();
                Failed { fault, again, stale: false }
            })?,
        };
        let Errand { site, parts, told, mark, .. } = self.errand;
        let say = |out: &mut Vec<u8>| headers::request(out, parts, self.wishes, told, mark, self.framing, site);
        let lost = match link.exchange(say, self.upload.take(), parts.method == Method::HEAD).await {
            Ok(head) => return Ok(Come { head, link, peer: Arc::clone(peer) }),
            Err(lost) => lost,
        };
        let (fault, again) = match lost {
            Lost::Unsent(upload) => {
                self.upload = upload;
                (Fault::Closed(ErrorKind::UnexpectedEof.into()), true)
            }
            Lost::Closed(error) => (Fault::Closed(error), self.repeatable),
            Lost::Answer(unsound) => (Fault::Answer(unsound), false),
            Lost::Asked(error) => (Fault::Asked(error), false),
            Lost::Late => (Fault::Late, false),
        };
        let stale = link.used && matches!(fault, Fault::Closed(_));
        Err(Failed { fault, again, stale })
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
        Ok(Link::new(wire.0, wire.1))
    }
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
