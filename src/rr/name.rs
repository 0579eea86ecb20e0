//! A domain name as its lower-cased uncompressed wire form. Never asks whether a name is a host name: any octet may be in a label.
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::limits::{LABEL_MAX, NAME_WIRE_MAX};
use crate::rr::lexer;

/// What a label's text escapes: separators of names and of zone files (RFC 1035 section 5.1).
const SPECIAL: &[u8] = b"\\.\"();@$ ";

/// A domain name, absolute. Equality and order ignore ASCII case because upper case is never kept (RFC 4343).
/// Cloning shares the octets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name {
    wire: Arc<[u8]>,
}

/// Why a text or some octets are not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a name must not be empty: the apex is `@`")]
    Empty,
    #[error("a name must not have an empty label")]
    EmptyLabel,
    #[error("a label must not exceed 63 octets")]
    LabelTooLong,
    #[error("a name must not exceed 255 octets in wire form")]
    TooLong,
    #[error("a backslash must be followed by a character or by three digits up to 255")]
    BadEscape,
    #[error("a name in another script must be in its `xn--` form")]
    NotAscii,
    #[error("`{}` in a name must be written as `\\{:03}`", .0.escape_default(), u32::from(*.0))]
    Unescaped(char),
    #[error("`@` stands for a zone that is not known here")]
    NoOrigin,
    #[error("the octets of a name must be labels of 1 to 63 octets, uncompressed, with the root label as the end")]
    Wire,
}

impl Name {
    /// Reads presentation form. A name without a final dot is relative to `origin`; without an origin it is absolute.
    pub fn parse(text: &str, origin: Option<&Name>) -> Result<Name, NameError> {
        match text {
            "" => return Err(NameError::Empty),
            "." => return Ok(Name { wire: Arc::from([0]) }),
            "@" => return origin.cloned().ok_or(NameError::NoOrigin),
            _ => {}
        }
        let mut wire = vec![0];
        let mut start = 0; // of the label being read: its length octet, filled in when it ends
        for item in lexer::octets(text) {
            match item.map_err(|_| NameError::BadEscape)? {
                (b'.', false) => {
                    end_label(&mut wire, start)?;
                    start = wire.len();
                    wire.push(0);
                }
                (octet, false) if !octet.is_ascii() => return Err(NameError::NotAscii),
                (octet, false) if must_be_escaped(octet) => {
                    return Err(NameError::Unescaped(char::from(octet)));
                }
                (octet, _) => wire.push(octet.to_ascii_lowercase()),
            }
            // Early, so that an endless text stops here; the root label is still to come after a label.
            if wire.len() > NAME_WIRE_MAX {
                return Err(if wire.len() - start - 1 > LABEL_MAX {
                    NameError::LabelTooLong
                } else {
                    NameError::TooLong
                });
            }
        }
        // After a final dot the length octet of the next label is the root label.
        if wire.len() > start + 1 {
            end_label(&mut wire, start)?;
            wire.extend_from_slice(origin.map_or(&[0], Name::as_wire));
        }
        if wire.len() > NAME_WIRE_MAX { Err(NameError::TooLong) } else { Ok(Name { wire: wire.into() }) }
    }

    /// Reads wire form: exactly one uncompressed name. Upper case becomes lower case.
    pub fn from_wire(wire: &[u8]) -> Result<Name, NameError> {
        if wire_len(wire)? != wire.len() {
            return Err(NameError::Wire);
        }
        // Length octets are at most 63, below any letter.
        Ok(Name { wire: wire.to_ascii_lowercase().into() })
    }

    /// Wire form, uncompressed and lower-case, with the root label.
    pub fn as_wire(&self) -> &[u8] {
        &self.wire
    }

    /// The labels from the leftmost to the one before the root.
    pub fn labels(&self) -> Labels<'_> {
        Labels { rest: &self.wire }
    }

    /// True when the name is `other` or below it.
    pub fn is_under(&self, other: &Name) -> bool {
        let mut labels = self.labels();
        loop {
            if labels.rest.len() <= other.wire.len() {
                return *labels.rest == *other.wire;
            }
            labels.next();
        }
    }

    /// The name without its first label; none for the root.
    pub fn parent(&self) -> Option<Name> {
        let (len, rest) = self.wire.split_first().filter(|(len, _)| **len > 0)?;
        rest.get(usize::from(*len)..).map(|wire| Name { wire: wire.into() })
    }

    /// Presentation form within a zone: `@` for `origin`, without a final dot below it, absolute elsewhere.
    pub fn relative_to(&self, origin: &Name) -> String {
        if self == origin {
            return "@".to_owned();
        }
        let mut text = self.to_string();
        if self.is_under(origin) {
            // Both texts end alike, and at a label: escapes depend on the octet alone.
            let suffix = if origin.wire.len() == 1 { 1 } else { origin.to_string().len() + 1 };
            text.truncate(text.len() - suffix);
        }
        text
    }
}

/// The labels of a name, from the left, without the root.
#[derive(Debug, Clone)]
pub struct Labels<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.rest.split_first().filter(|(len, _)| **len > 0)?;
        let (label, rest) = rest.split_at(usize::from(*len));
        self.rest = rest;
        Some(label)
    }
}

/// Octets of the name `wire` begins with.
pub(super) fn wire_len(wire: &[u8]) -> Result<usize, NameError> {
    let mut at = 0;
    loop {
        let len = usize::from(*wire.get(at).ok_or(NameError::Wire)?);
        at += 1 + len;
        if len > LABEL_MAX {
            return Err(NameError::Wire);
        }
        if at > NAME_WIRE_MAX {
            return Err(NameError::TooLong);
        }
        if len == 0 {
            return Ok(at);
        }
    }
}

/// The name that wire data begins with, and what comes after it.
pub fn take_name(wire: &[u8]) -> Option<(Name, &[u8])> {
    let (name, rest) = wire.split_at_checked(wire_len(wire).ok()?)?;
    Some((Name::from_wire(name).ok()?, rest))
}

/// `$` only matters to zone files at the start of a line, and is common in names of Windows machines.
fn must_be_escaped(octet: u8) -> bool {
    octet.is_ascii_control() || (SPECIAL.contains(&octet) && octet != b'$')
}

fn end_label(wire: &mut [u8], start: usize) -> Result<(), NameError> {
    match wire.len() - start - 1 {
        0 => Err(NameError::EmptyLabel),
        len if len > LABEL_MAX => Err(NameError::LabelTooLong),
        len => {
            wire[start] = len as u8; // at most LABEL_MAX
            Ok(())
        }
    }
}

impl Ord for Name {
    /// Canonical order: by labels from the right, each as octets (RFC 4034 section 6.1).
    fn cmp(&self, other: &Name) -> Ordering {
        let (left, right) = (LabelStarts::of(self), LabelStarts::of(other));
        left.rightmost_first(self).cmp(right.rightmost_first(other))
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Where each label starts: labels can only be walked from the left, order needs them from the right.
struct LabelStarts {
    starts: [u8; NAME_WIRE_MAX / 2],
    count: usize,
}

impl LabelStarts {
    fn of(name: &Name) -> LabelStarts {
        let (mut found, mut at) = (LabelStarts { starts: [0; NAME_WIRE_MAX / 2], count: 0 }, 0);
        for label in name.labels() {
            found.starts[found.count] = at as u8; // a name ends at NAME_WIRE_MAX
            found.count += 1;
            at += 1 + label.len();
        }
        found
    }

    fn rightmost_first<'a>(&self, name: &'a Name) -> impl Iterator<Item = &'a [u8]> {
        self.starts[..self.count].iter().rev().map(|start| {
            let (len, rest) = (name.wire[usize::from(*start)], &name.wire[usize::from(*start) + 1..]);
            &rest[..usize::from(len)]
        })
    }
}

impl fmt::Display for Name {
    /// Absolute presentation form with its final dot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(self.wire.len());
        for label in self.labels() {
            lexer::escape_into(&mut text, label, SPECIAL);
            text.push('.');
        }
        f.pad(if text.is_empty() { "." } else { &text })
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.wire)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        let wire = serde_bytes::ByteBuf::deserialize(deserializer)?;
        Name::from_wire(&wire).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text, None).unwrap()
    }

    #[test]
    fn text_to_wire_and_back() {
        let origin = name("example.org.");
        for (text, shown, relative) in [
            ("@", "example.org.", "@"),
            ("www", "www.example.org.", "www"),
            ("WWW.Example.ORG.", "www.example.org.", "www"),
            ("*", "*.example.org.", "*"),
            ("_dmarc", "_dmarc.example.org.", "_dmarc"),
            ("_443._tcp.a", "_443._tcp.a.example.org.", "_443._tcp.a"),
            (r"a\.b", r"a\.b.example.org.", r"a\.b"),
            (r"a\046b\032\065", r"a\.b\032a.example.org.", r"a\.b\032a"),
            (r"\@", r"\@.example.org.", r"\@"),
            (r"$\000\255", r"\$\000\255.example.org.", r"\$\000\255"),
            ("a.example.net.", "a.example.net.", "a.example.net."),
            ("notexample.org.", "notexample.org.", "notexample.org."),
            ("org.", "org.", "org."),
            (".", ".", "."),
        ] {
            let parsed = Name::parse(text, Some(&origin)).unwrap();
            assert_eq!(parsed.to_string(), shown, "{text}");
            assert_eq!(parsed.relative_to(&origin), relative, "{text}");
            assert_eq!(Name::parse(relative, Some(&origin)).unwrap(), parsed, "{text}");
        }
        assert_eq!(name("a.b").as_wire(), b"\x01a\x01b\0");
        assert_eq!(name("a.b"), name("A.B."));
        assert_eq!(name("a.b").relative_to(&name(".")), "a.b");
        let above: Vec<_> =
            std::iter::successors(Some(name("a.b")), Name::parent).map(|name| name.to_string()).collect();
        assert_eq!(above, ["a.b.", "b.", "."]);
        assert_eq!(name("a.b").labels().collect::<Vec<_>>(), [b"a", b"b"]);
    }

    #[test]
    fn what_is_no_name() {
        let origin = name("example.org");
        for (text, error) in [
            ("", NameError::Empty),
            ("..", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("a..b", NameError::EmptyLabel),
            (&"a".repeat(64), NameError::LabelTooLong),
            (&"a".repeat(1000), NameError::LabelTooLong),
            (&"a.".repeat(128), NameError::TooLong),
            (&"a.".repeat(122), NameError::TooLong),
            ("a\\", NameError::BadEscape),
            (r"a\256", NameError::BadEscape),
            ("été", NameError::NotAscii),
            ("a b", NameError::Unescaped(' ')),
            ("hostmaster@example.org", NameError::Unescaped('@')),
            ("a;b", NameError::Unescaped(';')),
            ("a\nb", NameError::Unescaped('\n')),
        ] {
            let text = if text == "a.".repeat(122) { &text[..243] } else { text };
            let origin = (!text.is_empty()).then_some(&origin);
            assert_eq!(Name::parse(text, origin), Err(error), "{text:?}");
        }
        assert_eq!(Name::parse("@", None), Err(NameError::NoOrigin));
        let longest = format!("{0}.{0}.{0}.{1}.", "a".repeat(63), "b".repeat(61));
        assert_eq!(name(&longest).as_wire().len(), 255);
        assert_eq!(name(&longest[..longest.len() - 1]).as_wire().len(), 255);
        assert_eq!(name(&"a.".repeat(127)).labels().count(), 127);
        for wire in [&b""[..], b"\x01", b"\x01a", b"\0\0", b"\xc0\x0c", b"\x40a", b"\x01a\0\0"] {
            assert_eq!(Name::from_wire(wire), Err(NameError::Wire), "{wire:?}");
        }
        assert_eq!(Name::from_wire(&[b"\x01a".repeat(127), vec![0]].concat()).unwrap().labels().count(), 127);
        assert_eq!(Name::from_wire(&[b"\x01a".repeat(128), vec![0]].concat()), Err(NameError::TooLong));
    }

    #[test]
    fn under_means_at_a_label() {
        let zone = name("example.org");
        for (text, under) in
            [("example.org", true), ("a.b.example.org", true), ("anexample.org", false), ("org", false), (".", false)]
        {
            assert_eq!(name(text).is_under(&zone), under, "{text}");
        }
        assert!(name("a").is_under(&name(".")));
        // The octets of `x.b` stand at the end, but inside a label.
        assert!(!Name::from_wire(b"\x03a\x01x\x01b\0").unwrap().is_under(&name("x.b")));
    }

    #[test]
    fn canonical_order_of_rfc_4034() {
        let sorted = [
            ".",
            "example.",
            "a.example.",
            "yljkjljk.a.example.",
            "Z.a.example.",
            "zABC.a.EXAMPLE.",
            "z.example.",
            r"\001.z.example.",
            "*.z.example.",
            r"\200.z.example.",
        ];
        let names: Vec<Name> = sorted.iter().map(|text| name(text)).collect();
        for (i, left) in names.iter().enumerate() {
            for (j, right) in names.iter().enumerate() {
                assert_eq!(left.cmp(right), i.cmp(&j), "{left} {right}");
            }
        }
    }

    #[test]
    fn stored_as_checked_octets() {
        let stored = rmp_serde::to_vec(&name("a.b")).unwrap();
        assert_eq!(stored, b"\xc4\x05\x01a\x01b\0");
        assert_eq!(rmp_serde::from_slice::<Name>(&stored).unwrap(), name("a.b"));
        assert!(rmp_serde::from_slice::<Name>(b"\xc4\x02\x01a").is_err());
    }

    proptest! {
        #[test]
        fn any_name_reads_back(labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..64), 0..4)) {
            let mut wire: Vec<u8> = labels.iter().flat_map(|l| std::iter::once(l.len() as u8).chain(l.iter().copied())).collect();
            wire.push(0);
            if let Ok(parsed) = Name::from_wire(&wire) {
                prop_assert_eq!(&Name::parse(&parsed.to_string(), None).unwrap(), &parsed);
                let origin = name("org");
                prop_assert_eq!(&Name::parse(&parsed.relative_to(&origin), Some(&origin)).unwrap(), &parsed);
            } else {
                prop_assert!(wire.len() > 255);
            }
        }

        #[test]
        fn any_text_is_a_name_or_an_error(text in any::<String>(), wire in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(parsed) = Name::parse(&text, None) {
                prop_assert_eq!(Name::from_wire(parsed.as_wire()), Ok(parsed));
            }
            let _ = Name::from_wire(&wire);
        }
    }
}
