//! `/v1/plans`: what an account may have.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    pub name: String,
    pub limits: Limits,
    pub revision: u64,
}

/// Most of each that an account may have; null: no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub sites: Option<u64>,
    pub zones: Option<u64>,
    /// Record sets of one zone.
    pub records: Option<u64>,
    pub ftp_users: Option<u64>,
    /// Sum of the quotas of all sites, in bytes.
    pub disk: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanPut {
    #[serde(default)]
    pub limits: Limits,
}
