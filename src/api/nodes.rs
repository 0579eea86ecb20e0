//! `/v1/nodes`: the machines of the cluster.
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::moves::Stays;
use crate::api::present;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Node {
    pub id: String,
    pub name: String,
    pub roles: BTreeSet<Role>,
    /// Roles for which its configuration has no address.
    pub not_listening: BTreeSet<Role>,
    /// Public addresses, for DNS.
    pub addresses: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// Takes no new sites.
    pub cordoned: bool,
    /// The operation that moves its sites away; null: they stay.
    #[serde(default)]
    pub draining: Option<String>,
    /// Sites that a drain under way cannot move, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stays: Vec<Stays>,
    /// As the leader states it.
    pub up: bool,
    /// Where other nodes reach it.
    pub reach: Vec<String>,
    /// Sites whose home it is.
    pub sites: u64,
    /// RFC 3339.
    pub joined: String,
    pub revision: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Web,
    Dns,
    Ftp,
    Control,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Dns => "dns",
            Self::Ftp => "ftp",
            Self::Control => "control",
        }
    }
}

/// Absent fields stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodePatch {
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub roles: Option<BTreeSet<Role>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub cordoned: Option<bool>,
}
