//! `/v1/certificates`: what sites are served with, what is asked for, and what becomes of it. A key only where it is handed over.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Certificate {
    pub id: String,
    /// A-labels; `*.` stands for one label.
    pub names: Vec<String>,
    /// `internal`: the cluster's own sites CA.
    pub issuer: String,
    /// RFC 3339.
    pub not_before: String,
    /// RFC 3339.
    pub not_after: String,
    /// SHA-256 of the certificate, hexadecimal.
    pub fingerprint: String,
    /// The certificates that are shown to visitors, PEM, the site's own first.
    pub chain: String,
    pub revision: u64,
}

/// A certificate asked for beside those that follow from sites; it is kept renewed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Wish {
    pub id: String,
    pub names: Vec<String>,
    /// null: the preferred issuers.
    pub issuer: Option<String>,
    /// RFC 3339.
    pub created: String,
    pub revision: u64,
}

/// What an id stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Shown {
    Certificate(Certificate),
    Wish(Wish),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Issue {
    /// A-labels or Unicode; `*.` stands for one label.
    pub names: Vec<String>,
    #[serde(default)]
    pub issuer: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Renew {
    /// Hosts of sites, or names that were asked for.
    pub names: Vec<String>,
}

/// What is being renewed now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Renewing {
    pub names: Vec<String>,
}

/// A certificate with its key, in the clear.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// PEM, the certificate's own first.
    pub chain: String,
    /// PEM.
    pub key: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("chain", &self.chain).finish_non_exhaustive()
    }
}

/// A certificate that was brought along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Imported {
    pub id: String,
    pub names: Vec<String>,
    /// RFC 3339.
    pub not_after: String,
    pub revision: u64,
}

/// What becomes of names: the most urgent first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    pub items: Vec<Planned>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Planned {
    /// Those that want a certificate together.
    pub names: Vec<String>,
    /// The id under which they were asked for; null: a site has them.
    pub wish: Option<String>,
    /// Who is asked, or was.
    pub issuer: Option<String>,
    pub step: Step,
    /// RFC 3339: when that happens.
    pub at: Option<String>,
    /// Why, or what is wrong and what to do about it.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// They have what they need; it is renewed then.
    Good,
    /// They are looked at.
    Check,
    /// They are ordered.
    Order,
    /// An order is under way.
    UnderWay,
    /// Nothing can be done before that.
    Wait,
    /// They cannot be proved to an issuer; they are looked at again then.
    Blocked,
}
