//! A site's files as visitors get them: whole, in parts, unchanged, and never what is not for them.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::sites::{Sites, exchange};

const HOST: &str = "files.example";
const SECRET: &str = "nobody may read this";

fn site() -> (Sites, std::path::PathBuf) {
    let sites = Sites::ready();
    let root = sites.create(HOST, json!({}));
    fs::write(root.join("index.html"), "<p>home").unwrap();
    (sites, root)
}

fn url(path: &str) -> String {
    format!("https://{HOST}{path}")
}

#[test]
fn names_directories_and_types() {
    let (sites, root) = site();
    fs::create_dir_all(root.join("docs/été")).unwrap();
    fs::create_dir_all(root.join("empty")).unwrap();
    fs::create_dir_all(root.join(".well-known")).unwrap();
    fs::write(root.join("docs/index.htm"), "docs").unwrap();
    fs::write(root.join("docs/été/page one.txt"), "été").unwrap();
    fs::write(root.join("style.css"), "p{}").unwrap();
    fs::write(root.join("app.js"), "1").unwrap();
    fs::write(root.join("blob"), "?").unwrap();
    fs::write(root.join("nothing.txt"), "").unwrap();
    fs::write(root.join(".well-known/security.txt"), "mail us").unwrap();
    for (path, body, kind) in [
        ("/", "<p>home", "text/html"),
        ("/index.html", "<p>home", "text/html"),
        ("/docs/", "docs", "text/html"),
        ("//docs///", "docs", "text/html"),
        ("/docs/%C3%A9t%C3%A9/page%20one.txt?x=1", "été", "text/plain"),
        ("/style.css", "p{}", "text/css"),
        ("/app.js", "1", "text/javascript"),
        ("/blob", "?", "application/octet-stream"),
        ("/nothing.txt", "", "text/plain"),
        ("/.well-known/security.txt", "mail us", "text/plain"),
    ] {
        for version in ["--http1.1", "--http2"] {
            let got = sites.curl(&[version, "--path-as-is", &url(path)]).unwrap();
            assert_eq!(
                (got.status, got.text().as_str(), got.header("content-type")),
                (200, body, Some(kind)),
                "{path}"
            );
            assert_eq!(got.header("content-length"), Some(body.len().to_string().as_str()), "{path}");
        }
        let head = sites.curl(&["--head", "--path-as-is", &url(path)]).unwrap();
        assert_eq!(
            (head.status, head.header("content-length")),
            (200, Some(body.len().to_string().as_str())),
            "{path}"
        );
    }
    for (path, to) in [
        ("/docs", "/docs/"),
        ("/docs?a=b", "/docs/?a=b"),
        ("//docs", "/docs/"),
        ("/docs/%C3%A9t%C3%A9", "/docs/%C3%A9t%C3%A9/"),
    ] {
        let got = sites.curl(&["--path-as-is", &url(path)]).unwrap();
        assert_eq!((got.status, got.header("location")), (301, Some(to)), "{path}");
    }
    for path in
        ["/empty/", "/docs/%C3%A9t%C3%A9/", "/index.html/", "/index.html/x", "/absent", "/absent/", "/docs/index.html"]
    {
        assert_eq!(sites.get(&url(path)).status, 404, "{path}");
    }
    for (method, status) in [("POST", 405), ("PUT", 405), ("DELETE", 405), ("BREW", 405), ("OPTIONS", 204)] {
        let got = sites.curl(&["--request", method, &url("/")]).unwrap();
        assert_eq!((got.status, got.header("allow")), (status, Some("GET, HEAD, OPTIONS")), "{method}");
    }
    sites.is_well(HOST);
}

#[test]
fn what_is_not_for_visitors_stays_where_it_is() {
    let (sites, root) = site();
    let data = root.ancestors().nth(3).unwrap();
    fs::write(data.join("secret.txt"), SECRET).unwrap();
    fs::create_dir_all(root.join(".git")).unwrap();
    fs::create_dir_all(root.join("a/.well-known")).unwrap();
    for name in [
        ".git/config",
        ".htaccess",
        ".env",
        "a/.hidden",
        "a/.well-known/x",
        "x.php",
        "X.PHP",
        "wp-config.php.bak",
        "y.phtml",
        "z.php~",
    ] {
        fs::write(root.join(name), SECRET).unwrap();
    }
    let outside = data.join("secret.txt");
    for (name, to) in [
        ("absolute.txt", outside.as_path()),
        ("up.txt", Path::new("../../../secret.txt")),
        ("etc", Path::new("/etc")),
        ("proc", Path::new("/proc/self/root/etc")),
        ("above", Path::new("../..")),
        ("loop", Path::new("loop")),
    ] {
        symlink(to, root.join(name)).unwrap();
    }
    symlink("index.html", root.join("inside.html")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe"), 0o644.into()).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let paths = [
        "/../secret.txt",
        "/../../../secret.txt",
        "/..%2f..%2f..%2fsecret.txt",
        "/%2e%2e/%2e%2e/%2e%2e/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..%5c..%5csecret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "/%252e%252e/secret.txt",
        "/a/../../../../secret.txt",
        "/./../secret.txt",
        "/absolute.txt",
        "/up.txt",
        "/etc/passwd",
        "/proc/passwd",
        "/above/public/index.html",
        "/loop",
        "/pipe",
        "/socket",
        "/.git/config",
        "/%2egit/config",
        "/.htaccess",
        "/.env",
        "/a/.hidden",
        "/a/.well-known/x",
        "/.well-known/../.env",
        "/x.php",
        "/X.PHP",
        "/x.ph%70",
        "/x%2ephp",
        "/x.php/",
        "/x.php%00.html",
        "/x.php%20",
        "/x.php.",
        "/wp-config.php.bak",
        "/y.phtml",
        "/z.php~",
        "/index.html%00",
        "/%00",
        "/index.html%2f",
        "/x.php;.html",
    ];
    for path in paths {
        for version in ["--http1.1", "--http2"] {
            let got = sites.curl(&[version, "--path-as-is", &url(path)]).unwrap();
            assert!(matches!(got.status, 400 | 404), "{path}: {}", got.status);
            assert!(!got.text().contains(SECRET) && !got.text().contains("root:"), "{path}: {}", got.text());
        }
    }
    assert_eq!(sites.get(&url("/inside.html")).text(), "<p>home", "a link that stays inside is the owner's business");
    // What no client would send.
    for target in ["/\0", "/index.html\u{1}", "/ ../secret.txt", "..", "\\..\\secret.txt", "/%zz", "/%"] {
        let mut stream = sites.tls(Some(HOST), &["http/1.1"]).unwrap();
        let heard = exchange(
            &mut stream,
            format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n").as_bytes(),
        );
        assert!(
            !heard.contains(SECRET) && (heard.starts_with("HTTP/1.1 4") || heard.is_empty()),
            "{target:?}: {heard}"
        );
    }
    sites.is_well(HOST);
}

/// While a directory is a link to what lies outside at one moment and a directory at the next.
#[test]
fn a_race_with_a_link_gives_nothing_away() {
    let (sites, root) = site();
    let outside = sites.node.path("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("page.html"), SECRET).unwrap();
    fs::create_dir_all(root.join("dir")).unwrap();
    fs::write(root.join("dir/page.html"), "inside").unwrap();
    symlink(&outside, root.join("link")).unwrap();
    let (over, mut seen) = (AtomicBool::new(false), [0; 2]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let swap = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(rustix::fs::CWD, root.join("dir"), rustix::fs::CWD, root.join("link"), swap)
                    .unwrap();
            }
        });
        let mut stream = sites.tls(Some(HOST), &["http/1.1"]).unwrap();
        let ask = format!("GET /dir/page.html HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
        for _ in 0..3000 {
            stream.write_all(ask.as_bytes()).unwrap();
            let (head, body) = answer(&mut stream);
            assert!(!body.contains(SECRET), "{head}");
            seen[usize::from(body == "inside")] += 1;
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(seen.iter().all(|count| *count > 0), "the race was none: {seen:?}");
    sites.is_well(HOST);
}

/// One response with a content-length.
fn answer(stream: &mut impl Read) -> (String, String) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

#[test]
fn parts_and_what_is_known_already() {
    let (sites, root) = site();
    let small: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = (0..5_000_000u32).flat_map(u32::to_le_bytes).take(5_000_001).collect();
    for (name, content) in [("small.bin", &small), ("large.bin", &large)] {
        fs::write(root.join(name), content).unwrap();
        let url = url(&format!("/{name}"));
        let len = content.len();
        for version in ["--http1.1", "--http2"] {
            assert!(sites.curl(&[version, &url]).unwrap().body == *content, "{name} came differently");
            for (range, first, last) in
                [("0-0", 0, 0), ("10-99", 10, 99), ("200-", 200, len - 1), ("-7", len - 7, len - 1)]
            {
                let got = sites.curl(&[version, "--range", range, &url]).unwrap();
                assert_eq!(
                    (got.status, got.header("content-range")),
                    (206, Some(&*format!("bytes {first}-{last}/{len}")))
                );
                assert!(got.body == content[first..=last], "{name} {range}");
            }
        }
        let beyond = sites.curl(&["--range", "9999999-", &url]).unwrap();
        assert_eq!((beyond.status, beyond.header("content-range")), (416, Some(&*format!("bytes */{len}"))));
        let whole = sites.curl(&["--range", "0-1,5-6", &url]).unwrap();
        assert!(whole.status == 200 && whole.body == *content, "several parts are answered with all");

        let first = sites.curl(&["--head", &url]).unwrap();
        let (tag, modified) = (first.header("etag").unwrap(), first.header("last-modified").unwrap());
        for condition in [
            format!("if-none-match: {tag}"),
            format!("if-none-match: W/{tag}, \"x\""),
            format!("if-modified-since: {modified}"),
        ] {
            let got = sites.curl(&["--header", &condition, &url]).unwrap();
            assert_eq!((got.status, got.body.len(), got.header("etag")), (304, 0, Some(tag)), "{condition}");
        }
        assert_eq!(sites.curl(&["--header", "if-match: \"other\"", &url]).unwrap().status, 412);
        let changed = sites.curl(&["--range", "0-3", "--header", "if-range: \"other\"", &url]).unwrap();
        assert_eq!((changed.status, changed.body.len()), (200, len), "another file is sent whole");
        let same = sites.curl(&["--range", "0-3", "--header", &format!("if-range: {tag}"), &url]).unwrap();
        assert_eq!((same.status, same.body.len()), (206, 4));
        fs::write(root.join(name), "changed").unwrap();
        let got = sites.curl(&["--header", &format!("if-none-match: {tag}"), &url]).unwrap();
        assert_eq!((got.status, got.text().as_str()), (200, "changed"), "a change shows at once");
    }
    sites.is_well(HOST);
}

/// A response that can no longer be what its length says is cut off, never filled up.
#[test]
fn a_file_that_shrinks_under_way_is_cut_off() {
    let (sites, root) = site();
    let path = root.join("shrinking.bin");
    fs::write(&path, vec![7; 20_000_000]).unwrap();
    let mut stream = sites.tls(Some(HOST), &["http/1.1"]).unwrap();
    stream.write_all(format!("GET /shrinking.bin HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes()).unwrap();
    let mut begun = [0; 100_000];
    stream.read_exact(&mut begun).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(1_000_000).unwrap();
    let mut rest = Vec::new();
    let ended = stream.read_to_end(&mut rest);
    assert!(rest.len() < 19_000_000, "{} bytes came, {ended:?}", rest.len());
    sites.is_well(HOST);
}
