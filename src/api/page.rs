//! Pages of lists: a cursor is handed back as it came and means nothing to who holds it.
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where the next page begins; null on the last one.
    pub next: Option<String>,
}

/// Which page of a list is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Items on the page, 1 to 1000; 100 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Only what belongs to this account (sites, zones, ftp-users, operations and events).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Only what is for this host (certificates).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `true` reads only after the quorum confirmed that this node is up to date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistent: Option<bool>,
}
