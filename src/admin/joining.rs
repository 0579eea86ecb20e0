//! `/v1/cluster`: how the cluster is; tokens for machines that join; joining and leaving, after which the node starts again.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::admin::Desk;
use crate::admin::ask::{Ask, AskWith, Gone};
use crate::admin::error::Failure;
use crate::admin::fields;
use crate::admin::look::Look;
use crate::api::joining as api;
use crate::api::joining::{ClusterStatus, Joining, Leaving, Part};
use crate::api::status::Plane;
use crate::api::written::{ReadQuery, WriteQuery};
use crate::base::clock::Time;
use crate::base::ids::NodeId;
use crate::base::limits::peers::JOIN_TOKEN_LIFE;
use crate::base::names::NodeName;
use crate::cluster::adoption;
use crate::cluster::joining::{JoinError, JoinTicket, NOT_TAKEN, Newcomer};
use crate::cluster::look::Look as Seen;
use crate::cluster::peer::error::PeerError;
use crate::model::change::Change;
use crate::model::joins::JoinTokenCreate;
use crate::model::nodes::{Node, NodeRemove};
use crate::model::refusal::Kind;
use crate::model::state::State;

/// Pause before the node starts again: who asked has the answer by then.
const FAREWELL: Duration = Duration::from_millis(200);
/// How long a node that leaves waits until somebody else leads.
const SUCCESSION_WAIT: Duration = Duration::from_secs(15);

/// Shows the cluster: who leads, and how each node is, as it says itself.
#[utoipa::path(get, path = "/v1/cluster", tag = "cluster", params(ReadQuery), responses((status = 200, body = ClusterStatus)))]
pub(crate) async fn show(look: Look) -> Result<Response, Failure> {
    look.caller.sees_all()?;
    let (desk, state) = (&look.desk, &look.snapshot.state);
    let raft = desk.member.status();
    let nodes = members(desk, state, |_| true).await;
    let status = ClusterStatus {
        cluster: state.cluster.as_ref().map(|cluster| cluster.id.to_string()),
        level: state.level(),
        revision: state.revision,
        leader: raft.leader.map(|id| crate::admin::nodes::name(state, id)),
        term: raft.term,
        nodes,
    };
    Ok(look.stamped(axum::Json(status).into_response()))
}

/// How the nodes are, sorted by name; those that are `asked` say so themselves.
pub(crate) async fn members(desk: &Desk, state: &State, asked: impl Fn(&Node) -> bool) -> Vec<api::Member> {
    let mut looks = JoinSet::new();
    for node in state.nodes.values().filter(|node| asked(node)).map(|node| node.id) {
        let (member, board) = (desk.member.clone(), desk.board.clone());
        looks.spawn(async move { (node, member.look_at(node, &board).await) });
    }
    let mut seen: BTreeMap<NodeId, Option<Seen>> = looks.join_all().await.into_iter().collect();
    let raft = desk.member.status();
    let part = |node: NodeId| match node {
        node if raft.leader == Some(node) => Part::Leader,
        node if raft.voters.contains(&node) => Part::Voter,
        node if raft.learners.contains(&node) => Part::Learner,
        _ => Part::None,
    };
    let nodes = state.nodes.values();
    let mut nodes: Vec<_> =
        nodes.map(|node| member(desk, state, node, (part(node.id), seen.remove(&node.id).flatten()))).collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    nodes
}

fn member(desk: &Desk, state: &State, node: &Arc<Node>, (part, said): (Part, Option<Seen>)) -> api::Member {
    let differs = |said: &Seen| said.revision == state.revision && said.hash != format!("{:032x}", state.hash);
    let plane = |(name, served): &(String, u64)| Plane { name: name.clone(), served: *served };
    let ahead = |said: &Seen| i64::try_from(i128::from(said.clock) - i128::from(Time::now().0)).ok();
    api::Member {
        name: node.name.to_string(),
        id: node.id.to_string(),
        part,
        up: !node.down,
        answers: said.is_some(),
        reach: node.reach.iter().map(ToString::to_string).collect(),
        hidden: desk.member.peers().is_hidden(node.id),
        version: said.as_ref().map(|said| said.version.clone()),
        knows: Some(node.knows).filter(|level| *level > 0),
        revision: said.as_ref().map(|said| said.revision),
        behind: said.as_ref().map(|said| state.revision.saturating_sub(said.revision)),
        differs: said.as_ref().is_some_and(differs),
        served: said.as_ref().and_then(|said| said.served.iter().map(|(_, revision)| *revision).min()),
        planes: said.as_ref().map(|said| said.served.iter().map(plane).collect()),
        disk_free: said.as_ref().and_then(|said| said.disk).map(|disk| disk.free),
        disk_size: said.as_ref().and_then(|said| said.disk).map(|disk| disk.size),
        clock_ahead: said.as_ref().and_then(ahead),
    }
}

/// Makes a token with which one machine joins. This answer is the only one that has it.
#[utoipa::path(post, path = "/v1/cluster/token", tag = "cluster", params(WriteQuery), request_body = api::JoinTokenCreate,
    responses((status = 201, body = api::JoinToken)))]
pub(crate) async fn token(AskWith(ask, body): AskWith<api::JoinTokenCreate>) -> Result<Response, Failure> {
    ask.caller.sees_all()?;
    let (ticket, hash) = JoinTicket::make(&ask.desk.member).map_err(Failure::from)?;
    let lasts = body.lasts.map_or(JOIN_TOKEN_LIFE, Duration::from_secs);
    let lasts = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
    let done: Gone = ask.write(Change::JoinTokenCreate(JoinTokenCreate { hash, lasts }), None).await?;
    let expires = ask.desk.snapshot().time.plus(Duration::from_millis(lasts)).to_string();
    let token = (!done.repeated).then(|| ticket.to_text());
    let mut response =
        ask.json(StatusCode::CREATED, &done, &api::JoinToken { token, expires, revision: done.revision });
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Makes this node a member of another cluster; then it starts again. What it holds is set aside only where that is asked for.
#[utoipa::path(post, path = "/v1/cluster/join", tag = "cluster", request_body = api::Join,
    responses((status = 202, body = Joining)))]
pub(crate) async fn join(AskWith(ask, body): AskWith<api::Join>) -> Result<Response, Failure> {
    ask.caller.sees_all()?;
    let (desk, state) = (&ask.desk, &ask.snapshot.state);
    let ticket = JoinTicket::parse(&body.token).map_err(Failure::from)?;
    let same = state.cluster.as_ref().is_some_and(|cluster| cluster.id == ticket.cluster);
    // The token it came with gave it the id it has, which is never used again.
    let anew = ticket.node(desk.member.peers().book().key()) != desk.member.node();
    if same && !(anew && was_removed(desk, state).await) {
        let remedy = "Run it on the machine that is to join; a node that was removed needs a new token.";
        return Err(Failure::new(StatusCode::CONFLICT, "exists", "this node is of that cluster already", remedy));
    }
    let held = held(state, desk.member.node());
    if !held.is_empty() && !body.discard_state {
        let detail = format!("this node holds {}, which would be set aside", held.join(", "));
        let remedy = "Add --discard-state to set that aside; it stays on the disk, in the data directory.";
        return Err(Failure::new(StatusCode::CONFLICT, "holds-state", detail, remedy));
    }
    let book = desk.member.peers().book();
    let reach = book.addresses(desk.member.node());
    if reach.is_empty() {
        let remedy = "Set `[cluster] listen` or `advertise` in ruche.toml, and restart.";
        return Err(Failure::new(StatusCode::CONFLICT, "no-listener", "no other node can reach this one", remedy));
    }
    let own = state.nodes.get(&desk.member.node()).map_or(&desk.info.name, |node| &node.name);
    let name: NodeName = fields::optional("name", body.name.as_deref())?.unwrap_or_else(|| own.clone());
    let port = reach.first().map(|address| address.port());
    let me = Newcomer { node: ticket.node(book.key()), name: name.clone(), reach, port };
    let welcome = ticket.knock(&me, book.key()).await.map_err(Failure::from)?;
    let (dir, node, keep) = (desk.info.data_dir.clone(), me.node, !held.is_empty());
    let cluster = welcome.members.cluster.to_string();
    let planned = desk.blocking.run(move || adoption::plan_join(&dir, node, &welcome, keep)).await;
    planned.map_err(|error| unwritten(&error))?.map_err(|error| unwritten(&error))?;
    start_again(desk);
    let body = Joining { cluster, node_id: node.to_string(), name: name.to_string() };
    Ok((StatusCode::ACCEPTED, axum::Json(body)).into_response())
}

/// What a node has that a new one has not, in words.
fn held(state: &State, own: NodeId) -> Vec<String> {
    let counts = [
        (state.nodes.keys().filter(|id| **id != own).count(), "other nodes"),
        (state.accounts.len(), "accounts"),
        (state.plans.len(), "plans"),
        (state.sites.len(), "sites"),
        (state.zones.len(), "zones"),
        (state.ftp_users.len(), "FTP users"),
        (state.tokens.len(), "tokens"),
    ];
    counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect()
}

/// Takes this node out of its cluster; then it starts again, alone. What it held is set aside.
#[utoipa::path(post, path = "/v1/cluster/leave", tag = "cluster", params(WriteQuery), responses((status = 202, body = Leaving)))]
pub(crate) async fn leave(ask: Ask) -> Result<Response, Failure> {
    ask.caller.sees_all()?;
    let desk = &ask.desk;
    let node = desk.member.node();
    let own = ask.snapshot.nodes.get(&node);
    if was_removed(desk, &ask.snapshot.state).await {
        // It has left already.
        leave_for_good(desk).await?;
        let revision = ask.snapshot.revision;
        return Ok((StatusCode::ACCEPTED, axum::Json(Leaving { revision })).into_response());
    }
    let own = own.ok_or_else(|| Failure::not_found(Kind::Node, node))?;
    let done: Gone = ask.write(Change::NodeRemove(NodeRemove { node, lost: false }), Some(own.revision)).await?;
    let deadline = Instant::now() + SUCCESSION_WAIT;
    // Where it leads it sees to a successor itself.
    while desk.member.leads() && Instant::now() < deadline {
        sleep(FAREWELL).await;
    }
    leave_for_good(desk).await?;
    Ok(ask.json(StatusCode::ACCEPTED, &done, &Leaving { revision: done.revision }))
}

/// Whether this node was removed from its cluster: it knows that once its leader has fallen silent.
async fn was_removed(desk: &Desk, state: &State) -> bool {
    let deadline = Instant::now() + SUCCESSION_WAIT;
    while !state.nodes.contains_key(&desk.member.node()) && !desk.member.is_removed() && Instant::now() < deadline {
        sleep(FAREWELL).await;
    }
    desk.member.is_removed()
}

async fn leave_for_good(desk: &Desk) -> Result<(), Failure> {
    let dir = desk.info.data_dir.clone();
    let planned = desk.blocking.run(move || adoption::plan_leave(&dir)).await;
    planned.map_err(|error| unwritten(&error))?.map_err(|error| unwritten(&error))?;
    start_again(desk);
    Ok(())
}

fn start_again(desk: &Desk) {
    let again = Arc::clone(&desk.again);
    tokio::spawn(async move {
        sleep(FAREWELL).await;
        again.notify_one();
    });
}

fn unwritten(error: &dyn std::fmt::Display) -> Failure {
    let detail = format!("failed to {error}");
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "not-written", detail, "Look at the disk of this node.")
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        let detail = format!("failed to {error}");
        match error {
            JoinError::Damaged => Self::invalid("token", error),
            JoinError::Refused { code, .. } if code == "exists" => Self::new(
                StatusCode::CONFLICT,
                "exists",
                detail,
                "Give it another name with --name; one that is gone frees its own once it is removed.",
            ),
            JoinError::Refused { code, .. } if code == NOT_TAKEN => {
                let remedy = "Try again once the cluster takes changes: `ruche cluster status` on a node of it.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, NOT_TAKEN, detail, remedy)
            }
            JoinError::NoDoor | JoinError::NotFounded => {
                let remedy = "Set `[cluster] listen` or `advertise` in ruche.toml, and restart.";
                Self::new(StatusCode::CONFLICT, "no-listener", detail, remedy)
            }
            JoinError::Peer { error, .. } if !matches!(*error, PeerError::Refused(_) | PeerError::OtherKey) => {
                let remedy = "Look whether that node is up and its port 7480 is open to this one.";
                Self::new(StatusCode::BAD_GATEWAY, "not-reached", detail, remedy)
            }
            JoinError::Random(_) => Failure::busy(detail),
            JoinError::Refused { .. } | JoinError::Peer { .. } => {
                Self::new(StatusCode::FORBIDDEN, "join-refused", detail, "Make a new token with `ruche node token`.")
            }
        }
    }
}
