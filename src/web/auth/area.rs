//! Which part of a site that asks for a password a path lies in. Pure. A path has as many readings as there are servers behind
//! us; one reading that lies in a part is enough to be asked.
use percent_encoding::percent_decode;

use crate::model::options::Area;

/// How often a path is decoded to find what it may mean: once is right, backends behind backends decode again.
const DECODED_MAX: usize = 4;

/// `..` in one path: more are no way to anywhere.
const CLIMBS_MAX: usize = 16;

/// Endings of what lies beside a file in another coding.
const CODINGS: [&str; 3] = [".br", ".gz", ".zst"];

/// The part a path lies in, the innermost of several; `path` as it stands in the request.
pub(crate) fn area_of(areas: &[Area], path: &str) -> Option<usize> {
    if areas.is_empty() {
        return None;
    }
    let mut readings = Vec::new();
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..DECODED_MAX {
        if !read(&String::from_utf8_lossy(&bytes), &mut readings) {
            return Some(0);
        }
        let decoded: Vec<u8> = percent_decode(&bytes).collect();
        if decoded == bytes {
            return innermost(areas, &readings);
        }
        bytes = decoded;
    }
    // Encoded over and over: whoever asks so means no harm to be asked back.
    innermost(areas, &readings).or(Some(0))
}

type Reading = Vec<String>;

fn innermost(areas: &[Area], readings: &[Reading]) -> Option<usize> {
    let holding = areas.iter().enumerate().filter(|(_, area)| {
        let parts: Reading = area.path.split('/').filter(|part| !part.is_empty()).map(str::to_lowercase).collect();
        readings.iter().any(|reading| reading.starts_with(&parts) || stands_for(reading, &parts))
    });
    holding.max_by_key(|(_, area)| area.path.len()).map(|(at, _)| at)
}

/// A directory is answered with its index, a file perhaps with what lies beside it.
fn stands_for(reading: &Reading, parts: &Reading) -> bool {
    let Some((last, before)) = parts.split_last() else { return true };
    let beside = |name: &String| CODINGS.iter().any(|coding| name.strip_suffix(coding) == Some(last));
    (last.starts_with("index.") && before == reading)
        || (reading.len() == parts.len() && reading.starts_with(before) && reading.last().is_some_and(beside))
}

/// What a path may mean, decoded as far as it is: as it stands, and where it is before each `..` and at its end; a backslash
/// may be a slash. False: it goes up and down as nobody's does.
fn read(path: &str, readings: &mut Vec<Reading>) -> bool {
    let parts: Vec<String> = path.split(['/', '\\']).map(plain).filter(|part| !part.is_empty()).collect();
    if parts.iter().filter(|part| *part == "..").count() > CLIMBS_MAX {
        return false;
    }
    let mut at: Reading = Vec::new();
    for part in &parts {
        if part == ".." {
            readings.push(at.clone());
            at.pop();
        } else {
            at.push(part.clone());
        }
    }
    readings.extend([parts, at]);
    true
}

/// A part without what some server or other leaves out of it: parameters, what follows a NUL, dots and spaces at its end, case.
fn plain(part: &str) -> String {
    let part = part.split([';', '\0']).next().unwrap_or_default();
    if part == ".." {
        return part.to_owned();
    }
    part.trim_matches(|c: char| c.is_whitespace()).trim_end_matches(['.', ' ']).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn areas(paths: &[&str]) -> Vec<Area> {
        paths.iter().map(|path| Area { path: (*path).to_owned(), realm: None, users: Vec::new() }).collect()
    }

    #[test]
    fn no_writing_of_a_path_passes() {
        let areas = areas(&["/admin"]);
        for path in [
            "/admin",
            "/admin/",
            "/admin/x",
            "/admin?",
            "/%61dmin",
            "/%61%64%6d%69%6e/x",
            "/%2561dmin",
            "/%252561dmin",
            "//admin",
            "///admin//x",
            "/./admin",
            "/x/../admin",
            "/x/%2e%2e/admin",
            "/x/.%2E/admin",
            "/x%2f..%2fadmin",
            "/x/..%2fadmin",
            "/%2fadmin",
            "/..%2fadmin",
            "/../admin",
            "/admin/..",
            "/admin/../public",
            "/admin%2fx",
            "/admin%2f..%2fpublic",
            "/admin;x=1/y",
            "/admin;/y",
            "/;/admin",
            "/admin%00",
            "/admin%00.html",
            "/ADMIN",
            "/Admin/x",
            "/admin.",
            "/admin%20",
            "/%20admin",
            "\\admin",
            "/x\\..\\admin",
            "/x/%5c..%5cadmin/..",
            "/.//admin",
            "/a/b/../../admin",
            "/a/../../../admin",
            "/x/..;/admin",
            "/x/%2e%2e;a=b/admin",
            "/%25252525252541",
            "/admin/x/../../..",
            "/a/../a/../a/../a/../a/../a/../a/../a/../a/../a/../a/../a/../a/../a/../a/../a/../a/../a/..",
        ] {
            let path = path.trim_end_matches('?');
            assert_eq!(area_of(&areas, path), Some(0), "{path}");
        }
    }

    #[test]
    fn what_lies_elsewhere_is_for_everybody() {
        let areas = areas(&["/admin", "/members/minutes"]);
        for path in
            ["/", "", "/administrator", "/admi", "/x/admin", "/members", "/members/x", "/100%25", "/a.admin", "/é"]
        {
            assert_eq!(area_of(&areas, path), None, "{path}");
        }
        assert_eq!(area_of(&[], "/admin"), None);
    }

    #[test]
    fn the_innermost_part_asks() {
        let areas = areas(&["/", "/members", "/members/board"]);
        for (path, at) in [("/", 0), ("/x", 0), ("/members/x", 1), ("/members/board", 2), ("/members/%62oard/x", 2)] {
            assert_eq!(area_of(&areas, path), Some(at), "{path}");
        }
    }

    #[test]
    fn an_index_and_what_lies_beside_a_file() {
        let areas = areas(&["/a/index.html", "/secret.html"]);
        for path in ["/a", "/a/", "/a/index.html", "/a/index.html.gz"] {
            assert_eq!(area_of(&areas, path), Some(0), "{path}");
        }
        assert_eq!(area_of(&areas, "/secret.html.br"), Some(1));
        assert_eq!(area_of(&areas, "/secret.html.bak"), None);
    }

    proptest::proptest! {
        /// Whatever stands around it, a path that a server may read as beneath the part is asked.
        #[test]
        fn detours_are_seen(detour in "(/[a-z]{1,3}/\\.\\.|/\\.|/|//|/[a-z]/%2e%2e){0,6}", rest in "(/[a-z%.]{0,4}){0,3}") {
            let path = format!("{detour}/%61dmin{rest}");
            proptest::prop_assert!(area_of(&areas(&["/admin"]), &path).is_some(), "{}", path);
        }
    }
}
