//! What tells one state of a file from another: an entity tag and the time of the last change (RFC 9110 section 8.8).
use std::time::{Duration, SystemTime};

use http::header::{ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue};

use crate::files::jail::Opened;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Validators {
    /// A strong tag, with its quotes.
    pub(crate) tag: String,
    /// Whole seconds since 1970.
    pub(crate) modified: u64,
}

impl Validators {
    /// The same file has the same tag on every node that has a copy: its name and number play no part.
    pub(crate) fn of(opened: &Opened) -> Self {
        let (seconds, nanos) = opened.modified;
        let tag = format!("\"{seconds:x}.{nanos:x}-{:x}\"", opened.len);
        Self { tag, modified: u64::try_from(seconds).unwrap_or(0) }
    }

    pub(crate) fn put(&self, headers: &mut HeaderMap) {
        let now = SystemTime::now();
        // A time to come is not said: a cache would take it for newer than what follows (section 8.8.2.1).
        let modified = (SystemTime::UNIX_EPOCH + Duration::from_secs(self.modified)).min(now);
        for (name, value) in [(ETAG, self.tag.clone()), (LAST_MODIFIED, httpdate::fmt_http_date(modified))] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
    }
}
