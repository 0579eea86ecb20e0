//! Paths as clients write them, made into paths beneath the root of a login: pure text. Never touches a disk; the jail decides
//! what a path reaches.
use crate::base::limits::FTP_PATH_MAX;

/// Names of ours, which nobody sees or makes.
pub(crate) const OWN: &str = ".ruche";

/// Completes "failed to …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathFault {
    #[error("take the path: it is longer than {FTP_PATH_MAX} bytes")]
    TooLong,
    #[error("take the path: names that begin with `{OWN}` are the server's own")]
    Own,
}

/// The path beneath the root that an argument means to somebody who is in `cwd`: parts joined by single slashes, empty for the
/// root itself. Above the root there is the root.
pub(crate) fn resolve(cwd: &str, argument: &str) -> Result<String, PathFault> {
    let start = if argument.starts_with('/') { "" } else { cwd };
    let mut parts: Vec<&str> = Vec::new();
    for part in start.split('/').chain(argument.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part if part.starts_with(OWN) => return Err(PathFault::Own),
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    if path.len() > FTP_PATH_MAX { Err(PathFault::TooLong) } else { Ok(path) }
}

/// As replies name a path: absolute, in quotes, its own quotes doubled (RFC 959 appendix II).
pub(crate) fn quoted(path: &str) -> String {
    format!("\"/{}\"", path.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_plain() {
        for (cwd, argument, wanted) in [
            ("", "", ""),
            ("a/b", "", "a/b"),
            ("a/b", "c", "a/b/c"),
            ("a/b", "/c", "c"),
            ("a", "/", ""),
            ("a/b", "../c", "a/c"),
            ("a", "../../..", ""),
            ("", "/a/../a", "a"),
            ("a", ".//./b//", "a/b"),
            ("", "a b\"c", "a b\"c"),
            ("", "...", "..."),
            ("", ".htaccess", ".htaccess"),
        ] {
            assert_eq!(resolve(cwd, argument).unwrap(), wanted, "{cwd} {argument}");
        }
        assert_eq!(resolve("", "a/.ruche-x/b"), Err(PathFault::Own));
        assert_eq!(resolve("", &"a/".repeat(3000)), Err(PathFault::TooLong));
        assert_eq!(resolve(&"a/".repeat(2000), &"b".repeat(200)), Err(PathFault::TooLong));
        assert_eq!((quoted("").as_str(), quoted("a \"b\"").as_str()), ("\"/\"", "\"/a \"\"b\"\"\""));
    }
}
