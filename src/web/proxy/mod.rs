//! The `proxy` handler: a site whose answers come from elsewhere, over HTTP/1.1 on TCP, TLS or a unix socket. Requests and answers
//! pass piece by piece as they come; upgrades become tunnels. Upstreams learn of the visitor what we know ourselves, and visitors
//! learn nothing of the upstreams. Never holds a body, never believes what a visitor says about where it comes from.
//!
//! What does not pass: interim answers but for 100 and 101, which our HTTP engine cannot send.
mod answered;
mod fault;
mod forward;
pub(crate) mod headers;
mod heads;
mod health;
mod link;
mod names;
mod pieces;
mod pool;
pub(crate) mod tunnel;
mod upload;
pub(crate) mod upstream;

use std::sync::Arc;

use http::request::Parts;
use http::{Response, StatusCode};

use crate::base::ids::NodeId;
use crate::model::cluster::Cluster;
use crate::model::sites::Site;
use crate::model::state::State;
use crate::web::asked::Asked;
use crate::web::body::Body;
use crate::web::proxy::fault::Fault;
use crate::web::proxy::forward::{Come, Errand, forward};
use crate::web::proxy::headers::{Mark, Told, Wishes};
use crate::web::proxy::pool::Pool;
use crate::web::proxy::tunnel::Tunnel;
use crate::web::proxy::upstream::Upstreams;

/// One thread's way to all upstreams.
#[derive(Debug)]
pub(crate) struct Proxy {
    pool: Pool,
    mark: Mark,
}

/// An answer, and what is to follow it on the same connection.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response<Body>,
    pub(crate) tunnel: Option<Tunnel>,
}

impl From<Response<Body>> for Answer {
    fn from(response: Response<Body>) -> Self {
        Self { response, tunnel: None }
    }
}

impl Proxy {
    pub(crate) fn new(shared: Arc<Upstreams>, node: NodeId) -> Self {
        Self { pool: Pool::new(shared), mark: Mark::of(node) }
    }

    pub(crate) async fn serve(
        &self,
        site: &Site,
        parts: &Parts,
        asked: Asked,
        told: &Told,
        cluster: Option<Arc<Cluster>>,
    ) -> Answer {
        let errand = Errand { site: site.host.as_str(), parts, told, mark: &self.mark, cluster };
        match self.ask(site, &errand, asked).await {
            Ok(answer) => answer,
            Err(fault) => {
                metrics::counter!("ruche_proxy_failures_total", "reason" => fault.reason()).increment(1);
                Answer::from(fault.page())
            }
        }
    }

    async fn ask(&self, site: &Site, errand: &Errand<'_>, asked: Asked) -> Result<Answer, Fault> {
        if self.mark.is_on(&errand.parts.headers) {
            return Err(Fault::Loop);
        }
        let (group, wishes) = (self.pool.group(site), Wishes::of(errand.parts));
        let Come { head, link, peer } = forward(&self.pool, &group, errand, &wishes, asked).await?;
        let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
        if switches && wishes.upgrade.is_none() {
            return Err(Fault::Switch);
        }
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        if switches {
            let (wire, early, place) = link.switch();
            return Ok(Answer { response, tunnel: Some(Tunnel::new(wire, early, place)) });
        }
        *response.body_mut() = answered::body(head.rest, link, peer, head.keeps.then_some(head.kept));
        Ok(Answer::from(response))
    }

    /// Lets go of sites that are gone.
    pub(crate) fn forget(&self, state: &State) {
        self.pool.forget(state);
    }

    /// Closes idle connections in time; never ends.
    pub(crate) async fn sweep(&self) {
        self.pool.sweep().await;
    }
}
