//! A refusal: the rules said no. It is an answer like any other: stable code, one sentence, one line on what to do.
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::clock::Time;

/// The kinds of objects, as people name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Cluster,
    Plan,
    Account,
    Site,
    Zone,
    Record,
    FtpUser,
    Certificate,
    Token,
    Node,
    Operation,
    Issuer,
    Order,
    Wish,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cluster => "cluster",
            Self::Plan => "plan",
            Self::Account => "account",
            Self::Site => "site",
            Self::Zone => "zone",
            Self::Record => "record",
            Self::FtpUser => "ftp-user",
            Self::Certificate => "certificate",
            Self::Token => "token",
            Self::Node => "node",
            Self::Operation => "operation",
            Self::Issuer => "issuer",
            Self::Order => "order",
            Self::Wish => "wish",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    #[error("there is no {kind} {name}")]
    NotFound { kind: Kind, name: String },
    #[error("the {kind} {name} exists already")]
    Exists { kind: Kind, name: String },
    #[error("the host {host} belongs to the site {site}")]
    HostTaken { host: String, site: String },
    #[error("{name} lies in the zone {zone} of another account")]
    ForeignZone { name: String, zone: String },
    #[error("the {kind} {name} is still used by {}", list(.by))]
    InUse { kind: Kind, name: String, by: Vec<String> },
    #[error("the account {account} may have {limit} {what}; this would make {wanted}")]
    Limit { account: String, what: String, limit: u64, wanted: u64 },
    #[error("the {kind} {name} is at revision {actual}, not {expected}")]
    Stale { kind: Kind, name: String, expected: u64, actual: u64 },
    #[error("{field} is not acceptable: {reason}")]
    Invalid { field: String, reason: String },
    #[error("the account {account} is suspended")]
    Suspended { account: String },
    #[error("the token may not do this: {reason}")]
    Forbidden { reason: String },
    #[error("the token is unknown, removed or expired")]
    TokenInvalid,
    #[error("the join token is unknown, used or expired")]
    JoinTokenInvalid,
    #[error("the request key was used before for something else")]
    KeyReused,
    #[error("level {wanted} cannot follow level {level}")]
    Level { level: u32, wanted: u32 },
    #[error("{reason}; the next one fits at {until}")]
    Budget { reason: String, until: Time },
}

/// The first ten names and how many more.
fn list(names: &[String]) -> String {
    let more = names.len().saturating_sub(10);
    let shown = names.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

impl Refusal {
    pub(crate) fn not_found(kind: Kind, name: impl fmt::Display) -> Self {
        Self::NotFound { kind, name: name.to_string() }
    }

    pub(crate) fn exists(kind: Kind, name: impl fmt::Display) -> Self {
        Self::Exists { kind, name: name.to_string() }
    }

    pub(crate) fn invalid(field: &str, reason: impl fmt::Display) -> Self {
        Self::Invalid { field: field.to_owned(), reason: reason.to_string() }
    }

    /// What is wrong, without the field it is about.
    pub fn reason(&self) -> String {
        match self {
            Self::Invalid { reason, .. } => reason.clone(),
            refusal => refusal.to_string(),
        }
    }

    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not-found",
            Self::Exists { .. } => "exists",
            Self::HostTaken { .. } => "host-taken",
            Self::ForeignZone { .. } => "foreign-zone",
            Self::InUse { .. } => "in-use",
            Self::Limit { .. } => "limit-reached",
            Self::Stale { .. } => "revision-mismatch",
            Self::Invalid { .. } => "invalid",
            Self::Suspended { .. } => "account-suspended",
            Self::Forbidden { .. } => "forbidden",
            Self::TokenInvalid => "token-invalid",
            Self::JoinTokenInvalid => "join-token-invalid",
            Self::KeyReused => "idempotency-key-reused",
            Self::Level { .. } => "level",
            Self::Budget { .. } => "issuer-limit",
        }
    }

    /// One line on what to do.
    pub fn remedy(&self) -> String {
        match self {
            Self::NotFound { kind, .. } => format!("List what there is with `ruche {} ls`.", command(*kind)),
            Self::Exists { kind, .. } => format!("Choose another name, or change the existing {kind}."),
            Self::HostTaken { site, .. } => format!("Remove the host from {site} first, or choose another one."),
            Self::ForeignZone { .. } => {
                "Use the account that owns the zone; what belongs to no account may lie anywhere.".into()
            }
            Self::InUse { .. } => "Remove or change these first.".into(),
            Self::Limit { .. } => "Remove something, or give the account another plan.".into(),
            Self::Stale { .. } => "Read the object again, look at what changed, and repeat the change.".into(),
            Self::Invalid { .. } => "Correct the value and try again.".into(),
            Self::Suspended { account } => format!("Resume it with `ruche account resume {account}`."),
            Self::Forbidden { .. } => "Use a token with the needed scope, or the admin socket on the node.".into(),
            Self::TokenInvalid => "Create a token with `ruche token create` on a node.".into(),
            Self::JoinTokenInvalid => "Make a new one with `ruche node token` on a node of the cluster.".into(),
            Self::KeyReused => "Use a new Idempotency-Key for each new request.".into(),
            Self::Level { .. } => "Upgrade every node first; levels are raised one at a time.".into(),
            Self::Budget { .. } => "Wait, or name another issuer.".into(),
        }
    }
}

fn command(kind: Kind) -> &'static str {
    match kind {
        Kind::Cluster => "cluster",
        Kind::Plan => "plan",
        Kind::Account => "account",
        Kind::Site => "site",
        Kind::Zone => "zone",
        Kind::Record => "record",
        Kind::FtpUser => "ftp-user",
        Kind::Certificate => "cert",
        Kind::Token => "token",
        Kind::Node => "node",
        Kind::Operation => "operation",
        Kind::Issuer => "issuer",
        Kind::Order | Kind::Wish => "cert",
    }
}
