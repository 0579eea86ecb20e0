//! What tells one state of a file from another: an entity tag and the time of the last change (RFC 9110 section 8.8).
use std::time::{Duration, SystemTime};

use http::header::{ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue};

use crate::base::limits::WEB_FILE_SETTLES;
use crate::files::jail::Opened;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Validators {
    /// A strong tag, with its quotes; none of a file that may change without being seen to.
    pub(crate) tag: Option<String>,
    /// Whole seconds since 1970.
    pub(crate) modified: u64,
    /// Both as headers, where they stay the same and are asked for often.
    pub(crate) said: Option<[HeaderValue; 2]>,
}

impl Validators {
    /// The same file has the same tag on every node that has a copy: its name and number play no part. `coding`: what its
    /// content is coded with.
    pub(crate) fn of(opened: &Opened, coding: Option<&str>, now: SystemTime) -> Self {
        let (seconds, nanos) = opened.modified;
        let dash = if coding.is_some() { "-" } else { "" };
        let tag = || format!("\"{seconds:x}.{nanos:x}-{:x}{dash}{}\"", opened.len, coding.unwrap_or_default());
        let tag = settles(opened, now).is_none().then(tag);
        Self { tag, modified: u64::try_from(seconds).unwrap_or(0), said: None }
    }

    /// The same with its headers made, of a file that has a tag and was not changed in the future.
    pub(crate) fn lasting(mut self, now: SystemTime) -> Self {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(self.modified);
        let date = httpdate::fmt_http_date(modified);
        let values =
            (self.tag.as_deref().and_then(|tag| HeaderValue::from_str(tag).ok()), HeaderValue::from_str(&date));
        if let (Some(tag), Ok(date)) = values
            && modified <= now
        {
            self.said = Some([tag, date]);
        }
        self
    }

    pub(crate) fn is(&self, tag: &str) -> bool {
        self.tag.as_deref() == Some(tag)
    }

    pub(crate) fn put(&self, headers: &mut HeaderMap) {
        if let Some([tag, date]) = &self.said {
            headers.insert(ETAG, tag.clone());
            headers.insert(LAST_MODIFIED, date.clone());
            return;
        }
        let now = SystemTime::now();
        // A time to come is not said: a cache would take it for newer than what follows (section 8.8.2.1).
        let modified = (SystemTime::UNIX_EPOCH + Duration::from_secs(self.modified)).min(now);
        let tag = self.tag.clone().map(|tag| (ETAG, tag));
        for (name, value) in tag.into_iter().chain([(LAST_MODIFIED, httpdate::fmt_http_date(modified))]) {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
    }
}

/// How long to wait until the next change of the file will be seen by its times; none if it will be. One changed in the future
/// was changed before the clock was set back.
pub(crate) fn settles(opened: &Opened, now: SystemTime) -> Option<Duration> {
    let (seconds, nanos) = opened.changed;
    let changed = SystemTime::UNIX_EPOCH + Duration::new(u64::try_from(seconds).unwrap_or(0), nanos);
    match now.duration_since(changed) {
        Ok(age) => WEB_FILE_SETTLES.checked_sub(age).filter(|left| !left.is_zero()),
        Err(ahead) => (ahead.duration() < WEB_FILE_SETTLES).then_some(WEB_FILE_SETTLES + ahead.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(changed: SystemTime) -> Opened {
        let since = changed.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let changed = (i64::try_from(since.as_secs()).unwrap(), since.subsec_nanos());
        Opened { file: tempfile::tempfile().unwrap(), len: 16, modified: (255, 1), changed, dev: 1, ino: 1 }
    }

    #[test]
    fn a_tag_is_given_once_a_change_would_change_it() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let tag = |changed, coding| Validators::of(&opened(changed), coding, now).tag;
        assert_eq!(tag(now - WEB_FILE_SETTLES, None).as_deref(), Some("\"ff.1-10\""));
        assert_eq!(tag(now - WEB_FILE_SETTLES, Some("br")).as_deref(), Some("\"ff.1-10-br\""));
        assert!(tag(now + Duration::from_secs(1000), None).is_some());
        for young in [now, now - WEB_FILE_SETTLES / 2, now + WEB_FILE_SETTLES / 2] {
            assert_eq!(tag(young, None), None);
            let wait = settles(&opened(young), now).unwrap();
            assert!(wait <= 2 * WEB_FILE_SETTLES && settles(&opened(young), now + wait).is_none());
        }
    }
}
