//! `/v1/sites/{host}/standbys`, `/v1/sites/{host}/failover`, `/v1/nodes/{node}/evacuate`: how the copies of a site are, and which of them takes
//! the place of a home that is down.
use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::admin::Desk;
use crate::admin::ask::{Ask, AskWith};
use crate::admin::error::Failure;
use crate::admin::look::{At, Look};
use crate::admin::nodes::{name, named};
use crate::api::moves::Stays;
use crate::api::sites::{self, Failover};
use crate::api::standbys as api;
use crate::api::written::{WriteQuery, Written};
use crate::base::ids::{NodeId, RequestId};
use crate::base::limits::{FAILOVER_LOOK, FAILOVER_WAIT};
use crate::base::names::Host;
use crate::cluster::door::{Write, WriteError, random};
use crate::model::change::Change;
use crate::model::refusal::Kind;
use crate::model::sites::Site;
use crate::model::standbys::{self, SiteFailover};
use crate::model::state::State;
use crate::model::stations;
use crate::moves::wire::Standing;

/// What is known of the copy on a node; none where it does not say.
type Copies = Vec<(NodeId, Option<Standing>)>;

/// Asks all standbys of a site at once.
async fn copies(desk: &Arc<Desk>, state: &State, site: &Site) -> Copies {
    let mut asked = JoinSet::new();
    for (at, node) in site.standbys.iter().copied().enumerate() {
        let (moves, id) = (desk.moves.clone(), site.id);
        let up = state.nodes.get(&node).is_some_and(|node| !node.down);
        asked.spawn(async move { (at, node, if up { moves.standing(id, node).await } else { None }) });
    }
    let mut copies: Vec<_> = asked.join_all().await;
    copies.sort_by_key(|(at, ..)| *at);
    copies.into_iter().map(|(_, node, said)| (node, said)).collect()
}

fn shown(state: &State, site: &Site, node: NodeId, said: Option<Standing>) -> api::Standby {
    let chosen = site.stationed.iter().find(|stationed| stationed.node == node);
    let (reached, said) = (said.is_some(), said.unwrap_or_default());
    api::Standby {
        node: name(state, node),
        up: is_up(state, node),
        chosen: chosen.map(|stationed| stationed.reason.clone()),
        reached,
        whole: said.whole,
        as_of: said.as_of.map(|time| time.to_string()),
        behind: said.behind,
        fetched: said.fetched.map(|(fetched, _)| fetched),
        total: said.fetched.map(|(_, total)| total),
        fault: said.fault,
        recovered: said.recovered,
    }
}

fn is_up(state: &State, node: NodeId) -> bool {
    state.nodes.get(&node).is_some_and(|node| !node.down)
}

/// Shows how the copies of a site are.
#[utoipa::path(get, path = "/v1/sites/{host}/standbys", tag = "sites", params(("host" = String, Path)),
    responses((status = 200, body = api::Standbys)))]
pub(crate) async fn show(At(host): At<Host>, look: Look) -> Result<Response, Failure> {
    let site = look.snapshot.site(&host).ok().filter(|site| look.caller.sees(site.account.as_ref()));
    let site = site.ok_or_else(|| Failure::not_found(Kind::Site, &host))?;
    let state = &look.snapshot;
    let copies = copies(&look.desk, state, site).await;
    Ok(Json(api::Standbys {
        site: site.host.to_string(),
        node: name(state, site.home),
        up: is_up(state, site.home),
        failover: match site.failover {
            standbys::Failover::Automatic => Failover::Automatic,
            standbys::Failover::Manual => Failover::Manual,
        },
        notes: notes(&look.desk, state, site),
        standbys: copies.into_iter().map(|(node, said)| shown(state, site, node, said)).collect(),
    })
    .into_response())
}

/// What a cluster of too few cannot decide.
fn notes(desk: &Desk, state: &State, site: &Site) -> Vec<String> {
    let mut notes = Vec::new();
    if site.unconfirmed.is_some() {
        notes.push(format!("no standby takes over by itself yet: {}", standbys::UNCONFIRMED));
    }
    let lacks = stations::lacks(site);
    if lacks > 0 {
        notes.push(format!("{lacks} of {} standbys are not placed yet: no other node fits", site.wanted));
    }
    let voters = desk.member.status().voters;
    if !site.standbys.is_empty() && site.failover == standbys::Failover::Automatic && voters == [site.home] {
        notes.push(format!(
            "{} decides alone for this cluster: when it is gone, nobody can say that it is down, and no standby takes over by itself. A third \
             node ends that; else `ruche cluster recover --force-single` on a standby, then `ruche site failover`",
            name(state, site.home)
        ));
    }
    notes
}

/// Makes a standby the home of a site whose home is down. What the standby does not have is kept on the old home, if that comes back.
#[utoipa::path(post, path = "/v1/sites/{host}/failover", tag = "sites", params(("host" = String, Path), WriteQuery),
    request_body = api::SiteFailover, responses((status = 200, body = Written<sites::Site>), (status = 200, body = api::FailoverPlan)))]
pub(crate) async fn fail_over(
    At(host): At<Host>,
    AskWith(ask, body): AskWith<api::SiteFailover>,
) -> Result<Response, Failure> {
    ask.caller.sees_all()?;
    let site = Arc::clone(ask.snapshot.site(&host)?);
    let to = body.to.as_deref().map(|to| named(&ask.snapshot, "to", to)).transpose()?.map(|node| node.id);
    let (to, plan) = plan(&ask, &site, to).await;
    if body.dry_run {
        return Ok(Json(plan).into_response());
    }
    // A repeated request is answered as it was, whatever is true by now.
    let repeated = ask.snapshot.remembered(&ask.request_id).is_some();
    let Some(to) = to.or_else(|| repeated.then_some(site.home)) else {
        return Err(Failure::invalid("to", plan.objections.join("; ")));
    };
    if !body.accept_loss && !repeated {
        let detail = format!("it may lose something: {}", plan.loses.join("; "));
        let remedy = "Bring the home back, or repeat with `accept_loss` (--yes) if that is how it is to be.";
        return Err(Failure::new(StatusCode::CONFLICT, "may-lose", detail, remedy));
    }
    let begun = Instant::now();
    loop {
        let change = SiteFailover { site: site.id, to, epoch: site.epoch };
        match ask.change::<Arc<Site>>(Change::SiteFailover(change), Some(site.revision)).await {
            // Its home may write to it for some seconds still.
            Err(failure) if failure.is_leased() && begun.elapsed() < FAILOVER_WAIT => sleep(FAILOVER_LOOK).await,
            done => return done,
        }
    }
}

/// Which standby it would be, and what would be lost.
async fn plan(ask: &Ask, site: &Site, wanted: Option<NodeId>) -> (Option<NodeId>, api::FailoverPlan) {
    let state = &ask.snapshot;
    let copies = copies(&ask.desk, state, site).await;
    let to = wanted.or_else(|| best(site, &copies));
    let mut objections = Vec::new();
    if is_up(state, site.home) {
        let is_up = || format!("its home {} is up: move the site instead", name(state, site.home));
        objections.push(undecided(&ask.desk).await.unwrap_or_else(is_up));
    }
    match to.map(|to| (to, state.nodes.get(&to))) {
        Some((_, Some(node))) => objections.extend(standbys::objection(node, site)),
        Some((to, None)) => objections.push(format!("there is no node {to}")),
        None if site.standbys.is_empty() => objections.push("it has no standby".to_owned()),
        None => objections.push("none of its standbys answers".to_owned()),
    }
    let copy = to.and_then(|to| copies.iter().find(|(node, _)| *node == to)).and_then(|(_, said)| said.as_ref());
    let plan = api::FailoverPlan {
        site: site.host.to_string(),
        from: name(state, site.home),
        to: to.map(|to| name(state, to)),
        loses: loses(site, copy),
        objections,
    };
    (to, plan)
}

/// Why it is not known here who is down, where that is so.
async fn undecided(desk: &Desk) -> Option<String> {
    let why = desk.member.unready().await?;
    let why = why.strip_prefix("raft: ").unwrap_or(&why);
    Some(format!(
        "it cannot be decided here who is down ({why}). Bring the other nodes back; where they are lost: `ruche cluster recover --force-single`"
    ))
}

/// The most complete copy; the first one of several.
fn best(site: &Site, copies: &Copies) -> Option<NodeId> {
    let rank = |said: &Standing| (!said.whole, said.behind.unwrap_or(0), std::cmp::Reverse(said.as_of));
    let answered = copies.iter().filter_map(|(node, said)| Some((*node, said.as_ref()?)));
    match site.has_files() {
        true => answered.min_by_key(|(_, said)| rank(said)).map(|(node, _)| node),
        false => answered.map(|(node, _)| node).next(),
    }
}

fn loses(site: &Site, copy: Option<&Standing>) -> Vec<String> {
    let mut loses = Vec::new();
    match copy {
        _ if !site.has_files() => {}
        None => loses.push("it is not known what the copy has".to_owned()),
        Some(copy) if !copy.whole => loses.push("the copy has never had all files of the present home".to_owned()),
        Some(Standing { behind: Some(seconds), .. }) => {
            loses.push(format!("the copy has lacked something for {seconds} s: what was written since then"));
        }
        Some(_) => loses.push("what was written in the last moments, if anything was".to_owned()),
    }
    if site.has_files() && (site.failover == standbys::Failover::Manual || site.unconfirmed.is_some()) {
        loses.push(
            "if the home runs on somewhere where the cluster does not see it, it takes uploads that nobody serves"
                .to_owned(),
        );
    }
    loses
}

/// Makes standbys the homes of the sites of a node that is down.
#[utoipa::path(post, path = "/v1/nodes/{node}/evacuate", tag = "nodes", params(("node" = String, Path), WriteQuery),
    request_body = api::Evacuate, responses((status = 200, body = api::Evacuated)))]
pub(crate) async fn evacuate(
    At(node): At<String>,
    AskWith(ask, body): AskWith<api::Evacuate>,
) -> Result<Response, Failure> {
    ask.caller.sees_all()?;
    let node = named(&ask.snapshot, "node", &node)?;
    if !node.down {
        let is_up = || format!("{} is up: drain it instead", node.name);
        return Err(Failure::invalid("node", undecided(&ask.desk).await.unwrap_or_else(is_up)));
    }
    if !body.accept_loss {
        let detail = "what the standbys of its sites do not have may be lost";
        let remedy = "Bring the node back, or repeat with `accept_loss` (--yes) if that is how it is to be.";
        return Err(Failure::new(StatusCode::CONFLICT, "may-lose", detail, remedy));
    }
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for site in ask.snapshot.sites.values().filter(|site| site.home == node.id) {
        let stays = |reason: String| Stays { site: site.host.to_string(), reason };
        let (Some(to), plan) = plan(&ask, site, None).await else {
            refused.push(stays(
                if site.standbys.is_empty() { "it has no standby" } else { "no standby answers" }.to_owned(),
            ));
            continue;
        };
        if !plan.objections.is_empty() {
            refused.push(stays(plan.objections.join("; ")));
            continue;
        }
        match written(&ask, SiteFailover { site: site.id, to, epoch: site.epoch }).await {
            Ok(()) => done.push(site.host.to_string()),
            Err(error) => refused.push(stays(format!("failed to {error}"))),
        }
    }
    let revision = ask.desk.snapshot().revision;
    Ok(Json(api::Evacuated { revision, sites: done, refused }).into_response())
}

async fn written(ask: &Ask, change: SiteFailover) -> Result<(), WriteError> {
    let begun = Instant::now();
    loop {
        let request_id = RequestId { key: random(), digest: ask.request_id.digest };
        let change = Change::SiteFailover(change.clone());
        let write = Write { request_id, actor: ask.caller.actor, expect: None, change };
        match ask.desk.door.write(write).await {
            Err(WriteError::Leased { .. }) if begun.elapsed() < FAILOVER_WAIT => sleep(FAILOVER_LOOK).await,
            written => return written.map(drop),
        }
    }
}
