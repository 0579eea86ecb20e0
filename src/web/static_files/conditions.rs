//! Conditional requests (RFC 9110 section 13): whether what the client has is what we have. Pure.
use std::time::SystemTime;

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::web::static_files::validators::Validators;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// 200, or 206 where ranges are asked for and still mean this file.
    Send { ranges: bool },
    /// 304
    Unchanged,
    /// 412
    Failed,
}

/// In the order of section 13.2.2, for GET and HEAD.
pub(crate) fn verdict(headers: &HeaderMap, now: &Validators) -> Verdict {
    if headers.contains_key(IF_MATCH) {
        if !listed(headers, &IF_MATCH, |tag| now.is(tag)) {
            return Verdict::Failed;
        }
    } else if seconds(headers, &IF_UNMODIFIED_SINCE).is_some_and(|since| now.modified > since) {
        return Verdict::Failed;
    }
    if headers.contains_key(IF_NONE_MATCH) {
        // The weak comparison: a cache may have made the tag weak on its way.
        if listed(headers, &IF_NONE_MATCH, |tag| now.is(tag.trim_start_matches("W/"))) {
            return Verdict::Unchanged;
        }
    } else if seconds(headers, &IF_MODIFIED_SINCE).is_some_and(|since| now.modified <= since) {
        return Verdict::Unchanged;
    }
    Verdict::Send { ranges: still_meant(headers, now) }
}

/// If-Range: a part of the file the client has a part of, or all of another one.
fn still_meant(headers: &HeaderMap, now: &Validators) -> bool {
    let Some(condition) = headers.get(IF_RANGE) else { return true };
    match condition.to_str() {
        Ok(text) if text.starts_with('"') => now.is(text),
        // A date is strong enough here only if it is the very one.
        Ok(text) => parse_date(text) == Some(now.modified),
        Err(_) => false,
    }
}

/// Whether `*` or a tag of the list is the one.
fn listed(headers: &HeaderMap, name: &HeaderName, is: impl Fn(&str) -> bool) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    // A tag of ours has no comma in it; one that has is not ours, in however many pieces it is looked at.
    lines.flat_map(|line| line.split(',')).map(str::trim).any(|tag| tag == "*" || is(tag))
}

/// A date that cannot be read, or of which there are two, is no condition.
fn seconds(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let mut lines = headers.get_all(name).iter();
    let (line, None): (&HeaderValue, _) = (lines.next()?, lines.next()) else { return None };
    parse_date(line.to_str().ok()?)
}

fn parse_date(text: &str) -> Option<u64> {
    let time = httpdate::parse_http_date(text).ok()?;
    time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn ask(lines: &[(HeaderName, &str)]) -> Verdict {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        verdict(&headers, &Validators { tag: Some("\"abc\"".into()), modified: parse_date(AT).unwrap(), said: None })
    }

    #[test]
    fn without_a_tag_nothing_is_the_same() {
        let now = Validators { tag: None, modified: parse_date(AT).unwrap(), said: None };
        for (name, verdict_of) in [
            (IF_NONE_MATCH, Verdict::Send { ranges: true }),
            (IF_MATCH, Verdict::Failed),
            (IF_RANGE, Verdict::Send { ranges: false }),
        ] {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static("\"abc\""))]);
            assert_eq!(verdict(&headers, &now), verdict_of);
        }
    }

    #[test]
    fn as_rfc_9110_decides() {
        const SEND: Verdict = Verdict::Send { ranges: true };
        const WHOLE: Verdict = Verdict::Send { ranges: false };
        let cases: &[(&[(HeaderName, &str)], Verdict)] = &[
            (&[], SEND),
            (&[(IF_NONE_MATCH, "\"abc\"")], Verdict::Unchanged),
            (&[(IF_NONE_MATCH, "W/\"abc\"")], Verdict::Unchanged),
            (&[(IF_NONE_MATCH, "\"x\", W/\"y\" , \"abc\"")], Verdict::Unchanged),
            (&[(IF_NONE_MATCH, "\"x\""), (IF_NONE_MATCH, "\"abc\"")], Verdict::Unchanged),
            (&[(IF_NONE_MATCH, "*")], Verdict::Unchanged),
            (&[(IF_NONE_MATCH, "\"x\"")], SEND),
            (&[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, AFTER)], SEND),
            (&[(IF_NONE_MATCH, "abc")], SEND),
            (&[(IF_MODIFIED_SINCE, AT)], Verdict::Unchanged),
            (&[(IF_MODIFIED_SINCE, AFTER)], Verdict::Unchanged),
            (&[(IF_MODIFIED_SINCE, BEFORE)], SEND),
            (&[(IF_MODIFIED_SINCE, "Sunday, 06-Nov-94 08:49:37 GMT")], Verdict::Unchanged),
            (&[(IF_MODIFIED_SINCE, "yesterday")], SEND),
            (&[(IF_MODIFIED_SINCE, AT), (IF_MODIFIED_SINCE, AT)], SEND),
            (&[(IF_MATCH, "\"abc\"")], SEND),
            (&[(IF_MATCH, "*")], SEND),
            (&[(IF_MATCH, "W/\"abc\"")], Verdict::Failed),
            (&[(IF_MATCH, "\"x\"")], Verdict::Failed),
            (&[(IF_MATCH, "\"x\""), (IF_NONE_MATCH, "\"abc\"")], Verdict::Failed),
            (&[(IF_UNMODIFIED_SINCE, BEFORE)], Verdict::Failed),
            (&[(IF_UNMODIFIED_SINCE, AT)], SEND),
            (&[(IF_MATCH, "\"abc\""), (IF_UNMODIFIED_SINCE, BEFORE)], SEND),
            (&[(IF_RANGE, "\"abc\"")], SEND),
            (&[(IF_RANGE, "W/\"abc\"")], WHOLE),
            (&[(IF_RANGE, "\"x\"")], WHOLE),
            (&[(IF_RANGE, AT)], SEND),
            (&[(IF_RANGE, AFTER)], WHOLE),
        ];
        for (lines, expected) in cases {
            assert_eq!(ask(lines), *expected, "{lines:?}");
        }
    }
}
