//! `/v1/cluster`: how the cluster is, and how machines come and go.
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::status::Plane;

/// A token with which one machine joins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinTokenCreate {
    /// Seconds for which it is good; absent: an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasts: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinToken {
    /// What `ruche cluster join` takes. Shown once; null where the request was repeated.
    pub token: Option<String>,
    /// RFC 3339.
    pub expires: String,
    pub revision: u64,
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("expires", &self.expires).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// What `ruche node token` printed on a node of the cluster.
    pub token: String,
    /// The name of this node there; absent: the one it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Set aside what this node holds: sites, zones, accounts.
    #[serde(default)]
    pub discard_state: bool,
}

impl fmt::Debug for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The node starts again as a member of that cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Joining {
    pub cluster: String,
    /// The id of this node there.
    pub node_id: String,
    pub name: String,
}

/// The node starts again, alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Leaving {
    pub revision: u64,
}

/// How the cluster is, as this node sees it and as the others say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClusterStatus {
    pub cluster: Option<String>,
    pub level: u32,
    pub revision: u64,
    /// The name of the node that leads; null: there is none, and changes wait.
    pub leader: Option<String>,
    pub term: u64,
    /// Sorted by name.
    pub nodes: Vec<Member>,
}

/// One node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    pub name: String,
    pub id: String,
    pub part: Part,
    /// As the cluster states it.
    pub up: bool,
    /// Whether it answered just now. What follows is absent where it did not.
    pub answers: bool,
    pub reach: Vec<String>,
    /// It cannot be called from the node that was asked, which reaches it over connections it made itself.
    #[serde(default)]
    pub hidden: bool,
    pub version: Option<String>,
    /// The newest level its program knows, as it said last.
    pub knows: Option<u32>,
    pub revision: Option<u64>,
    /// Changes it lacks that this node has.
    pub behind: Option<u64>,
    /// At the same revision its state is another one: it has diverged.
    pub differs: bool,
    /// The oldest revision one of its planes serves.
    pub served: Option<u64>,
    /// What each plane serves.
    pub planes: Option<Vec<Plane>>,
    /// Bytes left for it on the disk that holds its data, and all bytes there.
    pub disk_free: Option<u64>,
    pub disk_size: Option<u64>,
    /// Milliseconds by which its clock is ahead of this node's.
    pub clock_ahead: Option<i64>,
}

/// What a node does for decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    Leader,
    Voter,
    Learner,
    /// It has not been taken up yet, or is on its way out.
    None,
}

impl Part {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Voter => "voter",
            Self::Learner => "learner",
            Self::None => "-",
        }
    }
}
