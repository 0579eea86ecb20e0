//! `/v1/sites/{host}/move`, `/v1/nodes/{node}/drain`: sites on their way to another home.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SiteMove {
    /// The name of the new home; absent: the node it fits best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Only tell what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// Bytes a second the copy may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<u64>,
    /// Wait before the site rests, until `POST /v1/operations/{id}/continue`; an hour at most.
    #[serde(default)]
    pub hold: bool,
}

/// What a move does, told before it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MovePlan {
    pub site: String,
    /// Names of nodes.
    pub from: String,
    pub to: String,
    /// Why it goes there, where no node was named.
    pub reason: Option<String>,
    /// The others, where no node was named.
    #[serde(default)]
    pub others: Vec<Passed>,
    pub files: u64,
    pub directories: u64,
    pub bytes: u64,
    /// Bytes free on the disk of the destination.
    pub room: u64,
    /// What is done, in order.
    pub steps: Vec<String>,
    /// What does not move along.
    pub stays: Vec<String>,
    /// Why it could not be done now; empty: it can.
    pub objections: Vec<String>,
}

/// Where a site is going.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Moving {
    /// The name of a node.
    pub to: String,
    /// See `/v1/operations`.
    pub operation: String,
    /// Whether it waits for `POST /v1/operations/{id}/continue`.
    #[serde(default)]
    pub waits: bool,
}

/// A node that was not chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Passed {
    pub node: String,
    /// How it is, or why it could not be.
    pub reason: String,
}

/// A site that cannot leave a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stays {
    pub site: String,
    pub reason: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rebalance {
    /// Only tell what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// What makes the nodes even, or was begun for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rebalanced {
    pub revision: u64,
    /// In the order they are begun; none: nothing is to be done.
    pub moves: Vec<Balancing>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Balancing {
    pub site: String,
    /// Names of nodes.
    pub from: String,
    pub to: String,
    pub reason: String,
    /// See `/v1/operations`; null: it was only told, or refused.
    pub operation: Option<String>,
    /// Why it was not begun.
    pub refused: Option<String>,
}
