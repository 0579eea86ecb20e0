//! `/v1/zones/{zone}/file`: a whole zone as a zone file, read and written.
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::written::Wait;
use crate::api::zones::Zone;

/// The media type of a zone file (RFC 4027).
pub const MEDIA_TYPE: &str = "text/dns";

/// How a zone file is to be taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ImportQuery {
    /// As with every write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
    /// `true`: what is not in the file goes from the zone. Otherwise the file's sets are put beside those of other names or types.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace: Option<bool>,
    /// `true` changes nothing and answers what would change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// Owner of the zone, if it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// What a zone file changed, or would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ZoneImported {
    /// The zone as it is afterwards.
    #[serde(flatten)]
    pub zone: Zone,
    /// Record set by record set; empty where nothing changed, or where the same request was answered before.
    pub changes: Vec<RecordChange>,
    /// What was taken otherwise than the file says, with its line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Nothing was changed.
    pub dry_run: bool,
}

/// What happened to a record set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordChange {
    pub action: RecordAction,
    /// Relative to the zone, `@` for its apex.
    pub name: String,
    #[serde(rename = "type")]
    pub rtype: String,
    /// Seconds.
    pub ttl: u32,
    /// Presentation form; of a removed set what it was.
    pub values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RecordAction {
    Added,
    Changed,
    Removed,
}
