//! `/v1/accounts`: who owns sites, zones and logins.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::present;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    pub name: String,
    pub plan: Option<String>,
    pub contact: Option<String>,
    /// A suspended account keeps everything and may add nothing; its sites answer that they are suspended.
    pub suspended: bool,
    /// RFC 3339.
    pub created: String,
    pub revision: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountCreate {
    pub name: String,
    #[serde(default)]
    pub plan: Option<String>,
    /// How to reach the owner; free text, shown to admins only.
    #[serde(default)]
    pub contact: Option<String>,
}

/// Absent fields stay as they are, `null` clears.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountPatch {
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub plan: Option<Option<String>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub contact: Option<Option<String>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub suspended: Option<bool>,
}
