//! One line of an access log in the combined format, as bytes. Pure. Whatever a visitor sends, it stays inside its field: no
//! line can be forged, no terminal steered.
use http::header::{HeaderMap, HeaderName, REFERER, USER_AGENT};
use http::request::Parts;
use http::{StatusCode, Version};

use crate::base::limits::WEB_LOG_FIELD_MAX;

/// What a line says beside the head of the request and the bytes sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said<'a> {
    pub(crate) peer: &'a str,
    pub(crate) user: Option<&'a str>,
    /// As `22/Nov/2026:06:12:59 +0000`.
    pub(crate) date: &'a str,
    pub(crate) status: StatusCode,
}

/// All up to the bytes sent.
pub(crate) fn begin(out: &mut Vec<u8>, said: &Said<'_>, parts: &Parts) {
    out.extend_from_slice(said.peer.as_bytes());
    out.extend_from_slice(b" - ");
    match said.user {
        Some(user) => escape(out, user.as_bytes(), true),
        None => out.push(b'-'),
    }
    out.extend_from_slice(b" [");
    out.extend_from_slice(said.date.as_bytes());
    out.extend_from_slice(b"] \"");
    escape(out, parts.method.as_str().as_bytes(), true);
    out.push(b' ');
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    escape(out, target.as_bytes(), true);
    out.extend_from_slice(match parts.version {
        Version::HTTP_10 => b" HTTP/1.0\" ",
        Version::HTTP_2 => b" HTTP/2.0\" ",
        _ => b" HTTP/1.1\" ",
    });
    out.extend_from_slice(said.status.as_str().as_bytes());
    out.push(b' ');
}

/// All after the bytes sent.
pub(crate) fn end(out: &mut Vec<u8>, headers: &HeaderMap) {
    for name in [REFERER, USER_AGENT] {
        out.extend_from_slice(b" \"");
        quoted(out, headers, &name);
        out.push(b'"');
    }
    out.push(b'\n');
}

fn quoted(out: &mut Vec<u8>, headers: &HeaderMap, name: &HeaderName) {
    match headers.get(name) {
        Some(value) => escape(out, value.as_bytes(), false),
        None => out.push(b'-'),
    }
}

/// Printable ASCII as it is, the rest as `\xHH`; `word`: a space would end the field.
fn escape(out: &mut Vec<u8>, bytes: &[u8], word: bool) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let cut = &bytes[..bytes.len().min(WEB_LOG_FIELD_MAX)];
    let plain = |byte: u8| matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'\\') || byte == b' ' && !word;
    if cut.iter().all(|byte| plain(*byte)) {
        out.extend_from_slice(cut);
    } else {
        for byte in cut {
            match *byte {
                byte if plain(byte) => out.push(byte),
                byte => out.extend([b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
            }
        }
    }
    if cut.len() < bytes.len() {
        out.extend_from_slice(b"...");
    }
}

/// Decimal digits, without the machinery of formatting.
pub(crate) fn number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        // Below ten.
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
pub(crate) mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    pub(crate) const DATE: &str = "22/Nov/2026:06:12:59 +0000";

    fn line(user: Option<&str>, parts: &Parts) -> String {
        let said = Said { peer: "192.0.2.1", user, date: DATE, status: StatusCode::OK };
        let mut out = Vec::new();
        begin(&mut out, &said, parts);
        number(&mut out, 42);
        end(&mut out, &parts.headers);
        String::from_utf8(out).unwrap()
    }

    fn head(uri: &str, headers: &[(HeaderName, &[u8])]) -> Parts {
        let mut request = Request::builder().uri(uri).version(Version::HTTP_2);
        for (name, value) in headers {
            request = request.header(name, HeaderValue::from_bytes(value).unwrap());
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_combined_format() {
        let parts =
            head("https://a.example/x?y=1", &[(REFERER, b"https://b.example/"), (USER_AGENT, b"curl/7.88 (x)")]);
        let expected = format!(
            "192.0.2.1 - ada [{DATE}] \"GET /x?y=1 HTTP/2.0\" 200 42 \"https://b.example/\" \"curl/7.88 (x)\"\n"
        );
        assert_eq!(line(Some("ada"), &parts), expected);
        let expected = format!("192.0.2.1 - - [{DATE}] \"GET / HTTP/2.0\" 200 42 \"-\" \"-\"\n");
        assert_eq!(line(None, &head("/", &[])), expected);
    }

    #[test]
    fn nobody_forges_a_line() {
        let agent = "x\" 200 0\t\\é\"".as_bytes();
        let shown = line(Some("a b\n\"\u{1b}c"), &head("/a\"b?\\c", &[(USER_AGENT, agent)]));
        assert!(shown.contains(" - a\\x20b\\x0a\\x22\\x1bc ["), "{shown}");
        assert!(shown.contains("\"GET /a\\x22b?\\x5cc HTTP/2.0\""), "{shown}");
        assert!(shown.ends_with("\"x\\x22 200 0\\x09\\x5c\\xc3\\xa9\\x22\"\n"), "{shown}");
        let long = vec![b'a'; 2 * WEB_LOG_FIELD_MAX];
        let shown = line(None, &head("/", &[(REFERER, &long)]));
        assert!(shown.len() < WEB_LOG_FIELD_MAX + 200 && shown.contains("aaa...\" \"-\""), "{}", shown.len());
    }

    #[test]
    fn numbers() {
        for value in [0, 9, 10, 1_234_567_890, u64::MAX] {
            let mut out = Vec::new();
            number(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }

    proptest::proptest! {
        /// One line, all printable, with the six quotes of three fields.
        #[test]
        fn always_one_line(user: Option<String>, agent in proptest::collection::vec(0x20u8..=0xff, 0..40), rest in "\\PC{0,20}") {
            let agent: Vec<u8> = agent.into_iter().filter(|byte| *byte != 0x7f).collect();
            let uri: String = format!("/{rest}").chars().filter(|c| c.is_ascii_graphic() && !"<>\\^`{}|#\"".contains(*c)).collect();
            let shown = line(user.as_deref(), &head(&uri, &[(USER_AGENT, &agent)]));
            let body = shown.strip_suffix('\n').unwrap();
            proptest::prop_assert!(body.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{}", body);
            proptest::prop_assert_eq!(body.matches('"').count(), 6);
        }
    }
}
