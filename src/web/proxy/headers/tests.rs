//! What an upstream is told and what a visitor gets, by table. Without a network.
use http::Request;

use super::*;

fn asked(lines: &str) -> Parts {
    let mut lines = lines.lines().map(str::trim);
    let mut first = lines.next().unwrap().split(' ');
    let mut request = Request::builder().method(first.next().unwrap()).uri(first.next().unwrap());
    request = request.version(if first.next() == Some("2") { Version::HTTP_2 } else { Version::HTTP_11 });
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    request.body(()).unwrap().into_parts().0
}

/// The lines the upstream gets.
fn lines(parts: &Parts, visitor: &Told, framing: Framing) -> Vec<String> {
    let mut out = Vec::new();
    request(&mut out, parts, &Wishes::of(parts), visitor, &Mark::of(NodeId(7)), framing, "one.example");
    let text = String::from_utf8(out).unwrap();
    let text = text.strip_suffix("\r\n\r\n").expect("an empty line ends it");
    text.split("\r\n").map(str::to_owned).collect()
}

/// The headers the upstream gets, one a line, sorted, without those that every request gets.
fn told(text: &str, framing: Framing) -> String {
    let visitor = Told::new("192.0.2.7".parse().unwrap(), true);
    let mut lines = lines(&asked(text), &visitor, framing);
    let first = lines.remove(0);
    assert!(first.ends_with(" HTTP/1.1") && first.split(' ').count() == 3, "{first}");
    let host = lines[0].strip_prefix("host: ").expect("the host comes first").to_owned();
    for (name, value) in [
        ("x-forwarded-for", "192.0.2.7"),
        ("x-real-ip", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", host.as_str()),
    ] {
        let all: Vec<_> = lines.iter().filter(|line| line.starts_with(&format!("{name}: "))).collect();
        assert_eq!(all, [&format!("{name}: {value}")]);
    }
    let usual = ["x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-host"];
    lines.retain(|line| !usual.contains(&line.split(": ").next().unwrap()));
    lines.retain(|line| !line.starts_with("cdn-loop: ruche-") && !line.starts_with("forwarded: for=192.0.2.7;host="));
    lines.sort();
    lines.join("\n")
}

#[test]
fn what_concerns_the_connection_or_lies_about_the_visitor_stays_behind() {
    let get = |more: &str| told(&format!("GET /x HTTP/1.1\nhost: one.example:8443\n{more}"), Framing::Absent);
    let bare = "host: one.example:8443";
    for kept in ["accept: */*", "authorization: Basic eDp5", "range: bytes=0-1", "x-custom_name: y", "cookie: a=b"] {
        let mut lines = [bare, kept];
        lines.sort_unstable();
        assert_eq!(get(kept), lines.join("\n"));
    }
    for dropped in [
        "connection: keep-alive",
        "connection: close",
        "connection: x-secret, close\nx-secret: 1",
        "connection: x-one\nconnection: x-two\nx-one: 1\nx-two: 2",
        "connection: host",
        "connection: cookie\ncookie: a=b",
        "connection: x-forwarded-for, x-real-ip, forwarded, cdn-loop",
        "keep-alive: timeout=5",
        "proxy-connection: keep-alive",
        "te: gzip",
        "transfer-encoding: chunked",
        "content-length: 7",
        "upgrade: websocket",
        "connection: upgrade\nupgrade: h2c\nhttp2-settings: AAMAAABk",
        "connection: upgrade\nupgrade: websocket, H2C",
        "expect: 100-continue",
        "expect: something-else",
        "proxy: http://evil.example",
        "proxy-authorization: Basic eDp5",
        "forwarded: for=10.0.0.1",
        "x-forwarded-for: 10.0.0.1",
        "x-forwarded-for: 10.0.0.1\nx-forwarded-for: 10.0.0.2",
        "x-forwarded-host: evil.example",
        "x-forwarded-proto: http",
        "x-forwarded-port: 80",
        "x-forwarded-anything: at-all",
        "x_forwarded_for: 10.0.0.1",
        "x-forwarded_for: 10.0.0.1",
        "x_real-ip: 10.0.0.1",
        "content_length: 7",
        "transfer_encoding: chunked",
        "x-real-ip: 10.0.0.1",
        "true-client-ip: 10.0.0.1",
        "x-original-url: /admin",
        "x-rewrite-url: /admin",
    ] {
        assert_eq!(get(dropped), bare, "{dropped}");
    }
}

#[test]
fn upgrades_trailers_and_bodies_are_said_anew() {
    let post = |more: &str, framing| told(&format!("POST /x HTTP/1.1\nhost: one.example\n{more}"), framing);
    let host = "host: one.example";
    for (asked, framing, expected) in [
        ("te: trailers", Framing::Absent, "connection: te\nhost: one.example\nte: trailers"),
        ("te: gzip, TRAILERS;q=1", Framing::Absent, host),
        (
            "connection: Upgrade\nupgrade: websocket",
            Framing::Absent,
            "connection: upgrade\nhost: one.example\nupgrade: websocket",
        ),
        ("expect: 100-Continue", Framing::Length(7), "content-length: 7\nexpect: 100-continue\nhost: one.example"),
        ("content-length: 9", Framing::Length(7), "content-length: 7\nhost: one.example"),
        ("content-length: 9", Framing::Chunked, "host: one.example\ntransfer-encoding: chunked"),
        ("trailer: x-sum", Framing::Chunked, "host: one.example\ntrailer: x-sum\ntransfer-encoding: chunked"),
    ] {
        assert_eq!(post(asked, framing), expected, "{asked}");
    }
}

#[test]
fn http_2_has_its_host_in_the_target_and_its_cookies_in_crumbs() {
    let parts = "GET https://One.example:8443/x 2\ncookie: a=b\naccept: */*\ncookie: c=d\nexpect: 100-continue";
    assert_eq!(
        told(parts, Framing::Length(1)),
        "accept: */*\ncontent-length: 1\ncookie: a=b; c=d\nhost: One.example:8443"
    );
    assert_eq!(told("GET / HTTP/1.1", Framing::Absent), "host: one.example", "HTTP/1.0 may name none");
    assert_eq!(told("GET http://two.example/ HTTP/1.1\nhost: one.example", Framing::Absent), "host: two.example");
}

#[test]
fn the_target_is_path_and_query() {
    let visitor = Told::new("192.0.2.7".parse().unwrap(), true);
    for (uri, target) in [
        ("/", "/"),
        ("/a%20b?c=d&e=%2f", "/a%20b?c=d&e=%2f"),
        ("//x/", "//x/"),
        ("http://one.example", "/"),
        ("http://one.example/x", "/x"),
        ("http://one.example?x", "/?x"),
    ] {
        let parts = asked(&format!("PURGE {uri} HTTP/1.1\nhost: one.example"));
        assert_eq!(lines(&parts, &visitor, Framing::Absent)[0], format!("PURGE {target} HTTP/1.1"), "{uri}");
    }
}

#[test]
fn the_visitor_is_named_as_we_know_it() {
    for (address, host, expected) in [
        ("192.0.2.7", "one.example", "for=192.0.2.7;host=one.example;proto=https"),
        ("::ffff:192.0.2.7", "one.example", "for=192.0.2.7;host=one.example;proto=https"),
        ("2001:db8::7", "one.example:8443", "for=\"[2001:db8::7]\";host=\"one.example:8443\";proto=https"),
    ] {
        let parts = asked(&format!("GET / HTTP/1.1\nhost: {host}"));
        let lines = lines(&parts, &Told::new(address.parse().unwrap(), true), Framing::Absent);
        assert!(lines.contains(&format!("forwarded: {expected}")), "{lines:?}");
    }
}

#[test]
fn a_request_that_was_here_already_is_known() {
    let mark = Mark::of(NodeId(7));
    let own = mark.0.to_str().unwrap();
    let visitor = Told::new("192.0.2.7".parse().unwrap(), true);
    for (line, is_loop) in [
        (format!("cdn-loop: {own}"), true),
        (format!("cdn-loop: other, {own};v=1"), true),
        (format!("cdn-loop: other\ncdn-loop: {own}"), true),
        (format!("cdn-loop: {own}0"), false),
        ("cdn-loop: other".into(), false),
    ] {
        let parts = asked(&format!("GET / HTTP/1.1\nhost: one.example\n{line}"));
        assert_eq!(mark.is_on(&parts.headers), is_loop, "{line}");
        let lines = lines(&parts, &visitor, Framing::Absent);
        assert_eq!(lines.last(), Some(&format!("cdn-loop: {own}")), "it goes on with our mark");
    }
}

#[test]
fn trailers_say_nothing_that_counts_before_them() {
    for (name, may) in [
        ("x-sum", true),
        ("grpc-status", true),
        ("content-length", false),
        ("content_length", false),
        ("transfer-encoding", false),
        ("host", false),
        ("x-forwarded-for", false),
        ("authorization", false),
        ("cookie", false),
        ("set-cookie", false),
    ] {
        assert_eq!(is_for_trailers(&HeaderName::from_static(name)), may, "{name}");
    }
}
