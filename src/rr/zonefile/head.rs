//! What stands before the data of a record: owner, TTL, class, type; and the zone a file says it is of. Never reads the data.
use crate::rr::field;
use crate::rr::zonefile::entries::entries;
use crate::rr::{Name, NameError, RecordType};

/// What an entry says before its data.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) ttl: Option<u32>,
    pub(super) rtype: RecordType,
    /// The text of the data.
    pub(super) data: &'a str,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeadError {
    #[error("the name `{0}` cannot be read: {1}")]
    Owner(String, NameError),
    #[error("it begins with a space, so it has the name of the record before, and there is none that could be read")]
    NoOwner,
    #[error("the class is {0}, and only IN is served")]
    Class(String),
    #[error("a record needs a type and data after its name, as in `www 300 IN A 192.0.2.1`")]
    NoType,
    #[error("`{0}` is no record type: expected one like MX, or a number like TYPE65280")]
    Type(String),
    #[error("a TTL is at most 2147483647 seconds")]
    Ttl,
}

/// The first word of a text and what comes after it; both are empty where there is none.
pub(super) fn word(text: &str) -> (&str, &str) {
    let text = text.trim_ascii_start();
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            byte if byte.is_ascii_whitespace() => break,
            _ => at += 1,
        }
    }
    // After a backslash the next character may be more than one byte long, or missing.
    while !text.is_char_boundary(at.min(text.len())) {
        at += 1;
    }
    text.split_at(at.min(text.len()))
}

/// What a text repeats of a word in an error.
pub(super) fn brief(word: &str) -> String {
    word.chars().take(crate::base::limits::FOUND_TEXT_MAX).flat_map(char::escape_debug).collect()
}

/// Reads a TTL, class and type: TTL and class may be missing and stand in either order.
pub(super) fn head(mut text: &str) -> Result<Head<'_>, HeadError> {
    let (mut ttl, mut class) = (None, false);
    loop {
        let (first, rest) = word(text);
        if first.is_empty() {
            return Err(HeadError::NoType);
        }
        if let Some(found) = class_of(first).filter(|_| !class) {
            if !found {
                return Err(HeadError::Class(first.to_ascii_uppercase()));
            }
            class = true;
        } else if ttl.is_none() && first.as_bytes()[0].is_ascii_digit() {
            ttl = Some(seconds(first)?);
        } else {
            let rtype = first.parse().map_err(|_| HeadError::Type(brief(first)))?;
            return Ok(Head { ttl, rtype, data: rest });
        }
        text = rest;
    }
}

/// A TTL: 31 bits of seconds, with or without units (RFC 2181 section 8).
pub(super) fn seconds(word: &str) -> Result<u32, HeadError> {
    field::seconds(word).filter(|ttl| *ttl < 1 << 31).ok_or(HeadError::Ttl)
}

/// Whether a word is the class IN, or another one (RFC 3597 section 5); none where it is no class.
fn class_of(word: &str) -> Option<bool> {
    let is = |name: &&str| word.eq_ignore_ascii_case(name);
    if is(&"IN") {
        return Some(true);
    }
    if ["CH", "HS", "CS", "NONE", "ANY"].iter().any(is) {
        return Some(false);
    }
    let (prefix, number) = word.split_at_checked(5)?;
    (prefix.eq_ignore_ascii_case("CLASS") && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
        .then(|| number.parse() == Ok(1u16))
}

/// The zone that a file is of by its own word: the owner of its SOA, else its first `$ORIGIN`. None where it does not say.
pub fn apex(file: &[u8]) -> Option<Name> {
    let (mut origin, mut first) = (None::<Name>, None);
    // A name that stands for itself only: without an origin it must end with a dot.
    let absolute = |text: &str, origin: &Option<Name>| {
        let known = origin.is_some() || (text.ends_with('.') && !text.ends_with("\\."));
        known.then(|| Name::parse(text, origin.as_ref()).ok()).flatten()
    };
    for entry in entries(file).flatten() {
        let (owner, rest) = word(&entry.text);
        if owner.eq_ignore_ascii_case("$ORIGIN") {
            origin = absolute(word(rest).0, &origin).or(origin);
            first = first.or_else(|| origin.clone());
        } else if !entry.indented && head(rest).is_ok_and(|head| head.rtype == RecordType::SOA) {
            return absolute(owner, &origin);
        }
    }
    first
}
