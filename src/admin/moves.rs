//! `/v1/sites/{host}/move` and `/v1/nodes/{node}/drain`: begins moves, and tells before what they would do. The room of moves does
//! them.
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::admin::ask::{Ask, AskWith};
use crate::admin::error::Failure;
use crate::admin::look::At;
use crate::admin::nodes::{name, named};
use crate::admin::resource::{Resource, View};
use crate::api::moves as api;
use crate::api::operations;
use crate::api::written::{WriteQuery, Written};
use crate::base::ids::{NodeId, OperationId, RequestId};
use crate::base::limits::moves::COPY_ROOM;
use crate::base::names::Host;
use crate::cluster::door::{Write, random};
use crate::model::answer::Object;
use crate::model::change::{Change, Set};
use crate::model::moves::{SiteMove, best, objection};
use crate::model::nodes::{Node, NodeSet};
use crate::model::operations::{Operation, OperationFinish, Status};
use crate::model::sites::{Handler, Site};
use crate::moves::survey::Survey;

/// Moves a site to another home, live. `dry_run` tells what would be done.
#[utoipa::path(post, path = "/v1/sites/{host}/move", tag = "sites", params(("host" = String, Path), WriteQuery),
    request_body = api::SiteMove, responses((status = 202, body = Written<operations::Operation>), (status = 200, body = api::MovePlan)))]
pub(crate) async fn begin(At(host): At<Host>, AskWith(ask, body): AskWith<api::SiteMove>) -> Result<Response, Failure> {
    ask.caller.sees_all()?;
    let to = body.to.as_deref().map(|to| named(&ask.snapshot, "to", to)).transpose()?;
    if body.dry_run {
        return plan(&ask, &host, to.map(AsRef::as_ref)).await;
    }
    let current = ask.snapshot.site(&host).ok().map(|site| site.revision);
    let change = SiteMove { host, to: to.map(|to| to.id), bandwidth: body.bandwidth };
    let done = ask.write::<Operation>(Change::SiteMove(change), current).await?;
    Ok(ask.answer(StatusCode::ACCEPTED, done))
}

async fn plan(ask: &Ask, host: &Host, to: Option<&Node>) -> Result<Response, Failure> {
    let site = ask.snapshot.site(host)?;
    let chosen = to.or_else(|| best(&ask.snapshot, site).map(AsRef::as_ref));
    let to_node = chosen.ok_or_else(|| Failure::invalid("to", "no other node takes sites now"))?;
    let reason = to.is_none().then(|| {
        let sites = ask.snapshot.sites_at(to_node.id);
        format!("{} has the fewest sites of the nodes that take them: {sites}", to_node.name)
    });
    let mut objections: Vec<String> = objection(to_node, site).into_iter().collect();
    if let Some(moving) = &site.moving {
        objections.push(format!("it moves already: operation {}", moving.operation));
    }
    let survey = ask.desk.moves.survey(site.id, site.home, to_node.id).await;
    let Survey { sum, room } = survey.unwrap_or_else(|error| {
        objections.push(format!("failed to {error}"));
        Survey::default()
    });
    if objections.is_empty() && sum.bytes.saturating_add(COPY_ROOM) > room {
        objections.push(format!("{} has room for {room} bytes, and {} are to come", to_node.name, sum.bytes));
    }
    let (from, to) = (name(&ask.snapshot, site.home), to_node.name.to_string());
    Ok(Json(api::MovePlan {
        site: site.host.to_string(),
        steps: steps(&from, &to, site),
        stays: stays(&from, site, sum.odd),
        files: sum.files,
        directories: sum.dirs,
        bytes: sum.bytes,
        from,
        to,
        reason,
        room,
        objections,
    })
    .into_response())
}

fn steps(from: &str, to: &str, site: &Site) -> Vec<String> {
    let epoch = site.epoch + 1;
    vec![
        format!("{to} copies the files from {from} while the site is served and written, until little is left"),
        format!("writes rest on {from}: FTP answers 450 and visitors see no difference"),
        format!("{to} copies what changed meanwhile and has it on its disk"),
        format!("one change makes {to} the home, with epoch {epoch}; certificates and DNS are right at once"),
        format!("every node, {from} too, carries who comes there to {to}"),
        format!("the files on {from} go to its trash for 7 days"),
    ]
}

/// What a move cannot take along.
fn stays(from: &str, site: &Site, odd: u64) -> Vec<String> {
    let mut stays = vec![format!("access logs and statistics so far stay on {from}")];
    if let Handler::Proxy { upstreams } = &site.handler {
        let local = |upstream: &&String| {
            let host = upstream.split_once("://").map_or("", |(_, rest)| rest);
            upstream.starts_with("unix:") || ["127.", "[::1]", "localhost"].iter().any(|own| host.starts_with(own))
        };
        let local = upstreams.iter().filter(local);
        stays.extend(local.map(|upstream| format!("what answers at {upstream}: it must run on the new home as well")));
    }
    if matches!(site.handler, Handler::Php { .. }) {
        stays.push("databases: what the site's programs connect to must be reached from the new home".into());
    }
    if odd > 0 {
        stays.push(format!("{odd} FIFOs, sockets, devices or mounted file systems among its files"));
    }
    stays
}

/// Cordons a node and moves its sites to others, a few at a time.
#[utoipa::path(post, path = "/v1/nodes/{node}/drain", tag = "nodes", params(("node" = String, Path), WriteQuery),
    responses((status = 202, body = api::Drained)))]
pub(crate) async fn drain(At(node): At<String>, ask: Ask) -> Result<Response, Failure> {
    ask.caller.sees_all()?;
    let node = named(&ask.snapshot, "node", &node)?;
    let (roles, addresses, labels) = (Set::Keep, Set::Keep, Set::Keep);
    let cordon = NodeSet { node: node.id, roles, addresses, labels, cordoned: Set::To(true) };
    let done = ask.write::<Node>(Change::NodeSet(cordon), Some(node.revision)).await?;
    let (mut operations, mut refused) = (Vec::new(), Vec::new());
    let snapshot = ask.desk.snapshot();
    let view = View::new(&ask.desk, &snapshot, &ask.caller);
    let finish = |(id, _): &(OperationId, NodeId)| {
        Change::OperationFinish(OperationFinish { id: *id, status: Status::Cancelling })
    };
    // What is on its way there stays where it is.
    for moving in snapshot.moving.values().filter(|(_, to)| *to == node.id) {
        let request_id = RequestId { key: random(), digest: ask.request_id.digest };
        let write = Write { request_id, actor: ask.caller.actor, expect: None, change: finish(moving) };
        // One that has just ended is no more to be ended.
        drop(ask.desk.door.write(write).await);
    }
    for site in snapshot.sites.values().filter(|site| site.home == node.id) {
        if let Some(moving) = &site.moving {
            operations.extend(snapshot.operations.get(&moving.operation).map(|going| going.view(&view)));
            continue;
        }
        let change = Change::SiteMove(SiteMove { host: site.host.clone(), to: None, bandwidth: None });
        let request_id = RequestId { key: random(), digest: ask.request_id.digest };
        let write = Write { request_id, actor: ask.caller.actor, expect: None, change };
        match ask.desk.door.write(write).await.map(|answer| answer.object) {
            Ok(Some(Object::Operation(begun))) => operations.push(begun.view(&view)),
            Ok(_) => {}
            Err(error) => {
                let reason = format!("failed to {error}");
                refused.push(api::Stays { site: site.host.to_string(), reason });
            }
        }
    }
    let drained = api::Drained { revision: done.revision, operations, refused };
    Ok((StatusCode::ACCEPTED, Json(drained)).into_response())
}
