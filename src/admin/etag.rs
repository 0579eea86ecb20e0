//! ETags and the conditions made of them. An object's ETag is its revision in quotes; there is no other kind. Pure.
use http::{HeaderMap, HeaderName, header};

use crate::admin::error::Failure;

/// A revision that nothing ever has: what is not there is not found at it.
pub(crate) const NEVER: u64 = u64::MAX;

/// `If-Match` or `If-None-Match` as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Matches {
    Any,
    /// Not empty.
    Revisions(Vec<u64>),
}

/// The conditions of a write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    if_match: Option<Matches>,
    /// `If-None-Match: *`.
    only_new: bool,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EtagError {
    #[error("weak ETags cannot guard a change")]
    Weak,
    #[error("`{0}` is no ETag of this API: expected a revision in quotes such as \"7\", several with commas, or *")]
    Unknown(String),
    #[error("on a change `If-None-Match` can only be `*`")]
    OnlyAny,
    #[error("`If-Match` and `If-None-Match` contradict each other")]
    Both,
}

impl From<EtagError> for Failure {
    fn from(error: EtagError) -> Self {
        Self::bad_request("bad-condition", error.to_string(), "Send the ETag of the object as it was read.")
    }
}

pub(crate) fn of(revision: u64) -> String {
    format!("\"{revision}\"")
}

impl Conditions {
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, EtagError> {
        let if_match = joined(headers, header::IF_MATCH).map(|text| parse(&text, false)).transpose()?;
        let only_new = match joined(headers, header::IF_NONE_MATCH).map(|text| parse(&text, true)).transpose()? {
            None => false,
            Some(Matches::Any) => true,
            Some(Matches::Revisions(_)) => return Err(EtagError::OnlyAny),
        };
        if only_new && if_match.is_some() {
            return Err(EtagError::Both);
        }
        Ok(Self { if_match, only_new })
    }

    /// The revision that the change must find, given the one the object has now: None, no condition; 0, it must not be there.
    /// The rules look again when they apply the change, so what is stale here is refused there.
    pub(crate) fn expect(&self, current: Option<u64>) -> Option<u64> {
        match &self.if_match {
            None => self.only_new.then_some(0),
            Some(Matches::Any) => Some(current.unwrap_or(NEVER)),
            Some(Matches::Revisions(list)) => {
                let held = current.filter(|current| list.contains(current));
                held.or_else(|| list.first().copied())
            }
        }
    }

    /// As it goes into the digest of the request.
    pub(crate) fn canonical(&self) -> String {
        format!("{:?}", (&self.if_match, self.only_new))
    }
}

/// Whether a reader holds this revision already (RFC 9110 section 13.1.2: weak comparison, unknown ETags are others').
pub(crate) fn is_held(headers: &HeaderMap, revision: u64) -> bool {
    let Some(text) = joined(headers, header::IF_NONE_MATCH) else { return false };
    let own = of(revision);
    text.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == own)
}

fn parse(text: &str, weak: bool) -> Result<Matches, EtagError> {
    if text.trim() == "*" {
        return Ok(Matches::Any);
    }
    let revisions = text.split(',').map(str::trim).map(|tag| {
        let strong = match tag.strip_prefix("W/") {
            Some(_) if !weak => return Err(EtagError::Weak),
            Some(rest) => rest,
            None => tag,
        };
        let digits = strong.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let unknown = || EtagError::Unknown(tag.chars().take(40).collect());
        digits.and_then(|digits| digits.parse().ok()).ok_or_else(unknown)
    });
    revisions.collect::<Result<_, _>>().map(Matches::Revisions)
}

/// Several lines of one header are one list (RFC 9110 section 5.3).
fn joined(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let lines: Vec<_> = headers.get_all(name).iter().map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(lines: &[(HeaderName, &str)]) -> Result<Conditions, EtagError> {
        Conditions::read(&headers(lines))
    }

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).fold(
            HeaderMap::new(),
            |mut map, line| {
                map.append(line.0, line.1);
                map
            },
        )
    }

    #[test]
    fn what_a_write_expects() {
        use header::{IF_MATCH, IF_NONE_MATCH};
        let expect = |lines: &[_], current| conditions(lines).unwrap().expect(current);
        assert_eq!(expect(&[], Some(7)), None);
        assert_eq!(expect(&[(IF_MATCH, "\"7\"")], Some(9)), Some(7));
        assert_eq!(expect(&[(IF_MATCH, "\"7\" , \"9\"")], Some(9)), Some(9));
        assert_eq!(expect(&[(IF_MATCH, "\"7\""), (IF_MATCH, "\"9\"")], Some(9)), Some(9));
        assert_eq!(expect(&[(IF_MATCH, "\"7\", \"9\"")], Some(8)), Some(7));
        assert_eq!(expect(&[(IF_MATCH, "*")], Some(8)), Some(8));
        assert_eq!(expect(&[(IF_MATCH, "*")], None), Some(NEVER));
        assert_eq!(expect(&[(IF_NONE_MATCH, "*")], Some(8)), Some(0));
    }

    #[test]
    fn what_cannot_guard_a_write() {
        use header::{IF_MATCH, IF_NONE_MATCH};
        assert_eq!(conditions(&[(IF_MATCH, "W/\"7\"")]), Err(EtagError::Weak));
        assert_eq!(conditions(&[(IF_NONE_MATCH, "\"7\"")]), Err(EtagError::OnlyAny));
        assert_eq!(conditions(&[(IF_MATCH, "\"7\""), (IF_NONE_MATCH, "*")]), Err(EtagError::Both));
        for bad in ["7", "", "\"\"", "\"+7\"", "\"7", "\"7\",", "\"a\"", "\"99999999999999999999\"", "\"7\", *"] {
            assert!(matches!(conditions(&[(IF_MATCH, bad)]), Err(EtagError::Unknown(_))), "{bad}");
        }
    }

    #[test]
    fn what_a_reader_holds() {
        let held = |text| is_held(&headers(&[(header::IF_NONE_MATCH, text)]), 7);
        assert!(held("\"7\"") && held("W/\"7\"") && held("\"other\", \"7\"") && held("*"));
        assert!(!held("\"8\"") && !held("7") && !is_held(&HeaderMap::new(), 7));
    }
}
