//! Operations: long work with progress. One that is finished leaves the working state and stays in the history.
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::ids::OperationId;
use crate::base::names::AccountName;
use crate::model::answer::{Object, Outcome};
use crate::model::apply::Apply;
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;
use crate::model::sites::check_text;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    pub id: OperationId,
    /// What it does, such as `site.move`.
    pub action: String,
    pub subject: String,
    pub account: Option<AccountName>,
    pub stage: String,
    /// Parts done and parts in all, where known.
    pub done: u64,
    pub total: Option<u64>,
    pub status: Status,
    pub started: Time,
    pub ended: Option<Time>,
    pub revision: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    Running,
    /// Asked to stop; it ends by itself at the next safe point.
    Cancelling,
    Succeeded,
    Failed {
        reason: String,
    },
    Cancelled,
}

impl Status {
    pub fn is_over(&self) -> bool {
        !matches!(self, Self::Running | Self::Cancelling)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationStart {
    pub action: String,
    pub subject: String,
    pub account: Option<AccountName>,
    pub total: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationProgress {
    pub id: OperationId,
    pub stage: String,
    pub done: u64,
    pub total: Option<u64>,
}

/// Ends an operation, or asks it to end (`Cancelling`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationFinish {
    pub id: OperationId,
    pub status: Status,
}

pub(crate) fn start(cx: &mut Apply<'_>, change: &OperationStart) -> Result<Outcome, Refusal> {
    let account = cx.owner(change.account.as_ref())?;
    if let Some(account) = &account {
        cx.state.account(account)?;
    }
    check_text("action", &change.action)?;
    check_text("subject", &change.subject)?;
    let operation = begin(cx, &change.action, &change.subject, account, "started")?;
    Ok(store(cx, "operation.start", Operation { total: change.total, ..operation }))
}

/// One that begins now, named by the envelope's seed. The caller puts it into the state.
pub(crate) fn begin(
    cx: &Apply<'_>,
    action: &str,
    subject: impl ToString,
    account: Option<AccountName>,
    stage: impl Into<String>,
) -> Result<Operation, Refusal> {
    let id = OperationId(cx.seed_id());
    if cx.state.operations.contains_key(&id) {
        return Err(Refusal::exists(Kind::Operation, id));
    }
    let (action, subject, stage) = (action.to_owned(), subject.to_string(), stage.into());
    let (status, started, revision) = (Status::Running, cx.time, cx.revision);
    Ok(Operation { id, action, subject, account, stage, done: 0, total: None, status, started, ended: None, revision })
}

pub(crate) fn progress(cx: &mut Apply<'_>, change: &OperationProgress) -> Result<Outcome, Refusal> {
    let mut operation = next(cx, &*running(cx, change.id)?);
    check_text("stage", &change.stage)?;
    operation.stage.clone_from(&change.stage);
    operation.done = change.done;
    operation.total = change.total;
    Ok(store(cx, "operation.progress", operation))
}

pub(crate) fn finish(cx: &mut Apply<'_>, change: &OperationFinish) -> Result<Outcome, Refusal> {
    let old = running(cx, change.id)?;
    let mut operation = next(cx, &old);
    if change.status == Status::Running {
        return Err(Refusal::invalid("status", "an operation cannot be set running again"));
    }
    operation.status = change.status.clone();
    if !operation.status.is_over() {
        return Ok(store(cx, "operation.cancel", operation));
    }
    if cx.state.moving.values().any(|(moving, _)| *moving == change.id) {
        return Err(Refusal::invalid("status", "a move ends with what becomes of its site"));
    }
    let mut drains = cx.state.nodes.values().filter_map(|node| node.draining.as_ref());
    if drains.any(|draining| draining.operation == change.id) {
        return Err(Refusal::invalid("status", "a drain ends with the last of its sites"));
    }
    let outcome = Outcome::new("operation.finish", operation.id).account(operation.account.as_ref());
    Ok(end(cx, change.id, change.status.clone())
        .into_iter()
        .fold(outcome, |outcome, ended| outcome.object(Object::Operation(ended))))
}

/// Ends one that is under way, if it still is.
pub(crate) fn end(cx: &mut Apply<'_>, id: OperationId, status: Status) -> Option<Operation> {
    let old = Arc::clone(cx.state.operations.get(&id)?);
    let ended = Operation { status, ended: Some(cx.time), ..next(cx, &old) };
    // The row as it lies in the state: its hash leaves with it.
    cx.delete(Row::Operation(Arc::unwrap_or_clone(old)));
    cx.put(Row::FinishedOperation(ended.clone()));
    Some(ended)
}

fn running(cx: &Apply<'_>, id: OperationId) -> Result<Arc<Operation>, Refusal> {
    let operation = cx.state.operations.get(&id).ok_or_else(|| Refusal::not_found(Kind::Operation, id))?;
    cx.may(Kind::Operation, id, operation.account.as_ref())?;
    cx.expect(Kind::Operation, id, Some(operation.revision))?;
    Ok(Arc::clone(operation))
}

fn next(cx: &Apply<'_>, old: &Operation) -> Operation {
    Operation { revision: cx.revision, ..old.clone() }
}

fn store(cx: &mut Apply<'_>, action: &'static str, operation: Operation) -> Outcome {
    cx.put(Row::Operation(operation.clone()));
    let outcome = Outcome::new(action, operation.id).account(operation.account.as_ref());
    outcome.object(Object::Operation(operation))
}
