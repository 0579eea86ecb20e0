//! Whether an issuer may issue: CAA records (RFC 8659, RFC 8657) read and decided, without asking anybody.
use std::fmt;

use crate::base::limits::{RESOLVE_SHOWN_OCTETS, RESOLVE_SHOWN_RECORDS};

/// The records that count for a name, and the name they stand at. No records: everybody may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaaSet {
    at: String,
    properties: Vec<Property>,
}

/// One CAA record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    pub flags: u8,
    pub tag: String,
    pub value: Vec<u8>,
}

/// What is to be issued, and how.
#[derive(Debug, Clone, Copy)]
pub struct Issuance<'a> {
    /// The domains by which the issuer knows itself in CAA records (`caaIdentities` of its directory). None: it looks at none.
    pub issuers: &'a [&'a str],
    pub wildcard: bool,
    /// The URL of the account there, once there is one.
    pub account: Option<&'a str>,
    /// `http-01`, `dns-01`, `tls-alpn-01`.
    pub method: &'a str,
}

/// Tags that are understood, or say nothing about certificates of servers (RFC 8659, RFC 9495, the CA/Browser Forum's contacts).
const KNOWN: &[&str] = &["issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"];
const CRITICAL: u8 = 128;

impl CaaSet {
    pub fn new(at: &str, properties: Vec<Property>) -> Self {
        Self { at: at.to_owned(), properties }
    }

    /// Whether the issuer may; else why not, and what would help.
    pub fn allows(&self, wish: &Issuance<'_>) -> Result<(), String> {
        let Some(issuer) = wish.issuers.first() else { return Ok(()) };
        let at = &self.at;
        let unknown = |property: &&Property| property.flags & CRITICAL != 0 && !property.is_any(KNOWN);
        if let Some(property) = self.properties.iter().find(unknown) {
            return Err(format!(
                "the CAA record `{property}` of {at} forbids who does not understand it to issue: remove it, or set its flags to 0"
            ));
        }
        let mut tag = if wish.wildcard { "issuewild" } else { "issue" };
        if !self.properties.iter().any(|property| property.is_any(&[tag])) {
            tag = "issue";
        }
        let relevant: Vec<_> = self.properties.iter().filter(|property| property.is_any(&[tag])).collect();
        let mut nearly = None;
        for property in &relevant {
            match property.judge(wish) {
                Verdict::Allowed => return Ok(()),
                Verdict::Bound(reason) => nearly = Some(format!("the CAA record `{property}` of {at} {reason}")),
                Verdict::Others => {}
            }
        }
        if relevant.is_empty() {
            return Ok(());
        }
        Err(nearly.unwrap_or_else(|| {
            let mut shown: Vec<_> =
                relevant.iter().take(RESOLVE_SHOWN_RECORDS).map(|property| format!("`{property}`")).collect();
            if relevant.len() > shown.len() {
                shown.push("…".into());
            }
            format!(
                "CAA of {at} ({}) does not let {issuer} issue: add the record `0 {tag} \"{issuer}\"`",
                shown.join(", ")
            )
        }))
    }
}

/// What one `issue` or `issuewild` record says to an issuer.
enum Verdict {
    Allowed,
    /// It means this issuer, in other circumstances.
    Bound(String),
    Others,
}

impl Property {
    /// RFC 8659 section 4.1: case does not matter.
    fn is_any(&self, tags: &[&str]) -> bool {
        tags.iter().any(|tag| self.tag.eq_ignore_ascii_case(tag))
    }

    fn judge(&self, wish: &Issuance<'_>) -> Verdict {
        // What does not follow the grammar names nobody (RFC 8659 section 4.2).
        let Some((issuer, parameters)) = read(&self.value) else { return Verdict::Others };
        if !wish.issuers.iter().any(|ours| ours.eq_ignore_ascii_case(issuer)) {
            return Verdict::Others;
        }
        let values = |tag: &str| {
            let named = parameters.iter().filter(|(name, _)| name.eq_ignore_ascii_case(tag));
            named.map(|(_, value)| *value).collect::<Vec<_>>()
        };
        // RFC 8657 sections 3 and 4: what stands twice is fulfilled by nothing.
        match (values("accounturi").as_slice(), wish.account) {
            ([], _) => {}
            ([bound], Some(account)) if *bound == account => {}
            ([_], Some(account)) => {
                return Verdict::Bound(format!(
                    "is bound to another account of {issuer}: add one with `accounturi={account}`"
                ));
            }
            ([_], None) => {
                return Verdict::Bound(format!("is bound to an account of {issuer}, and there is none here yet"));
            }
            _ => return Verdict::Bound("names `accounturi` twice: leave one of them".into()),
        }
        let method = wish.method;
        match values("validationmethods").as_slice() {
            [] => Verdict::Allowed,
            [methods] if methods.split(',').any(|bound| bound == method) => Verdict::Allowed,
            [_] => Verdict::Bound(format!("does not allow validation by {method}: add it to its `validationmethods`")),
            _ => Verdict::Bound("names `validationmethods` twice: leave one of them".into()),
        }
    }
}

/// As zone files write it, shortened.
impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.value[..self.value.len().min(RESOLVE_SHOWN_OCTETS)];
        let more = if shown.len() < self.value.len() { "…" } else { "" };
        write!(f, "{} {} \"{}{more}\"", self.flags, self.tag.escape_default(), shown.escape_ascii())
    }
}

type Parameters<'a> = Vec<(&'a str, &'a str)>;

/// The issuer's domain, empty if none is named, and its parameters (the grammar of RFC 8659 section 4.2).
fn read(value: &[u8]) -> Option<(&str, Parameters<'_>)> {
    let text = std::str::from_utf8(value).ok()?;
    let (issuer, rest) = text.split_once(';').unwrap_or((text, ""));
    let issuer = trim(issuer);
    if !issuer.is_empty() && !issuer.split('.').all(is_label) {
        return None;
    }
    if trim(rest).is_empty() {
        return Some((issuer, Vec::new()));
    }
    let parameters = rest.split(';').map(|parameter| {
        let (tag, value) = parameter.split_once('=')?;
        let (tag, value) = (trim(tag), trim(value));
        (is_label(tag) && value.bytes().all(|octet| octet.is_ascii_graphic())).then_some((tag, value))
    });
    Some((issuer, parameters.collect::<Option<_>>()?))
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn is_label(text: &str) -> bool {
    let inner = text.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
    inner && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-')
}
