//! A request to change something, from its head and body to the answer. What every write has in common: its id, its conditions,
//! the door, and waiting until this node serves what was changed.
use std::sync::Arc;

use axum::extract::{FromRequest, Query, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use crate::admin::Desk;
use crate::admin::auth::Caller;
use crate::admin::error::Failure;
use crate::admin::etag::{self, Conditions};
use crate::admin::idempotency::{self, Asked};
use crate::admin::resource::{Resource, View};
use crate::api::headers;
use crate::api::written::{Removed, Wait, WriteQuery, Written};
use crate::api::zone_files::ImportQuery;
use crate::base::ids::{RequestId, Seed};
use crate::base::limits::peers::SECOND_COPY_WAIT;
use crate::base::limits::{ADMIN_BODY_MAX, ADMIN_BODY_WAIT, CHANGE_BYTES_MAX, SERVED_WAIT};
use crate::cluster::door::{Write, WriteError};
use crate::model::apply::apply;
use crate::model::change::{Change, Envelope};
use crate::model::state::{Snapshot, State};

/// A write without a body.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) desk: Arc<Desk>,
    pub(crate) caller: Caller,
    /// The state when the request came; the rules decide on a later one.
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) request_id: RequestId,
    conditions: Conditions,
    wait: Wait,
}

/// A write with a body.
#[derive(Debug)]
pub(crate) struct AskWith<T>(pub(crate) Ask, pub(crate) T);

/// A write whose body is no JSON, with its query.
#[derive(Debug)]
pub(crate) struct AskFile<Q>(pub(crate) Ask, pub(crate) Bytes, pub(crate) Q);

/// A write that happened, now or when it was asked for the first time.
#[derive(Debug)]
pub(crate) struct Done<R> {
    pub(crate) revision: u64,
    pub(crate) object: Option<R>,
    pub(crate) repeated: bool,
    pub(crate) served: Option<bool>,
    pub(crate) replicated: Option<bool>,
    request_id: RequestId,
}

/// A change that leaves no object.
pub(crate) type Gone = Done<()>;

impl FromRequest<Arc<Desk>> for Ask {
    type Rejection = Failure;
    async fn from_request(request: Request, desk: &Arc<Desk>) -> Result<Self, Failure> {
        Ok(read(request, desk).await?.0)
    }
}

impl<T: DeserializeOwned> FromRequest<Arc<Desk>> for AskWith<T> {
    type Rejection = Failure;
    async fn from_request(request: Request, desk: &Arc<Desk>) -> Result<Self, Failure> {
        let (ask, body) = read(request, desk).await?;
        Ok(Self(ask, parse(&body)?))
    }
}

impl<Q: DeserializeOwned + HowToWrite> FromRequest<Arc<Desk>> for AskFile<Q> {
    type Rejection = Failure;
    async fn from_request(request: Request, desk: &Arc<Desk>) -> Result<Self, Failure> {
        let (ask, body, query) = read_with(request, desk).await?;
        Ok(Self(ask, body, query))
    }
}

/// The query of a write.
pub(crate) trait HowToWrite: Send + Sync {
    fn wait(&self) -> Option<Wait>;

    /// Whatever else the query says, of which two requests with one key must agree.
    fn asks(&self) -> String {
        String::new()
    }
}

impl HowToWrite for WriteQuery {
    fn wait(&self) -> Option<Wait> {
        self.wait
    }
}

impl HowToWrite for ImportQuery {
    fn wait(&self) -> Option<Wait> {
        self.wait
    }

    fn asks(&self) -> String {
        format!("{:?}", (self.replace, &self.account))
    }
}

async fn read(request: Request, desk: &Arc<Desk>) -> Result<(Ask, Bytes), Failure> {
    let (ask, body, _) = read_with::<WriteQuery>(request, desk).await?;
    Ok((ask, body))
}

async fn read_with<Q: DeserializeOwned + HowToWrite>(
    request: Request,
    desk: &Arc<Desk>,
) -> Result<(Ask, Bytes, Q), Failure> {
    let (parts, body) = request.into_parts();
    let caller = parts.extensions.get::<Caller>().cloned().ok_or_else(Failure::unauthenticated)?;
    caller.may_write()?;
    let query = query::<Q>(&parts)?;
    let conditions = Conditions::read(&parts.headers)?;
    let key = idempotency::key(&parts.headers)?;
    let collected = timeout_at(Instant::now() + ADMIN_BODY_WAIT, Limited::new(body, ADMIN_BODY_MAX).collect()).await;
    let body = collected.map_err(|_| late())?.map_err(|error| unread(&*error))?.to_bytes();
    let asked = Asked {
        method: &parts.method,
        path: parts.uri.path(),
        conditions: &(conditions.canonical() + &query.asks()),
        body: &body,
    };
    let request_id = idempotency::request_id(caller.actor, key, asked);
    let snapshot = desk.snapshot();
    let wait = query.wait().unwrap_or_default();
    Ok((Ask { desk: Arc::clone(desk), caller, snapshot, request_id, conditions, wait }, body, query))
}

/// The query of a request.
pub(crate) fn query<T: DeserializeOwned>(parts: &Parts) -> Result<T, Failure> {
    let read = Query::<T>::try_from_uri(&parts.uri);
    read.map(|Query(query)| query).map_err(|error| {
        Failure::bad_request("bad-query", error.body_text(), "Look at the parameters in `/v1/openapi.json`.")
    })
}

const OBJECT: &str = "Correct the body: a JSON object as `/v1/openapi.json` has it.";

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let bad = |field: Option<String>, error: serde_json::Error| {
        let failure = Failure::bad_request("bad-json", error.to_string(), OBJECT);
        match field {
            Some(field) => failure.fault(field, error.to_string()),
            None => failure,
        }
    };
    // Field by field in an array is no form of this API, though the decoder would take it.
    if let Some(first) = body.iter().find(|byte| !byte.is_ascii_whitespace()).filter(|first| **first != b'{') {
        let detail = format!("expected a JSON object, found `{}`", char::from(*first).escape_default());
        return Err(Failure::bad_request("bad-json", detail, OBJECT));
    }
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        bad((path != "." && path != "?").then_some(path), error.into_inner())
    })?;
    json.end().map_err(|error| bad(None, error))?;
    Ok(value)
}

fn late() -> Failure {
    let detail = format!("the body did not come within {} seconds", ADMIN_BODY_WAIT.as_secs());
    Failure::new(StatusCode::REQUEST_TIMEOUT, "too-slow", detail, "Send the body without pauses.")
}

fn unread(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Failure {
    if error.is::<LengthLimitError>() {
        let detail = format!("the body is larger than {ADMIN_BODY_MAX} bytes");
        return Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail, "Make the change in smaller pieces.");
    }
    Failure::bad_request("bad-body", format!("the body broke off: {error}"), "Send the whole body.")
}

impl Ask {
    /// Has the change made; `current` is the revision its object has in the snapshot.
    pub(crate) async fn write<R: Resource>(&self, change: Change, current: Option<u64>) -> Result<Done<R>, Failure> {
        self.whole(self.commit(change, self.conditions.expect(current)).await?).await
    }

    /// The same of a change that was tried out: only if its object is at the revision it had then.
    pub(crate) async fn write_as_tried<R: Resource>(
        &self,
        change: Change,
        current: Option<u64>,
    ) -> Result<Done<R>, Failure> {
        let expect = self.conditions.expect(current).or(Some(current.unwrap_or(0)));
        self.whole(self.commit(change, expect).await?).await
    }

    /// Whether the client said what revision it means.
    pub(crate) fn is_conditional(&self) -> bool {
        self.conditions != Conditions::default()
    }

    /// The state as the change would leave it, or why it is refused. Nothing is changed.
    pub(crate) fn try_out(&self, state: &State, change: &Change, current: Option<u64>) -> Result<State, Failure> {
        let envelope = Envelope {
            request_id: self.request_id,
            actor: self.caller.actor,
            seed: Seed([0; 16]),
            expect: self.conditions.expect(current),
            change: change.clone(),
        };
        if envelope.encoded_len() > CHANGE_BYTES_MAX {
            return Err(WriteError::TooLarge.into());
        }
        let (effects, _) = apply(state, &envelope, state.level())?;
        let mut after = state.clone();
        effects.iter().for_each(|effect| after.absorb(effect));
        Ok(after)
    }

    async fn whole<R: Resource>(&self, mut done: Done<R>) -> Result<Done<R>, Failure> {
        if done.object.is_none() && done.repeated {
            let event = self.desk.history.event(done.revision).await?;
            done.object = event.and_then(|event| event.object).and_then(R::of);
        }
        Ok(done)
    }

    async fn commit<R: Resource>(&self, change: Change, expect: Option<u64>) -> Result<Done<R>, Failure> {
        let (request_id, actor) = (self.request_id, self.caller.actor);
        let write = Write { request_id, actor, expect, change };
        let answer = self.desk.door.write(write).await.map_err(|error| Failure::from(error).of(request_id))?;
        let deadline = Instant::now() + SERVED_WAIT;
        // Who reads after this answer, reads its own write.
        let mut published = self.desk.snapshot.clone();
        let wait = async {
            let shown = published.wait_for(|snapshot| snapshot.revision >= answer.revision);
            let shown = timeout_at(deadline, shown).await.is_ok_and(|shown| shown.is_ok());
            let (revision, board, member) = (answer.revision, &self.desk.board, &self.desk.member);
            match self.wait {
                Wait::False => None,
                Wait::True => Some(shown && board.wait_served(revision, deadline).await),
                Wait::All => Some(shown && member.all_serve(revision, board, deadline, |_| true).await),
            }
        };
        let told = async { tokio::join!(wait, self.desk.member.has_second_copy(SECOND_COPY_WAIT)) };
        let (served, replicated) = tokio::select! {
            told = told => told,
            // A node that stops learns nothing more.
            () = self.desk.member.has_ended() => ((self.wait != Wait::False).then_some(false), None),
        };
        let (revision, repeated, object) = (answer.revision, answer.repeated, answer.object.and_then(R::of));
        Ok(Done { revision, object, repeated, served, replicated, request_id })
    }

    /// Answers 201 with the new object and where it is.
    pub(crate) async fn create<R: Resource>(&self, change: Change) -> Result<Response, Failure> {
        let done = self.write::<R>(change, None).await?;
        let location = done.object.as_ref().map(Resource::path);
        let mut response = self.answer(StatusCode::CREATED, done);
        if let Some(location) = location.and_then(|path| HeaderValue::try_from(path).ok()) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Ok(response)
    }

    /// Answers with the object as the change left it.
    pub(crate) async fn change<R: Resource>(&self, change: Change, current: Option<u64>) -> Result<Response, Failure> {
        Ok(self.answer(StatusCode::OK, self.write::<R>(change, current).await?))
    }

    /// Answers with the revision of the removal.
    pub(crate) async fn remove(&self, change: Change, current: Option<u64>) -> Result<Response, Failure> {
        let done: Gone = self.commit(change, self.conditions.expect(current)).await?;
        let body = Removed { revision: done.revision, served: done.served, replicated: done.replicated };
        Ok(self.json(StatusCode::OK, &done, &body))
    }

    pub(crate) fn answer<R: Resource>(&self, status: StatusCode, mut done: Done<R>) -> Response {
        let Some(object) = done.object.take() else {
            // Repeated so late that the history has forgotten the object.
            return self.json(
                status,
                &done,
                &Removed { revision: done.revision, served: done.served, replicated: done.replicated },
            );
        };
        let snapshot = self.desk.snapshot();
        let view = object.view(&View::new(&self.desk, &snapshot, &self.caller));
        let mut response =
            self.json(status, &done, &Written { object: view, served: done.served, replicated: done.replicated });
        if let Ok(tag) = HeaderValue::try_from(etag::of(object.revision())) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }

    /// An answer with the headers that every write has.
    pub(crate) fn json<R>(&self, status: StatusCode, done: &Done<R>, body: &impl Serialize) -> Response {
        let mut response = (status, axum::Json(body)).into_response();
        let extra = response.headers_mut();
        let revision = self.desk.snapshot().revision.max(done.revision);
        extra.insert(headers::REVISION, HeaderValue::from(revision));
        if let Ok(id) = HeaderValue::try_from(done.request_id.to_string()) {
            extra.insert(headers::REQUEST_ID, id);
        }
        if done.repeated {
            extra.insert(headers::REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::sites::SiteCreate;

    async fn problem(body: &str) -> serde_json::Value {
        let failure = parse::<SiteCreate>(body.as_bytes()).unwrap_err();
        let body = failure.into_response().into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn bad_json_names_the_place_and_the_field() {
        let problem_of = problem("{\"host\":\"a.example\",\n \"handler\":{\"type\":\"redirect\",\"to\":1}}").await;
        assert_eq!(problem_of["code"], "bad-json");
        assert_eq!(problem_of["status"], 400);
        assert_eq!(problem_of["faults"][0]["field"], "handler");
        assert_eq!(problem(r#"{"host":"a.example","aliases":["b",2]}"#).await["faults"][0]["field"], "aliases[1]");
        assert!(problem("{\"host\":\n}").await["detail"].as_str().unwrap().contains("line 2 column 1"));
        assert!(problem("").await["detail"].as_str().unwrap().contains("EOF"));
        assert!(problem(r#"{"hots":1}"#).await["detail"].as_str().unwrap().contains("unknown field `hots`"));
        let trailing = r#"{"host":"a.example","handler":{"type":"static"}} x"#;
        assert!(problem(trailing).await["detail"].as_str().unwrap().contains("trailing"));
    }
}
