//! `/v1/issuers`: the authorities certificates are asked of. Never a key.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::present;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Issuer {
    pub name: String,
    /// URL of its ACME directory.
    pub directory: String,
    /// Whether its server is certified by an authority of its own.
    pub own_ca: bool,
    /// Mail addresses it may write to.
    pub contacts: Vec<String>,
    /// The key id of its external account binding.
    pub eab_kid: Option<String>,
    /// Its place among those that are asked where none is named, from 1; null: only where it is named.
    pub place: Option<usize>,
    /// URL of our account there, once there is one.
    pub account: Option<String>,
    /// SHA-256 of the account's public key, base64url (RFC 7638).
    pub thumbprint: Option<String>,
    /// What is to be done to the account next: `rollover`, `deactivate`, or `contacts`, which the issuer is to hear of.
    pub task: Option<String>,
    /// Every cluster knows it.
    pub built_in: bool,
    pub revision: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerCreate {
    pub name: String,
    pub directory: String,
    /// Who certifies its server, PEM; absent: whom this machine trusts.
    #[serde(default)]
    pub ca_cert: Option<String>,
    #[serde(default)]
    pub contacts: Vec<String>,
    #[serde(default)]
    pub eab: Option<Eab>,
    #[serde(default)]
    pub standing: Standing,
}

/// External account binding (RFC 8555 section 7.3.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Eab {
    pub kid: String,
    /// The MAC key, base64url.
    pub key: String,
}

/// Where an issuer stands among those that are asked where none is named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    First,
    #[default]
    Last,
    /// It is asked only where it is named.
    ByName,
}

/// Absent fields stay as they are, `null` clears.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerPatch {
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ca_cert: Option<Option<String>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub contacts: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Eab>)]
    pub eab: Option<Option<Eab>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
    /// What is done to the account: it gets another key, or ends.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// An account that another client made there, where there is none here. Its key is changed to one of ours at once: that client
    /// cannot use it any more.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Account {
    pub url: String,
    /// Its private key, a JWK (RFC 7517) as text.
    pub key: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    Rollover,
    Deactivate,
}
