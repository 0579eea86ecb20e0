//! Cuts the presentation form of record data into tokens and reads escapes (RFC 1035 section 5.1). Never knows a type.

/// One word of a value: `head` alone, a quoted string alone, or both joined as in `alpn="h2"`. Escapes are still in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) head: &'a str,
    pub(super) quoted: Option<&'a str>,
}

/// Why a text cannot be cut into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LexError {
    #[error("a quote is never closed")]
    OpenQuote,
    #[error("a quote stands in the middle of a word: write it as `\\\"`")]
    InnerQuote,
    #[error("parentheses do not pair up")]
    Parentheses,
    // A zone file would take the rest as a comment: a DKIM key pasted without quotes would be cut without a word.
    #[error("a `;` stands outside quotes: put the text in quotes, or write `\\;`")]
    Semicolon,
    #[error("a control character must be written as `\\DDD`")]
    Control,
}

/// All tokens of `text`. Parentheses only group lines, so they and line ends count as white space.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, LexError> {
    let bytes = text.as_bytes();
    let (mut found, mut depth, mut at) = (Vec::new(), 0usize, 0);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            b'(' => (depth, at) = (depth + 1, at + 1),
            b')' => (depth, at) = (depth.checked_sub(1).ok_or(LexError::Parentheses)?, at + 1),
            _ => {
                let start = at;
                at = word_end(bytes, at)?;
                let head = &text[start..at];
                let quoted = if bytes.get(at) == Some(&b'"') {
                    if !(head.is_empty() || head.ends_with('=')) {
                        return Err(LexError::InnerQuote);
                    }
                    let close = quote_end(bytes, at + 1)?;
                    let inner = &text[at + 1..close];
                    at = close + 1;
                    Some(inner)
                } else {
                    None
                };
                found.push(Token { head, quoted });
            }
        }
    }
    if depth == 0 { Ok(found) } else { Err(LexError::Parentheses) }
}

/// Where the bare word starting at `at` ends: before white space, a parenthesis or a quote.
fn word_end(bytes: &[u8], mut at: usize) -> Result<usize, LexError> {
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b'(' | b')' | b'"' => break,
            b';' => return Err(LexError::Semicolon),
            b'\\' => at += 1 + escaped_len(bytes, at)?,
            _ if byte.is_ascii_control() => return Err(LexError::Control),
            _ => at += 1,
        }
    }
    Ok(at)
}

/// Where the quote opened before `at` closes.
fn quote_end(bytes: &[u8], mut at: usize) -> Result<usize, LexError> {
    loop {
        match bytes.get(at) {
            None => return Err(LexError::OpenQuote),
            Some(b'"') => return Ok(at),
            Some(b'\\') => at += 1 + escaped_len(bytes, at)?,
            Some(byte) if byte.is_ascii_control() && *byte != b'\t' => return Err(LexError::Control),
            Some(_) => at += 1,
        }
    }
}

/// Octets after the backslash at `at` that cannot end a word: one, or none at the end of the text.
fn escaped_len(bytes: &[u8], at: usize) -> Result<usize, LexError> {
    match bytes.get(at + 1) {
        Some(byte) if byte.is_ascii_control() => Err(LexError::Control),
        next => Ok(usize::from(next.is_some())),
    }
}

/// A backslash without a character, or with three digits above 255, after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadEscape;

/// The octets a text stands for, each with whether it was escaped.
pub(super) fn octets(text: &str) -> impl Iterator<Item = Result<(u8, bool), BadEscape>> + '_ {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (item, left) = match rest {
            [] => return None,
            [b'\\', digits @ ..] if digits.first().is_some_and(u8::is_ascii_digit) => match digits {
                [a, b, c, left @ ..] if b.is_ascii_digit() && c.is_ascii_digit() => {
                    let value = [a, b, c].iter().fold(0u16, |sum, digit| sum * 10 + u16::from(**digit - b'0'));
                    (u8::try_from(value).map(|octet| (octet, true)).map_err(|_| BadEscape), left)
                }
                _ => (Err(BadEscape), &rest[rest.len()..]),
            },
            [b'\\', octet, left @ ..] => (Ok((*octet, true)), left),
            [b'\\'] => (Err(BadEscape), &rest[1..]),
            [octet, left @ ..] => (Ok((*octet, false)), left),
        };
        rest = left;
        Some(item)
    })
}

/// The octets a text stands for.
pub(super) fn unescape(text: &str) -> Result<Vec<u8>, BadEscape> {
    octets(text).map(|item| item.map(|(octet, _)| octet)).collect()
}

/// Appends `octets` as text: `special` ones after a backslash, what is not printable ASCII (or a space, if `special` has it) as `\DDD`.
pub(super) fn escape_into(out: &mut String, octets: &[u8], special: &[u8]) {
    for &octet in octets {
        if special.contains(&octet) && octet != b' ' {
            out.push('\\');
            out.push(char::from(octet));
        } else if octet.is_ascii_graphic() || (octet == b' ' && !special.contains(&b' ')) {
            out.push(char::from(octet));
        } else {
            out.push_str(&format!("\\{octet:03}"));
        }
    }
}

/// Appends `octets` as a quoted string.
pub(super) fn quote_into(out: &mut String, octets: &[u8]) {
    out.push('"');
    escape_into(out, octets, b"\"\\");
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<(&str, Option<&str>)> {
        tokens(text).unwrap().into_iter().map(|token| (token.head, token.quoted)).collect()
    }

    #[test]
    fn words_quotes_and_groups() {
        assert_eq!(shown(" 10  mail "), [("10", None), ("mail", None)]);
        assert_eq!(shown("\"a b\"\"\" c"), [("", Some("a b")), ("", Some("")), ("c", None)]);
        assert_eq!(shown("1 . alpn=\"h2,h3\" x="), [("1", None), (".", None), ("alpn=", Some("h2,h3")), ("x=", None)]);
        assert_eq!(shown("a (b\n c) d"), [("a", None), ("b", None), ("c", None), ("d", None)]);
        assert_eq!(shown(r#"a\ b \" "\"" \("#), [(r"a\ b", None), (r#"\""#, None), ("", Some(r#"\""#)), (r"\(", None)]);
        assert_eq!(shown("é\\é \"ü\" \\"), [("é\\é", None), ("", Some("ü")), ("\\", None)]);
        assert_eq!(shown(""), []);
    }

    #[test]
    fn what_cannot_be_cut() {
        for (text, error) in [
            ("\"a", LexError::OpenQuote),
            ("\"a\\\"", LexError::OpenQuote),
            ("\"a\\", LexError::OpenQuote),
            ("a\"b\"", LexError::InnerQuote),
            ("(a", LexError::Parentheses),
            ("a)", LexError::Parentheses),
            ("v=DKIM1; k=rsa", LexError::Semicolon),
            ("\"a\nb\"", LexError::Control),
            ("a\\\nb", LexError::Control),
            ("a\0", LexError::Control),
        ] {
            assert_eq!(tokens(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn escapes_read_back() {
        assert_eq!(unescape(r"a\.\065\\\255"), Ok(b"a.A\\\xff".to_vec()));
        for bad in [r"\", r"\256", r"\1", r"\12", r"\1x3", r"a\99"] {
            assert_eq!(unescape(bad), Err(BadEscape), "{bad}");
        }
        let all: Vec<u8> = (0..=255).collect();
        for special in [&b"\"\\"[..], b"\\", b"\\ .;"] {
            let mut text = String::new();
            escape_into(&mut text, &all, special);
            assert!(text.is_ascii());
            assert_eq!(unescape(&text).unwrap(), all);
        }
    }
}
