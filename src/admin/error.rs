//! Faults of the admin API: what went wrong, as a status, a code, a sentence and a remedy. The one place where a refusal or an
//! error becomes an HTTP status; every answer that is not a success is made here.
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::admin::etag;
use crate::api::headers;
use crate::api::problem::{Fault, MEDIA_TYPE, Problem};
use crate::base::ids::RequestId;
use crate::cluster::door::WriteError;
use crate::model::refusal::{Kind, Refusal};
use crate::ops::blocking::BlockingError;
use crate::store::history::QueryError;

/// Why a request is not done.
#[derive(Debug)]
pub(crate) struct Failure(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    code: &'static str,
    detail: String,
    remedy: String,
    request_id: Option<RequestId>,
    faults: Vec<Fault>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Failure {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (detail, remedy) = (sentence(detail.into()), remedy.into());
        Self(Box::new(Inner { status, code, detail, remedy, request_id: None, faults: vec![], headers: vec![] }))
    }

    /// One field or parameter of the request is not acceptable.
    pub(crate) fn invalid(field: &str, reason: impl ToString) -> Self {
        Self::from(Refusal::Invalid { field: field.to_owned(), reason: reason.to_string() })
    }

    /// Several are not; there is at least one.
    pub(crate) fn invalid_all(faults: Vec<Fault>) -> Self {
        let first = faults.first().map_or(("", ""), |fault| (&fault.field, &fault.reason));
        let mut failure = Self::invalid(first.0, first.1);
        failure.0.faults = faults;
        failure
    }

    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>, remedy: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail, remedy)
    }

    pub(crate) fn not_found(kind: Kind, name: impl ToString) -> Self {
        Self::from(Refusal::NotFound { kind, name: name.to_string() })
    }

    pub(crate) fn forbidden(reason: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            reason,
            "Use a token with the needed scope, or the admin socket on the node.",
        )
    }

    pub(crate) fn unauthenticated() -> Self {
        let failure = Self::new(
            StatusCode::UNAUTHORIZED,
            "token-missing",
            "the request has no token",
            "Send `Authorization: Bearer …`; create a token with `ruche token create` on a node.",
        );
        failure.with(header::WWW_AUTHENTICATE, "Bearer realm=\"ruche\"")
    }

    pub(crate) fn busy(detail: impl Into<String>) -> Self {
        let failure = Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail, "Try again in a moment.");
        failure.with(header::RETRY_AFTER, "1")
    }

    pub(crate) fn fault(mut self, field: impl Into<String>, reason: impl Into<String>) -> Self {
        self.0.faults.push(Fault { field: field.into(), reason: reason.into() });
        self
    }

    /// Whether the rules refused this very field.
    pub(crate) fn is_about(&self, field: &str) -> bool {
        self.0.status == StatusCode::UNPROCESSABLE_ENTITY && self.0.faults.iter().any(|fault| fault.field == field)
    }

    /// Whether what was to be changed has changed since it was looked at.
    pub(crate) fn is_stale(&self) -> bool {
        self.0.status == StatusCode::PRECONDITION_FAILED
    }

    /// Whether the old home may still write.
    pub(crate) fn is_leased(&self) -> bool {
        self.0.code == "leased"
    }

    /// Of a write: its id goes with the problem.
    pub(crate) fn of(mut self, request: RequestId) -> Self {
        self.0.request_id = Some(request);
        self
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.0.headers.push((name, HeaderValue::from_static(value)));
        self
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::NotFound { .. } => StatusCode::NOT_FOUND,
            Refusal::Exists { .. }
            | Refusal::HostTaken { .. }
            | Refusal::ForeignZone { .. }
            | Refusal::InUse { .. }
            | Refusal::Limit { .. }
            | Refusal::Suspended { .. }
            | Refusal::Level { .. }
            | Refusal::Budget { .. } => StatusCode::CONFLICT,
            Refusal::Stale { .. } => StatusCode::PRECONDITION_FAILED,
            Refusal::Invalid { .. } | Refusal::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::Forbidden { .. } | Refusal::JoinTokenInvalid => StatusCode::FORBIDDEN,
            Refusal::TokenInvalid => StatusCode::UNAUTHORIZED,
        };
        let detail = match &refusal {
            Refusal::Stale { kind, name, expected: etag::NEVER, .. } => {
                format!("there is no {kind} {name}, and `If-Match` asks for one")
            }
            Refusal::Stale { kind, name, expected: 0, .. } => {
                format!("there is the {kind} {name} already, and `If-None-Match` asks for none")
            }
            refusal => refusal.to_string(),
        };
        let failure = Self::new(status, refusal.code(), detail, refusal.remedy());
        match refusal {
            Refusal::Invalid { field, reason } => failure.fault(field, reason),
            Refusal::TokenInvalid => {
                failure.with(header::WWW_AUTHENTICATE, "Bearer realm=\"ruche\", error=\"invalid_token\"")
            }
            _ => failure,
        }
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        let detail = format!("failed to {error}");
        let unavailable = |code, remedy: &str| Self::new(StatusCode::SERVICE_UNAVAILABLE, code, &*detail, remedy);
        match error {
            WriteError::Refused(refusal) => Self::from(refusal),
            WriteError::Busy => Self::busy(detail),
            WriteError::TooLarge => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail, "Make the change in smaller pieces.")
            }
            WriteError::DiskFull => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "disk-full",
                detail,
                "Free space on the node's data directory; writing goes on by itself.",
            ),
            WriteError::StoreFailed { .. } => {
                unavailable("store-failed", "Check the disk and the log, then restart the node; sites are served on.")
            }
            WriteError::NoQuorum => unavailable(
                "no-quorum",
                "Bring back nodes until more than half of the voters are up; sites are served on.",
            )
            .with(header::RETRY_AFTER, "2"),
            WriteError::Removed => unavailable(
                "removed",
                "`ruche cluster join TOKEN --discard-state` lets it in again, `ruche cluster leave` leaves it alone.",
            ),
            WriteError::Leased { .. } => {
                unavailable("leased", "Try again in a few seconds.").with(header::RETRY_AFTER, "2")
            }
            WriteError::Stopping => unavailable("stopping", "Try again when the node is back, or ask another one.")
                .with(header::RETRY_AFTER, "1"),
            WriteError::OutcomeUnknown(request) => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "outcome-unknown",
                detail,
                format!("Ask `GET /v1/requests/{request}` what became of it before you repeat it."),
            )
            .of(request),
        }
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        let detail = format!("failed to {error}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "history-unreadable", detail, "Look at `ruche status` and the log.")
    }
}

impl From<BlockingError> for Failure {
    fn from(error: BlockingError) -> Self {
        Self::busy(format!("failed to {error}"))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Inner { status, code, detail, remedy, request_id, faults, headers: extra } = *self.0;
        let request_id = request_id.map(|id| id.to_string());
        let problem = Problem {
            kind: format!("urn:ruche:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail,
            code: code.to_owned(),
            remedy,
            request_id: request_id.clone(),
            faults,
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        response.headers_mut().extend(extra);
        if let Some(id) = request_id.and_then(|id| HeaderValue::try_from(id).ok()) {
            response.headers_mut().insert(headers::REQUEST_ID, id);
        }
        response
    }
}

/// Ends with a full stop. It may begin with a name, which keeps its case.
fn sentence(mut text: String) -> String {
    if !text.ends_with(['.', '?', '!']) {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(failure: impl Into<Failure>) -> (u16, &'static str) {
        let failure = failure.into();
        assert!(!failure.0.remedy.is_empty() && failure.0.detail.ends_with('.'), "{failure:?}");
        (failure.0.status.as_u16(), failure.0.code)
    }

    #[test]
    fn every_refusal_has_its_status() {
        let text = String::new;
        let kind = Kind::Site;
        for (refusal, wanted) in [
            (Refusal::NotFound { kind, name: text() }, (404, "not-found")),
            (Refusal::Exists { kind, name: text() }, (409, "exists")),
            (Refusal::HostTaken { host: text(), site: text() }, (409, "host-taken")),
            (Refusal::ForeignZone { name: text(), zone: text() }, (409, "foreign-zone")),
            (Refusal::InUse { kind, name: text(), by: vec![] }, (409, "in-use")),
            (Refusal::Limit { account: text(), what: text(), limit: 1, wanted: 2 }, (409, "limit-reached")),
            (Refusal::Stale { kind, name: text(), expected: 1, actual: 2 }, (412, "revision-mismatch")),
            (Refusal::Invalid { field: text(), reason: text() }, (422, "invalid")),
            (Refusal::Suspended { account: text() }, (409, "account-suspended")),
            (Refusal::Forbidden { reason: text() }, (403, "forbidden")),
            (Refusal::TokenInvalid, (401, "token-invalid")),
            (Refusal::JoinTokenInvalid, (403, "join-token-invalid")),
            (Refusal::KeyReused, (422, "idempotency-key-reused")),
            (Refusal::Level { level: 1, wanted: 3 }, (409, "level")),
        ] {
            assert_eq!(status(refusal), wanted);
        }
    }

    #[test]
    fn every_write_error_has_its_status() {
        let request = RequestId { key: [7; 16], digest: [0; 16] };
        for (error, wanted) in [
            (WriteError::Refused(Refusal::KeyReused), (422, "idempotency-key-reused")),
            (WriteError::Busy, (503, "busy")),
            (WriteError::TooLarge, (413, "too-large")),
            (WriteError::DiskFull, (507, "disk-full")),
            (WriteError::StoreFailed("sync the log: I/O error".into()), (503, "store-failed")),
            (WriteError::NoQuorum, (503, "no-quorum")),
            (WriteError::Removed, (503, "removed")),
            (WriteError::Leased { left: 3 }, (503, "leased")),
            (WriteError::Stopping, (503, "stopping")),
            (WriteError::OutcomeUnknown(request), (504, "outcome-unknown")),
        ] {
            assert_eq!(status(error), wanted);
        }
    }

    #[test]
    fn the_answer_is_a_problem_with_the_headers_of_its_kind() {
        let response = Failure::from(WriteError::Busy).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
        let unknown = Failure::from(WriteError::OutcomeUnknown(RequestId { key: [7; 16], digest: [0; 16] }));
        let response = unknown.into_response();
        assert_eq!(response.headers()[headers::REQUEST_ID], "07".repeat(16));
        let response = Failure::from(Refusal::TokenInvalid).into_response();
        assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
        assert_eq!(sentence("a host".into()), "a host.");
    }
}
