//! `/v1/sites`: hosts, and what answers for them.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::moves::Moving;
use crate::api::options::{Options, OptionsPatch};
use crate::api::present;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Site {
    pub id: String,
    /// The main name, as A-labels.
    pub host: String,
    /// The main name as a person reads it.
    pub host_unicode: String,
    pub aliases: Vec<String>,
    pub www: Www,
    pub handler: Handler,
    pub account: Option<String>,
    /// The name of the site's home: the node that holds its live files.
    pub node: String,
    /// Why that one was chosen; null: somebody named it.
    #[serde(default)]
    pub chosen: Option<String>,
    /// Counts changes of home.
    pub epoch: u64,
    /// Names of the nodes that keep a copy of its files, the first to take over first; see `/v1/sites/{host}/standbys`.
    pub standbys: Vec<String>,
    #[serde(default)]
    pub failover: Failover,
    /// So many standbys the cluster chooses; 0: they are named.
    #[serde(default)]
    pub standbys_wanted: u8,
    pub issuer: Option<String>,
    /// The id of what it is served with, see `/v1/certificates`.
    #[serde(default)]
    pub certificate: Option<String>,
    /// Bytes the site may use; null: as much as its account.
    pub quota: Option<u64>,
    pub suspended: bool,
    pub maintenance: bool,
    #[serde(default)]
    pub options: Options,
    pub status: SiteStatus,
    /// Where it is going; null: it stays.
    #[serde(default)]
    pub moving: Option<Moving>,
    /// The directory of the site's files on its home; null for a proxy or a redirect.
    pub root: Option<String>,
    /// RFC 3339.
    pub created: String,
    pub revision: u64,
}

/// Who decides that a standby takes the place of a home that is down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Failover {
    /// The cluster, within seconds. Without it the home takes no uploads: its standby may be the home already.
    #[default]
    Automatic,
    /// An administrator.
    Manual,
}

/// How a site answers, with everything taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SiteStatus {
    Active,
    Maintenance,
    Suspended,
    AccountSuspended,
}

impl Failover {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl SiteStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Maintenance => "maintenance",
            Self::Suspended => "suspended",
            Self::AccountSuspended => "account-suspended",
        }
    }
}

/// What happens to `www.` before the main host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Www {
    /// It is no name of this site.
    #[default]
    Off,
    /// It is answered like the main host.
    Serve,
    /// It redirects to the main host.
    Redirect,
}

/// What answers a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Handler {
    /// The site's files.
    Static {},
    /// The site's files, `.php` run by PHP.
    Php {
        /// Such as `8.2`.
        version: String,
    },
    /// Other servers.
    Proxy {
        /// Each `http://host:port`, `https://host:port` or `unix:/path`.
        upstreams: Vec<String>,
    },
    /// Another address.
    Redirect {
        /// Without a path (`https://example.org`) it keeps the path and query that were asked for; with one, if only `/`, it
        /// is where everybody lands.
        to: String,
        /// 301, 302, 307 or 308.
        #[serde(default = "permanent")]
        status: u16,
    },
}

fn permanent() -> u16 {
    308
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SiteCreate {
    /// In Unicode or as A-labels.
    pub host: String,
    #[serde(default)]
    pub aliases: Vec<String>,
    #[serde(default)]
    pub www: Www,
    pub handler: Handler,
    #[serde(default)]
    pub account: Option<String>,
    /// The name of the home; absent: the node with the fewest sites among those that take new ones.
    #[serde(default)]
    pub node: Option<String>,
    /// Names of nodes that keep a copy of its files.
    #[serde(default)]
    pub standbys: Vec<String>,
    #[serde(default, skip_serializing_if = "Failover::is_default")]
    pub failover: Failover,
    /// So many standbys the cluster is to choose, where they fit best, and to replace when their nodes are drained or removed.
    #[serde(default, skip_serializing_if = "none")]
    pub standbys_wanted: u8,
    #[serde(default)]
    pub issuer: Option<String>,
    #[serde(default)]
    pub quota: Option<u64>,
    #[serde(default, skip_serializing_if = "OptionsPatch::is_empty")]
    pub options: OptionsPatch,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn none(number: &u8) -> bool {
    *number == 0
}

/// Absent fields stay as they are, `null` clears.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SitePatch {
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub aliases: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub www: Option<Www>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub handler: Option<Handler>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub account: Option<Option<String>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub issuer: Option<Option<String>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub quota: Option<Option<u64>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub suspended: Option<bool>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<bool>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub standbys: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub failover: Option<Failover>,
    /// So many the cluster chooses; of those there are the first ones stay.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub standbys_wanted: Option<u8>,
    #[serde(default, skip_serializing_if = "OptionsPatch::is_empty")]
    pub options: OptionsPatch,
}
