//! Service parameters of SVCB and HTTPS (RFC 9460 section 2): text to wire and back. Never follows a target.
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::BASE64;

use crate::rr::field::{Fault, Words, number};
use crate::rr::lexer::{self, Token};

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;
const PORT: u16 = 3;
const IPV4HINT: u16 = 4;
const ECH: u16 = 5;
const IPV6HINT: u16 = 6;
/// Reserved: never a key (section 14.3.2).
const INVALID: u16 = u16::MAX;

const NAMES: &[(u16, &str)] = &[
    (MANDATORY, "mandatory"),
    (ALPN, "alpn"),
    (NO_DEFAULT_ALPN, "no-default-alpn"),
    (PORT, "port"),
    (IPV4HINT, "ipv4hint"),
    (ECH, "ech"),
    (IPV6HINT, "ipv6hint"),
];

/// Reads all words left as parameters; the wire has them in the order of their keys.
pub(super) fn parse(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut params = BTreeMap::new();
    while let Some(Token { head, quoted }) = words.next() {
        let (name, bare) = match head.split_once('=') {
            Some((name, bare)) => (name, Some(bare)),
            None => (head, None),
        };
        let key = key_number(name).ok_or_else(|| Fault::bad("parameters of a known key or `keyNNN`", name))?;
        // The lexer joins a quoted string to a word only after `=`; then nothing may stand between.
        let text = match (bare, quoted) {
            (Some(""), Some(quoted)) => quoted,
            (_, Some(quoted)) => return Err(Fault::bad("parameters like alpn=\"h2\"", quoted)),
            (bare, None) => bare.unwrap_or_default(),
        };
        let known = NAMES.iter().any(|(_, known)| known.eq_ignore_ascii_case(name));
        let bad = || Fault::bad(wants(key), text);
        let octets = lexer::unescape(text).map_err(|_| bad())?;
        let value = if known { value(key, &octets).ok_or_else(bad)? } else { octets };
        if value.len() > usize::from(u16::MAX) {
            return Err(Fault::bad("parameters of at most 65535 octets each", name));
        }
        if params.insert(key, value).is_some() {
            return Err(Fault::bad("parameters with each key once", name));
        }
    }
    for (key, value) in params {
        out.extend(key.to_be_bytes());
        out.extend((value.len() as u16).to_be_bytes()); // checked above
        out.extend(value);
    }
    Ok(())
}

/// Checks wire: keys ascend, each value is right for its key, and they agree with each other.
pub(super) fn check(wire: &[u8]) -> Result<(), Cow<'static, str>> {
    let params = read(wire).ok_or("parameters that end with the data, each a key, a length and a value")?;
    if !params.is_sorted_by(|(left, _), (right, _)| left < right) {
        return Err("in ascending order of their keys, each once".into());
    }
    let has = |wanted: u16| params.binary_search_by_key(&wanted, |(key, _)| *key).is_ok();
    for (key, value) in &params {
        let right = match *key {
            MANDATORY => {
                let (keys, odd) = value.as_chunks::<2>();
                let keys: Vec<u16> = keys.iter().map(|octets| u16::from_be_bytes(*octets)).collect();
                // Section 8: never itself, in ascending order, all present.
                odd.is_empty()
                    && keys.first().is_some_and(|first| *first != MANDATORY)
                    && keys.is_sorted_by(|left, right| left < right)
                    && keys.iter().all(|key| has(*key))
            }
            ALPN => protocols(value).is_some_and(|ids| !ids.is_empty()),
            NO_DEFAULT_ALPN => value.is_empty() && has(ALPN),
            PORT => value.len() == 2,
            IPV4HINT => !value.is_empty() && value.len() % 4 == 0,
            ECH => !value.is_empty(),
            IPV6HINT => !value.is_empty() && value.len() % 16 == 0,
            INVALID => false,
            _ => true,
        };
        if !right {
            return Err(wants(*key).into());
        }
    }
    Ok(())
}

/// Appends the text of parameters that `check` accepted.
pub(super) fn present(wire: &[u8], out: &mut String) {
    for (at, (key, value)) in read(wire).unwrap_or_default().into_iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        push_key(out, key);
        if !value.is_empty() {
            out.push('=');
            push_value(out, key, value);
        }
    }
}

fn push_value(out: &mut String, key: u16, value: &[u8]) {
    match key {
        MANDATORY => push_list(out, value.as_chunks::<2>().0, |out, octets| push_key(out, u16::from_be_bytes(*octets))),
        PORT => push_list(out, value.as_chunks::<2>().0, |out, octets| {
            let _ = write!(out, "{}", u16::from_be_bytes(*octets));
        }),
        IPV4HINT => push_list(out, value.as_chunks::<4>().0, |out, octets| {
            let _ = write!(out, "{}", Ipv4Addr::from(*octets));
        }),
        IPV6HINT => push_list(out, value.as_chunks::<16>().0, |out, octets| {
            let _ = write!(out, "{}", Ipv6Addr::from(*octets));
        }),
        ECH => out.push_str(&BASE64.encode(value)),
        ALPN => {
            // Escaped twice: as an item of a list, then as a string (appendix A.1).
            let mut list = Vec::new();
            for (at, id) in protocols(value).unwrap_or_default().into_iter().enumerate() {
                if at > 0 {
                    list.push(b',');
                }
                for octet in id {
                    if matches!(octet, b',' | b'\\') {
                        list.push(b'\\');
                    }
                    list.push(*octet);
                }
            }
            lexer::quote_into(out, &list);
        }
        _ => lexer::quote_into(out, value),
    }
}

fn push_list<const N: usize>(out: &mut String, items: &[[u8; N]], push: impl Fn(&mut String, &[u8; N])) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push(out, item);
    }
}

fn push_key(out: &mut String, key: u16) {
    match NAMES.iter().find(|(known, _)| *known == key) {
        Some((_, name)) => out.push_str(name),
        None => {
            let _ = write!(out, "key{key}");
        }
    }
}

/// The wire form of a known key's value, from its text with string escapes already read.
fn value(key: u16, text: &[u8]) -> Option<Vec<u8>> {
    if key == ALPN {
        return alpn(text);
    }
    let text = std::str::from_utf8(text).ok()?;
    match key {
        NO_DEFAULT_ALPN => text.is_empty().then(Vec::new),
        PORT => number::<u16>(text, "").ok().map(|port| port.to_be_bytes().to_vec()),
        ECH => BASE64.decode(text.as_bytes()).ok(),
        MANDATORY => {
            let mut keys = text.split(',').map(key_number).collect::<Option<Vec<u16>>>()?;
            keys.sort_unstable(); // any order in text, ascending in wire; `check` finds doubles
            Some(keys.iter().flat_map(|key| key.to_be_bytes()).collect())
        }
        IPV4HINT => {
            let hints = text.split(',').map(|hint| hint.parse::<Ipv4Addr>().ok()).collect::<Option<Vec<_>>>()?;
            Some(hints.iter().flat_map(Ipv4Addr::octets).collect())
        }
        IPV6HINT => {
            let hints = text.split(',').map(|hint| hint.parse::<Ipv6Addr>().ok()).collect::<Option<Vec<_>>>()?;
            Some(hints.iter().flat_map(Ipv6Addr::octets).collect())
        }
        _ => None,
    }
}

/// A comma-separated list whose items write `,` and `\` after a backslash (appendix A.1).
fn alpn(text: &[u8]) -> Option<Vec<u8>> {
    let (mut ids, mut rest) = (vec![Vec::new()], text.iter());
    while let Some(octet) = rest.next() {
        match octet {
            b',' => ids.push(Vec::new()),
            b'\\' => ids.last_mut()?.push(*rest.next().filter(|next| matches!(next, b',' | b'\\'))?),
            _ => ids.last_mut()?.push(*octet),
        }
    }
    let mut wire = Vec::with_capacity(text.len() + 1);
    for id in ids {
        wire.push(u8::try_from(id.len()).ok().filter(|len| *len > 0)?);
        wire.extend(id);
    }
    Some(wire)
}

/// The protocol ids of an alpn value, none of them empty.
fn protocols(mut value: &[u8]) -> Option<Vec<&[u8]>> {
    let mut ids = Vec::new();
    while let Some((len, rest)) = value.split_first() {
        let (id, after) = rest.split_at_checked(usize::from(*len)).filter(|(id, _)| !id.is_empty())?;
        ids.push(id);
        value = after;
    }
    Some(ids)
}

/// Keys and values in wire order.
fn read(mut wire: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let mut params = Vec::new();
    while !wire.is_empty() {
        let ([k0, k1, l0, l1], rest) = wire.split_first_chunk::<4>()?;
        let (value, after) = rest.split_at_checked(usize::from(u16::from_be_bytes([*l0, *l1])))?;
        params.push((u16::from_be_bytes([*k0, *k1]), value));
        wire = after;
    }
    Some(params)
}

fn key_number(name: &str) -> Option<u16> {
    if let Some((key, _)) = NAMES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)) {
        return Some(*key);
    }
    let digits = name.split_at_checked(3).filter(|(prefix, _)| prefix.eq_ignore_ascii_case("key"))?.1;
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    number(digits, "").ok().filter(|key| *key != INVALID && !leading_zero)
}

fn wants(key: u16) -> &'static str {
    match key {
        MANDATORY => "parameters whose `mandatory` lists other keys that are present, each once",
        ALPN => "parameters whose `alpn` is a list of protocols like h2,h3",
        NO_DEFAULT_ALPN => "parameters whose `no-default-alpn` has no value and stands beside `alpn`",
        PORT => "parameters whose `port` is a number from 0 to 65535",
        IPV4HINT => "parameters whose `ipv4hint` is a list of IPv4 addresses",
        ECH => "parameters whose `ech` is base64",
        IPV6HINT => "parameters whose `ipv6hint` is a list of IPv6 addresses",
        INVALID => "parameters without the key 65535, which is reserved",
        _ => "parameters whose escapes are `\\DDD` up to 255 or `\\` and a character",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::new();
        parse(&mut Words::new(lexer::tokens(text).unwrap()), &mut out).map(|()| out)
    }

    #[test]
    fn text_to_wire_and_back() {
        for (text, wire, shown) in [
            ("", &b""[..], ""),
            ("alpn=h2,h3", b"\0\x01\0\x06\x02h2\x02h3", r#"alpn="h2,h3""#),
            ("PORT=443 alpn=\"h2\"", b"\0\x01\0\x03\x02h2\0\x03\0\x02\x01\xbb", r#"alpn="h2" port=443"#),
            ("no-default-alpn alpn=h2", b"\0\x01\0\x03\x02h2\0\x02\0\0", r#"alpn="h2" no-default-alpn"#),
            (
                "ipv4hint=192.0.2.1,192.0.2.2",
                b"\0\x04\0\x08\xc0\0\x02\x01\xc0\0\x02\x02",
                "ipv4hint=192.0.2.1,192.0.2.2",
            ),
            ("ipv6hint=::1", b"\0\x06\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", "ipv6hint=::1"),
            ("ech=AEj+DQ==", b"\0\x05\0\x04\0\x48\xfe\x0d", "ech=AEj+DQ=="),
            (
                "port=1 mandatory=key7,port key7",
                b"\0\0\0\x04\0\x03\0\x07\0\x03\0\x02\0\x01\0\x07\0\0",
                "mandatory=port,key7 port=1 key7",
            ),
            (r"key667=hello\210qoo", b"\x02\x9b\0\x09hello\xd2qoo", r#"key667="hello\210qoo""#),
            (r#"key3="\000\080""#, b"\0\x03\0\x02\0\x50", "port=80"),
            // Appendix D.2: `f\oo,bar` and `h2` in both ways of writing.
            (r#"alpn="f\\\\oo\\,bar,h2""#, b"\0\x01\0\x0c\x08f\\oo,bar\x02h2", r#"alpn="f\\\\oo\\,bar,h2""#),
            (r"alpn=f\\\092oo\092,bar,h2", b"\0\x01\0\x0c\x08f\\oo,bar\x02h2", r#"alpn="f\\\\oo\\,bar,h2""#),
        ] {
            assert_eq!(parsed(text).unwrap(), wire, "{text}");
            assert_eq!(check(wire), Ok(()), "{text}");
            let mut again = String::new();
            present(wire, &mut again);
            assert_eq!(again, shown, "{text}");
            assert_eq!(parsed(&again).unwrap(), wire, "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for text in [
            "alpn",
            "alpn=",
            "alpn=h2,,h3",
            r"alpn=a\\b",
            "port",
            "port=",
            "port=65536",
            "port=+1",
            "port=80 port=80",
            "ipv4hint=",
            "ipv4hint=192.0.2.1,",
            "ipv4hint=::1",
            "ipv6hint=192.0.2.1",
            "ech=x",
            "no-default-alpn=1 alpn=h2",
            "foo=1",
            "key",
            "key01=",
            "key65535=",
            "key65536=",
            "key+7=",
            "\"alpn\"",
            "=1",
            "alpn=x=\"h2\"",
            r"key7=\256",
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
        for text in ["no-default-alpn", "ech", "mandatory=mandatory", "mandatory=port", "port=1 mandatory=port,port"] {
            let wire = parsed(text).unwrap();
            assert!(check(&wire).is_err(), "{text}");
        }
        for wire in [
            &b"\0"[..],
            b"\0\x03\0\x02\0",
            b"\0\x03\0\x03\0\0\0",
            b"\0\x07\0\0\0\x07\0\0",
            b"\0\x08\0\0\0\x07\0\0",
            b"\0\x01\0\x02\x02h",
            b"\0\0\0\0",
            b"\0\0\0\x01\0",
            b"\xff\xff\0\0",
        ] {
            assert!(check(wire).is_err(), "{wire:?}");
        }
    }
}
