//! `/v1/status`: how this node is, and what a newcomer does next. Also what `/healthz` and `/readyz` answer.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The name of this node.
    pub node: String,
    pub node_id: String,
    pub version: String,
    /// Null while no cluster was founded.
    pub cluster: Option<String>,
    pub level: u32,
    /// The revision of this node's state.
    pub revision: u64,
    /// The time of the state, RFC 3339.
    pub time: String,
    /// The revision that every plane of this node serves; null where there is no plane.
    pub served: Option<u64>,
    pub ready: bool,
    pub health: Health,
    pub board: Vec<BoardEntry>,
    pub planes: Vec<Plane>,
    pub listening: Vec<Listener>,
    pub raft: Raft,
    /// When the recovery copy of the keyring was last written, RFC 3339; null: never, and losing the disk loses every secret.
    pub key_exported: Option<String>,
    pub counts: Counts,
    pub next_steps: Vec<NextStep>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    Green,
    /// Works, but somebody should look.
    Yellow,
    /// Does not do its work.
    Red,
}

impl Health {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Yellow => "yellow",
            Self::Red => "red",
        }
    }
}

/// How one part of the node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BoardEntry {
    pub name: String,
    pub health: Health,
    pub text: String,
    /// RFC 3339.
    pub since: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plane {
    pub name: String,
    pub served: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Listener {
    /// Such as `web.http` or `admin.listen`.
    pub name: String,
    /// `ip:port` with the port that was chosen, or a path.
    pub address: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Raft {
    /// Null while there is none.
    pub leader: Option<String>,
    pub term: u64,
    pub log_index: Option<u64>,
    pub applied_index: Option<u64>,
    pub voters: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counts {
    pub nodes: u64,
    pub plans: u64,
    pub accounts: u64,
    pub sites: u64,
    pub zones: u64,
    pub ftp_users: u64,
    pub certificates: u64,
    pub tokens: u64,
    pub operations: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NextStep {
    pub text: String,
    pub command: String,
}

/// What `/healthz` and `/readyz` answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pulse {
    pub ok: bool,
    /// What is not well.
    pub reasons: Vec<String>,
}
