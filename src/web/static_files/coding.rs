//! Which coding of a file a client takes (RFC 9110 section 12.5.3), and which files have others beside them. Pure.
use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// One that may lie beside a file, compressed before anybody asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Coding {
    /// As it stands in the header.
    pub(crate) name: &'static str,
    /// What the file's name ends with.
    pub(crate) ending: &'static str,
}

/// In our order, where a client has none.
pub(crate) const CODINGS: [Coding; 3] = [
    Coding { name: "br", ending: ".br" },
    Coding { name: "zstd", ending: ".zst" },
    Coding { name: "gzip", ending: ".gz" },
];

/// Those a client takes, what it wants most first. It always takes the file as it is, which comes last unless it says that it
/// wants that more.
pub(crate) fn wanted(headers: &HeaderMap) -> Vec<Coding> {
    let lines = || headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    let weight = |name: &str| {
        let named = |wanted: &str| {
            let entries = lines().flat_map(|line| line.split(',')).filter_map(entry);
            entries.filter(|(entry, _)| entry.eq_ignore_ascii_case(wanted)).map(|(_, weight)| weight).next_back()
        };
        named(name).or_else(|| (name == "gzip").then(|| named("x-gzip")).flatten()).or_else(|| named("*"))
    };
    let plain = lines().flat_map(|line| line.split(',')).filter_map(entry);
    let plain = plain.filter(|(name, _)| name.eq_ignore_ascii_case("identity")).map(|(_, weight)| weight).next_back();
    let mut taken: Vec<(u16, Coding)> = CODINGS
        .into_iter()
        .filter_map(|coding| Some((weight(coding.name).filter(|weight| *weight > plain.unwrap_or(0))?, coding)))
        .collect();
    taken.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    taken.into_iter().map(|(_, coding)| coding).collect()
}

/// A coding and its weight in thousandths; what cannot be read is not wanted.
fn entry(text: &str) -> Option<(&str, u16)> {
    let (name, rest) = text.split_once(';').unwrap_or((text, ""));
    let rest = rest.trim();
    let weight = match rest.strip_prefix("q=").or_else(|| rest.strip_prefix("Q=")) {
        None if rest.is_empty() => 1000,
        None => return None,
        Some(weight) => thousandths(weight.trim())?,
    };
    Some((name.trim(), weight))
}

fn thousandths(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if !matches!(whole, "0" | "1") || part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part: u16 = format!("{part:0<3}").parse().ok()?;
    Some((if whole == "1" { 1000 } else { 0 } + part).min(1000))
}

/// Whether anybody compresses files of this type: pictures and archives are so already.
pub(crate) fn is_worth_it(content_type: &str) -> bool {
    let known = [
        "application/javascript",
        "application/json",
        "application/wasm",
        "application/xml",
        "application/manifest+json",
    ];
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.starts_with("text/")
        || kind.ends_with("+xml")
        || kind.ends_with("+json")
        || known.contains(&kind)
        || kind.starts_with("font/")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn ask(lines: &[&str]) -> Vec<&'static str> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_str(line).unwrap());
        }
        wanted(&headers).iter().map(|coding| coding.name).collect()
    }

    #[test]
    fn what_a_client_takes() {
        for (lines, expected) in [
            (&[][..], &[][..]),
            (&[""], &[]),
            (&["gzip, deflate, br, zstd"], &["br", "zstd", "gzip"]),
            (&["gzip", "br"], &["br", "gzip"]),
            (&["GZIP;Q=1.0, br;q=0.5"], &["gzip", "br"]),
            (&["gzip;q=0.001, br;q=0"], &["gzip"]),
            (&["*"], &["br", "zstd", "gzip"]),
            (&["*;q=0.2, zstd;q=0"], &["br", "gzip"]),
            (&["x-gzip"], &["gzip"]),
            (&["identity, gzip;q=0.5"], &[]),
            (&["identity;q=0.5, gzip"], &["gzip"]),
            (&["gzip;q=2, br;q=x, zstd;q=0.1234"], &[]),
            (&["gzip;level=9"], &[]),
            (&["deflate"], &[]),
        ] {
            assert_eq!(ask(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn types_that_shrink() {
        for kind in ["text/html", "text/css; charset=utf-8", "text/javascript", "application/json", "image/svg+xml"] {
            assert!(is_worth_it(kind), "{kind}");
        }
        for kind in ["image/png", "application/zip", "video/mp4", "application/octet-stream"] {
            assert!(!is_worth_it(kind), "{kind}");
        }
    }
}
