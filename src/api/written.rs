//! What a write answers: the object as the change left it, or only the revision of a removal.
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// An object as a write left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Written<T> {
    #[serde(flatten)]
    pub object: T,
    /// Whether every plane of this node, or of all nodes that are up, serves the change; absent where it was not waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<bool>,
    /// Where one node decides alone: whether another one had a copy of the change by the time of this answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicated: Option<bool>,
}

/// What is left of a removed object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Removed {
    pub revision: u64,
    /// Whether every plane of this node, or of all nodes that are up, serves the change; absent where it was not waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<bool>,
    /// Where one node decides alone: whether another one had a copy of the change by the time of this answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicated: Option<bool>,
}

/// How a write is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct WriteQuery {
    /// Until when the answer waits once the change is committed: not at all, until the planes of this node serve it (as where nothing
    /// is said), or until those of all nodes that are up do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
}

/// Who is to serve a change before it is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Wait {
    False,
    #[default]
    True,
    All,
}

/// How one object is to be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ReadQuery {
    /// `true` reads only after the quorum confirmed that this node is up to date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistent: Option<bool>,
}
