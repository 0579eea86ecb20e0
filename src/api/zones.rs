//! `/v1/zones`: the zones whose records are kept here.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::present;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Zone {
    /// The apex, as A-labels without a final dot.
    pub name: String,
    pub account: Option<String>,
    /// RFC 1982 serial number; moves whenever the zone's answers change.
    pub serial: u32,
    /// TTL in seconds of record sets given without one.
    pub ttl: u32,
    /// Record sets in the zone, without the SOA.
    pub records: u64,
    /// Hosts of the NS records at the apex.
    #[serde(default)]
    pub nameservers: Vec<String>,
    /// What is allowed and does not work, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// RFC 3339.
    pub created: String,
    pub revision: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ZoneCreate {
    /// In Unicode or as A-labels.
    pub name: String,
    #[serde(default)]
    pub account: Option<String>,
    /// Seconds.
    #[serde(default)]
    pub ttl: Option<u32>,
    /// Hosts for the NS records of the apex.
    #[serde(default)]
    pub nameservers: Vec<String>,
}

/// Absent fields stay as they are, `null` clears.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ZonePatch {
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub account: Option<Option<String>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u32>,
}
