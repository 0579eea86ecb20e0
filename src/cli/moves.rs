//! `ruche site move`, `ruche node drain` and `ruche cluster rebalance`: begins moves, shows how far they are, and says what became of them.
use std::time::Duration;

use clap::Args;
use http::Method;

use crate::api::moves::{MovePlan, Rebalance, Rebalanced, SiteMove};
use crate::api::operations::{Operation, OperationStatus};
use crate::api::sites::Site;
use crate::api::written::Wait;
use crate::base::names::{Host, NodeName};
use crate::base::sizes::human;
use crate::cli::client::{Write, path, read};
use crate::cli::failure::Failure;
use crate::cli::hook;
use crate::cli::output::clean;
use crate::cli::session::Session;
use crate::cli::tree::WriteArgs;
use crate::cli::values::size;
use crate::model::drains::NODE_DRAIN;

/// How often is asked how far a move is.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
#[command(after_help = "\
The commands are run here by the shell, as the user who runs this one, with RUCHE_SITE, RUCHE_FROM and RUCHE_TO set. Where the first one \
fails the site stays where it is; the move waits for it an hour at most.")]
pub(crate) struct MoveArgs {
    host: Host,
    /// The new home [default: the node it fits best]
    #[arg(long, value_name = "NODE")]
    to: Option<NodeName>,
    /// Tell what would be done, and what does not move along
    #[arg(long)]
    dry_run: bool,
    /// What the copy may take of the network in a second, such as 5M
    #[arg(long, value_name = "SIZE", value_parser = size)]
    bandwidth: Option<u64>,
    /// Run once little is left to copy, before writes are frozen
    #[arg(long, value_name = "COMMAND", conflicts_with = "dry_run")]
    before_freeze: Option<String>,
    /// Run once the site is at home there
    #[arg(long, value_name = "COMMAND", conflicts_with = "dry_run")]
    after_flip: Option<String>,
    #[command(flatten)]
    write: WriteArgs,
}

pub(crate) async fn site(session: &Session, args: MoveArgs) -> Result<(), Failure> {
    let (host, to) = (args.host.to_unicode(), args.to.map(|to| to.to_string()));
    let doing = format!("move the site {host}");
    let hold = args.before_freeze.is_some();
    if session.api.wait == Wait::False && (hold || args.after_flip.is_some()) {
        let reason = "commands are run by who waits for the move";
        return Err(Failure::usage(&doing, reason, "Leave out --no-wait, or the commands."));
    }
    let from = look(session, &doing, &args.host).await?.node;
    let body = SiteMove { to, dry_run: args.dry_run, bandwidth: args.bandwidth, hold };
    let write = Write::new(doing.clone(), Method::POST, path(&["sites", args.host.as_str(), "move"]), &args.write);
    let write = write.body(&body);
    let done = session.api.write(write).await?;
    if args.dry_run {
        if session.out.json {
            return session.print_json(&done.body);
        }
        return session.out.print(&shown(&read(&doing, &done.body)?));
    }
    if session.api.wait == Wait::False {
        return session.print_json(&done.body);
    }
    let operation: Operation = read(&doing, &done.body)?;
    if let Some(command) = &args.before_freeze {
        before(session, &doing, (&args.host, &from, &operation.id), command).await?;
    }
    let ended = follow(session, &doing, &operation.id).await?;
    if session.out.json {
        session.print_json(&ended.1)?;
    }
    outcome(&doing, &ended.0)?;
    if let Some(command) = &args.after_flip {
        let to = look(session, &doing, &args.host).await?.node;
        let variables = [("RUCHE_SITE", args.host.as_str()), ("RUCHE_FROM", &from), ("RUCHE_TO", &to)];
        hook::run(&format!("run what is to follow, though the site {host} has moved"), command, &variables)?;
    }
    if session.out.json {
        return Ok(());
    }
    let moved = ended.0.total.map_or_else(|| "no file".to_owned(), human);
    session.out.print(&format!("Moved the site {host}: {moved}, revision {}.\n", ended.0.revision))
}

/// Runs a command when the move waits for it, and has the move go on, or end where it failed. A move that ends before runs nothing.
async fn before(
    session: &Session,
    doing: &str,
    (host, from, operation): (&Host, &str, &str),
    command: &str,
) -> Result<(), Failure> {
    let mut told = String::new();
    let to = loop {
        let site = look(session, doing, host).await?;
        match site.moving.filter(|moving| moving.operation == operation) {
            None => return Ok(()),
            Some(moving) if moving.waits => break moving.to,
            Some(_) => drop(progress(session, doing, operation, &mut told).await?),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let variables = [("RUCHE_SITE", host.as_str()), ("RUCHE_FROM", from), ("RUCHE_TO", &to)];
    let ran = hook::run(doing, command, &variables);
    let word = if ran.is_ok() { "continue" } else { "cancel" };
    let none = WriteArgs { if_match: None, idempotency_key: None };
    let write = Write::new(doing, Method::POST, path(&["operations", operation, word]), &none);
    session.api.write(write).await?;
    if ran.is_err() {
        follow(session, doing, operation).await?;
    }
    ran
}

async fn look(session: &Session, doing: &str, host: &Host) -> Result<Site, Failure> {
    read(doing, &session.api.get(doing, &path(&["sites", host.as_str()])).await?)
}

/// Shows an operation until it is over.
async fn follow(session: &Session, doing: &str, id: &str) -> Result<(Operation, bytes::Bytes), Failure> {
    let mut told = String::new();
    loop {
        let (operation, body) = progress(session, doing, id, &mut told).await?;
        if !matches!(operation.status, OperationStatus::Running | OperationStatus::Cancelling) {
            return Ok((operation, body));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Shows how far an operation is, where that is anything new.
async fn progress(
    session: &Session,
    doing: &str,
    id: &str,
    told: &mut String,
) -> Result<(Operation, bytes::Bytes), Failure> {
    let body = session.api.get(doing, &path(&["operations", id])).await?;
    let operation: Operation = read(doing, &body)?;
    let line = line(&operation);
    if line != *told && matches!(operation.status, OperationStatus::Running | OperationStatus::Cancelling) {
        session.out.note(&line);
        *told = line;
    }
    Ok((operation, body))
}

fn line(operation: &Operation) -> String {
    let far = operation.total.filter(|total| *total > 0).map(|total| {
        let percent = u128::from(operation.done) * 100 / u128::from(total);
        let (done, total) = match operation.action == NODE_DRAIN {
            true => (operation.done.to_string(), total.to_string()),
            false => (human(operation.done), human(total)),
        };
        format!("{percent:>3} %  {done} of {total}  ")
    });
    format!("{}{}", far.unwrap_or_default(), clean(&operation.stage))
}

fn outcome(doing: &str, ended: &Operation) -> Result<(), Failure> {
    match why_not(ended) {
        None => Ok(()),
        Some(reason) => Err(Failure::ended(doing, &format!("{reason}; the site is where it was"))),
    }
}

/// Why an operation that is over did not do what it was to do.
fn why_not(ended: &Operation) -> Option<String> {
    match ended.status {
        OperationStatus::Succeeded => None,
        OperationStatus::Cancelled => Some("it was cancelled".into()),
        _ => Some(ended.reason.clone().unwrap_or_else(|| "it is not known why".into())),
    }
}

fn shown(plan: &MovePlan) -> String {
    let mut lines = vec![format!(
        "{} moves from {} to {}: {} in {} files and {} directories; {} are free there.",
        plan.site,
        plan.from,
        plan.to,
        human(plan.bytes),
        plan.files,
        plan.directories,
        human(plan.room)
    )];
    lines.extend(plan.reason.iter().map(|reason| format!("{} was chosen: {reason}", plan.to)));
    lines.extend(plan.others.iter().map(|other| format!("  {} was not: {}", other.node, other.reason)));
    lines.extend(plan.steps.iter().enumerate().map(|(at, step)| format!("  {}. {step}", at + 1)));
    lines.push("What does not move along:".into());
    lines.extend(plan.stays.iter().map(|stays| format!("  - {stays}")));
    if !plan.objections.is_empty() {
        lines.push("It cannot be done now:".into());
        lines.extend(plan.objections.iter().map(|objection| format!("  - {objection}")));
    }
    lines.iter().map(|line| clean(line).to_string() + "\n").collect()
}

pub(crate) async fn drain(session: &Session, node: &NodeName, args: &WriteArgs) -> Result<(), Failure> {
    let doing = format!("drain the node {node}");
    let path = path(&["nodes", node.as_str(), "drain"]);
    let done = session.api.write(Write::new(doing.clone(), Method::POST, path, args)).await?;
    if session.api.wait == Wait::False {
        return session.print_json(&done.body);
    }
    let operation: Operation = read(&doing, &done.body)?;
    let (ended, body) = follow(session, &doing, &operation.id).await?;
    if session.out.json {
        session.print_json(&body)?;
    }
    if let Some(reason) = why_not(&ended) {
        return Err(Failure::ended(&doing, &reason));
    }
    if session.out.json {
        return Ok(());
    }
    session.out.print(&format!("Moved {} sites from {node}, which takes no new ones.\n", ended.total.unwrap_or(0)))
}

pub(crate) async fn rebalance(session: &Session, dry_run: bool, args: &WriteArgs) -> Result<(), Failure> {
    const DOING: &str = "rebalance the cluster";
    let write = Write::new(DOING, Method::POST, path(&["cluster", "rebalance"]), args).body(&Rebalance { dry_run });
    let done = session.api.write(write).await?;
    if session.out.json {
        session.print_json(&done.body)?;
    }
    let Rebalanced { moves, .. } = read(DOING, &done.body)?;
    let mut stay = 0;
    for one in &moves {
        let line = format!("{} moves from {} to {}: {}", one.site, one.from, one.to, one.reason);
        if dry_run && !session.out.json {
            session.out.print(&format!("{}\n", clean(&line)))?;
        } else {
            session.out.note(&clean(&line));
        }
        if let Some(refused) = &one.refused {
            session.out.note(&format!("{} stays: {}", one.site, clean(refused)));
            stay += 1;
        }
    }
    if !dry_run && session.api.wait != Wait::False {
        for (one, operation) in moves.iter().filter_map(|one| Some((one, one.operation.as_ref()?))) {
            let (ended, _) = follow(session, DOING, operation).await?;
            if let Some(reason) = why_not(&ended) {
                session.out.note(&format!("{} stays: {}", one.site, clean(&reason)));
                stay += 1;
            }
        }
    }
    if stay > 0 {
        return Err(Failure::ended(DOING, &format!("{stay} sites stay where they were")));
    }
    if session.out.json {
        return Ok(());
    }
    let word = match (dry_run, session.api.wait) {
        (true, _) => "would move",
        (false, Wait::False) => "begin to move",
        (false, _) => "have moved",
    };
    match moves.len() {
        0 => session.out.print("Nothing is to be moved: no node has many more sites than another.\n"),
        more => session.out.print(&format!("{more} of the sites {word}.\n")),
    }
}
