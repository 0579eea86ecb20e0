//! `/v1/sites/{host}/standbys`, `/v1/sites/{host}/failover`, `/v1/nodes/{node}/evacuate`: copies of sites, and what becomes of a site whose
//! home is gone.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::moves::Stays;
use crate::api::sites::Failover;

/// A node that keeps a copy of a site's files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Standby {
    /// The name of the node.
    pub node: String,
    pub up: bool,
    /// Why the cluster chose it; null: somebody named it.
    #[serde(default)]
    pub chosen: Option<String>,
    /// Whether it answered; if not, nothing more is known of its copy.
    pub reached: bool,
    /// It had everything once, of the present home.
    pub whole: bool,
    /// When what it has was fetched last. RFC 3339.
    pub as_of: Option<String>,
    /// For how many seconds it has lacked something, as far as it knows; null: it has everything.
    pub behind: Option<u64>,
    /// Bytes here, and in all, while the copy is made.
    pub fetched: Option<u64>,
    pub total: Option<u64>,
    /// What went wrong last.
    pub fault: Option<String>,
    /// The folder there that keeps what a new home did not have.
    pub recovered: Option<String>,
}

/// The copies of a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Standbys {
    pub site: String,
    /// The name of the home.
    pub node: String,
    pub up: bool,
    pub failover: Failover,
    /// In the order in which they take over.
    pub standbys: Vec<Standby>,
    /// What an administrator should know of what would happen.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SiteFailover {
    /// The name of a standby; absent: the one with the best copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Only tell what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// What the standby does not have may be lost.
    #[serde(default)]
    pub accept_loss: bool,
}

/// What a failover does, told before it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailoverPlan {
    pub site: String,
    /// Names of nodes.
    pub from: String,
    pub to: Option<String>,
    /// What may be lost.
    pub loses: Vec<String>,
    /// Why it could not be done now; empty: it can.
    pub objections: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Evacuate {
    /// What the standbys do not have may be lost.
    #[serde(default)]
    pub accept_loss: bool,
}

/// What became of the sites of a node that is down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Evacuated {
    pub revision: u64,
    /// Sites that have another home now.
    pub sites: Vec<String>,
    /// Sites that wait for the node, and why.
    pub refused: Vec<Stays>,
}
