//! The API as the commands call it: reads, whole lists, writes that happen once. It decides what is sent again and what is not:
//! only what a failed connection took along, a write always under the same Idempotency-Key.
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep};

use crate::api::headers::{IDEMPOTENCY_KEY, REPLAYED};
use crate::api::page::Page;
use crate::api::problem::Problem;
use crate::api::requests::RequestOutcome;
use crate::api::written::Wait;
use crate::base::limits::{CLIENT_OUTCOME_EVERY, CLIENT_PAGES_MAX, CLIENT_RETRIES_MAX, CLIENT_RETRY_PAUSE, PAGE_MAX};
use crate::base::names::AccountName;
use crate::cli::failure::Failure;
use crate::cli::tree::WriteArgs;
use crate::fetch::client::Client;
use crate::fetch::error::FetchError;
use crate::fetch::response::{Response, Streaming};

#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) client: Client,
    pub(crate) token: Option<HeaderValue>,
    /// Who serves a write before it is answered.
    pub(crate) wait: Wait,
    /// How long is asked what became of a write whose outcome is unknown.
    pub(crate) outcome_wait: Duration,
}

/// A change: what it is in words ("create the site a.example"), and how it is asked for.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) doing: String,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Option<Vec<u8>>,
    /// The media type of the body.
    pub(crate) media_type: &'static str,
    pub(crate) if_match: Option<u64>,
    /// The object must not exist yet.
    pub(crate) new_only: bool,
    pub(crate) key: Option<String>,
}

impl Write {
    pub(crate) fn new(doing: impl Into<String>, method: Method, path: String, args: &WriteArgs) -> Self {
        let (if_match, key) = (args.if_match, args.idempotency_key.clone());
        let (doing, media_type) = (doing.into(), "application/json");
        Self { doing, method, path, body: None, media_type, if_match, new_only: false, key }
    }

    /// A body that is no JSON.
    pub(crate) fn file(mut self, media_type: &'static str, body: Vec<u8>) -> Self {
        (self.media_type, self.body) = (media_type, Some(body));
        self
    }

    pub(crate) fn body(mut self, body: &impl serde::Serialize) -> Self {
        self.body = Some(serde_json::to_vec(body).expect("types of the API are JSON"));
        self
    }
}

/// What a write answered.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) body: Bytes,
    /// It had happened before.
    pub(crate) repeated: bool,
}

/// `/v1/…` of these segments.
pub(crate) fn path(segments: &[&str]) -> String {
    let mut path = "/v1".to_owned();
    for segment in segments {
        path.push('/');
        escape(&mut path, segment);
    }
    path
}

/// Appends a parameter to a path.
pub(crate) fn with(mut path: String, name: &str, value: &str) -> String {
    path.push(if path.contains('?') { '&' } else { '?' });
    path.push_str(name);
    path.push('=');
    escape(&mut path, value);
    path
}

/// Only what belongs to this account, where one is given.
pub(crate) fn of_account(path: String, account: Option<&AccountName>) -> String {
    match account {
        Some(account) => with(path, "account", account.as_str()),
        None => path,
    }
}

/// RFC 3986 section 2.3: everything but the unreserved characters is encoded.
fn escape(path: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => path.push(char::from(byte)),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
}

impl Api {
    pub(crate) async fn get(&self, doing: &str, path: &str) -> Result<Bytes, Failure> {
        let ask = || self.client.send(self.request(Method::GET, path, Bytes::new()));
        let answer = match ask().await {
            // A node that hands over to another process ends a connection on which nothing was asked yet.
            Err(FetchError::Broken { .. }) => {
                sleep(CLIENT_RETRY_PAUSE).await;
                ask().await
            }
            answer => answer,
        };
        expect_success(doing, answer?)
    }

    /// A list, from its first page to the last one or until `most` items are there, each as the API wrote it.
    pub(crate) async fn list(&self, doing: &str, base: &str, most: usize) -> Result<Vec<Box<RawValue>>, Failure> {
        let mut items = Vec::new();
        let mut page = with(base.to_owned(), "limit", &most.clamp(1, PAGE_MAX).to_string());
        let first = page.clone();
        for _ in 0..CLIENT_PAGES_MAX {
            let answer: Page<Box<RawValue>> = read(doing, &self.get(doing, &page).await?)?;
            items.extend(answer.items);
            match answer.next {
                Some(cursor) if items.len() < most => page = with(first.clone(), "cursor", &cursor),
                _ => {
                    items.truncate(most);
                    return Ok(items);
                }
            }
        }
        Err(odd(doing, 200, b"a list without end"))
    }

    /// Opens a stream of server-sent events, after the one that was seen last.
    pub(crate) async fn follow(&self, doing: &str, path: &str, last: Option<&str>) -> Result<Streaming, Failure> {
        let mut request = self.request(Method::GET, path, Bytes::new());
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(last) = last.and_then(|last| HeaderValue::from_str(last).ok()) {
            request.headers_mut().insert("last-event-id", last);
        }
        let stream = self.client.open(request).await?;
        let kind = stream.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        if stream.status.is_success() && kind.starts_with(b"text/event-stream") {
            return Ok(stream);
        }
        let answer = stream.whole().await?;
        let status = answer.status.as_u16();
        Err(expect_success(doing, answer).map_or_else(|failure| failure, |body| odd(doing, status, &body)))
    }

    pub(crate) async fn write(&self, write: Write) -> Result<Done, Failure> {
        let key = match &write.key {
            Some(key) => key.clone(),
            None => random_key()?,
        };
        let mut failed = 0;
        let answer = loop {
            let error = match self.client.send(self.write_request(&write, &key)?).await {
                Ok(answer) => break answer,
                Err(error) => error,
            };
            if failed == CLIENT_RETRIES_MAX || !worth_repeating(&error) {
                return Err(after_write(error, &write.doing, key));
            }
            sleep(CLIENT_RETRY_PAUSE * 2u32.pow(failed)).await;
            failed += 1;
        };
        let repeated = answer.headers.get(REPLAYED).is_some_and(|value| value == "true");
        match expect_success(&write.doing, answer) {
            Ok(body) => Ok(Done { body, repeated }),
            Err(Failure::Problem { problem, .. }) if problem.code == "outcome-unknown" => {
                self.outcome(&write.doing, &problem, key).await
            }
            Err(failure) => Err(failure),
        }
    }

    /// Asks what became of a write until it is known or the time is over.
    async fn outcome(&self, doing: &str, problem: &Problem, key: String) -> Result<Done, Failure> {
        let unknown = || Failure::Unknown { doing: doing.into(), reason: problem.detail.clone(), key: key.clone() };
        let id = problem.request_id.as_ref().ok_or_else(unknown)?;
        let path = path(&["requests", id]);
        let deadline = Instant::now() + self.outcome_wait;
        while Instant::now() < deadline {
            sleep(CLIENT_OUTCOME_EVERY).await;
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let Ok(Ok(body)) = tokio::time::timeout(left, self.get(doing, &path)).await else { continue };
            let outcome: RequestOutcome = read(doing, &body)?;
            let object = outcome.object.unwrap_or_else(|| serde_json::json!({"revision": outcome.revision}));
            return Ok(Done { body: object.to_string().into(), repeated: false });
        }
        Err(unknown())
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Request<Bytes> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().expect("a path of encoded segments is a URI");
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(token) = &self.token {
            headers.insert(header::AUTHORIZATION, token.clone());
        }
        request
    }

    fn write_request(&self, write: &Write, key: &str) -> Result<Request<Bytes>, Failure> {
        let path = match self.wait {
            Wait::False => with(write.path.clone(), "wait", "false"),
            Wait::True => write.path.clone(),
            Wait::All => with(write.path.clone(), "wait", "all"),
        };
        let mut request = self.request(write.method.clone(), &path, write.body.clone().unwrap_or_default().into());
        let headers = request.headers_mut();
        if write.body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(write.media_type));
        }
        if let Some(revision) = write.if_match {
            let tag = HeaderValue::from_str(&format!("\"{revision}\"")).expect("digits and quotes stand in a header");
            headers.insert(header::IF_MATCH, tag);
        }
        if write.new_only {
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        let remedy = "Use letters, digits and hyphens.";
        let key = HeaderValue::from_str(key)
            .map_err(|_| Failure::usage(&write.doing, "the idempotency key cannot stand in a header", remedy))?;
        headers.insert(IDEMPOTENCY_KEY, key);
        Ok(request)
    }
}

/// The connection failed in a way that a moment's patience may heal; a missing socket or permission does not heal.
fn worth_repeating(error: &FetchError) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, WouldBlock};
    match error {
        FetchError::Unreachable { cause, .. } => {
            matches!(cause.kind(), ConnectionRefused | ConnectionReset | ConnectionAborted | BrokenPipe | WouldBlock)
        }
        FetchError::Broken { .. } => true,
        FetchError::Garbled { .. } | FetchError::Slow { .. } | FetchError::TooLarge { .. } => false,
    }
}

fn after_write(error: FetchError, doing: &str, key: String) -> Failure {
    match error {
        FetchError::Unreachable { .. } => error.into(),
        _ => Failure::Unknown { doing: doing.into(), reason: format!("failed to {error}"), key },
    }
}

fn expect_success(doing: &str, answer: Response) -> Result<Bytes, Failure> {
    if answer.status.is_success() {
        return Ok(answer.body);
    }
    match serde_json::from_slice::<Problem>(&answer.body) {
        Ok(problem) => Err(Failure::Problem { doing: doing.into(), problem: Box::new(problem) }),
        Err(_) => Err(odd(doing, answer.status.as_u16(), &answer.body)),
    }
}

pub(crate) fn read<T: DeserializeOwned>(doing: &str, body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|_| odd(doing, 200, body))
}

fn odd(doing: &str, status: u16, body: &[u8]) -> Failure {
    let excerpt = String::from_utf8_lossy(&body[..body.len().min(200)]).trim().replace(char::is_control, " ");
    let excerpt = if excerpt.is_empty() { "nothing".to_owned() } else { format!("`{excerpt}`") };
    Failure::Odd { doing: doing.into(), status, excerpt }
}

fn random_key() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|cause| Failure::io("draw a random number", cause.into()))?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}
