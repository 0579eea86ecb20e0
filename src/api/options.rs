//! The options of a site, in `/v1/sites`: HSTS, headers of responses, who may enter, how large a request may be, pages for errors.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::ftp_users::Password;
use crate::api::present;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Options {
    /// Null: no header `Strict-Transport-Security`.
    pub hsts: Option<Hsts>,
    /// Headers that each response has, whatever its handler said.
    pub headers: BTreeMap<String, String>,
    /// Names of headers that no response has.
    pub strip_headers: Vec<String>,
    /// Who may enter which part of the site, by path.
    pub auth: BTreeMap<String, Auth>,
    /// Bytes of a request's body; null: the server's own limit.
    pub max_body: Option<u64>,
    /// Files of a static site that stand for the server's own pages, by status.
    pub error_pages: BTreeMap<String, String>,
    /// The file of a static site that is served for pages that are not there.
    pub fallback: Option<String>,
}

/// RFC 6797.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Hsts {
    /// Seconds.
    pub max_age: u64,
    #[serde(default)]
    pub include_subdomains: bool,
    /// Whether browsers may have the host in the list they ship.
    #[serde(default)]
    pub preload: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Auth {
    /// What the browser shows; null: the host.
    pub realm: Option<String>,
    /// Without any, nobody enters.
    pub users: Vec<String>,
}

/// Absent fields stay as they are, `null` clears; in the maps, so do absent keys and a key with `null`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OptionsPatch {
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Hsts>)]
    pub hsts: Option<Option<Hsts>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Option<String>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub strip_headers: Option<Vec<String>>,
    /// Null: everybody enters that part again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, AuthPatch>)]
    pub auth: BTreeMap<String, Option<AuthPatch>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub max_body: Option<Option<u64>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub error_pages: BTreeMap<String, Option<String>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub fallback: Option<Option<String>>,
}

impl OptionsPatch {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthPatch {
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub realm: Option<Option<String>>,
    /// Null: that user enters no more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, UserPatch>)]
    pub users: BTreeMap<String, Option<UserPatch>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    /// 8 to 1024 bytes; it goes in and never comes out.
    #[schema(value_type = String)]
    pub password: Password,
}
