//! Which host a request is for: exactly one, well formed, in the one form hosts are kept in. Pure. Never looks a host up.
use http::header::HOST;
use http::{HeaderMap, Uri, Version};

use crate::base::names::Host;

/// The host a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    Host(Host),
    /// Well formed, but no name a site can have, such as an address.
    Other,
    /// None, as HTTP/1.0 allows.
    None,
}

/// A request that names no host, several, or something that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The host of a request. In HTTP/1 the Host field stands once whatever the target says, and a target in absolute form
/// decides (RFC 9112 section 3.2); in HTTP/2 `:authority` decides and Host may only repeat it (RFC 9113 section 8.3.1).
pub(crate) fn named(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<Named, Malformed> {
    let mut fields = headers.get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Malformed);
    }
    let field = field.map(|value| value.to_str().map_err(|_| Malformed).and_then(read)).transpose()?;
    let target = match uri.authority() {
        Some(_) if !matches!(uri.scheme_str(), Some("http" | "https")) => return Err(Malformed),
        Some(authority) => Some(read(authority.as_str())?),
        None => None,
    };
    match (target, field) {
        (Some(target), Some(field)) if version >= Version::HTTP_2 && target != field => Err(Malformed),
        (Some(_), None) if version == Version::HTTP_11 => Err(Malformed),
        (Some(named), _) | (None, Some(named)) => Ok(named),
        (None, None) if version < Version::HTTP_11 => Ok(Named::None),
        (None, None) => Err(Malformed),
    }
}

/// `host` or `host:port`; the port is of no interest, a user name is refused.
fn read(text: &str) -> Result<Named, Malformed> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(Malformed)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| Malformed)?;
            (None, port.strip_prefix(':').map_or(if port.is_empty() { Ok("") } else { Err(Malformed) }, Ok)?)
        }
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, ""));
            (Some(host), port)
        }
    };
    if port.len() > 5 || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Malformed);
    }
    let Some(host) = host else { return Ok(Named::Other) };
    if let Ok(host) = Host::parse(host) {
        return Ok(Named::Host(host));
    }
    // The characters of a registered name (RFC 3986 section 3.2.2), but for `%`: nobody writes a host with it in good faith.
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte);
    if !host.is_empty() && host.bytes().all(sound) { Ok(Named::Other) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(version: Version, uri: &str, hosts: &[&[u8]]) -> Result<Named, Malformed> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_bytes(host).unwrap());
        }
        named(version, &uri.parse().unwrap(), &headers)
    }

    fn host(text: &str) -> Result<Named, Malformed> {
        Ok(Named::Host(Host::parse(text).unwrap()))
    }

    #[test]
    fn one_sound_host_is_named() {
        let h1 = |value: &str| of(Version::HTTP_11, "/", &[value.as_bytes()]);
        for value in
            ["example.org", "EXAMPLE.org", "example.org.", "example.org:443", "example.org:", "Example.Org.:8443"]
        {
            assert_eq!(h1(value), host("example.org"), "{value}");
        }
        assert_eq!(h1("XN--Bcher-kva.example"), host("xn--bcher-kva.example"));
        for value in [
            "192.0.2.1",
            "192.0.2.1:80",
            "[2001:db8::1]",
            "[2001:db8::1]:443",
            "a_b.example",
            "-.example",
            "example.org..",
        ] {
            assert_eq!(h1(value), Ok(Named::Other), "{value}");
        }
        for value in [
            "",
            " ",
            ":80",
            "a b",
            "user@example.org",
            "example.org:80:80",
            "example.org:http",
            "example.org:123456",
            "[::1",
            "[::1]x",
            "[example.org]",
            "example.org/",
            "example.org?x",
            "example.org#x",
            "ex%61mple.org",
            "a\\b",
            "a,b.example/x",
        ] {
            assert_eq!(h1(value), Err(Malformed), "{value}");
        }
        assert_eq!(of(Version::HTTP_11, "/", &["bücher.example".as_bytes()]), Err(Malformed));
        assert_eq!(h1(&"a".repeat(64)), Ok(Named::Other));
    }

    #[test]
    fn it_stands_once_and_the_target_decides() {
        let (v10, v11, v2) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
        assert_eq!(of(v11, "/", &[]), Err(Malformed));
        assert_eq!(of(v11, "/", &[b"a.example", b"a.example"]), Err(Malformed));
        assert_eq!(of(v10, "/", &[]), Ok(Named::None));
        assert_eq!(of(v10, "/", &[b"a.example"]), host("a.example"));
        assert_eq!(of(v11, "http://a.example/x", &[b"b.example"]), host("a.example"));
        assert_eq!(of(v11, "http://a.example/x", &[b"b/c"]), Err(Malformed));
        assert_eq!(of(v11, "http://a.example/x", &[]), Err(Malformed));
        assert_eq!(of(v11, "ftp://a.example/x", &[b"a.example"]), Err(Malformed));
        assert_eq!(of(v11, "a.example", &[b"a.example"]), Err(Malformed));
        assert_eq!(of(v2, "https://A.example/x", &[]), host("a.example"));
        assert_eq!(of(v2, "https://a.example/x", &[b"a.example:443"]), host("a.example"));
        assert_eq!(of(v2, "https://a.example/x", &[b"b.example"]), Err(Malformed));
        assert_eq!(of(v2, "/x", &[b"a.example"]), host("a.example"));
        assert_eq!(of(v2, "https://u@a.example/x", &[]), Err(Malformed));
        assert_eq!(of(v2, "/x", &[]), Err(Malformed));
    }
}
