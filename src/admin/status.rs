//! `/v1/status` and the pulse: how this node is. What a newcomer does next is decided here, from what there is not yet.
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use metrics::gauge;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::admin::Desk;
use crate::admin::auth::Caller;
use crate::admin::error::Failure;
use crate::admin::look::Look;
use crate::admin::{joining, nodes};
use crate::api::status::{BoardEntry, Counts, Health, NextStep, Plane, Pulse, Raft, Status};
use crate::api::written::ReadQuery;
use crate::model::state::State as ModelState;
use crate::ops::board::{self, BoardView};

/// Shows how this node is, what it listens on, and what a newcomer does next.
#[utoipa::path(get, path = "/v1/status", tag = "status", params(ReadQuery), responses((status = 200, body = Status)))]
pub(crate) async fn show(look: Look) -> Result<Response, Failure> {
    look.caller.sees_all()?;
    let (desk, state) = (&look.desk, &look.snapshot.state);
    let board = desk.board.view();
    let raft = desk.member.status();
    let cluster = state.cluster.as_ref();
    let status = Status {
        node: state.nodes.get(&desk.info.id).map_or(&desk.info.name, |node| &node.name).to_string(),
        node_id: desk.info.id.to_string(),
        version: desk.info.version.to_owned(),
        cluster: cluster.map(|cluster| cluster.id.to_string()),
        level: state.level(),
        revision: state.revision,
        time: state.time.to_string(),
        served: board.served,
        ready: board.ready,
        health: health(board.health),
        board: board.entries.iter().map(entry).collect(),
        planes: board.planes.iter().map(|plane| Plane { name: plane.name.clone(), served: plane.served }).collect(),
        listening: desk.info.listeners.borrow().clone(),
        raft: Raft {
            leader: raft.leader.map(|id| nodes::name(state, id)),
            term: raft.term,
            log_index: raft.log_index,
            applied_index: raft.applied_index,
            voters: raft.voters.iter().map(|id| nodes::name(state, *id)).collect(),
        },
        key_exported: cluster.and_then(|cluster| cluster.key_exported).map(|time| time.to_string()),
        counts: counts(state),
        next_steps: next_steps(state),
    };
    Ok(look.stamped(axum::Json(status).into_response()))
}

/// 200 while no part of the node is red, else 503; needs no token.
#[utoipa::path(get, path = "/healthz", tag = "status",
    responses((status = 200, body = Pulse), (status = 503, body = Pulse)))]
pub(crate) async fn healthz(State(desk): State<Arc<Desk>>) -> Response {
    pulse(reds(&desk.board.view()))
}

/// 200 once everything that was to be started is there, no part is red, and the node takes part in the cluster: it hears a leader that
/// has a quorum, and is not far behind. Else 503, though what was committed is served all the same; needs no token.
#[utoipa::path(get, path = "/readyz", tag = "status",
    responses((status = 200, body = Pulse), (status = 503, body = Pulse)))]
pub(crate) async fn readyz(State(desk): State<Arc<Desk>>) -> Response {
    let board = desk.board.view();
    let starting = (!board.ready).then(|| "not everything is started yet".to_owned());
    let alone = if board.ready { desk.member.unready().await } else { None };
    pulse(starting.into_iter().chain(reds(&board)).chain(alone).collect())
}

/// Metrics in Prometheus' text form; over TCP for a token that is not limited to an account.
#[utoipa::path(get, path = "/metrics", tag = "status", responses((status = 200, body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(
    State(desk): State<Arc<Desk>>,
    caller: Option<axum::Extension<Caller>>,
) -> Result<Response, Failure> {
    // Without a caller it came over the admin socket: over TCP the middleware asked for a token.
    caller.map_or(Ok(()), |caller| caller.sees_all())?;
    set_gauges(&desk);
    let text = desk.metrics.render() + &gauges_of_cluster(&desk).await;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

/// Sets what is only worth knowing when somebody looks.
fn set_gauges(desk: &Desk) {
    let (status, board) = (desk.member.status(), desk.board.view());
    gauge!("ruche_revision").set(desk.snapshot().revision as f64);
    gauge!("ruche_raft_term").set(status.term as f64);
    gauge!("ruche_raft_applied_index").set(status.applied_index.unwrap_or(0) as f64);
    gauge!("ruche_raft_leading").set(f64::from(u8::from(status.leader == Some(status.node))));
    for entry in board.entries {
        let health = match entry.health {
            board::Health::Green => 0.0,
            board::Health::Yellow => 1.0,
            board::Health::Red => 2.0,
        };
        gauge!("ruche_health", "entry" => entry.name).set(health);
    }
}

/// How the cluster is, as this node sees it and as those that are up say now. Written, not recorded: nodes come and go.
async fn gauges_of_cluster(desk: &Desk) -> String {
    let (snapshot, raft) = (desk.snapshot(), desk.member.status());
    let state = &snapshot.state;
    let members = joining::members(desk, state, |node| !node.down).await;
    let name = |id| nodes::name(state, id);
    let mut lines: BTreeMap<&str, Vec<(String, f64)>> = BTreeMap::new();
    let mut say = |name, labels: String, value: f64| lines.entry(name).or_default().push((labels, value));
    let flag = |is_so: bool| f64::from(u8::from(is_so));
    say("term", String::new(), raft.term as f64);
    say("has_leader", String::new(), flag(raft.leader.is_some()));
    if let Some(leader) = raft.leader {
        say("leader", format!("{{node=\"{}\"}}", name(leader)), 1.0);
    }
    for node in &members {
        let of = || format!("{{node=\"{}\"}}", node.name);
        say("role", format!("{{node=\"{}\",role=\"{}\"}}", node.name, node.part.as_str()), 1.0);
        say("node_up", of(), flag(node.up));
        say("node_answers", of(), flag(node.answers));
        say("node_differs", of(), flag(node.differs));
        let numbers = [
            ("lag_revisions", node.behind.map(|behind| behind as f64)),
            ("clock_offset_seconds", node.clock_ahead.map(|ahead| ahead as f64 / 1000.0)),
            ("disk_free_bytes", node.disk_free.map(|free| free as f64)),
        ];
        for (metric, value) in numbers {
            value.into_iter().for_each(|value| say(metric, of(), value));
        }
        for plane in node.planes.iter().flatten() {
            let labels = format!("{{node=\"{}\",plane=\"{}\"}}", node.name, plane.name);
            say("served_revision", labels, plane.served as f64);
        }
    }
    let mut text = String::new();
    for (name, values) in lines {
        let _ = writeln!(text, "# TYPE ruche_cluster_{name} gauge");
        for (labels, value) in values {
            let _ = writeln!(text, "ruche_cluster_{name}{labels} {value}");
        }
    }
    text
}

fn pulse(reasons: Vec<String>) -> Response {
    let ok = reasons.is_empty();
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(Pulse { ok, reasons })).into_response()
}

fn reds(board: &BoardView) -> Vec<String> {
    let red = board.entries.iter().filter(|entry| entry.health == board::Health::Red);
    red.map(|entry| format!("{}: {}", entry.name, entry.text)).collect()
}

fn entry(entry: &board::EntryView) -> BoardEntry {
    BoardEntry {
        name: entry.name.clone(),
        health: health(entry.health),
        text: entry.text.clone(),
        since: entry.since.to_string(),
    }
}

fn health(health: board::Health) -> Health {
    match health {
        board::Health::Green => Health::Green,
        board::Health::Yellow => Health::Yellow,
        board::Health::Red => Health::Red,
    }
}

fn counts(state: &ModelState) -> Counts {
    Counts {
        nodes: state.nodes.len() as u64,
        plans: state.plans.len() as u64,
        accounts: state.accounts.len() as u64,
        sites: state.sites.len() as u64,
        zones: state.zones.len() as u64,
        ftp_users: state.ftp_users.len() as u64,
        certificates: state.certificates.len() as u64,
        tokens: state.tokens.len() as u64,
        operations: state.operations.len() as u64,
    }
}

fn next_steps(state: &ModelState) -> Vec<NextStep> {
    let mut steps = Vec::new();
    let mut step = |text: &str, command: String| steps.push(NextStep { text: text.to_owned(), command });
    let Some(cluster) = &state.cluster else { return steps };
    if cluster.key_exported.is_none() {
        step("Keep a recovery copy of the keyring off this machine.", "ruche cluster key export".into());
    }
    if let Some(node) = state.nodes.values().find(|node| node.addresses.is_empty()) {
        let command = format!("ruche node set {} --address IP", node.name);
        step("Say under which public addresses the node is reached.", command);
    }
    if state.sites.is_empty() {
        step("Create the first site.", "ruche site create www.example.org --static".into());
    }
    if state.zones.is_empty() {
        step("Create the first zone.", "ruche zone create example.org".into());
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Time;
    use crate::model::cluster::Cluster;
    use crate::ops::board::Board;
    use crate::seal::Sealed;
    use crate::seal::keyring::KeyId;

    #[test]
    fn a_newcomer_is_told_what_is_missing() {
        assert!(next_steps(&ModelState::default()).is_empty(), "nothing can be done before there is a cluster");
        let key_check = Sealed { key_id: KeyId(1), nonce: [0; 24], bytes: vec![] };
        let mut cluster = Cluster {
            id: Default::default(),
            level: 1,
            founded: Time(0),
            key_check,
            key_exported: None,
            sites_ca: None,
            ticket_keys: Vec::new(),
            gone_serials: Vec::new(),
            cookie_key: None,
            acme_key: None,
            join_tokens: Vec::new(),
            rotation: None,
            formerly: None,
            revision: 1,
        };
        let commands = |cluster: &Cluster| {
            let mut state = ModelState::default();
            state.cluster = Some(cluster.clone().into());
            next_steps(&state).into_iter().map(|step| step.command).collect::<Vec<_>>()
        };
        assert_eq!(commands(&cluster)[0], "ruche cluster key export");
        cluster.key_exported = Some(Time(1));
        assert_eq!(commands(&cluster).len(), 2);
        assert!(!commands(&cluster).contains(&"ruche cluster key export".to_owned()));
    }

    #[test]
    fn red_is_ill_and_yellow_is_not() {
        let board = Board::default();
        board.yellow("disk", "nearly full");
        assert!(reds(&board.view()).is_empty());
        board.red("disk", "full");
        assert_eq!(reds(&board.view()), ["disk: full"]);
        assert_eq!(pulse(reds(&board.view())).status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
