//! `/v1/sites/{host}/logs`, `/v1/sites/{host}/stats` and `/v1/stats`: who came to a site, as far as this node served it.
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// 1 to 1000; 20 unless given.
    pub lines: Option<usize>,
    /// The `next` of an answer: what came after it, the oldest first. Without it: the newest lines.
    pub after: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Log {
    /// In the combined format, the oldest first.
    pub lines: Vec<String>,
    /// Where to go on.
    pub next: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Visits {
    /// Requests answered.
    pub hits: u64,
    /// Bytes of bodies sent.
    pub bytes: u64,
    #[serde(rename = "1xx")]
    pub informed: u64,
    #[serde(rename = "2xx")]
    pub done: u64,
    #[serde(rename = "3xx")]
    pub elsewhere: u64,
    #[serde(rename = "4xx")]
    pub refused: u64,
    #[serde(rename = "5xx")]
    pub failed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// The main host.
    pub host: String,
    /// Of the days that are kept, a month.
    pub total: Visits,
    /// Days with visits, the oldest first.
    pub days: Vec<Day>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Day {
    /// Such as `2026-11-22`, in UTC.
    pub day: String,
    #[serde(flatten)]
    pub visits: Visits,
}

/// One site among all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SiteStats {
    pub host: String,
    /// Of the days that are kept, a month.
    #[serde(flatten)]
    pub total: Visits,
}
