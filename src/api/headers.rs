//! Names of the headers that `/v1` adds to those of HTTP, in lower case.

/// On every answer: the revision of the state it was read from.
pub const REVISION: &str = "ruche-revision";
/// On the answer to a write: what to ask `/v1/requests/{request_id}` for when the answer was lost.
pub const REQUEST_ID: &str = "ruche-request-id";
/// On a request: makes a write that is repeated happen once.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// On the answer to a repeated write: nothing happened this time.
pub const REPLAYED: &str = "idempotency-replayed";
