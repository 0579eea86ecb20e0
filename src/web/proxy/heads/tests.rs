//! Heads of answers by table: what they mean, and which are none.
use proptest::prelude::*;

use super::*;

fn read(text: &str, bodiless: bool) -> Result<Option<(Head, usize)>, Unsound> {
    head(&Bytes::copy_from_slice(text.as_bytes()), bodiless)
}

fn whole(lines: &str) -> String {
    format!("{}\r\n\r\n", lines.replace('\n', "\r\n"))
}

fn sound(lines: &str, bodiless: bool) -> Head {
    let text = whole(lines);
    let (head, length) = read(&(text.clone() + "body"), bodiless).unwrap().unwrap();
    assert_eq!(length, text.len());
    head
}

/// What the visitor gets of these headers, and how long the upstream says it keeps its connections.
fn given(lines: &str, status: &str) -> (String, Option<u64>) {
    let head = sound(format!("HTTP/1.1 {status}\n{lines}").trim_end(), false);
    let mut lines: Vec<_> =
        head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    (lines.join("\n"), head.kept.map(|kept| kept.as_secs()))
}

#[test]
fn an_answer_loses_what_concerned_its_connection() {
    for (from, to, kept) in [
        ("content-length: 3\ndate: x\nserver: y", "content-length: 3\ndate: x\nserver: y", None),
        ("connection: keep-alive\nkeep-alive: timeout=5, max=100", "", Some(5)),
        ("keep-alive: max=100", "", None),
        ("keep-alive: timeout=-1", "", None),
        ("connection: close, x-inner\nx-inner: 1\nx-outer: 2", "x-outer: 2", None),
        ("x-inner: 1\nconnection: X-Inner", "", None),
        ("connection: content-length\ncontent-length: 3", "content-length: 3", None),
        ("content-length: 3, 3\ncontent-length: 03", "content-length: 3", None),
        ("transfer-encoding: Chunked\ntrailer: x-sum", "trailer: x-sum", None),
        ("upgrade: h2c\nproxy-authenticate: Basic\nproxy-connection: close\nte: x", "", None),
        ("set-cookie: a\nset-cookie: b", "set-cookie: a\nset-cookie: b", None),
        ("x-empty:", "x-empty: ", None),
    ] {
        assert_eq!(given(from, "200 OK"), (to.into(), kept), "{from}");
    }
    let switched = given("connection: Upgrade\nupgrade: websocket\nsec-websocket-accept: x", "101 Switching").0;
    assert_eq!(switched, "connection: upgrade\nsec-websocket-accept: x\nupgrade: websocket");
    assert_eq!(given("content-length: 3", "204 No Content").0, "", "it has no length");
    assert_eq!(given("content-length: 3", "304 Not Modified").0, "content-length: 3", "that of another answer");
}

#[test]
fn where_the_body_ends_and_whether_the_connection_goes_on() {
    for (lines, bodiless, rest, keeps) in [
        ("HTTP/1.1 200 OK\ncontent-length: 3", false, Rest::Length(3), true),
        ("HTTP/1.1 200 OK\ncontent-length: 0", false, Rest::Nothing, true),
        ("HTTP/1.1 200 OK\ncontent-length: 3\nconnection: close", false, Rest::Length(3), false),
        ("HTTP/1.1 200 OK\ncontent-length: 3\nconnection: x, Close", false, Rest::Length(3), false),
        (
            "HTTP/1.1 200 OK\ncontent-length: 3\nconnection: keep-alive\nconnection: close",
            false,
            Rest::Length(3),
            false,
        ),
        ("HTTP/1.1 200 OK\ntransfer-encoding: chunked", false, Rest::chunked(), true),
        ("HTTP/1.1 200 OK", false, Rest::Close, false),
        ("HTTP/1.1 200 OK\nconnection: keep-alive", false, Rest::Close, false),
        ("HTTP/1.0 200 OK", false, Rest::Close, false),
        ("HTTP/1.0 200 OK\ncontent-length: 3", false, Rest::Length(3), false),
        ("HTTP/1.0 200 OK\ncontent-length: 3\nconnection: Keep-Alive", false, Rest::Length(3), true),
        ("HTTP/1.1 200 OK\ncontent-length: 3", true, Rest::Nothing, true),
        ("HTTP/1.1 200 OK\ntransfer-encoding: chunked", true, Rest::Nothing, true),
        ("HTTP/1.1 200 OK", true, Rest::Nothing, true),
        ("HTTP/1.1 204 No Content", false, Rest::Nothing, true),
        ("HTTP/1.1 304 Not Modified\ncontent-length: 3", false, Rest::Nothing, true),
        ("HTTP/1.1 100 Continue", false, Rest::Nothing, true),
        ("HTTP/1.1 101 Switching Protocols\nupgrade: x", false, Rest::Nothing, true),
    ] {
        let head = sound(lines, bodiless);
        assert_eq!((&head.rest, head.keeps), (&rest, keeps), "{lines}");
    }
}

#[test]
fn what_two_programs_could_read_differently_is_no_answer() {
    let ok = |more: &str| whole(&format!("HTTP/1.1 200 OK\n{more}"));
    for (text, unsound) in [
        (ok("content-length: 3\ntransfer-encoding: chunked"), Unsound::Both),
        (ok("transfer-encoding: chunked\ncontent-length: 3"), Unsound::Both),
        (ok("content-length: 3\ncontent-length: 4"), Unsound::Length),
        (ok("content-length: 3, 4"), Unsound::Length),
        (ok("content-length: 3,"), Unsound::Length),
        (ok("content-length:"), Unsound::Length),
        (ok("content-length: +3"), Unsound::Length),
        (ok("content-length: -3"), Unsound::Length),
        (ok("content-length: 0x3"), Unsound::Length),
        (ok("content-length: 3 3"), Unsound::Length),
        (ok("content-length: 99999999999999999999"), Unsound::Length),
        (ok("transfer-encoding: gzip, chunked"), Unsound::Coding),
        (ok("transfer-encoding: identity"), Unsound::Coding),
        (ok("transfer-encoding: chunked, chunked"), Unsound::Coding),
        (ok("transfer-encoding: chunked\ntransfer-encoding: chunked"), Unsound::Coding),
        (ok("transfer-encoding: xchunked"), Unsound::Coding),
        (whole("HTTP/1.0 200 OK\ntransfer-encoding: chunked"), Unsound::Coding),
        (whole("HTTP/1.1 099 Low"), Unsound::Header),
    ] {
        assert_eq!(read(&text, false).unwrap_err(), unsound, "{text:?}");
        assert_eq!(read(&text, true).unwrap_err(), unsound, "{text:?}");
    }
    for text in [
        ok("x: a\n b"),
        ok("x: a\n\tcontent-length: 3"),
        ok(" x: a"),
        ok("x : a"),
        ok("content-length : 3"),
        ok("x"),
        ok(": a"),
        ok("x: a\u{1}b"),
        ok("x: a\0b"),
        "HTTP/1.1 200 OK\r\nx: a\rcontent-length: 3\r\n\r\n".into(),
        "HTTP/1.1 200 OK\rx: a\r\n\r\n".into(),
        "\r\nHTTP/1.1 200 OK\r\n\r\n".into(),
        "\nHTTP/1.1 200 OK\r\n\r\n".into(),
        "HTTP/1.1 2000 OK\r\n\r\n".into(),
        "HTTP/1.1 20 OK\r\n\r\n".into(),
        "HTTP/2.0 200 OK\r\n\r\n".into(),
        "HTTP/1.2 200 OK\r\n\r\n".into(),
        "http/1.1 200 OK\r\n\r\n".into(),
        "SSH-2.0-OpenSSH_9.2\r\n".into(),
        ok(&"x: y\n".repeat(PROXY_HEADERS_MAX + 1)),
    ] {
        assert!(matches!(read(&text, false), Err(Unsound::Head(_))), "{text:?}");
    }
}

#[test]
fn a_head_without_end_is_none() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(PROXY_BUFFER_MAX));
    assert_eq!(read(&long, false).unwrap_err(), Unsound::TooLarge);
    assert_eq!(read(&(long + "\r\n\r\n"), false).unwrap_err(), Unsound::TooLarge);
}

proptest! {
    /// A piece of a head is no head, and is not taken for a broken one.
    #[test]
    fn pieces_of_a_head_wait_for_the_rest(cut in 1_usize..70) {
        let text = whole("HTTP/1.1 200 OK\nserver: x\ncontent-length: 30\nconnection: close");
        let cut = cut.min(text.len() - 1);
        prop_assert!(matches!(read(&text[..cut], false), Ok(None)), "{:?}", &text[..cut]);
    }

    #[test]
    fn any_bytes_are_borne(bytes in prop::collection::vec(any::<u8>(), 0..400), bodiless: bool) {
        let _ = head(&Bytes::from(bytes.clone()), bodiless);
        let _ = head(&Bytes::from([b"HTTP/1.1 200 OK\r\n", &bytes[..]].concat()), bodiless);
    }
}
