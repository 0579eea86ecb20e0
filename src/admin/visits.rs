//! `/v1/sites/{host}/logs`, `/v1/sites/{host}/stats` and `/v1/stats`: who came to a site, as far as this node served it. What
//! the threads have counted and not written yet is written first: who visits and then looks, sees the visit.
use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;

use crate::admin::Desk;
use crate::admin::ask;
use crate::admin::auth::Caller;
use crate::admin::error::Failure;
use crate::admin::look::{At, Look};
use crate::api::page::{Page, PageQuery};
use crate::api::visits as api;
use crate::api::written::ReadQuery;
use crate::base::clock::Time;
use crate::base::ids::SiteId;
use crate::base::limits::{LOG_LINES_DEFAULT, LOG_LINES_MAX};
use crate::base::names::Host;
use crate::files::logs::{Place, PlaceError};
use crate::model::refusal::Kind;
use crate::model::sites::Site;
use crate::model::state::Snapshot;
use crate::store::visits::Visits;

/// A request for lines of a log.
#[derive(Debug)]
pub(crate) struct LogAsk {
    desk: Arc<Desk>,
    caller: Caller,
    lines: usize,
    after: Option<Place>,
}

impl FromRequestParts<Arc<Desk>> for LogAsk {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, desk: &Arc<Desk>) -> Result<Self, Failure> {
        let caller = parts.extensions.get::<Caller>().cloned().ok_or_else(Failure::unauthenticated)?;
        let query: api::LogQuery = ask::query(parts)?;
        let lines = query.lines.unwrap_or(LOG_LINES_DEFAULT);
        if lines == 0 || lines > LOG_LINES_MAX {
            return Err(Failure::invalid("lines", format!("expected 1 to {LOG_LINES_MAX}")));
        }
        let after = query.after.map(|place| place.parse()).transpose();
        let after = after.map_err(|error: PlaceError| Failure::invalid("after", error))?;
        Ok(Self { desk: Arc::clone(desk), caller, lines, after })
    }
}

fn seen<'a>(snapshot: &'a Snapshot, caller: &Caller, host: &Host) -> Result<&'a Arc<Site>, Failure> {
    let site = snapshot.site(host).ok().filter(|site| caller.sees(site.account.as_ref()));
    site.ok_or_else(|| Failure::not_found(Kind::Site, host))
}

/// Shows the newest lines of a site's access log on this node, or those after a place in it.
#[utoipa::path(get, path = "/v1/sites/{host}/logs", tag = "sites", params(("host" = String, Path), api::LogQuery),
    responses((status = 200, body = api::Log)))]
pub(crate) async fn logs(At(host): At<Host>, ask: LogAsk) -> Result<Response, Failure> {
    let snapshot = ask.desk.snapshot();
    let site = seen(&snapshot, &ask.caller, &host)?.id;
    ask.desk.flush.now().await;
    let logs = ask.desk.logs.clone();
    let read = ask.desk.blocking.run(move || logs.read(site, ask.lines, ask.after)).await?;
    let (lines, next) = read.map_err(|error| Failure::busy(format!("failed to read the access log: {error}")))?;
    Ok(axum::Json(api::Log { lines, next: next.to_string() }).into_response())
}

/// Shows how many came to a site, day by day, as far as this node served it.
#[utoipa::path(get, path = "/v1/sites/{host}/stats", tag = "sites", params(("host" = String, Path), ReadQuery),
    responses((status = 200, body = api::Stats)))]
pub(crate) async fn stats(At(host): At<Host>, look: Look) -> Result<Response, Failure> {
    let site = seen(&look.snapshot, &look.caller, &host)?;
    look.desk.flush.now().await;
    let days = look.desk.local.visits(Some(site.id)).await;
    let mut total = Visits::default();
    days.values().for_each(|visits| total.add(visits));
    let day = |day: u64| Time(day.saturating_mul(86_400_000)).to_string().chars().take(10).collect();
    let days = days.into_iter().map(|((_, number), visits)| api::Day { day: day(number), visits: shown(&visits) });
    let stats = api::Stats { host: site.host.to_string(), total: shown(&total), days: days.collect() };
    Ok(look.stamped(axum::Json(stats).into_response()))
}

/// Lists how many came to each site in the last month, as far as this node served them.
#[utoipa::path(get, path = "/v1/stats", tag = "sites", params(PageQuery), responses((status = 200, body = Page<api::SiteStats>)))]
pub(crate) async fn all(look: Look) -> Result<Response, Failure> {
    look.desk.flush.now().await;
    let mut totals: HashMap<SiteId, Visits> = HashMap::new();
    for ((site, _), visits) in look.desk.local.visits(None).await {
        totals.entry(site).or_default().add(&visits);
    }
    let hosts = look.snapshot.hosts.range(look.range::<Host>()?);
    let main = hosts.filter_map(|(host, id)| look.snapshot.sites.get(id).filter(|site| site.host == *host));
    let sites = main.filter(|site| look.wants(site.account.as_ref()));
    let view = |site: &&Arc<Site>| {
        let total = totals.get(&site.id).copied().unwrap_or_default();
        api::SiteStats { host: site.host.to_string(), total: shown(&total) }
    };
    Ok(look.page(sites, |site| site.host.to_string(), view))
}

fn shown(visits: &Visits) -> api::Visits {
    let [informed, done, elsewhere, refused, failed] = visits.answers;
    api::Visits { hits: visits.hits(), bytes: visits.bytes, informed, done, elsewhere, refused, failed }
}
