//! Names, parsed once at the edge and trusted afterwards. A host is typed in Unicode and kept as A-labels (RFC 5891);
//! everything else is plain lower-case ASCII.
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::base::limits::{LABEL_MAX, NAME_TEXT_MAX, SLUG_MAX};

/// Why a text is not such a name; completes "failed to …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read `{text}` as {kind}: {reason}")]
pub struct NameError {
    text: String,
    kind: &'static str,
    reason: &'static str,
}

impl NameError {
    fn new(text: &str, kind: &'static str, reason: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), kind, reason }
    }
}

macro_rules! name {
    ($($(#[$doc:meta])* $name:ident = $parse:path),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn parse(text: &str) -> Result<Self, NameError> {
                $parse(text).map(|text| Self(text.into()))
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
                Self::parse(&text).map_err(de::Error::custom)
            }
        }
    )*};
}

name! {
    /// A name of a site, as lower-case A-labels without a final dot.
    Host = host,
    /// The apex of a zone; also `_` and the `/` of RFC 2317. Lower-case A-labels without a final dot.
    ZoneName = zone,
    /// A machine of the cluster: one DNS label.
    NodeName = node,
    AccountName = account,
    PlanName = plan,
    TokenName = token,
    IssuerName = issuer,
    /// What an FTP user types: like an account name, `@` allowed.
    Login = login,
}

impl Host {
    /// The form a person reads, with Unicode labels.
    pub fn to_unicode(&self) -> String {
        idna::domain_to_unicode(&self.0).0
    }

    /// The same host with `www.` before it, where it is not there already and the name stays short enough.
    pub fn www(&self) -> Option<Self> {
        (!self.0.starts_with("www.")).then(|| Self::parse(&format!("www.{}", self.0)).ok()).flatten()
    }
}

impl ZoneName {
    /// Whether `host` is the apex of this zone or lies below it.
    pub fn contains(&self, host: &str) -> bool {
        let rest = host.strip_suffix(self.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

fn host(text: &str) -> Result<String, NameError> {
    const KIND: &str = "a host";
    let name = domain(text, KIND, |b| b == b'-')?;
    if name.parse::<IpAddr>().is_ok()
        || name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err(NameError::new(text, KIND, "an address is not a host"));
    }
    Ok(name)
}

fn zone(text: &str) -> Result<String, NameError> {
    domain(text, "a zone", |b| matches!(b, b'-' | b'_' | b'/'))
}

fn domain(text: &str, kind: &'static str, extra: fn(u8) -> bool) -> Result<String, NameError> {
    let fault = |reason| NameError::new(text, kind, reason);
    let bare = text.strip_suffix('.').unwrap_or(text);
    if bare.is_empty() {
        return Err(fault("it is empty"));
    }
    if bare.len() > 4 * NAME_TEXT_MAX {
        return Err(fault("it is longer than 253 characters"));
    }
    let name = ascii(bare).ok_or_else(|| fault("it is not a valid internationalised name"))?;
    if name.len() > NAME_TEXT_MAX {
        return Err(fault("it is longer than 253 characters"));
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err(fault("it has an empty label"));
        }
        if label.len() > LABEL_MAX {
            return Err(fault("a label is longer than 63 characters"));
        }
        if !label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || extra(b)) {
            return Err(fault("only letters, digits, hyphens and dots can stand in it"));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(fault("a label starts or ends with a hyphen"));
        }
    }
    Ok(name)
}

/// A-labels in lower case. A plain ASCII name without `xn--` needs no table of Unicode.
fn ascii(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    if lower.is_ascii() && !lower.split('.').any(|label| label.starts_with("xn--")) {
        return Some(lower);
    }
    let name = idna::domain_to_ascii(&lower).ok()?;
    let (_, sound) = idna::domain_to_unicode(&name);
    sound.is_ok().then_some(name)
}

fn slug(text: &str, kind: &'static str, extra: &[u8]) -> Result<String, NameError> {
    let fault = |reason| NameError::new(text, kind, reason);
    if text.is_empty() {
        return Err(fault("it is empty"));
    }
    if text.len() > SLUG_MAX {
        return Err(fault("it is longer than 63 characters"));
    }
    if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || extra.contains(&b)) {
        return Err(fault("only lower-case letters, digits and . _ - can stand in it"));
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(fault("it must start with a letter or a digit"));
    }
    Ok(text.to_owned())
}

fn node(text: &str) -> Result<String, NameError> {
    let name = slug(text, "a node name", b"-")?;
    if name.ends_with('-') {
        return Err(NameError::new(text, "a node name", "it ends with a hyphen"));
    }
    Ok(name)
}

fn account(text: &str) -> Result<String, NameError> {
    slug(text, "an account name", b"._-")
}

fn plan(text: &str) -> Result<String, NameError> {
    slug(text, "a plan name", b"._-")
}

fn token(text: &str) -> Result<String, NameError> {
    slug(text, "a token name", b"._-")
}

fn issuer(text: &str) -> Result<String, NameError> {
    slug(text, "an issuer name", b"._-")
}

fn login(text: &str) -> Result<String, NameError> {
    slug(text, "an FTP login", b"._-@")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (typed, kept) in [
            ("Example.ORG.", "example.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("localhost", "localhost"),
            ("a-b.c", "a-b.c"),
        ] {
            assert_eq!(Host::parse(typed).unwrap().as_str(), kept, "{typed}");
        }
        assert_eq!(Host::parse("xn--bcher-kva.example").unwrap().to_unicode(), "bücher.example");
        let long = format!("{}.example", "a".repeat(64));
        for bad in [
            "",
            ".",
            "a..b",
            "-a.b",
            "a-.b",
            "a b.c",
            "a_b.c",
            "192.0.2.1",
            "1.2.3.4.5",
            "::1",
            "[::1]",
            "a/b",
            "a\0b",
            "*.a.b",
            "xn--a.b",
            "..",
            "a.b..",
            &long,
            &"a.".repeat(200),
            &"é".repeat(3000),
        ] {
            assert!(Host::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn zones_hold_what_delegation_needs() {
        for good in ["0/25.2.0.192.in-addr.arpa", "_tcp.example.org", "org"] {
            assert_eq!(ZoneName::parse(good).unwrap().as_str(), good);
        }
        let zone = ZoneName::parse("example.org").unwrap();
        assert!(zone.contains("example.org") && zone.contains("a.example.org"));
        assert!(!zone.contains("badexample.org") && !zone.contains("org"));
    }

    #[test]
    fn slugs() {
        for good in ["a", "asso-1", "a.b_c"] {
            assert!(AccountName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "-a", ".a", "a b", "a/b", "é", &"a".repeat(64)] {
            assert!(AccountName::parse(bad).is_err(), "{bad}");
        }
        assert!(NodeName::parse("pi-1").is_ok() && NodeName::parse("pi.1").is_err() && NodeName::parse("pi-").is_err());
        assert!(Login::parse("web@example.org").is_ok());
    }

    #[test]
    fn stored_form_is_parsed_too() {
        assert!(serde_json::from_str::<Host>("\"a b\"").is_err());
        assert_eq!(serde_json::from_str::<Host>("\"A.b\"").unwrap().as_str(), "a.b");
    }
}
