//! What a site can be told beside its handler: HSTS, headers of responses, who may enter, how large a request may be, pages for
//! errors. Changed piece by piece: what a change does not name stays.
use std::fmt;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::base::limits::{
    HSTS_PRELOAD_AGE_MIN, SITE_AREA_USERS_MAX, SITE_AREAS_MAX, SITE_HEADER_BYTES_MAX, SITE_HEADERS_MAX, SITE_PATH_MAX,
};
use crate::model::change::Set;
use crate::model::refusal::Refusal;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hsts: Option<Hsts>,
    /// Set in each response, whatever the handler said; sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Header>,
    /// Names of headers that no response has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strip_headers: Vec<String>,
    /// Parts of the site that ask for a password; sorted by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub areas: Vec<Area>,
    /// Bytes of a request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body: Option<u64>,
    /// Files that stand for the node's own pages; sorted by status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub error_pages: Vec<ErrorPage>,
    /// The file of a single-page application, for what is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
}

/// RFC 6797.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hsts {
    /// Seconds.
    pub max_age: u64,
    pub subdomains: bool,
    pub preload: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// In lower case.
    pub name: String,
    pub value: String,
}

/// A path and all beneath it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Area {
    /// Decoded, from the root of the site: `/` or `/members/minutes`.
    pub path: String,
    /// What the browser shows; absent: the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
    /// Without any, nobody enters. Sorted by name.
    pub users: Vec<AreaUser>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AreaUser {
    pub name: String,
    /// A PHC string.
    pub password: String,
}

impl fmt::Debug for AreaUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AreaUser({})", self.name)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorPage {
    pub status: u16,
    /// Decoded, from the root of the site.
    pub path: String,
}

/// The statuses a static site can answer with on its own.
pub const ERROR_PAGES: [u16; 6] = [401, 404, 405, 413, 500, 503];

/// A change of options: lists of pieces name each piece once, absent pieces stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionsSet {
    pub hsts: Set<Option<Hsts>>,
    /// None: nothing is said of that header any more.
    pub headers: Vec<(String, Option<String>)>,
    pub strip_headers: Set<Vec<String>>,
    pub areas: Vec<AreaSet>,
    pub max_body: Set<Option<u64>>,
    pub error_pages: Vec<(u16, Option<String>)>,
    pub fallback: Set<Option<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AreaSet {
    pub path: String,
    /// None: everybody enters again.
    pub to: Option<AreaChange>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AreaChange {
    pub realm: Set<Option<String>>,
    /// Names, and hashes of passwords; None: that user is gone.
    pub users: Vec<(String, Option<String>)>,
}

impl fmt::Debug for AreaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.users.iter().map(|(name, hash)| (name, hash.is_some())).collect();
        f.debug_struct("AreaChange").field("realm", &self.realm).field("users", &names).finish()
    }
}

impl Options {
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Without what nobody is to read.
    pub(crate) fn shown(&self) -> Self {
        let mut shown = self.clone();
        let users = shown.areas.iter_mut().flat_map(|area| &mut area.users);
        users.for_each(|user| user.password.clear());
        shown
    }

    pub(crate) fn has_secrets(&self) -> bool {
        self.areas.iter().any(|area| !area.users.is_empty())
    }
}

impl OptionsSet {
    pub fn is_keep(&self) -> bool {
        *self == Self::default()
    }

    /// The options after the change, if they may be so.
    pub(crate) fn apply_to(&self, options: &mut Options) -> Result<(), Refusal> {
        self.hsts.apply_to(&mut options.hsts);
        self.strip_headers.apply_to(&mut options.strip_headers);
        self.max_body.apply_to(&mut options.max_body);
        self.fallback.apply_to(&mut options.fallback);
        for (name, value) in &self.headers {
            let name = name.to_ascii_lowercase();
            let header = value.clone().map(|value| Header { name: name.clone(), value });
            put(&mut options.headers, header, |header| header.name.cmp(&name));
        }
        for (status, path) in &self.error_pages {
            let page = path.clone().map(|path| ErrorPage { status: *status, path });
            put(&mut options.error_pages, page, |page| page.status.cmp(status));
        }
        for change in &self.areas {
            let at = options.areas.binary_search_by(|area| area.path.cmp(&change.path)).ok();
            let old = at.map(|at| options.areas[at].clone());
            let new = change.to.as_ref().map(|to| to.applied(&change.path, old));
            put(&mut options.areas, new, |area| area.path.cmp(&change.path));
        }
        options.strip_headers.iter_mut().for_each(|name| name.make_ascii_lowercase());
        check(options)
    }
}

impl AreaChange {
    fn applied(&self, path: &str, old: Option<Area>) -> Area {
        let mut area = old.unwrap_or_else(|| Area { path: path.to_owned(), realm: None, users: Vec::new() });
        self.realm.apply_to(&mut area.realm);
        for (name, hash) in &self.users {
            let user = hash.clone().map(|password| AreaUser { name: name.clone(), password });
            put(&mut area.users, user, |user| user.name.cmp(name));
        }
        area
    }
}

/// Puts a piece in its place in a sorted list, or takes the one that is there away.
fn put<T>(list: &mut Vec<T>, new: Option<T>, place: impl Fn(&T) -> std::cmp::Ordering) {
    match (list.binary_search_by(place), new) {
        (Ok(at), Some(new)) => list[at] = new,
        (Ok(at), None) => drop(list.remove(at)),
        (Err(at), Some(new)) => list.insert(at, new),
        (Err(_), None) => {}
    }
}

/// Headers that say how a message is framed, what its bytes are, or who may see it: the node's own affair.
const OURS: [&str; 19] = [
    "accept-ranges",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "date",
    "etag",
    "keep-alive",
    "last-modified",
    "location",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "www-authenticate",
    "proxy-authorization",
];

fn check(options: &Options) -> Result<(), Refusal> {
    if let Some(hsts) = options.hsts
        && hsts.preload
        && !(hsts.subdomains && hsts.max_age >= HSTS_PRELOAD_AGE_MIN)
    {
        let reason =
            format!("browsers preload a host with its subdomains and for {HSTS_PRELOAD_AGE_MIN} seconds at least");
        return Err(Refusal::invalid("options.hsts", reason));
    }
    check_headers(options)?;
    for page in &options.error_pages {
        if !ERROR_PAGES.contains(&page.status) {
            return Err(Refusal::invalid("options.error_pages", format!("expected one of {ERROR_PAGES:?}")));
        }
        check_path("options.error_pages", &page.path)?;
    }
    if let Some(path) = &options.fallback {
        check_path("options.fallback", path)?;
    }
    if options.areas.len() > SITE_AREAS_MAX {
        return Err(Refusal::invalid("options.auth", format!("a site has {SITE_AREAS_MAX} of them at most")));
    }
    options.areas.iter().try_for_each(check_area)
}

fn check_headers(options: &Options) -> Result<(), Refusal> {
    let invalid = |reason: String| Err(Refusal::invalid("options.headers", reason));
    let names = options.headers.iter().map(|header| &header.name).chain(&options.strip_headers);
    if names.clone().count() > SITE_HEADERS_MAX {
        return invalid(format!("a site says something of {SITE_HEADERS_MAX} headers at most"));
    }
    for name in names {
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return invalid(format!("`{}` is no name of a header", name.escape_debug()));
        }
        if name == "strict-transport-security" {
            return invalid(format!("`{name}` is what the option `hsts` is for"));
        }
        if OURS.contains(&name.as_str()) {
            return invalid(format!("`{name}` is how the server says what it sends: it cannot be set or stripped"));
        }
    }
    let mut bytes = 0;
    for Header { name, value } in &options.headers {
        let printable = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !printable || value.trim() != value || HeaderValue::from_str(value).is_err() {
            return invalid(format!("the value of `{name}` is not printable ASCII"));
        }
        bytes += name.len() + value.len();
    }
    if bytes > SITE_HEADER_BYTES_MAX {
        return invalid(format!("all together they have {SITE_HEADER_BYTES_MAX} bytes at most"));
    }
    Ok(())
}

fn check_area(area: &Area) -> Result<(), Refusal> {
    let invalid = |reason: String| Err(Refusal::invalid("options.auth", reason));
    if area.path != "/" {
        check_path("options.auth", &area.path)?;
    }
    let plain = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
    if area.realm.as_ref().is_some_and(|realm| realm.is_empty() || realm.len() > 100 || !plain(realm)) {
        return invalid("a realm is 1 to 100 characters of ASCII without quotes and backslashes".to_owned());
    }
    if area.users.len() > SITE_AREA_USERS_MAX {
        return invalid(format!("a path has {SITE_AREA_USERS_MAX} users at most"));
    }
    for AreaUser { name, password } in &area.users {
        if name.is_empty() || name.len() > 64 || name.contains(|c: char| c == ':' || c.is_control()) {
            return invalid("a user name is 1 to 64 bytes without a colon".to_owned());
        }
        let known =
            password.starts_with('$') && password.len() <= 512 && password.bytes().all(|b| b.is_ascii_graphic());
        if !known {
            return invalid("expected a password hash".to_owned());
        }
    }
    Ok(())
}

/// A path as it is typed by people: decoded, absolute, with one reading.
fn check_path(field: &str, path: &str) -> Result<(), Refusal> {
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    let parts = path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain));
    let sound = path.len() <= SITE_PATH_MAX
        && !path.contains(|c: char| c.is_control() || matches!(c, '\\' | '%' | '?' | '#' | ';'));
    match parts && sound {
        true => Ok(()),
        false => Err(Refusal::invalid(field, "expected a path such as /members, decoded, without a slash at its end")),
    }
}
