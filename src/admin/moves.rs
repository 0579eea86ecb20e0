//! `/v1/sites/{host}/move`, `/v1/operations/{id}/continue`, `/v1/nodes/{node}/drain`, `/v1/cluster/rebalance`: has sites move, and tells
//! before what that would do. The room of moves does it.
use std::iter;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::admin::Desk;
use crate::admin::ask::{Ask, AskWith};
use crate::admin::error::Failure;
use crate::admin::look::At;
use crate::admin::nodes::{name, named};
use crate::admin::resource::Resource;
use crate::api::moves as api;
use crate::api::operations;
use crate::api::written::{WriteQuery, Written};
use crate::base::ids::{OperationId, RequestId};
use crate::base::limits::moves::COPY_ROOM;
use crate::base::names::Host;
use crate::base::sizes::human;
use crate::cluster::door::{Write, random};
use crate::files::manifest::Sum;
use crate::model::change::Change;
use crate::model::drains::NodeDrain;
use crate::model::moves::{MoveGo, Moving, SiteMove, objection};
use crate::model::nodes::Node;
use crate::model::operations::Operation;
use crate::model::placement::{Passed, Placed, Wish, balance, place};
use crate::model::sites::{Handler, Site, quota, upstream_of_this_machine};
use crate::model::state::State;

/// Moves a site to another home, live. `dry_run` tells what would be done.
#[utoipa::path(post, path = "/v1/sites/{host}/move", tag = "sites", params(("host" = String, Path), WriteQuery),
    request_body = api::SiteMove, responses((status = 202, body = Written<operations::Operation>), (status = 200, body = api::MovePlan)))]
pub(crate) async fn begin(At(host): At<Host>, AskWith(ask, body): AskWith<api::SiteMove>) -> Result<Response, Failure> {
    ask.caller.sees_all()?;
    let to = body.to.as_deref().map(|to| named(&ask.snapshot, "to", to)).transpose()?;
    if body.dry_run {
        return plan(&ask, &host, to.map(AsRef::as_ref), body.hold).await;
    }
    let site = ask.snapshot.site(&host)?;
    let (to, reason) = match to {
        Some(to) => (Some(to.id), None),
        // The answer is there already.
        None if ask.snapshot.remembered(&ask.request_id).is_some() => (None, None),
        None => {
            // What cannot be asked is found out by the move.
            let bytes = ask.desk.moves.size(site.id, site.home).await.map_or(0, |sum| sum.bytes);
            let placed = best(&ask.desk, Wish { bytes, except: &[site.home], apart: &site.standbys })
                .await
                .map_err(nowhere("to"))?;
            (Some(placed.node), Some(placed.reason))
        }
    };
    let current = Some(site.revision);
    let change = SiteMove { host, to, bandwidth: body.bandwidth, reason, hold: body.hold };
    let done = ask.write::<Operation>(Change::SiteMove(change), current).await?;
    Ok(ask.answer(StatusCode::ACCEPTED, done))
}

/// The node that a site fits best, as all are now; or how each of them is.
pub(crate) async fn best(desk: &Desk, wish: Wish<'_>) -> Result<Placed, Vec<Passed>> {
    let boards = desk.member.boards(&desk.board).await;
    place(&desk.snapshot(), &boards, wish)
}

/// That a site fits nowhere.
pub(crate) fn nowhere(field: &'static str) -> impl Fn(Vec<Passed>) -> Failure {
    move |passed| {
        let each: Vec<_> = passed.iter().map(|node| format!("{}: {}", node.node, node.reason)).collect();
        let of_each = if each.is_empty() { "there is no other one".to_owned() } else { each.join("; ") };
        Failure::invalid(field, format!("no node takes the site now ({of_each})"))
    }
}

async fn plan(ask: &Ask, host: &Host, to: Option<&Node>, hold: bool) -> Result<Response, Failure> {
    let (state, moves) = (&ask.snapshot, &ask.desk.moves);
    let site = state.site(host)?;
    let mut objections: Vec<String> = site.moving.iter().map(|moving| already(moving)).collect();
    let sum = moves.size(site.id, site.home).await.unwrap_or_else(|error| {
        objections.push(format!("failed to {error}"));
        Sum::default()
    });
    let placed = match to {
        Some(_) => None,
        None => {
            let wish = Wish { bytes: sum.bytes, except: &[site.home], apart: &site.standbys };
            Some(best(&ask.desk, wish).await.map_err(nowhere("to"))?)
        }
    };
    let chosen = to.map(|to| to.id).or_else(|| placed.as_ref().map(|placed| placed.node));
    let to = chosen.and_then(|id| state.nodes.get(&id)).ok_or_else(|| Failure::invalid("to", "it has just gone"))?;
    objections.extend(objection(to, site));
    if to.knows < state.level() {
        objections.push(format!("the program of {} does not know the level {} of the cluster", to.name, state.level()));
    }
    let room = moves.room(to.id).await.unwrap_or_else(|error| {
        objections.push(format!("failed to {error}"));
        u64::MAX
    });
    if sum.bytes.saturating_add(COPY_ROOM) > room {
        objections.push(format!("{} has {} free, and {} are to come", to.name, human(room), human(sum.bytes)));
    }
    let (from, to) = (name(state, site.home), to.name.to_string());
    let passed = |passed: &Passed| api::Passed { node: passed.node.to_string(), reason: passed.reason.clone() };
    Ok(Json(api::MovePlan {
        site: site.host.to_string(),
        steps: steps(&from, &to, site, hold).into_iter().chain(kept(state, site, sum.bytes)).collect(),
        stays: stays(&from, site, sum.odd),
        files: sum.files,
        directories: sum.dirs,
        bytes: sum.bytes,
        from,
        to,
        reason: placed.as_ref().map(|placed| placed.reason.clone()),
        others: placed.iter().flat_map(|placed| &placed.others).map(passed).collect(),
        room,
        objections,
    })
    .into_response())
}

fn already(moving: &Moving) -> String {
    format!("it moves already: operation {}", moving.operation)
}

fn steps(from: &str, to: &str, site: &Site, hold: bool) -> Vec<String> {
    let epoch = site.epoch + 1;
    let copy = format!("{to} copies the files from {from} while the site is served and written, until little is left");
    let wait =
        hold.then(|| "the move waits for your word to go on, an hour at most; the site is served and written".into());
    let rest = vec![
        format!("writes rest on {from}: FTP answers 450 and visitors see no difference"),
        format!("{to} copies what changed meanwhile and has it on its disk"),
        format!("one change makes {to} the home, with epoch {epoch}; certificates and DNS are right at once"),
        format!("every node, {from} too, carries who comes there to {to}"),
        format!("the files on {from} go to its trash for 7 days"),
    ];
    iter::once(copy).chain(wait).chain(rest).collect()
}

/// Has the move that an operation is go on, which was to wait before its site rests.
#[utoipa::path(post, path = "/v1/operations/{id}/continue", tag = "operations", params(("id" = String, Path), WriteQuery),
    responses((status = 202, body = Written<operations::Operation>)))]
pub(crate) async fn go(At(operation): At<OperationId>, ask: Ask) -> Result<Response, Failure> {
    let current = ask.snapshot.operations.get(&operation).map(|operation| operation.revision);
    let done = ask.write::<Operation>(Change::MoveGo(MoveGo { operation }), current).await?;
    Ok(ask.answer(StatusCode::ACCEPTED, done))
}

/// What is said of the quota, which goes along.
fn kept(state: &State, site: &Site, used: u64) -> Option<String> {
    let quota = quota(state, site)?;
    let then = if used < quota { "" } else { ": nothing more is taken there either" };
    Some(format!("its quota of {} holds there as here, {} are used{then}", human(quota), human(used)))
}

/// What a move cannot take along.
fn stays(from: &str, site: &Site, odd: u64) -> Vec<String> {
    let mut stays = vec![format!("access logs and statistics so far stay on {from}")];
    if let Handler::Proxy { upstreams } = &site.handler {
        stays.extend(upstreams.iter().map(|upstream| match upstream_of_this_machine(upstream) {
            true => format!("what answers at {upstream}, on {from} itself: it must run on the new home as well"),
            false => format!("what answers at {upstream}: it must be reached from the new home"),
        }));
    }
    if matches!(site.handler, Handler::Php { .. }) {
        stays.push("databases: what the site's programs connect to must be reached from the new home".into());
    }
    if odd > 0 {
        stays.push(format!("{odd} FIFOs, sockets, devices or mounted file systems among its files"));
    }
    stays
}

/// Cordons a node and moves its sites to others, a few at a time. Asked again, it shows the drain that is under way.
#[utoipa::path(post, path = "/v1/nodes/{node}/drain", tag = "nodes", params(("node" = String, Path), WriteQuery),
    responses((status = 202, body = Written<operations::Operation>)))]
pub(crate) async fn drain(At(node): At<String>, ask: Ask) -> Result<Response, Failure> {
    ask.caller.sees_all()?;
    let node = named(&ask.snapshot, "node", &node)?;
    let done = ask.write::<Operation>(Change::NodeDrain(NodeDrain { node: node.id }), Some(node.revision)).await?;
    Ok(ask.answer(StatusCode::ACCEPTED, done))
}

/// Moves few sites, so that no node has many more than another. `dry_run` tells what would be done.
#[utoipa::path(post, path = "/v1/cluster/rebalance", tag = "cluster", params(WriteQuery), request_body = api::Rebalance,
    responses((status = 202, body = api::Rebalanced), (status = 200, body = api::Rebalanced)))]
pub(crate) async fn rebalance(AskWith(ask, body): AskWith<api::Rebalance>) -> Result<Response, Failure> {
    ask.caller.sees_all()?;
    let boards = ask.desk.member.boards(&ask.desk.board).await;
    let snapshot = ask.desk.snapshot();
    let (mut moves, mut revision) = (Vec::new(), snapshot.revision);
    for way in balance(&snapshot, &boards) {
        let (from, to) = (name(&snapshot, way.from), name(&snapshot, way.to));
        let (mut operation, mut refused) = (None, None);
        if !body.dry_run {
            let (host, to, reason) = (way.host.clone(), Some(way.to), Some(way.reason.clone()));
            let change = Change::SiteMove(SiteMove { host, to, bandwidth: None, reason, hold: false });
            let request_id = RequestId { key: random(), digest: ask.request_id.digest };
            let write = Write { request_id, actor: ask.caller.actor, expect: None, change };
            match ask.desk.door.write(write).await {
                Ok(answer) => {
                    revision = answer.revision;
                    operation = answer.object.and_then(Operation::of).map(|begun| begun.id.to_string());
                }
                Err(error) => refused = Some(format!("failed to {error}")),
            }
        }
        moves.push(api::Balancing { site: way.host.to_string(), from, to, reason: way.reason, operation, refused });
    }
    let status = if body.dry_run || moves.is_empty() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(api::Rebalanced { revision, moves })).into_response())
}
