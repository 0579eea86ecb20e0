//! What a site's options do to each of its responses, whichever handler made it: HSTS, headers set and headers stripped.
use http::header::{HeaderMap, HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY};

use crate::model::options::{Hsts, Options};

/// `secure`: the visitor came by HTTPS; what is said of HSTS elsewhere is not to be believed (RFC 6797 section 7.2).
pub(crate) fn dress(headers: &mut HeaderMap, options: &Options, secure: bool) {
    for name in &options.strip_headers {
        headers.remove(name.as_str());
    }
    for header in &options.headers {
        // The rules let nothing else in.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(header.name.as_bytes()), HeaderValue::from_str(&header.value))
        {
            headers.insert(name, value);
        }
    }
    if let Some(hsts) = options.hsts
        && secure
        && let Ok(value) = HeaderValue::from_str(&written(hsts))
    {
        headers.insert(STRICT_TRANSPORT_SECURITY, value);
    }
}

fn written(hsts: Hsts) -> String {
    let subdomains = if hsts.subdomains { "; includeSubDomains" } else { "" };
    format!("max-age={}{subdomains}{}", hsts.max_age, if hsts.preload { "; preload" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::options::Header;

    #[test]
    fn the_site_has_the_last_word() {
        let hsts = Hsts { max_age: 300, subdomains: true, preload: true };
        let options = Options {
            hsts: Some(hsts),
            headers: vec![Header { name: "x-frame-options".into(), value: "DENY".into() }],
            strip_headers: vec!["x-powered-by".into()],
            ..Options::default()
        };
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("x-frame-options", "a"), ("x-frame-options", "b"), ("x-powered-by", "c"), ("x-other", "d")]
        {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut plain = headers.clone();
        dress(&mut headers, &options, true);
        let mut shown: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        shown.sort();
        let hsts = "strict-transport-security: max-age=300; includeSubDomains; preload";
        assert_eq!(shown, [hsts, "x-frame-options: DENY", "x-other: d"]);
        dress(&mut plain, &options, false);
        assert!(!plain.contains_key(STRICT_TRANSPORT_SECURITY) && plain.len() == 2);
    }
}
