//! `ruche site move` and `ruche node drain`: begins moves, shows how far they are, and says what became of them.
use std::time::Duration;

use clap::Args;
use http::Method;

use crate::api::moves::{Drained, MovePlan, SiteMove};
use crate::api::operations::{Operation, OperationStatus};
use crate::api::written::Wait;
use crate::base::names::{Host, NodeName};
use crate::cli::client::{Write, path, read};
use crate::cli::failure::Failure;
use crate::cli::output::clean;
use crate::cli::session::Session;
use crate::cli::tree::WriteArgs;
use crate::cli::values::{human, size};

/// How often is asked how far a move is.
const LOOK_EVERY: Duration = Duration::from_millis(300);

#[derive(Debug, Args)]
pub(crate) struct MoveArgs {
    host: Host,
    /// The new home [default: the node with the fewest sites]
    #[arg(long, value_name = "NODE")]
    to: Option<NodeName>,
    /// Tell what would be done, and what does not move along
    #[arg(long)]
    dry_run: bool,
    /// What the copy may take of the network in a second, such as 5M
    #[arg(long, value_name = "SIZE", value_parser = size)]
    bandwidth: Option<u64>,
    #[command(flatten)]
    write: WriteArgs,
}

pub(crate) async fn site(session: &Session, args: MoveArgs) -> Result<(), Failure> {
    let (host, to) = (args.host.to_unicode(), args.to.map(|to| to.to_string()));
    let doing = format!("move the site {host}");
    let body = SiteMove { to, dry_run: args.dry_run, bandwidth: args.bandwidth };
    let path = path(&["sites", args.host.as_str(), "move"]);
    let write = Write::new(doing.clone(), Method::POST, path, &args.write).body(&body);
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
    let ended = follow(session, &doing, &operation.id).await?;
    if session.out.json {
        return ended.1.as_ref().map_or(Ok(()), |body| session.print_json(body)).and(outcome(&doing, &ended.0));
    }
    outcome(&doing, &ended.0)?;
    let moved = ended.0.total.map_or_else(|| "no file".to_owned(), human);
    session.out.print(&format!("Moved the site {host}: {moved}, revision {}.\n", ended.0.revision))
}

/// Shows an operation until it is over.
async fn follow(session: &Session, doing: &str, id: &str) -> Result<(Operation, Option<bytes::Bytes>), Failure> {
    let path = path(&["operations", id]);
    let mut told = String::new();
    loop {
        let body = session.api.get(doing, &path).await?;
        let operation: Operation = read(doing, &body)?;
        if !matches!(operation.status, OperationStatus::Running | OperationStatus::Cancelling) {
            return Ok((operation, Some(body)));
        }
        let line = line(&operation);
        if line != told {
            session.out.note(&line);
            told = line;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn line(operation: &Operation) -> String {
    let far = operation.total.filter(|total| *total > 0).map(|total| {
        let percent = u128::from(operation.done) * 100 / u128::from(total);
        format!("{percent:>3} %  {} of {}  ", human(operation.done), human(total))
    });
    format!("{}{}", far.unwrap_or_default(), clean(&operation.stage))
}

fn outcome(doing: &str, ended: &Operation) -> Result<(), Failure> {
    match ended.status {
        OperationStatus::Succeeded => Ok(()),
        OperationStatus::Cancelled => Err(Failure::ended(doing, "it was cancelled; the site is where it was")),
        _ => {
            let reason = ended.reason.clone().unwrap_or_else(|| "it is not known why".into());
            Err(Failure::ended(doing, &format!("{reason}; the site is where it was")))
        }
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
    lines.extend(plan.reason.iter().cloned());
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
    if session.out.json {
        session.print_json(&done.body)?;
    }
    let drained: Drained = read(&doing, &done.body)?;
    for stays in &drained.refused {
        session.out.note(&format!("{} stays: {}", stays.site, clean(&stays.reason)));
    }
    let mut failed = drained.refused.len();
    if session.api.wait != Wait::False {
        for operation in &drained.operations {
            session.out.note(&format!("{} moves", operation.subject));
            let (ended, _) = follow(session, &doing, &operation.id).await?;
            if let Err(failure) = outcome(&doing, &ended) {
                session.out.note(&failure.to_string());
                failed += 1;
            }
        }
    }
    if failed > 0 {
        return Err(Failure::ended(&doing, &format!("{failed} of its sites stay there")));
    }
    if session.out.json {
        return Ok(());
    }
    let sites = drained.operations.len();
    let word = if session.api.wait != Wait::False { "Moved" } else { "Began to move" };
    session.out.print(&format!("{word} {sites} sites from {node}, which takes no new ones.\n"))
}
