//! `/v1/certificates`: what sites are served with. Never a key.
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
