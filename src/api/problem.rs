//! Faults as RFC 9457 has them, `application/problem+json`, with a code for programs and a remedy for people.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of a `Problem`.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A URN made of the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status in words.
    pub title: String,
    pub status: u16,
    /// One sentence about this case.
    pub detail: String,
    /// Stable, for programs.
    pub code: String,
    /// One line on what to do.
    pub remedy: String,
    /// On a write: its id, to be asked for at `/v1/requests/{request_id}` where the outcome is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The fields of the request that are at fault, where known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fault {
    /// The path of the field in the body, such as `handler.upstreams`, or the name of a parameter.
    pub field: String,
    pub reason: String,
}
