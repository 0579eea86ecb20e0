//! `ruche operation`: long work and its progress.
use clap::Subcommand;
use http::Method;

use crate::api::operations::Operation;
use crate::base::ids::OperationId;
use crate::cli::client::{Write, path};
use crate::cli::failure::Failure;
use crate::cli::output::Out;
use crate::cli::session::Session;
use crate::cli::tree::WriteArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum OperationCommand {
    /// List the operations under way, then the finished ones
    Ls,
    /// Show one operation
    Show { id: OperationId },
    /// Ask an operation to stop at its next safe point
    Cancel {
        id: OperationId,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Have a move go on that waits before its site rests
    Continue {
        id: OperationId,
        #[command(flatten)]
        write: WriteArgs,
    },
}

pub(crate) async fn run(session: &Session, command: OperationCommand) -> Result<(), Failure> {
    match command {
        OperationCommand::Ls => session.list("operations", &path(&["operations"]), table).await,
        OperationCommand::Show { id } => {
            let path = path(&["operations", &id.to_string()]);
            session.show(&format!("show the operation {id}"), &path, fields).await
        }
        OperationCommand::Cancel { id, write } => {
            let path = path(&["operations", &id.to_string(), "cancel"]);
            let write = Write::new(format!("cancel the operation {id}"), Method::POST, path, &write);
            session.write("Asked to cancel", write).await.map(drop)
        }
        OperationCommand::Continue { id, write } => {
            let path = path(&["operations", &id.to_string(), "continue"]);
            let write = Write::new(format!("continue the operation {id}"), Method::POST, path, &write);
            session.write("Asked to continue", write).await.map(drop)
        }
    }
}

fn progress(operation: &Operation) -> String {
    match operation.total {
        Some(total) => format!("{} of {total}", operation.done),
        None => operation.done.to_string(),
    }
}

fn table(out: &Out, operations: Vec<Operation>) -> String {
    let rows = operations.into_iter().map(|operation| {
        let (progress, status) = (progress(&operation), operation.status.as_str().to_owned());
        let started = out.time(&operation.started);
        [operation.id, operation.action, operation.subject, status, operation.stage, progress, started]
    });
    out.table(["OPERATION", "ACTION", "SUBJECT", "STATUS", "STAGE", "DONE", "STARTED"], rows)
}

fn fields(out: &Out, operation: &Operation) -> String {
    out.fields(&[
        ("operation", Some(operation.id.clone())),
        ("action", Some(operation.action.clone())),
        ("subject", Some(operation.subject.clone())),
        ("account", operation.account.clone()),
        ("status", Some(operation.status.as_str().to_owned())),
        ("reason", operation.reason.clone()),
        ("stage", Some(operation.stage.clone())),
        ("done", Some(progress(operation))),
        ("started", Some(out.time(&operation.started))),
        ("ended", operation.ended.as_deref().map(|ended| out.time(ended))),
        ("revision", Some(operation.revision.to_string())),
    ])
}
