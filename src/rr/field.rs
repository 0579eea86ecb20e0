//! One field of record data: read from text, cut from wire, shown as text. Never knows which type it belongs to.
use std::borrow::Cow;
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::{BASE64, HEXUPPER, HEXUPPER_PERMISSIVE};

use crate::base::limits::{FOUND_TEXT_MAX, STRING_MAX};
use crate::rr::lexer::{self, Token};
use crate::rr::{Name, loc, name, svcb, wks};

/// What a field holds. Those that reach to the end of the data can only be the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    U8,
    U16,
    U32,
    /// Seconds; the text may use units as zone files do (`1h30m`).
    Seconds,
    /// A DNSSEC algorithm: a number, or in text its mnemonic.
    Algorithm,
    V4,
    V6,
    /// An IP protocol: a number, or in text `tcp` or `udp`.
    Protocol,
    /// The bits of ports to the end, in text ports or names of services.
    Services,
    Name,
    /// One character-string.
    Text,
    /// The character-string of a NAPTR rewrite: empty, or `!pattern!replacement!` with any mark.
    Rewrite,
    /// Character-strings to the end, at least one.
    Texts,
    /// A property tag of CAA.
    Tag,
    /// Plain octets to the end, shown as a quoted string; the number is how many at least.
    Octets(usize),
    Hex,
    Base64,
    SvcParams,
    Location,
}

/// Why a text is not a field.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// There are no words left.
    Missing,
    Bad {
        wants: Cow<'static, str>,
        found: String,
    },
}

impl Fault {
    pub(super) fn bad(wants: impl Into<Cow<'static, str>>, found: &str) -> Fault {
        Fault::Bad {
            wants: wants.into(),
            found: found.chars().take(FOUND_TEXT_MAX).flat_map(char::escape_debug).collect(),
        }
    }
}

/// The words of a value that are not read yet.
#[derive(Debug)]
pub(super) struct Words<'a> {
    rest: std::vec::IntoIter<Token<'a>>,
}

impl<'a> Words<'a> {
    pub(super) fn new(tokens: Vec<Token<'a>>) -> Words<'a> {
        Words { rest: tokens.into_iter() }
    }

    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        self.rest.next()
    }

    /// The next word, which may not be quoted.
    pub(super) fn bare(&mut self) -> Result<&'a str, Fault> {
        match self.next().ok_or(Fault::Missing)? {
            Token { head, quoted: None } => Ok(head),
            Token { quoted: Some(quoted), .. } => Err(Fault::bad("a word without quotes", quoted)),
        }
    }

    /// The octets of the next word or quoted string.
    fn string(&mut self) -> Result<Vec<u8>, Fault> {
        let text = match self.next().ok_or(Fault::Missing)? {
            Token { head, quoted: None } => head,
            Token { head: "", quoted: Some(quoted) } => quoted,
            Token { head, .. } => return Err(Fault::bad("one string, with quotes around all of it", head)),
        };
        lexer::unescape(text).map_err(|_| Fault::bad("a string with `\\DDD` up to 255 or `\\` and a character", text))
    }

    /// All words left, joined: long keys and digests may be cut anywhere.
    pub(super) fn joined(&mut self) -> Result<String, Fault> {
        let mut text = self.bare()?.to_owned();
        while self.rest.len() > 0 {
            text.push_str(self.bare()?);
        }
        Ok(text)
    }
}

/// Octets written in hexadecimal, either case.
pub(super) fn hex(text: &str) -> Result<Vec<u8>, Fault> {
    HEXUPPER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| Fault::bad("octets in hexadecimal", text))
}

impl Field {
    /// Reads the field from `words` and appends its wire form.
    pub(super) fn parse(self, words: &mut Words<'_>, origin: &Name, out: &mut Vec<u8>) -> Result<(), Fault> {
        let wants = self.wants();
        match self {
            Field::U8 => out.push(number(words.bare()?, wants)?),
            Field::U16 => out.extend(number::<u16>(words.bare()?, wants)?.to_be_bytes()),
            Field::U32 => out.extend(number::<u32>(words.bare()?, wants)?.to_be_bytes()),
            Field::Seconds => {
                let word = words.bare()?;
                out.extend(seconds(word).ok_or_else(|| Fault::bad(wants, word))?.to_be_bytes());
            }
            Field::Algorithm => {
                let word = words.bare()?;
                match ALGORITHMS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
                    Some((_, algorithm)) => out.push(*algorithm),
                    None => out.push(number(word, wants)?),
                }
            }
            Field::V4 => {
                let word = words.bare()?;
                out.extend(word.parse::<Ipv4Addr>().map_err(|_| Fault::bad(wants, word))?.octets());
            }
            Field::V6 => {
                let word = words.bare()?;
                out.extend(word.parse::<Ipv6Addr>().map_err(|_| Fault::bad(wants, word))?.octets());
            }
            Field::Name => {
                let word = words.bare()?;
                let name = Name::parse(word, Some(origin)).map_err(|e| Fault::bad(format!("{wants} ({e})"), word))?;
                out.extend_from_slice(name.as_wire());
            }
            Field::Text | Field::Rewrite => {
                let string = words.string()?;
                if string.len() > STRING_MAX {
                    return Err(Fault::bad(wants, &String::from_utf8_lossy(&string)));
                }
                push_string(out, &string);
            }
            Field::Texts => texts(words, out)?,
            Field::Tag => {
                let word = words.bare()?;
                push_string(out, word.as_bytes().get(..STRING_MAX).unwrap_or(word.as_bytes()));
                if !is_tag(word.as_bytes()) {
                    return Err(Fault::bad(wants, word));
                }
            }
            Field::Octets(_) => out.extend(words.string()?),
            Field::Hex => out.extend(hex(&words.joined()?)?),
            Field::Base64 => {
                let text = words.joined()?;
                out.extend(BASE64.decode(text.as_bytes()).map_err(|_| Fault::bad(wants, &text))?);
            }
            Field::SvcParams => svcb::parse(words, out)?,
            Field::Location => loc::parse(words, out)?,
            Field::Protocol => out.push(wks::protocol(words)?),
            Field::Services => wks::parse(words, out)?,
        }
        Ok(())
    }

    /// How many octets of `wire` the field takes, having checked them; the error says what it must be.
    pub(super) fn cut(self, wire: &[u8]) -> Result<usize, Cow<'static, str>> {
        let len = match self {
            Field::U8 | Field::Algorithm | Field::Protocol => 1,
            Field::U16 => 2,
            Field::U32 | Field::Seconds | Field::V4 => 4,
            Field::V6 => 16,
            Field::Name => name::wire_len(wire).map_err(|e| format!("{} ({e})", self.wants()))?,
            Field::Text => 1 + wire.first().map_or(0, |len| usize::from(*len)),
            Field::Rewrite => match wire.split_first() {
                Some((len, rest)) if rest.get(..usize::from(*len)).is_some_and(is_rewrite) => 1 + usize::from(*len),
                _ => return Err(self.wants().into()),
            },
            Field::Texts if !wire.is_empty() => {
                let mut at = 0;
                while let Some(len) = wire.get(at) {
                    at += 1 + usize::from(*len);
                }
                at
            }
            Field::Tag => match wire.split_first() {
                Some((len, rest)) if rest.get(..usize::from(*len)).is_some_and(is_tag) => 1 + usize::from(*len),
                _ => return Err(self.wants().into()),
            },
            Field::Octets(min) if wire.len() >= min => wire.len(),
            Field::Hex | Field::Base64 if !wire.is_empty() => wire.len(),
            Field::SvcParams => svcb::check(wire).map(|()| wire.len())?,
            Field::Location => loc::check(wire).map(|()| wire.len())?,
            Field::Services => wks::check(wire).map(|()| wire.len())?,
            Field::Texts | Field::Octets(_) | Field::Hex | Field::Base64 => return Err(self.wants().into()),
        };
        if len > wire.len() { Err(self.wants().into()) } else { Ok(len) }
    }

    /// Appends the text of a field that `cut` accepted.
    pub(super) fn present(self, wire: &[u8], out: &mut String) {
        match self {
            Field::U8 | Field::Algorithm | Field::Protocol | Field::U16 | Field::U32 | Field::Seconds => {
                let number = wire.iter().fold(0u32, |sum, octet| sum << 8 | u32::from(*octet));
                out.push_str(&number.to_string());
            }
            Field::V4 => {
                let octets: [u8; 4] = wire.try_into().unwrap_or_default();
                out.push_str(&Ipv4Addr::from(octets).to_string());
            }
            Field::V6 => {
                let octets: [u8; 16] = wire.try_into().unwrap_or_default();
                out.push_str(&Ipv6Addr::from(octets).to_string());
            }
            Field::Name => {
                if let Ok(name) = Name::from_wire(wire) {
                    let _ = write!(out, "{name}");
                }
            }
            Field::Text | Field::Rewrite | Field::Texts => {
                let mut rest = wire;
                while let Some((len, after)) = rest.split_first() {
                    let (string, after) = after.split_at(usize::from(*len).min(after.len()));
                    if rest.len() < wire.len() {
                        out.push(' ');
                    }
                    lexer::quote_into(out, string);
                    rest = after;
                }
            }
            Field::Tag => lexer::escape_into(out, wire.get(1..).unwrap_or_default(), b""),
            Field::Octets(_) => lexer::quote_into(out, wire),
            Field::Hex => out.push_str(&HEXUPPER.encode(wire)),
            Field::Base64 => out.push_str(&BASE64.encode(wire)),
            Field::SvcParams => svcb::present(wire, out),
            Field::Location => loc::present(wire, out),
            Field::Services => wks::present(wire, out),
        }
    }

    fn wants(self) -> &'static str {
        match self {
            Field::U8 => "a number from 0 to 255",
            Field::U16 => "a number from 0 to 65535",
            Field::U32 => "a number from 0 to 4294967295",
            Field::Seconds => "a number of seconds or a duration like `1h30m`",
            Field::Algorithm => "an algorithm number from 0 to 255 or a mnemonic like ECDSAP256SHA256",
            Field::V4 => "an IPv4 address like 192.0.2.1",
            Field::V6 => "an IPv6 address like 2001:db8::1",
            Field::Name => "a domain name",
            Field::Text => "a string of at most 255 octets",
            Field::Rewrite => "empty or a rewrite like `!^.*$!sip:info@example.org!`",
            Field::Texts => "one or more strings",
            Field::Tag => "a word of letters and digits like issue",
            Field::Octets(0) => "a string",
            Field::Octets(_) => "a string that is not empty",
            Field::Hex => "octets in hexadecimal",
            Field::Base64 => "octets in base64",
            Field::SvcParams => "parameters like alpn=h2",
            Field::Location => "a place",
            Field::Protocol => wks::PROTOCOL,
            Field::Services => wks::SERVICES,
        }
    }
}

/// Numbers of the mnemonics that texts use (RFC 4034 appendix A.1 and the registry it began).
const ALGORITHMS: &[(&str, u8)] = &[
    ("RSASHA1", 5),
    ("RSASHA1-NSEC3-SHA1", 7),
    ("NSEC3RSASHA1", 7),
    ("RSASHA256", 8),
    ("RSASHA512", 10),
    ("ECDSAP256SHA256", 13),
    ("ECDSAP384SHA384", 14),
    ("ED25519", 15),
    ("ED448", 16),
];

/// A decimal number without sign.
pub(super) fn number<T: std::str::FromStr>(word: &str, wants: &'static str) -> Result<T, Fault> {
    let digits = !word.starts_with('+');
    word.parse().ok().filter(|_| digits).ok_or_else(|| Fault::bad(wants, word))
}

/// Seconds, with or without units.
pub(super) fn seconds(word: &str) -> Option<u32> {
    let (mut total, mut rest) = (0u32, word);
    while let Some(end) = rest.find(|c: char| !c.is_ascii_digit()) {
        let unit = match rest.as_bytes()[end].to_ascii_lowercase() {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(rest[..end].parse::<u32>().ok()?.checked_mul(unit)?)?;
        rest = &rest[end + 1..];
    }
    match rest {
        "" if !word.is_empty() => Some(total),
        _ => total.checked_add(rest.parse().ok()?),
    }
}

/// Appends a character-string of at most `STRING_MAX` octets.
fn push_string(out: &mut Vec<u8>, string: &[u8]) {
    out.push(string.len() as u8); // the callers hold it to STRING_MAX
    out.extend_from_slice(string);
}

/// Longer strings are cut: admins paste a DKIM key as one, and readers join the pieces (RFC 6376 section 3.6.2.2).
fn texts(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut next = words.string()?;
    loop {
        if next.is_empty() {
            out.push(0);
        }
        next.chunks(STRING_MAX).for_each(|piece| push_string(out, piece));
        next = match words.string() {
            Err(Fault::Missing) => return Ok(()),
            other => other?,
        };
    }
}

/// RFC 8659 section 4.1.
fn is_tag(tag: &[u8]) -> bool {
    (1..=STRING_MAX).contains(&tag.len()) && tag.iter().all(u8::is_ascii_alphanumeric)
}

/// RFC 3402 section 3.2. Other servers refuse a zone with a malformed one, so it must not get in here.
fn is_rewrite(text: &[u8]) -> bool {
    let Some((mark, rest)) = text.split_first() else { return true };
    if mark.is_ascii_digit() || matches!(mark, b'i' | b'\\' | 0) {
        return false;
    }
    let (mut marks, mut octets) = (0, rest.iter());
    while let Some(octet) = octets.next() {
        match octet {
            _ if marks == 2 => {
                if *octet != b'i' {
                    return false;
                }
            }
            b'\\' => drop(octets.next()),
            _ => marks += u8::from(octet == mark),
        }
    }
    marks == 2
}
