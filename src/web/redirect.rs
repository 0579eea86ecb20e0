//! Where a redirect leads: text from text. The host is always one we were told by an administrator, never the visitor's word.
use http::{Method, StatusCode};

use crate::base::names::Host;

/// For good, and with the method kept where that matters: 301 is what every client knows for GET, but turns POST into it.
pub(crate) fn permanent(method: &Method) -> StatusCode {
    if matches!(*method, Method::GET | Method::HEAD) {
        StatusCode::MOVED_PERMANENTLY
    } else {
        StatusCode::PERMANENT_REDIRECT
    }
}

/// The same path and query, byte for byte, at this host over HTTPS. The target begins with a slash.
pub(crate) fn to_host(host: &Host, port: u16, target: &str) -> String {
    match port {
        443 => format!("https://{host}{target}"),
        port => format!("https://{host}:{port}{target}"),
    }
}

/// A redirecting site's target. One without a path (`https://example.org`) keeps the path and query that were asked for;
/// one with a path, if only `/`, is where everybody lands.
pub(crate) fn to_url(to: &str, target: &str) -> String {
    let rest = to.split_once("://").map_or(to, |(_, rest)| rest);
    if rest.contains(['/', '?', '#']) { to.to_owned() } else { format!("{to}{target}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_with_a_path_is_the_whole_target() {
        for (to, target, location) in [
            ("https://b.example", "/x?y=%2f", "https://b.example/x?y=%2f"),
            ("https://b.example:8443", "//evil.example/", "https://b.example:8443//evil.example/"),
            ("https://b.example/", "/x", "https://b.example/"),
            ("https://b.example/new", "/x?y", "https://b.example/new"),
            ("https://b.example?page=1", "/x", "https://b.example?page=1"),
            ("http://b.example#part", "/x", "http://b.example#part"),
        ] {
            assert_eq!(to_url(to, target), location);
        }
    }
}
