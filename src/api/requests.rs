//! `/v1/requests/{request_id}`: what became of a write whose answer was lost.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A write that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestOutcome {
    pub request_id: String,
    pub revision: u64,
    /// RFC 3339.
    pub time: String,
    /// What it did, such as `site.create`.
    pub action: String,
    pub subject: String,
    /// The object as the write left it; null after a removal.
    pub object: Option<serde_json::Value>,
}
