//! Record data: presentation form to wire, wire to presentation form, and whether wire is valid. Never looks past one record.
use std::borrow::Cow;

use data_encoding::HEXUPPER;

use crate::base::limits::{RDATA_MAX, RDATA_TEXT_MAX};
use crate::rr::field::{self, Fault, Field, Words};
use crate::rr::lexer::{self, LexError};
use crate::rr::shape::{self, Shape};
use crate::rr::{Name, RecordType};

/// Why a value is not the data of its type: one sentence for the one who typed it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    #[error("{0} belongs to questions and messages and is never stored")]
    Meta(RecordType),
    #[error("{rtype} wants {wants}, like `{example}`")]
    Shape { rtype: RecordType, wants: &'static str, example: &'static str },
    #[error("the {field} of {rtype} must be {wants}, not `{found}`")]
    Field { rtype: RecordType, field: &'static str, wants: Cow<'static, str>, found: String },
    #[error("the {field} of {rtype} must be {wants}")]
    Wire { rtype: RecordType, field: &'static str, wants: Cow<'static, str> },
    #[error("{0} has no form of its own here: write its data as `\\# LENGTH HEX`")]
    NoForm(RecordType),
    #[error("after `\\#` come the number of octets and these octets in hexadecimal, like `\\# 4 C0000201`")]
    Generic,
    #[error("the value of {0} cannot be read: {1}")]
    Text(RecordType, LexError),
    #[error("the data of one record is at most 65535 octets")]
    TooLong,
}

/// Reads presentation form; names without a final dot are relative to `origin`. `\# LENGTH HEX` does for every type (RFC 3597 section 5).
pub fn parse_data(rtype: RecordType, text: &str, origin: &Name) -> Result<Vec<u8>, DataError> {
    if rtype.is_meta() {
        return Err(DataError::Meta(rtype));
    }
    if text.len() > RDATA_TEXT_MAX {
        return Err(DataError::TooLong);
    }
    let tokens = lexer::tokens(text).map_err(|e| DataError::Text(rtype, e))?;
    let shape = shape::of(rtype);
    let mut wire = Vec::new();
    if tokens.first().is_some_and(|token| token.head == "\\#" && token.quoted.is_none()) {
        wire = generic(Words::new(tokens)).map_err(|_| DataError::Generic)?;
        if let Some(shape) = shape {
            lower_names(shape, &mut wire)?;
        }
    } else {
        let shape = shape.ok_or(DataError::NoForm(rtype))?;
        let mut words = Words::new(tokens);
        for (field, kind) in shape.fields {
            kind.parse(&mut words, origin, &mut wire).map_err(|fault| match fault {
                Fault::Missing => shape.error(),
                Fault::Bad { wants, found } => DataError::Field { rtype, field, wants, found },
            })?;
        }
        if words.next().is_some() {
            return Err(shape.error());
        }
    }
    check_data(rtype, &wire)?;
    Ok(wire)
}

/// Shows wire in presentation form, names absolute. What `check_data` refuses, and types without a form, show as `\# LENGTH HEX`.
pub fn present_data(rtype: RecordType, wire: &[u8]) -> String {
    let parts = match shape::of(rtype) {
        Some(shape) if check_data(rtype, wire).is_ok() => split(shape, wire).unwrap_or_default(),
        _ => Vec::new(),
    };
    if parts.is_empty() {
        let space = if wire.is_empty() { "" } else { " " };
        return format!("\\# {}{space}{}", wire.len(), HEXUPPER.encode(wire));
    }
    let mut text = String::new();
    for (_, kind, part) in parts {
        // No parameters at all is the one field without text.
        if !(text.is_empty() || matches!(kind, Field::SvcParams | Field::Services) && part.is_empty()) {
            text.push(' ');
        }
        kind.present(part, &mut text);
    }
    text
}

/// True data of its type: every field whole and valid, names uncompressed and in lower case, nothing left over.
pub fn check_data(rtype: RecordType, wire: &[u8]) -> Result<(), DataError> {
    if rtype.is_meta() {
        return Err(DataError::Meta(rtype));
    }
    if wire.len() > RDATA_MAX {
        return Err(DataError::TooLong);
    }
    let Some(shape) = shape::of(rtype) else { return Ok(()) };
    for (field, kind, part) in split(shape, wire)? {
        if kind == Field::Name && part.iter().any(u8::is_ascii_uppercase) {
            return Err(DataError::Wire { rtype, field, wants: "in lower case".into() });
        }
    }
    agree(rtype, wire)
}

/// The name a record points to, for the types that point to one; `.` where they say "none" (RFC 7505, RFC 2782).
pub fn targets(rtype: RecordType, wire: &[u8]) -> Option<Name> {
    match rtype {
        RecordType::CNAME | RecordType::NS | RecordType::MX | RecordType::SRV | RecordType::PTR | RecordType::DNAME => {
            let parts = split(shape::of(rtype)?, wire).ok()?;
            parts.iter().find(|(_, kind, _)| *kind == Field::Name).and_then(|(.., part)| Name::from_wire(part).ok())
        }
        _ => None,
    }
}

impl Shape {
    fn error(&self) -> DataError {
        DataError::Shape { rtype: self.rtype, wants: self.wants, example: self.example }
    }
}

/// A field's name, its kind and its octets.
type Part<'a> = (&'static str, Field, &'a [u8]);

/// The fields of `wire`, each valid by itself.
fn split<'a>(shape: &Shape, wire: &'a [u8]) -> Result<Vec<Part<'a>>, DataError> {
    let mut rest = wire;
    let mut parts = Vec::with_capacity(shape.fields.len());
    for (field, kind) in shape.fields {
        let len = kind.cut(rest).map_err(|wants| DataError::Wire { rtype: shape.rtype, field, wants })?;
        let (part, after) = rest.split_at(len);
        parts.push((*field, *kind, part));
        rest = after;
    }
    if rest.is_empty() { Ok(parts) } else { Err(shape.error()) }
}

/// What one field says about another.
fn agree(rtype: RecordType, wire: &[u8]) -> Result<(), DataError> {
    let wrong = |field, wants: &'static str| Err(DataError::Wire { rtype, field, wants: wants.into() });
    match (rtype, wire) {
        (RecordType::DS | RecordType::CDS, [_, _, _, digest, rest @ ..]) => match (digest, rest.len()) {
            // RFC 4034 section 5.1.4, RFC 4509, RFC 6605
            (1, 20) | (2, 32) | (4, 48) => Ok(()),
            (1 | 2 | 4, _) => wrong("digest", "20, 32 or 48 octets for digest type 1, 2 or 4"),
            _ => Ok(()),
        },
        (RecordType::SSHFP, [_, kind, rest @ ..]) => match (kind, rest.len()) {
            // RFC 4255 section 3.1.2, RFC 6594
            (1, 20) | (2, 32) => Ok(()),
            (1 | 2, _) => wrong("fingerprint", "20 or 32 octets for fingerprint type 1 or 2"),
            _ => Ok(()),
        },
        (RecordType::TLSA | RecordType::SMIMEA, [_, _, kind, rest @ ..]) => match (kind, rest.len()) {
            // RFC 6698 section 2.1.3
            (1, 32) | (2, 64) => Ok(()),
            (1 | 2, _) => wrong("data", "32 or 64 octets for matching type 1 or 2"),
            _ => Ok(()),
        },
        // RFC 4034 section 2.1.2
        (RecordType::DNSKEY | RecordType::CDNSKEY, [_, _, protocol, ..]) if *protocol != 3 => wrong("protocol", "3"),
        // RFC 9460 section 2.4.2: parameters of an alias would be ignored by every client.
        (RecordType::SVCB | RecordType::HTTPS, [0, 0, rest @ ..]) if !ends_with_name(rest) => {
            wrong("parameters", "absent when the priority is 0, an alias")
        }
        _ => Ok(()),
    }
}

fn ends_with_name(wire: &[u8]) -> bool {
    Name::from_wire(wire).is_ok()
}

/// Octets given by number, as any type may be.
fn generic(mut words: Words<'_>) -> Result<Vec<u8>, Fault> {
    words.bare()?; // the `\#` itself
    let len: usize = field::number(words.bare()?, "a number of octets")?;
    let wire = match words.joined() {
        Err(Fault::Missing) => Vec::new(),
        other => field::hex(&other?)?,
    };
    if wire.len() == len { Ok(wire) } else { Err(Fault::Missing) }
}

/// Names in given octets may be in upper case; kept ones are not.
fn lower_names(shape: &Shape, wire: &mut Vec<u8>) -> Result<(), DataError> {
    *wire = split(shape, wire)?
        .into_iter()
        .flat_map(|(_, kind, part)| if kind == Field::Name { part.to_ascii_lowercase() } else { part.to_vec() })
        .collect();
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin() -> Name {
        Name::parse("example.org.", None).unwrap()
    }

    fn parsed(rtype: RecordType, text: &str) -> Result<Vec<u8>, DataError> {
        parse_data(rtype, text, &origin())
    }

    #[test]
    fn every_example_is_what_it_shows() {
        for shape in shape::SHAPES {
            let wire = parsed(shape.rtype, shape.example).unwrap();
            assert_eq!(present_data(shape.rtype, &wire), shape.example);
            let generic = format!("\\# {} {}", wire.len(), HEXUPPER.encode(&wire));
            assert_eq!(parsed(shape.rtype, &generic).as_ref(), Ok(&wire));
            assert_eq!(parsed(shape.rtype, &format!("{} x", shape.example)).ok().filter(|w| *w == wire), None);
            if !shape.fields.iter().any(|(_, kind)| {
                matches!(kind, Field::Texts | Field::Hex | Field::Base64 | Field::SvcParams | Field::Services)
            }) {
                let [more, less] = [&[&wire[..], &[0]].concat()[..], &wire[..wire.len() - 1]];
                let free = matches!(shape.fields.last(), Some((_, Field::Octets(_))));
                assert_eq!(check_data(shape.rtype, more).is_ok(), free, "{}", shape.rtype);
                assert_eq!(check_data(shape.rtype, less).is_ok(), free, "{}", shape.rtype);
            }
            assert!(check_data(shape.rtype, b"").is_err(), "{}", shape.rtype);
            assert!(parsed(shape.rtype, "").is_err(), "{}", shape.rtype);
        }
    }

    #[test]
    fn text_to_wire_and_back() {
        let key = "k".repeat(300);
        let split_key = format!("\"{}\" \"{}\"", "k".repeat(255), "k".repeat(45));
        let split_wire = [&[255][..], &[b'k'; 255], &[45], &[b'k'; 45]].concat();
        for (rtype, text, wire, shown) in [
            (RecordType::A, "192.0.2.1", &b"\xc0\0\x02\x01"[..], "192.0.2.1"),
            (RecordType::AAAA, "2001:DB8:0::1", b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", "2001:db8::1"),
            (RecordType::MX, "10 mail", b"\0\x0a\x04mail\x07example\x03org\0", "10 mail.example.org."),
            (RecordType::MX, "0 .", b"\0\0\0", "0 ."),
            (RecordType::CNAME, "@", b"\x07example\x03org\0", "example.org."),
            (RecordType::NS, "NS.Example.", b"\x02ns\x07example\0", "ns.example."),
            (RecordType::PTR, r"a\.b.", b"\x03a.b\0", r"a\.b."),
            (RecordType::TXT, r#""v=spf1 -all""#, b"\x0bv=spf1 -all", r#""v=spf1 -all""#),
            (RecordType::TXT, "a bc", b"\x01a\x02bc", r#""a" "bc""#),
            (RecordType::TXT, r#""" x"#, b"\0\x01x", r#""" "x""#),
            (RecordType::TXT, r#""a\"b\\c\009;""#, b"\x07a\"b\\c\x09;", r#""a\"b\\c\009;""#),
            (RecordType::TXT, "\"é\"", b"\x02\xc3\xa9", r#""\195\169""#),
            (RecordType::TXT, "( \"a\"\n \"b\" )", b"\x01a\x01b", r#""a" "b""#),
            (RecordType::TXT, &format!("\"{key}\""), &split_wire, &split_key),
            (RecordType::TXT, &split_key, &split_wire, &split_key),
            (
                RecordType::CAA,
                "128 issue letsencrypt.org",
                b"\x80\x05issueletsencrypt.org",
                r#"128 issue "letsencrypt.org""#,
            ),
            (RecordType::CAA, r#"0 issue ";""#, b"\0\x05issue;", r#"0 issue ";""#),
            (RecordType::CAA, r#"0 issue """#, b"\0\x05issue", r#"0 issue """#),
            (RecordType::SRV, "0 0 0 .", b"\0\0\0\0\0\0\0", "0 0 0 ."),
            (
                RecordType::SOA,
                "a. b. 1 1h 2M 1w2d3h4m5s 4294967295",
                b"\x01a\0\x01b\0\0\0\0\x01\0\0\x0e\x10\0\0\0\x78\0\x0c\x08\xa5\xff\xff\xff\xff",
                "a. b. 1 3600 120 788645 4294967295",
            ),
            (
                RecordType::NAPTR,
                r#"1 2 U "" "!^(.*)$!sip:\\1@x!i" ."#,
                b"\0\x01\0\x02\x01U\0\x12!^(.*)$!sip:\\1@x!i\0",
                r#"1 2 "U" "" "!^(.*)$!sip:\\1@x!i" ."#,
            ),
            (RecordType::DS, "1 RSASHA256 99 ab C d", b"\0\x01\x08\x63\xab\xcd", "1 8 99 ABCD"),
            (RecordType::HTTPS, "0 svc", b"\0\0\x03svc\x07example\x03org\0", "0 svc.example.org."),
            (
                RecordType::HTTPS,
                "1 . port=443 alpn=h2",
                b"\0\x01\0\0\x01\0\x03\x02h2\0\x03\0\x02\x01\xbb",
                r#"1 . alpn="h2" port=443"#,
            ),
            (
                RecordType::WKS,
                "192.0.2.1 TCP smtp 80 (7)",
                b"\xc0\0\x02\x01\x06\x01\0\0\x40\0\0\0\0\0\0\x80",
                "192.0.2.1 6 7 25 80",
            ),
            (RecordType::WKS, "192.0.2.1 udp", b"\xc0\0\x02\x01\x11", "192.0.2.1 17"),
            (RecordType::MINFO, "a b.c.", b"\x01a\x07example\x03org\0\x01b\x01c\0", "a.example.org. b.c."),
            (RecordType::NULL, "\\# 1 ff", b"\xff", "\\# 1 FF"),
            (RecordType::A, "\\# 4 C0 000201", b"\xc0\0\x02\x01", "192.0.2.1"),
            (RecordType::NS, "\\# 5 0141014200", b"\x01a\x01b\0", "a.b."),
            (RecordType(65280), "\\# 3 aAbBcC", b"\xaa\xbb\xcc", "\\# 3 AABBCC"),
            (RecordType(65280), "\\# 0", b"", "\\# 0"),
        ] {
            assert_eq!(parsed(rtype, text).as_deref(), Ok(wire), "{rtype} {text}");
            assert_eq!(present_data(rtype, wire), shown, "{rtype} {text}");
            assert_eq!(parsed(rtype, shown).as_deref(), Ok(wire), "{rtype} {shown}");
        }
    }

    #[test]
    fn what_is_refused_says_why() {
        for (rtype, text, why) in [
            (RecordType::MX, "mail", "the preference of MX must be a number from 0 to 65535, not `mail`"),
            (RecordType::MX, "10", "MX wants a preference and a host, like `10 mail.example.org.`"),
            (RecordType::MX, "10 a b", "MX wants a preference and a host, like `10 mail.example.org.`"),
            (RecordType::MX, "65536 a", "the preference of MX must be a number from 0 to 65535, not `65536`"),
            (RecordType::MX, "+1 a", "the preference of MX must be a number from 0 to 65535, not `+1`"),
            (RecordType::MX, "1 \"a\"", "the host of MX must be a word without quotes, not `a`"),
            (
                RecordType::NS,
                "a..b",
                "the host of NS must be a domain name (a name must not have an empty label), not `a..b`",
            ),
            (RecordType::A, "192.0.2.01", "the address of A must be an IPv4 address like 192.0.2.1, not `192.0.2.01`"),
            (
                RecordType::AAAA,
                "192.0.2.1",
                "the address of AAAA must be an IPv6 address like 2001:db8::1, not `192.0.2.1`",
            ),
            (RecordType::TXT, "", r#"TXT wants one or more strings, like `"v=spf1 -all"`"#),
            (RecordType::TXT, "\"a", "the value of TXT cannot be read: a quote is never closed"),
            (
                RecordType::TXT,
                r"\256",
                r"the text of TXT must be a string with `\DDD` up to 255 or `\` and a character, not `\\256`",
            ),
            (RecordType::TXT, "v=\"a\"", "the text of TXT must be one string, with quotes around all of it, not `v=`"),
            (
                RecordType::CAA,
                "0 is-sue x",
                "the tag of CAA must be a word of letters and digits like issue, not `is-sue`",
            ),
            (RecordType::URI, "1 1 \"\"", "the target of URI must be a string that is not empty"),
            (
                RecordType::SOA,
                "a. b. 1 2 3 4 1y",
                "the minimum of SOA must be a number of seconds or a duration like `1h30m`, not `1y`",
            ),
            (
                RecordType::SOA,
                "a. b. 1 2 3 4 8000w",
                "the minimum of SOA must be a number of seconds or a duration like `1h30m`, not `8000w`",
            ),
            (
                RecordType::SOA,
                "a. b. 1 2 3 4 h",
                "the minimum of SOA must be a number of seconds or a duration like `1h30m`, not `h`",
            ),
            (RecordType::DS, "1 8 2 ABCD", "the digest of DS must be 20, 32 or 48 octets for digest type 1, 2 or 4"),
            (RecordType::DS, "1 8 9 ABC", "the digest of DS must be octets in hexadecimal, not `ABC`"),
            (
                RecordType::SSHFP,
                "1 1 AB",
                "the fingerprint of SSHFP must be 20 or 32 octets for fingerprint type 1 or 2",
            ),
            (RecordType::TLSA, "3 1 1 AB", "the data of TLSA must be 32 or 64 octets for matching type 1 or 2"),
            (RecordType::DNSKEY, "256 2 8 AA==", "the protocol of DNSKEY must be 3"),
            (RecordType::DNSKEY, "256 3 8 A", "the key of DNSKEY must be octets in base64, not `A`"),
            (
                RecordType::HTTPS,
                "0 . alpn=h2",
                "the parameters of HTTPS must be absent when the priority is 0, an alias",
            ),
            (RecordType::A, "\\# 3 C00002", "the address of A must be an IPv4 address like 192.0.2.1"),
            (RecordType::A, "\\# 5 C000020101", "A wants an IPv4 address, like `192.0.2.1`"),
            (
                RecordType::A,
                "\\# 4",
                "after `\\#` come the number of octets and these octets in hexadecimal, like `\\# 4 C0000201`",
            ),
            (RecordType(65280), "x", "TYPE65280 has no form of its own here: write its data as `\\# LENGTH HEX`"),
            (
                RecordType::WKS,
                "192.0.2.1 6 70000",
                "the services of WKS must be ports from 0 to 65535 or names like smtp, not `70000`",
            ),
            (
                RecordType::WKS,
                "192.0.2.1 x 7",
                "the protocol of WKS must be tcp, udp or a number from 0 to 255, not `x`",
            ),
            (
                RecordType::WKS,
                "\\# 6 C00002010600",
                "the services of WKS must be ports from 0 to 65535 or names like smtp",
            ),
            (RecordType::AXFR, "\\# 0", "AXFR belongs to questions and messages and is never stored"),
        ] {
            assert_eq!(parsed(rtype, text).unwrap_err().to_string(), why, "{rtype} {text}");
        }
        for rewrite in ["!a!b", "!a!b!x", "1a1b1", "iaibi", r"!a\\!b!", r"\\a\\b\\"] {
            let text = format!("1 2 U s {rewrite} .");
            let why = "the regexp of NAPTR must be empty or a rewrite like `!^.*$!sip:info@example.org!`";
            assert_eq!(parsed(RecordType::NAPTR, &text).unwrap_err().to_string(), why, "{text}");
        }
        let long = parsed(RecordType::A, &"x".repeat(1000)).unwrap_err().to_string();
        assert!(long.len() < 120, "{long}");
        assert_eq!(parsed(RecordType::TXT, &"x".repeat(RDATA_TEXT_MAX + 1)), Err(DataError::TooLong));
        assert_eq!(parsed(RecordType::TXT, &"x ".repeat(40_000)), Err(DataError::TooLong));
        assert_eq!(check_data(RecordType(65280), &[0; RDATA_MAX + 1]), Err(DataError::TooLong));
        assert!(parsed(RecordType::HINFO, &format!("a {}", "b".repeat(256))).is_err());
    }

    #[test]
    fn the_largest_data_reads_back() {
        for (rtype, wire) in [
            (RecordType::TXT, [&[255][..], &[b'"'; 255]].concat().repeat(255)),
            (RecordType::TXT, vec![0; RDATA_MAX]),
            (RecordType::URI, [&[0; 4][..], &[b'\\'; RDATA_MAX - 4]].concat()),
            (RecordType(65280), vec![0; RDATA_MAX]),
        ] {
            assert_eq!(parsed(rtype, &present_data(rtype, &wire)), Ok(wire), "{rtype}");
        }
    }

    #[test]
    fn stored_names_are_lower_case_and_whole() {
        assert_eq!(
            check_data(RecordType::NS, b"\x01A\0").unwrap_err().to_string(),
            "the host of NS must be in lower case"
        );
        for wire in [&b"\xc0\x0c"[..], b"\x01a", b"\x01a\xc0\0", b""] {
            assert!(check_data(RecordType::NS, wire).is_err(), "{wire:?}");
            assert!(present_data(RecordType::NS, wire).starts_with("\\# "), "{wire:?}");
        }
    }

    #[test]
    fn where_records_point() {
        for (rtype, text, target) in [
            (RecordType::CNAME, "www", Some("www.example.org.")),
            (RecordType::NS, "a.", Some("a.")),
            (RecordType::MX, "10 mail", Some("mail.example.org.")),
            (RecordType::SRV, "1 2 3 sip", Some("sip.example.org.")),
            (RecordType::PTR, "@", Some("example.org.")),
            (RecordType::DNAME, "b.", Some("b.")),
            (RecordType::MX, "0 .", Some(".")),
            (RecordType::A, "192.0.2.1", None),
            (RecordType::TXT, "www", None),
        ] {
            let found = targets(rtype, &parsed(rtype, text).unwrap());
            assert_eq!(found.map(|name| name.to_string()).as_deref(), target, "{rtype} {text}");
        }
        assert_eq!(targets(RecordType::MX, b"\0"), None);
    }

    fn octets(len: impl Into<proptest::collection::SizeRange>) -> BoxedStrategy<Vec<u8>> {
        prop::collection::vec(any::<u8>(), len).boxed()
    }

    fn string() -> BoxedStrategy<Vec<u8>> {
        octets(0..=255).prop_map(|s| [&[s.len() as u8][..], &s].concat()).boxed()
    }

    fn some_name() -> BoxedStrategy<Vec<u8>> {
        let label = octets(1..=63).prop_map(|l| [vec![l.len() as u8], l.to_ascii_lowercase()].concat());
        prop::collection::vec(label, 0..4).prop_map(|labels| [labels.concat(), vec![0]].concat()).boxed()
    }

    /// Wire that is mostly right for a field, and sometimes not.
    fn some_field(kind: Field) -> BoxedStrategy<Vec<u8>> {
        match kind {
            Field::U8 | Field::Algorithm | Field::Protocol => prop_oneof![Just(vec![3]), octets(1)].boxed(),
            Field::U16 => octets(2),
            Field::U32 | Field::Seconds | Field::V4 => octets(4),
            Field::V6 => octets(16),
            Field::Name => some_name(),
            Field::Text => string(),
            Field::Rewrite => prop_oneof![Just(b"\0".to_vec()), Just(b"\x0c!^(.*)$!\\1!i".to_vec()), string()].boxed(),
            Field::Texts => prop::collection::vec(string(), 0..4).prop_map(|s| s.concat()).boxed(),
            Field::Tag => {
                "[a-zA-Z0-9]{1,20}".prop_map(|tag| [vec![tag.len() as u8], tag.into_bytes()].concat()).boxed()
            }
            Field::Octets(_) | Field::Hex | Field::Base64 => prop_oneof![octets(0..80), octets(20), octets(32)].boxed(),
            Field::SvcParams => prop::collection::btree_map(0u16..9, prop_oneof![octets(0..40), string()], 0..5)
                .prop_map(|params| {
                    let param = |(key, value): (u16, Vec<u8>)| {
                        let value = match key {
                            0 => b"\0\x03".to_vec(),
                            2 => Vec::new(),
                            3 => value.into_iter().chain([0, 1]).take(2).collect(),
                            4 | 6 => value.repeat(16),
                            _ => value,
                        };
                        [&key.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), &value].concat()
                    };
                    params.into_iter().flat_map(param).collect()
                })
                .boxed(),
            Field::Services => prop_oneof![Just(b"\0\0\0\x40".to_vec()), octets(0..20)].boxed(),
            Field::Location => (prop::array::uniform3((1u8..=9, 0u8..=9)), octets(12))
                .prop_map(|(precisions, mut rest)| {
                    (rest[0], rest[4]) = (0x70 | rest[0] & 15, 0x70 | rest[4] & 15);
                    [vec![0], precisions.map(|(digit, power)| digit << 4 | power).to_vec(), rest].concat()
                })
                .boxed(),
        }
    }

    fn some_record() -> BoxedStrategy<(RecordType, Vec<u8>)> {
        let shaped = (0..shape::SHAPES.len()).prop_flat_map(|at| {
            let shape = &shape::SHAPES[at];
            let fields: Vec<_> = shape.fields.iter().map(|(_, kind)| some_field(*kind)).collect();
            fields.prop_map(|fields| (shape.rtype, fields.concat()))
        });
        prop_oneof![20 => shaped, 1 => (any::<u16>().prop_map(RecordType), octets(0..40))].boxed()
    }

    fn reads_back(rtype: RecordType, wire: &[u8]) -> Result<(), TestCaseError> {
        let text = present_data(rtype, wire);
        let _ = targets(rtype, wire);
        if check_data(rtype, wire).is_ok() {
            prop_assert!(text.is_ascii() && text.len() <= RDATA_TEXT_MAX);
            prop_assert_eq!(parse_data(rtype, &text, &origin()), Ok(wire.to_vec()), "{} {}", rtype, text);
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn valid_wire_reads_back((rtype, wire) in some_record()) {
            reads_back(rtype, &wire)?;
        }

        #[test]
        fn damaged_wire_never_panics((rtype, mut wire) in some_record(), at in any::<prop::sample::Index>(), octet in any::<u8>(), cut in any::<bool>()) {
            if !wire.is_empty() {
                let at = at.index(wire.len());
                if cut { wire.truncate(at) } else { wire[at] = octet }
            }
            reads_back(rtype, &wire)?;
        }

        #[test]
        fn any_octets_and_any_text_never_panic(at in 0..shape::SHAPES.len(), wire in octets(0..80), text in any::<String>(), words in "[0-9a-z\"\\\\(). =,;#-]{0,60}") {
            let rtype = shape::SHAPES[at].rtype;
            reads_back(rtype, &wire)?;
            for text in [text, words] {
                if let Ok(wire) = parse_data(rtype, &text, &origin()) {
                    reads_back(rtype, &wire)?;
                }
            }
        }
    }

    /// The property above says nothing if the strategy only made data that is refused.
    #[test]
    fn the_strategy_makes_valid_data_of_every_type() {
        use proptest::strategy::ValueTree;
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let mut valid = std::collections::BTreeSet::new();
        for _ in 0..4000 {
            let (rtype, wire) = some_record().new_tree(&mut runner).unwrap().current();
            if check_data(rtype, &wire).is_ok() {
                valid.insert(rtype);
            }
        }
        for shape in shape::SHAPES {
            assert!(valid.contains(&shape.rtype), "{}", shape.rtype);
        }
    }
}
