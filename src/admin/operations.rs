//! `/v1/operations`: long work with progress. Those under way come from the state, the finished ones from the history.
use axum::response::Response;
use http::StatusCode;

use crate::admin::ask::Ask;
use crate::admin::error::Failure;
use crate::admin::look::{At, Look};
use crate::admin::resource::{Resource, View, path};
use crate::api::operations as api;
use crate::api::page::{Page, PageQuery};
use crate::api::written::{ReadQuery, WriteQuery, Written};
use crate::base::ids::OperationId;
use crate::base::names::AccountName;
use crate::model::answer::Object;
use crate::model::change::Change;
use crate::model::operations::{Operation, OperationFinish, Status};
use crate::model::refusal::Kind;
use crate::store::history;

impl Resource for Operation {
    type View = api::Operation;

    fn of(object: Object) -> Option<Self> {
        if let Object::Operation(operation) = object { Some(operation) } else { None }
    }

    fn view(&self, _: &View<'_>) -> api::Operation {
        let (status, reason) = match self.status.clone() {
            Status::Running => (api::OperationStatus::Running, None),
            Status::Cancelling => (api::OperationStatus::Cancelling, None),
            Status::Succeeded => (api::OperationStatus::Succeeded, None),
            Status::Failed { reason } => (api::OperationStatus::Failed, Some(reason)),
            Status::Cancelled => (api::OperationStatus::Cancelled, None),
        };
        api::Operation {
            id: self.id.to_string(),
            action: self.action.clone(),
            subject: self.subject.clone(),
            account: self.account.as_ref().map(AccountName::to_string),
            stage: self.stage.clone(),
            done: self.done,
            total: self.total,
            status,
            reason,
            started: self.started.to_string(),
            ended: self.ended.map(|ended| ended.to_string()),
            revision: self.revision,
        }
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn path(&self) -> String {
        path(&["operations", &self.id.to_string()])
    }
}

/// Where a page begins: those under way come first, by id, then the finished ones, the last finished first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    UnderWay(OperationId),
    /// At this revision or before it.
    Finished(u64),
}

impl std::str::FromStr for Start {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text.split_at_checked(1).ok_or(())? {
            ("u", id) => id.parse().map(Self::UnderWay).map_err(|_| ()),
            ("f", revision) => revision.parse().map(Self::Finished).map_err(|_| ()),
            _ => Err(()),
        }
    }
}

fn start(operation: &Operation) -> String {
    match operation.status.is_over() {
        true => format!("f{}", operation.revision),
        false => format!("u{}", operation.id),
    }
}

/// Lists the operations: those under way, then the finished ones, the last finished first.
#[utoipa::path(get, path = "/v1/operations", tag = "operations", params(PageQuery),
    responses((status = 200, body = Page<api::Operation>)))]
pub(crate) async fn list(look: Look) -> Result<Response, Failure> {
    let (from, before) = match look.cursor()? {
        None => (Some(OperationId(0)), None),
        Some(Start::UnderWay(id)) => (Some(id), None),
        Some(Start::Finished(revision)) => (None, Some(revision.saturating_add(1))),
    };
    let state = &look.snapshot.operations;
    let running =
        from.into_iter().flat_map(|from| state.range(from..)).map(|(_, operation)| Operation::clone(operation));
    let mut items: Vec<_> =
        running.filter(|operation| look.wants(operation.account.as_ref())).take(look.limit + 1).collect();
    if items.len() <= look.limit {
        let limit = look.limit + 1 - items.len();
        let page = history::Page { after: None, before, limit, account: look.account.clone() };
        items.extend(look.desk.history.finished_operations(page).await?);
    }
    Ok(look.page(items.into_iter(), start, |operation| operation.view(&look.view())))
}

/// Shows one operation, under way or finished.
#[utoipa::path(get, path = "/v1/operations/{id}", tag = "operations", params(("id" = String, Path), ReadQuery),
    responses((status = 200, body = api::Operation)))]
pub(crate) async fn show(At(id): At<OperationId>, look: Look) -> Result<Response, Failure> {
    let operation = match look.snapshot.operations.get(&id) {
        Some(operation) => Some(Operation::clone(operation)),
        None => look.desk.history.finished_operation(id).await?,
    };
    let seen = operation.filter(|operation| look.caller.sees(operation.account.as_ref()));
    seen.map(|operation| look.one(&operation)).ok_or_else(|| Failure::not_found(Kind::Operation, id))
}

/// Asks an operation to stop. It ends by itself at its next safe point.
#[utoipa::path(post, path = "/v1/operations/{id}/cancel", tag = "operations", params(("id" = String, Path), WriteQuery),
    responses((status = 202, body = Written<api::Operation>)))]
pub(crate) async fn cancel(At(id): At<OperationId>, ask: Ask) -> Result<Response, Failure> {
    let current = ask.snapshot.operations.get(&id).map(|operation| operation.revision);
    let finish = OperationFinish { id, status: Status::Cancelling };
    let done = ask.write::<Operation>(Change::OperationFinish(finish), current).await?;
    Ok(ask.answer(StatusCode::ACCEPTED, done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_begins_under_way_or_finished() {
        assert_eq!("u00000000000000ff".parse(), Ok(Start::UnderWay(OperationId(255))));
        assert_eq!("f12".parse(), Ok(Start::Finished(12)));
        for bad in ["", "u", "f", "x12", "é", "f-1"] {
            assert_eq!(bad.parse::<Start>(), Err(()), "{bad}");
        }
    }
}
