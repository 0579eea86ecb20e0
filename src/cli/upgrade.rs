//! `ruche cluster upgrade`: which node is on which version, which one is next, and, where it is told how, node after node with the
//! one that leads last. Never takes a node away where the cluster would not go on without it.
use std::cmp::Reverse;
use std::io;
use std::process::Command;

use clap::Args;
use http::Method;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::api::cluster::LevelRaise;
use crate::api::joining::{ClusterStatus, Member, Part};
use crate::api::problem::Problem;
use crate::base::limits::{CLIENT_LOOK_EVERY, CLIENT_UPGRADE_WAIT};
use crate::base::version::version;
use crate::cli::client::{Write, path, read};
use crate::cli::failure::Failure;
use crate::cli::output::{Out, or_dash, yes_no};
use crate::cli::session::Session;
use crate::cli::tree::WriteArgs;
use crate::model::LEVEL;

const DOING: &str = "upgrade the cluster";

#[derive(Debug, Args)]
pub(crate) struct Upgrade {
    /// The version all nodes are to run; an earlier one takes them back [default: this program's, or the newest a node runs]
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// Stay, and tell the next node each time one was upgraded and is back in its place
    #[arg(short, long)]
    follow: bool,
    /// Upgrade each node in its turn by this shell command, which finds RUCHE_NODE, RUCHE_ADDRESS and RUCHE_VERSION in its environment
    #[arg(long, value_name = "COMMAND")]
    run: Option<String>,
    /// Then raise the level of the state to the newest one that all nodes know; no earlier version runs it from then on
    #[arg(long)]
    raise: bool,
}

/// How it stands.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Plan<'a> {
    to: &'a str,
    /// Nodes on another version, in their turn.
    left: Vec<&'a str>,
    /// Who cannot be upgraded now, and keeps nobody else from it.
    away: Vec<&'a str>,
    /// Why nobody may be upgraded now.
    stopped: Option<String>,
    /// Who is not back in its place yet, and why.
    waits: Option<String>,
}

pub(crate) async fn run(session: &Session, args: Upgrade) -> Result<(), Failure> {
    let status = look(session).await?;
    let to = args.to.clone().unwrap_or_else(|| newest(&status).to_owned());
    let stays = args.follow || args.run.is_some();
    if !stays {
        let plan = plan(&status, &to, 0);
        if session.out.json {
            let json = serde_json::to_vec(&plan).map_err(|error| Failure::io(DOING, io::Error::other(error)))?;
            session.print_json(&json)?;
        } else {
            session.out.print(&shown(&session.out, &status, &plan))?;
        }
        return match plan.stopped {
            Some(reason) => Err(stopped(reason)),
            None if args.raise => raise(session, &to).await,
            None => Ok(()),
        };
    }
    session.out.print(&shown(&session.out, &status, &plan(&status, &to, 0)))?;
    let mut told = None;
    let mut floor = 0;
    while let Some(node) = ready(session, &to, floor).await? {
        if told.as_deref() != Some(node.name.as_str()) {
            let from = node.version.clone().unwrap_or_default();
            session.out.print(&format!("{}: {from} to {to}\n", node.name))?;
            match &args.run {
                Some(command) => work(command, &node, &to)?,
                None => session.out.note(&by_hand(&node.name, &to)),
            }
            told = Some(node.name.clone());
        }
        floor = until_it_runs(session, &node, &to, args.run.is_some()).await?;
    }
    let status = look(session).await?;
    session.out.print(&all_done(&status, &to))?;
    if args.raise { raise(session, &to).await } else { Ok(()) }
}

fn all_done(status: &ClusterStatus, to: &str) -> String {
    let level = status.level;
    let known = known(status).unwrap_or(level);
    let more = match known > level {
        true => {
            format!(" `ruche cluster upgrade --raise` raises it to {known}, after which no earlier version runs it.")
        }
        false => String::new(),
    };
    format!("All nodes run {to}. The state stays at level {level}.{more}\n")
}

/// The newest level that all nodes know; none where one has not said.
fn known(status: &ClusterStatus) -> Option<u32> {
    status.nodes.iter().map(|node| node.knows).min().flatten()
}

/// Raises the state to the newest level that all nodes know, one level after the other.
async fn raise(session: &Session, to: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + CLIENT_UPGRADE_WAIT;
    let (mut level, wanted) = loop {
        let status = look_until(session, deadline).await?;
        if let Some(why) = unready(&status, to) {
            return Err(stopped(why));
        }
        let known = known(&status).unwrap_or_default();
        // A node says what it knows a moment after it started.
        let all = if to == version() { LEVEL } else { known };
        if known >= all.max(1) || Instant::now() >= deadline {
            break (status.level, known);
        }
        sleep(CLIENT_LOOK_EVERY).await;
    };
    if wanted <= level {
        return session.out.print(&format!("The state is at level {level}, and not all nodes know a newer one.\n"));
    }
    session.confirm(DOING, &format!("Raise the state to level {wanted}? No earlier version runs it from then on."))?;
    while level < wanted {
        level += 1;
        let args = WriteArgs { if_match: None, idempotency_key: None };
        let write = Write::new(DOING, Method::POST, path(&["cluster", "level"]), &args);
        session.api.write(write.body(&LevelRaise { level })).await?;
    }
    session.out.print(&format!("The state is at level {level}.\n"))
}

/// Why the level may not be raised yet.
fn unready(status: &ClusterStatus, to: &str) -> Option<String> {
    let other = |node: &&Member| node.version.as_deref() != Some(to);
    let others = names(status.nodes.iter().filter(other));
    (!others.is_empty()).then(|| format!("{} does not run {to} yet: upgrade it first", others.join(", ")))
}

fn by_hand(node: &str, to: &str) -> String {
    format!("On {node}, as root: apt install ./ruche_{to}_ARCH.deb (or apt install ruche)")
}

async fn look(session: &Session) -> Result<ClusterStatus, Failure> {
    read(DOING, &session.api.get(DOING, &path(&["cluster"])).await?)
}

/// The same while the node that is asked may be the one that is upgraded.
async fn look_until(session: &Session, deadline: Instant) -> Result<ClusterStatus, Failure> {
    loop {
        match look(session).await {
            Err(_) if Instant::now() < deadline => sleep(CLIENT_LOOK_EVERY).await,
            seen => return seen,
        }
    }
}

/// The node whose turn it is, once everybody is in their place; None when all are done.
async fn ready(session: &Session, to: &str, floor: u64) -> Result<Option<Member>, Failure> {
    let deadline = Instant::now() + CLIENT_UPGRADE_WAIT;
    let mut told = None;
    loop {
        let status = look_until(session, deadline).await?;
        let plan = plan(&status, to, floor);
        if let Some(reason) = plan.stopped.clone() {
            // Who was upgraded a moment ago may not be heard of everywhere yet.
            if floor == 0 || Instant::now() >= deadline {
                return Err(stopped(reason));
            }
        } else if let Some(why) = plan.waits {
            if Instant::now() >= deadline {
                return Err(stopped(why));
            }
            if told.as_ref() != Some(&why) {
                session.out.note(&why);
                told = Some(why);
            }
        } else {
            let next = plan.left.first().map(|name| (*name).to_owned());
            return Ok(next.and_then(|name| status.nodes.into_iter().find(|node| node.name == name)));
        }
        sleep(CLIENT_LOOK_EVERY).await;
    }
}

/// Returns when the node says that it runs what it is to run; with the revision it must have before the next one goes.
async fn until_it_runs(session: &Session, node: &Member, to: &str, bounded: bool) -> Result<u64, Failure> {
    let deadline = Instant::now() + CLIENT_UPGRADE_WAIT;
    loop {
        let status = look_until(session, Instant::now() + CLIENT_UPGRADE_WAIT).await?;
        let seen = status.nodes.iter().find(|seen| seen.id == node.id);
        if seen.is_none_or(|seen| seen.version.as_deref() == Some(to)) {
            return Ok(status.revision.max(1));
        }
        if bounded && Instant::now() >= deadline {
            let runs = seen.and_then(|seen| seen.version.as_deref()).unwrap_or("nothing that answers");
            return Err(stopped(format!("{} runs {runs} after its upgrade to {to}", node.name)));
        }
        sleep(CLIENT_LOOK_EVERY).await;
    }
}

fn work(command: &str, node: &Member, to: &str) -> Result<(), Failure> {
    // An address with its port, in brackets where it is IPv6.
    let address = node.reach.first().and_then(|reach| reach.rsplit_once(':')).map_or("", |(address, _)| address);
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).env("RUCHE_NODE", &node.name).env("RUCHE_VERSION", to);
    shell.env("RUCHE_ADDRESS", address.trim_matches(['[', ']']));
    let status = shell.status().map_err(|error| Failure::io(DOING, error))?;
    if status.success() {
        return Ok(());
    }
    Err(stopped(format!("`{command}` for {} ended with {status}", node.name)))
}

fn stopped(reason: String) -> Failure {
    let remedy =
        "Nothing else was touched; `ruche cluster status` and `ruche status` on that node tell more.".to_owned();
    let (kind, title) = ("urn:ruche:problem:upgrade-stopped".to_owned(), "Conflict".to_owned());
    let code = "upgrade-stopped".to_owned();
    let problem =
        Problem { kind, title, status: 409, detail: reason, code, remedy, request_id: None, faults: Vec::new() };
    Failure::Problem { doing: DOING.into(), problem: Box::new(problem) }
}

/// This program's version or the newest a node runs: whoever types it on a node that is not upgraded yet takes nobody back.
fn newest(status: &ClusterStatus) -> &str {
    let all = status.nodes.iter().filter_map(|node| node.version.as_deref());
    all.fold(version(), |newest, version| if rank(version) > rank(newest) { version } else { newest })
}

/// Orders versions: by their numbers, and what comes before a release by its text.
fn rank(version: &str) -> (Vec<u64>, bool, &str) {
    let (numbers, before) = version.split_once('-').unwrap_or((version, ""));
    let numbers = numbers.split('.').map(|number| number.parse().unwrap_or_default()).collect();
    (numbers, before.is_empty(), before)
}

/// What is to be done next. `floor`: the revision that those upgraded before must have.
fn plan<'a>(status: &'a ClusterStatus, to: &'a str, floor: u64) -> Plan<'a> {
    let mut left: Vec<&Member> = status.nodes.iter().filter(|node| node.version.as_deref() != Some(to)).collect();
    // Who decides nothing first; whoever leads last, so that it changes once.
    left.sort_by_key(|node| match node.part {
        Part::Leader => (2, node.name.clone()),
        Part::Voter => (1, node.name.clone()),
        Part::Learner | Part::None => (0, node.name.clone()),
    });
    let (there, away): (Vec<&Member>, Vec<&Member>) = left.into_iter().partition(|node| is_there(node));
    let waits = status.nodes.iter().find_map(|node| waits(node, to, floor));
    let stopped = (!there.is_empty() || !away.is_empty()).then(|| stops(status, to, &there, &away)).flatten();
    Plan { to, left: names(there), away: names(away), stopped, waits }
}

fn is_there(node: &Member) -> bool {
    node.answers && node.up
}

fn names<'a>(nodes: impl IntoIterator<Item = &'a Member>) -> Vec<&'a str> {
    nodes.into_iter().map(|node| node.name.as_str()).collect()
}

/// Why a node that was upgraded is not back in its place yet.
fn waits(node: &Member, to: &str, floor: u64) -> Option<String> {
    if node.version.as_deref() != Some(to) {
        return None;
    }
    let name = &node.name;
    let has = node.served.or(node.revision).unwrap_or_default();
    if !node.up {
        return Some(format!("{name} runs {to}, and the cluster does not count it as up yet"));
    }
    (has < floor).then(|| format!("{name} runs {to}, and serves revision {has} of {floor}"))
}

fn stops(status: &ClusterStatus, to: &str, there: &[&Member], away: &[&Member]) -> Option<String> {
    if let Some(node) = status.nodes.iter().find(|node| node.differs) {
        return Some(format!("{} has another state at the same revision: end that first", node.name));
    }
    if to == version() && LEVEL < status.level {
        return Some(format!("{to} knows level {LEVEL}, and the state is at level {}", status.level));
    }
    if status.leader.is_none() {
        return Some("no node leads; with one more away that would not change".into());
    }
    let Some(next) = there.first() else {
        let away = names(away.iter().copied()).join(", ");
        return Some(format!("{away} does not answer: bring it back, or take it out (`ruche node rm`)"));
    };
    let voters = status.nodes.iter().filter(|node| matches!(node.part, Part::Leader | Part::Voter));
    let (all, able) = voters.fold((0, 0), |(all, able), node| (all + 1, able + usize::from(is_there(node))));
    let votes = matches!(next.part, Part::Leader | Part::Voter);
    if votes && all > 1 && able - 1 <= all / 2 {
        let down = names(status.nodes.iter().filter(|node| !is_there(node))).join(", ");
        return Some(format!("{down} does not answer, and without {} too no majority would be left", next.name));
    }
    None
}

fn shown(out: &Out, status: &ClusterStatus, plan: &Plan<'_>) -> String {
    let mut nodes: Vec<&Member> = status.nodes.iter().collect();
    let turn = |node: &Member| plan.left.iter().position(|name| *name == node.name);
    nodes.sort_by_key(|node| (Reverse(turn(node).is_none()), turn(node)));
    let rows = nodes.into_iter().map(|node| {
        let step = match turn(node) {
            Some(0) if plan.stopped.is_none() => "next".to_owned(),
            Some(at) => format!("turn {}", at + 1),
            None if plan.away.contains(&node.name.as_str()) => "away".to_owned(),
            None => "done".to_owned(),
        };
        let (part, version) = (node.part.as_str().to_owned(), or_dash(node.version.clone()));
        [node.name.clone(), part, yes_no(node.up), yes_no(node.answers), version, step]
    });
    let table = out.table(["NODE", "PART", "UP", "ANSWERS", "VERSION", "STEP"], rows);
    let next = match (plan.left.first(), &plan.stopped, &plan.waits) {
        (_, Some(_), _) => String::new(),
        (_, _, Some(why)) => format!("Wait: {why}.\n"),
        (Some(node), ..) => format!("{}; then again: ruche cluster upgrade\n", by_hand(node, plan.to)),
        (None, ..) => all_done(status, plan.to),
    };
    format!("{table}{next}")
}

#[cfg(test)]
mod tests;
