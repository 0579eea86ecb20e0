//! `/v1/ftp-users`: logins of the FTP server. A password goes in and never comes out.
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::present;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FtpUser {
    pub login: String,
    /// The main host of the site whose files it sees.
    pub site: String,
    /// Relative to the site's root; empty: the root itself.
    pub dir: String,
    /// Bytes.
    pub quota: Option<u64>,
    pub disabled: bool,
    /// It may log in without TLS.
    #[serde(default)]
    pub allow_plain: bool,
    /// RFC 3339.
    pub created: String,
    pub revision: u64,
}

/// A password in the clear, which no `Debug` shows.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FtpUserCreate {
    pub login: String,
    /// A host of the site.
    pub site: String,
    #[serde(default)]
    pub dir: String,
    #[serde(default)]
    pub quota: Option<u64>,
    /// 8 to 1024 bytes.
    #[schema(value_type = String)]
    pub password: Password,
    /// Let it log in without TLS, for old devices: everybody on the way can read its password and files.
    #[serde(default)]
    pub allow_plain: bool,
}

/// Absent fields stay as they are, `null` clears.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FtpUserPatch {
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub quota: Option<Option<u64>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub password: Option<Password>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub allow_plain: Option<bool>,
}
