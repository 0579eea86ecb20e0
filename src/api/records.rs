//! `/v1/zones/{zone}/records`: record sets, each put or removed as a whole.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// All records of one name and type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordSet {
    /// Relative to the zone, `@` for its apex.
    pub name: String,
    /// Such as `AAAA`, or `TYPE65280`.
    #[serde(rename = "type")]
    pub rtype: String,
    /// Seconds.
    pub ttl: u32,
    /// Presentation form, names absolute.
    pub values: Vec<String>,
    pub revision: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordPut {
    /// Seconds; absent: the TTL of the zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u32>,
    /// Presentation form; names without a final dot are relative to the zone.
    pub values: Vec<String>,
}
