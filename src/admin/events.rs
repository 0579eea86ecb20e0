//! `/v1/events`: the audit lines, as pages of JSON or as a stream of server-sent events.
use axum::Extension;
use axum::extract::FromRequestParts;
use axum::response::Response;
use http::header;
use http::request::Parts;
use std::sync::Arc;

use crate::admin::Desk;
use crate::admin::error::Failure;
use crate::admin::feed;
use crate::admin::look::Look;
use crate::api::events::{Actor as ShownActor, Event as ShownEvent};
use crate::api::page::{Page, PageQuery};
use crate::base::names::AccountName;
use crate::model::answer::Event;
use crate::model::change::Actor;
use crate::model::state::State;
use crate::ops::stop::Stop;
use crate::store::history;

/// How a caller wants its events.
#[derive(Debug)]
pub(crate) enum Form {
    Page,
    /// From after this revision on; None: from now on.
    Stream(Option<u64>),
}

impl FromRequestParts<Arc<Desk>> for Form {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, _: &Arc<Desk>) -> Result<Self, Failure> {
        let accepts = parts.headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
        let mut types = accepts.flat_map(|line| line.split(',')).filter_map(|item| item.split(';').next());
        if !types.any(|name| name.trim().eq_ignore_ascii_case("text/event-stream")) {
            return Ok(Self::Page);
        }
        let last = parts.headers.get("last-event-id").map(|id| id.to_str().ok().and_then(|id| id.parse().ok()));
        match last {
            Some(None) => Err(Failure::invalid("Last-Event-ID", "expected a revision")),
            last => Ok(Self::Stream(last.flatten())),
        }
    }
}

/// Lists the events, the newest first. With `Accept: text/event-stream` they come as they happen, each with its revision as id;
/// `Last-Event-ID` begins after that revision.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    params(PageQuery, ("Last-Event-ID" = Option<u64>, Header, description = "With a stream: the last revision that was seen")),
    responses((status = 200, content((Page<ShownEvent> = "application/json"), (String = "text/event-stream")))))]
pub(crate) async fn list(form: Form, stop: Option<Extension<Stop>>, look: Look) -> Result<Response, Failure> {
    if let Form::Stream(after) = form {
        return feed::open(look, after, stop.map(|Extension(stop)| stop));
    }
    let before = look.cursor::<u64>()?.map(|newest| newest.saturating_add(1));
    let page = history::Page { after: None, before, limit: look.limit + 1, account: look.account.clone() };
    let events = look.desk.history.events(page).await?;
    Ok(look.page(events.into_iter(), |event| event.revision.to_string(), |event| shown(&look.snapshot, event)))
}

pub(crate) fn shown(state: &State, event: &Event) -> ShownEvent {
    ShownEvent {
        revision: event.revision,
        time: event.time.to_string(),
        actor: match event.actor {
            Actor::System => ShownActor::System {},
            Actor::Local { uid } => ShownActor::Local { uid },
            Actor::Token { id } => {
                let name = state.tokens.get(&id).map(|token| token.name.to_string());
                ShownActor::Token { id: id.to_string(), name }
            }
        },
        action: event.action.clone(),
        subject: event.subject.clone(),
        account: event.account.as_ref().map(AccountName::to_string),
        request_id: event.request_id.to_string(),
    }
}
