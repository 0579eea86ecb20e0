//! From a request's path to a name beneath a site's directory. Pure. What has two readings is refused: the visitor learns only
//! that there is nothing.
use http::HeaderMap;
use http::header::ACCEPT;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// The one directory of hidden names that is for everybody (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// Endings of files that are programs: their source is nobody's to read, also not that of a copy an editor left.
const SCRIPTS: [&str; 19] = [
    "php", "php3", "php4", "php5", "php7", "php8", "phps", "pht", "phtml", "phar", "inc", "cgi", "fcgi", "pl", "asp",
    "aspx", "jsp", "cfm", "htpasswd",
];

/// What a path part may carry as it is (RFC 3986 section 3.3), less `%`.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A path as a site's directory knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Decoded, without slashes at its ends; empty for the directory itself.
    pub(crate) path: String,
    /// It ended with a slash.
    pub(crate) is_dir: bool,
}

/// There is nothing of that name, whatever the disk says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nothing;

impl Wanted {
    /// `path` as it stands in the request, percent-encoded. Empty parts are left out, as every other server does.
    pub(crate) fn parse(path: &str) -> Result<Self, Nothing> {
        let mut parts = Vec::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let part = percent_decode_str(part).decode_utf8().map_err(|_| Nothing)?;
            // An encoded slash would make two parts of one after the split.
            if part.contains(['/', '\0']) || (part.starts_with('.') && !(parts.is_empty() && part == WELL_KNOWN)) {
                return Err(Nothing);
            }
            parts.push(part);
        }
        let is_dir = path.ends_with('/') || parts.is_empty();
        if parts.last().is_some_and(|name| is_script(name)) {
            return Err(Nothing);
        }
        Ok(Self { path: parts.join("/"), is_dir })
    }

    /// Whether a browser would show what was asked for in its window: it says so, or the name has no ending.
    pub(crate) fn is_page(&self, headers: &HeaderMap) -> bool {
        let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
        let html = lines.flat_map(|line| line.split(',')).any(|kind| {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("text/html")
        });
        html || !self.path.rsplit('/').next().unwrap_or_default().contains('.')
    }

    /// Where the directory of this name is; of this host whatever the request's path began with.
    pub(crate) fn with_slash(&self, query: Option<&str>) -> String {
        let path = utf8_percent_encode(&self.path, ENCODED);
        match query {
            Some(query) => format!("/{path}/?{query}"),
            None => format!("/{path}/"),
        }
    }
}

/// A path as people type it, as it would stand in a request.
pub(crate) fn encoded(path: &str) -> String {
    utf8_percent_encode(path, ENCODED).to_string()
}

/// `config.php`, `config.php.bak`, `config.PHP~`: any part after a dot counts.
fn is_script(name: &str) -> bool {
    let endings = name.split('.').skip(1);
    let plain = |ending: &str| ending.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_ascii_lowercase();
    endings.map(plain).any(|ending| SCRIPTS.contains(&ending.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Option<(String, bool)> {
        Wanted::parse(path).ok().map(|wanted| (wanted.path, wanted.is_dir))
    }

    #[test]
    fn names_and_directories() {
        for (path, name, is_dir) in [
            ("/", "", true),
            ("", "", true),
            ("//", "", true),
            ("/a", "a", false),
            ("/a/", "a", true),
            ("//a///b", "a/b", false),
            ("/a%20b/%C3%A9", "a b/é", false),
            ("/a\\b", "a\\b", false),
            ("/100%25", "100%", false),
            ("/.well-known/security.txt", ".well-known/security.txt", false),
            ("/.well-known/", ".well-known", true),
            ("/a..b/c.", "a..b/c.", false),
            ("/install.sh", "install.sh", false),
            ("/a.phpx", "a.phpx", false),
            ("/include/php", "include/php", false),
        ] {
            assert_eq!(read(path), Some((name.to_owned(), is_dir)), "{path}");
        }
    }

    #[test]
    fn pages_are_what_a_window_shows() {
        let is_page = |path: &str, accept: Option<&'static str>| {
            let headers = accept.map(|accept| (ACCEPT, http::HeaderValue::from_static(accept)));
            Wanted::parse(path).unwrap().is_page(&headers.into_iter().collect())
        };
        assert!(is_page("/users/7", None) && is_page("/users/", Some("*/*")) && is_page("/v1.2/users", None));
        assert!(is_page("/users/a.b", Some("application/xml, Text/HTML;q=0.9")));
        assert!(!is_page("/app.js", None) && !is_page("/app.js", Some("*/*")) && !is_page("/a.html", Some("text/htm")));
    }

    #[test]
    fn what_is_nobodys() {
        for path in [
            "/..",
            "/../etc/passwd",
            "/a/../b",
            "/%2e%2e/etc/passwd",
            "/%2E%2e/x",
            "/.%2e/x",
            "/a/%2e./b",
            "/.",
            "/./a",
            "/a/.",
            "/%00",
            "/a%00.html",
            "/a%2fb",
            "/a%2Fb",
            "/%2fetc/passwd",
            "/..%2f..%2fetc/passwd",
            "/%ff",
            "/%c0%ae%c0%ae/x",
            "/.htaccess",
            "/.git/config",
            "/a/.env",
            "/%2egit/config",
            "/.well-known/.git/config",
            "/a/.well-known/x",
            "/.well-known2/x",
            "/.WELL-KNOWN/x",
            "/a.php",
            "/a.PHP",
            "/a.php/",
            "/a.php5",
            "/a.phtml",
            "/wp-config.php.bak",
            "/wp-config.php~",
            "/a.php.swp",
            "/a.inc",
            "/x.cgi",
            "/a%2ephp",
            "/a.ph%70",
            "/a.php%20",
            "/a.php.",
        ] {
            assert_eq!(read(path), None, "{path}");
        }
    }

    #[test]
    fn a_slash_is_added_on_this_host() {
        let to = |path: &str, query| Wanted::parse(path).unwrap().with_slash(query);
        assert_eq!(to("/a", None), "/a/");
        assert_eq!(to("//evil.example", None), "/evil.example/");
        assert_eq!(to("/\\evil.example", None), "/%5Cevil.example/");
        assert_eq!(to("/a%20b/%C3%A9", Some("x=1&y=//")), "/a%20b/%C3%A9/?x=1&y=//");
        assert_eq!(to("/a%0d%0aSet-Cookie:x", None), "/a%0D%0ASet-Cookie:x/");
    }

    proptest::proptest! {
        #[test]
        fn never_up_and_never_hidden(path in "(/|%2f|\\.|%2e|[a-z]|%00|\\PC){0,12}") {
            if let Ok(wanted) = Wanted::parse(&path) {
                let hidden = |part: &str| part.starts_with('.') && part != WELL_KNOWN;
                proptest::prop_assert!(!wanted.path.contains('\0') && !wanted.path.starts_with('/'));
                proptest::prop_assert!(!wanted.path.split('/').any(hidden), "{}", wanted.path);
            }
        }
    }
}
