//! `/v1/events`: every change that happened, as pages of JSON (newest first) or as a stream of server-sent events, each with the
//! revision as its id and an `Event` as its data.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The audit line of one change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    pub revision: u64,
    /// RFC 3339.
    pub time: String,
    pub actor: Actor,
    /// What happened, such as `site.create`.
    pub action: String,
    /// The name of what it happened to.
    pub subject: String,
    pub account: Option<String>,
    pub request_id: String,
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Actor {
    /// The cluster itself.
    System {},
    /// A local user of the admin socket.
    Local { uid: u32 },
    Token {
        id: String,
        /// Null where the token is gone.
        name: Option<String>,
    },
}
