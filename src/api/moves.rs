//! `/v1/sites/{host}/move`, `/v1/nodes/{node}/drain`: sites on their way to another home.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::operations::Operation;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SiteMove {
    /// The name of the new home; absent: the node with the fewest sites among the others that take sites.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Only tell what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// Bytes a second the copy may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<u64>,
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
}

/// What draining a node began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Drained {
    pub revision: u64,
    /// One for each site that moves away.
    pub operations: Vec<Operation>,
    /// Sites that stay, and why.
    pub refused: Vec<Stays>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stays {
    pub site: String,
    pub reason: String,
}
