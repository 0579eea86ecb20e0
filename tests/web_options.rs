//! What a site is told beside its handler, changed while it is served and seen by the next request; its access log and its
//! counters. The node is real, the visitor is curl.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::faults::SmallDisk;
use support::node::{Node, binary};
use support::sites::{Sites, exchange};
use support::until;

const HOST: &str = "site.example";

fn site() -> (Sites, std::path::PathBuf) {
    let sites = Sites::ready();
    let root = sites.create(HOST, json!({}));
    fs::write(root.join("index.html"), "<p>home").unwrap();
    (sites, root)
}

fn url(path: &str) -> String {
    format!("https://{HOST}{path}")
}

/// `ruche` as an admin types it, with something on standard input.
fn ruche(sites: &Sites, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(binary());
    command.arg("--socket").arg(sites.node.socket()).args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Who is refused may not read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn done(sites: &Sites, arguments: &[&str], input: &str) -> String {
    let output = ruche(sites, arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn options(sites: &Sites) -> Value {
    sites.node.get(&format!("/v1/sites/{HOST}")).done().json["options"].clone()
}

#[test]
fn hsts_and_headers_are_set_stripped_and_forgotten() {
    let (sites, _root) = site();
    let set = |arguments: &[&str]| done(&sites, &[&["site", "set", HOST], arguments].concat(), "");
    let get = || sites.get(&url("/"));
    assert_eq!(get().header("strict-transport-security"), None);
    set(&["--hsts", "180d,subdomains", "--header", "X-Frame-Options: DENY", "--strip-header", "Server"]);
    let got = get();
    assert_eq!(got.header("strict-transport-security"), Some("max-age=15552000; includeSubDomains"));
    assert_eq!((got.header("x-frame-options"), got.header("server")), (Some("DENY"), Some("ruche")));
    let plain = sites.get(&format!("http://{HOST}/"));
    assert_eq!((plain.status, plain.header("strict-transport-security")), (301, None));
    assert_eq!(plain.header("x-frame-options"), Some("DENY"));
    assert_eq!(sites.get(&url("/none")).header("x-frame-options"), Some("DENY"), "errors have them as well");
    let shown = done(&sites, &["site", "show", HOST], "");
    assert!(shown.contains("180 days, with subdomains") && shown.contains("x-frame-options: DENY"), "{shown}");
    set(&["--hsts", "off", "--no-header", "x-frame-OPTIONS", "--no-strip-header"]);
    let got = get();
    assert_eq!((got.header("strict-transport-security"), got.header("x-frame-options")), (None, None));
    assert!(!serde_json::to_string(&options(&sites)).unwrap().contains("frame"));
    for bad in ["Content-Length: 7", "Connection: close", "Transfer-Encoding: chunked", "X: a\r\nb", "a b: c", "X-A: é"]
    {
        let refused = ruche(&sites, &["site", "set", HOST, "--header", bad], "");
        assert_eq!(refused.status.code(), Some(3), "{bad}: {}", String::from_utf8_lossy(&refused.stderr));
    }
}

#[test]
fn a_part_of_a_site_asks_for_a_password() {
    let (sites, root) = site();
    fs::create_dir(root.join("admin")).unwrap();
    fs::write(root.join("admin/index.html"), "secret").unwrap();
    fs::write(root.join("401.html"), "who are you?").unwrap();
    let said = done(
        &sites,
        &[
            "site",
            "set",
            HOST,
            "--auth-path",
            "/admin",
            "--auth-user",
            "ada",
            "--password-stdin",
            "--auth-realm",
            "Board",
        ],
        "correct horse\n",
    );
    assert!(!said.contains("argon2"), "{said}");
    let everything = sites.node.get(&format!("/v1/sites/{HOST}")).text + &sites.node.get("/v1/events").text;
    assert!(!everything.contains("argon2") && !everything.contains("correct horse"), "{everything}");
    assert_eq!(options(&sites)["auth"], json!({"/admin": {"realm": "Board", "users": ["ada"]}}));
    for path in
        ["/admin/", "/%61dmin/", "//admin/", "/x/../admin/", "/x/%2e%2e/admin/", "/admin", "/admin/none", "/./admin/"]
    {
        for version in ["--http1.1", "--http2"] {
            let got = sites.curl(&[version, "--path-as-is", &url(path)]).unwrap();
            assert_eq!(got.status, 401, "{path}");
            assert_eq!(got.header("www-authenticate"), Some("Basic realm=\"Board\", charset=\"UTF-8\""), "{path}");
            assert!(!got.text().contains("secret"), "{path}");
        }
    }
    assert_eq!(sites.get(&url("/")).status, 200);
    let ask = |user: &str| sites.curl(&["--user", user, &url("/admin/")]).unwrap();
    assert_eq!(ask("ada:correct horse").text(), "secret");
    for wrong in ["ada:wrong horse", "eve:correct horse"] {
        assert_eq!(ask(wrong).status, 401, "{wrong}");
    }
    // The page of a site stands in, the challenge stays.
    sites.set(HOST, json!({"options": {"error_pages": {"401": "/401.html"}}}));
    let got = sites.get(&url("/admin/"));
    assert_eq!(
        (got.status, got.text().as_str(), got.header("www-authenticate").is_some()),
        (401, "who are you?", true)
    );
    // Without TLS nobody is asked for a password.
    assert_eq!(sites.get(&format!("http://{HOST}/admin/")).status, 301);
    done(&sites, &["site", "set", HOST, "--auth-path", "/admin", "--no-auth-user", "ada"], "");
    assert_eq!(ask("ada:correct horse").status, 401, "nobody enters any more");
    done(&sites, &["site", "set", HOST, "--no-auth", "/admin"], "");
    assert_eq!(sites.get(&url("/admin/")).text(), "secret");
    let refused = ruche(&sites, &["site", "set", HOST, "--auth-path", "/a/../b", "--auth-realm", "x"], "");
    assert_eq!(refused.status.code(), Some(3));
}

#[test]
fn a_redirecting_site_asks_and_dresses_alike() {
    let sites = Sites::ready();
    let auth = json!({"/old": {"users": {"ada": {"password": "correct horse"}}}});
    let options = json!({"headers": {"X-A": "b"}, "auth": auth, "hsts": {"max_age": 300}});
    sites.create(HOST, json!({"handler": {"type": "redirect", "to": "https://new.example"}, "options": options}));
    let got = sites.get(&url("/old/x"));
    assert_eq!((got.status, got.header("x-a"), got.header("location")), (401, Some("b"), None));
    let got = sites.curl(&["--user", "ada:correct horse", &url("/old/x")]).unwrap();
    assert_eq!((got.status, got.header("location")), (308, Some("https://new.example/old/x")));
    let got = sites.get(&url("/"));
    assert_eq!((got.status, got.header("strict-transport-security")), (308, Some("max-age=300")));
}

#[test]
fn guessing_is_slowed_down_and_costs_the_node_little() {
    let (sites, _root) = site();
    let auth = json!({"/": {"users": {"ada": {"password": "correct horse"}}}});
    sites.set(HOST, json!({"options": {"auth": auth}}));
    let mut seen = Vec::new();
    for guess in 0..12 {
        let got = sites.curl(&["--user", &format!("ada:guess{guess}"), &url("/")]).unwrap();
        assert!(got.status == 401 || got.header("retry-after").is_some());
        seen.push(got.status);
    }
    assert!(seen.contains(&429) && seen[..5] == [401; 5], "{seen:?}");
    let late = sites.curl(&["--user", "ada:correct horse", &url("/")]).unwrap();
    assert!(matches!(late.status, 429 | 200), "{}", late.status);
    until(60, "the wait ends", || {
        let got = sites.curl(&["--user", "ada:correct horse", &url("/")]).unwrap();
        (got.status == 200).then_some(())
    });
}

#[test]
fn error_pages_and_fallback() {
    let (sites, root) = site();
    fs::write(root.join("404.html"), "<p>lost").unwrap();
    fs::write(root.join("busy.html"), "<p>busy").unwrap();
    let set = |arguments: &[&str]| done(&sites, &[&["site", "set", HOST], arguments].concat(), "");
    set(&["--error-page", "404=/404.html", "--error-page", "503=/busy.html"]);
    for version in ["--http1.1", "--http2"] {
        let got = sites.curl(&[version, &url("/none")]).unwrap();
        assert_eq!((got.status, got.text().as_str(), got.header("content-type")), (404, "<p>lost", Some("text/html")));
        let head = sites.curl(&[version, "--head", &url("/none")]).unwrap();
        assert_eq!((head.status, head.header("content-length"), head.body.len()), (404, Some("7"), 0));
    }
    assert_eq!(sites.get(&url("/.git/config")).text(), "<p>lost");
    sites.set(HOST, json!({"maintenance": true}));
    let got = sites.get(&url("/"));
    assert_eq!((got.status, got.text().as_str(), got.header("retry-after")), (503, "<p>busy", Some("300")));
    sites.set(HOST, json!({"maintenance": false, "suspended": true}));
    assert!(!sites.get(&url("/")).text().contains("busy"), "that is the provider's word");
    sites.set(HOST, json!({"suspended": false}));

    set(&["--fallback", "/index.html"]);
    for path in ["/users/7", "/users/", "/v1.2/x"] {
        let got = sites.get(&url(path));
        assert_eq!((got.status, got.text().as_str()), (200, "<p>home"), "{path}");
    }
    for path in ["/app.js", "/.git/config", "/a.php"] {
        assert_eq!(sites.get(&url(path)).status, 404, "{path}");
    }
    assert_eq!(sites.curl(&["-H", "Accept: text/html", &url("/v1.2")]).unwrap().status, 200);
    set(&["--no-fallback", "--no-error-page", "404"]);
    let got = sites.get(&url("/users/7"));
    assert!(got.status == 404 && got.text().contains("Not found"), "{}", got.text());
    for bad in [["--error-page", "200=/x"], ["--error-page", "404=x"], ["--fallback", "/a/../b"]] {
        let refused = ruche(&sites, &[&["site", "set", HOST], &bad[..]].concat(), "");
        assert_eq!(refused.status.code(), Some(3), "{bad:?}");
    }
}

#[test]
fn what_was_compressed_before_is_served_to_who_takes_it() {
    let (sites, root) = site();
    let old = SystemTime::now() - Duration::from_secs(100);
    let write = |name: &str, text: &str, at: SystemTime| {
        fs::write(root.join(name), text).unwrap();
        File::options().write(true).open(root.join(name)).unwrap().set_modified(at).unwrap();
    };
    for (name, text) in [
        ("app.js", "plain"),
        ("app.js.gz", "as gzip"),
        ("app.js.br", "as brotli"),
        ("x.png", "picture"),
        ("x.png.gz", "no"),
    ] {
        write(name, text, old);
    }
    let get =
        |path: &str, accept: &str| sites.curl(&["-H", &format!("Accept-Encoding: {accept}"), &url(path)]).unwrap();
    let mut tags = Vec::new();
    for (accept, text, coding) in [
        ("identity", "plain", None),
        ("gzip", "as gzip", Some("gzip")),
        ("gzip, deflate, br, zstd", "as brotli", Some("br")),
        ("br;q=0.1, gzip", "as gzip", Some("gzip")),
        ("br;q=0", "plain", None),
    ] {
        let got = get("/app.js", accept);
        assert_eq!((got.text().as_str(), got.header("content-encoding")), (text, coding), "{accept}");
        assert_eq!(
            (got.header("content-type"), got.header("vary")),
            (Some("text/javascript"), Some("Accept-Encoding"))
        );
        tags.push(got.header("etag").unwrap().to_owned());
    }
    assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[1] == tags[3] && tags[0] == tags[4], "{tags:?}");
    let again =
        ["-H", "Accept-Encoding: br", "-H", &format!("If-None-Match: {}", tags[2]), &url("/app.js")].map(str::to_owned);
    let again: Vec<&str> = again.iter().map(String::as_str).collect();
    assert_eq!(sites.curl(&again).unwrap().status, 304);
    assert_eq!(get("/x.png", "gzip").text(), "picture");
    let direct = get("/app.js.gz", "identity");
    assert_eq!((direct.text().as_str(), direct.header("content-encoding")), ("as gzip", None));
    // What was changed since is not what was compressed.
    write("app.js", "newer", SystemTime::now() - Duration::from_secs(50));
    let got = get("/app.js", "gzip, br");
    assert_eq!((got.text().as_str(), got.header("content-encoding"), got.header("vary")), ("newer", None, None));
    write("app.js.gz", "newer as gzip", SystemTime::now() - Duration::from_secs(50));
    until(10, "it is seen", || (get("/app.js", "gzip, br").text() == "newer as gzip").then_some(()));
}

/// Two changes within one tick of the clock that dates files must not look the same.
#[test]
fn a_tag_never_means_two_contents() {
    let (sites, root) = site();
    for round in 0..20 {
        fs::write(root.join("page"), format!("{round:04}a")).unwrap();
        let one = sites.get(&url("/page"));
        fs::write(root.join("page"), format!("{round:04}b")).unwrap();
        let tag = one.header("etag").unwrap().to_owned();
        let two = sites.curl(&["-H", &format!("If-None-Match: {tag}"), &url("/page")]).unwrap();
        assert_eq!((two.status, two.text()), (200, format!("{round:04}b")), "{tag}");
        assert_ne!(two.header("etag"), Some(tag.as_str()));
    }
}

#[test]
fn a_request_is_as_large_as_the_site_allows() {
    let (sites, root) = site();
    fs::write(root.join("large.html"), "<p>less, please").unwrap();
    let post = |bytes: usize| sites.curl(&["--data-binary", &"x".repeat(bytes), &url("/")]).unwrap();
    assert_eq!(post(2000).status, 405);
    done(&sites, &["site", "set", HOST, "--max-body", "1K", "--error-page", "413=/large.html"], "");
    let got = post(2000);
    assert_eq!((got.status, got.text().as_str()), (413, "<p>less, please"));
    assert_eq!(post(1024).status, 405);
    done(&sites, &["site", "set", HOST, "--max-body", "default"], "");
    assert_eq!(post(2000).status, 405);
}

fn log_of(root: &Path) -> String {
    fs::read_to_string(root.parent().unwrap().join("logs/access.log")).unwrap_or_default()
}

fn lines(sites: &Sites, count: usize) -> Vec<String> {
    let text = done(sites, &["site", "logs", HOST, "-n", &count.to_string()], "");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn visits_are_logged_each_on_one_line_of_its_own() {
    let (sites, root) = site();
    assert!(lines(&sites, 10).is_empty());
    let agent = "evil\" 200 1 \"-\" \"x\u{e9}\\";
    for arguments in [
        &["--http2", "--user", "a b:c", "--user-agent", "Mozilla/5.0 (X11)", "--referer", "https://a.example/"][..],
        &["--http1.1", "--user-agent", agent],
        &["--head"],
    ] {
        sites.curl(&[arguments, &[url("/?q=1").as_str()]].concat()).unwrap();
    }
    sites.get(&url("/none"));
    sites.get(&format!("http://{HOST}/plain"));
    let mut tls = sites.tls(Some(HOST), &["http/1.1"]).unwrap();
    exchange(&mut tls, format!("TRACE /x HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n").as_bytes());
    let all = lines(&sites, 10);
    assert_eq!(all.len(), 6, "{all:#?}");
    let date = regexless_date(&all[0]);
    assert_eq!(
        all[0],
        format!("127.0.0.1 - - [{date}] \"GET /?q=1 HTTP/2.0\" 200 7 \"https://a.example/\" \"Mozilla/5.0 (X11)\"")
    );
    assert!(
        all[1].ends_with("\"GET /?q=1 HTTP/1.1\" 200 7 \"-\" \"evil\\x22 200 1 \\x22-\\x22 \\x22x\\xc3\\xa9\\x5c\""),
        "{}",
        all[1]
    );
    assert!(all[2].contains("\"HEAD /?q=1 HTTP/2.0\" 200 0 "), "{}", all[2]);
    assert!(all[3].contains("\"GET /none HTTP/2.0\" 404 "), "{}", all[3]);
    assert!(all[4].contains("\"GET /plain HTTP/1.1\" 301 "), "{}", all[4]);
    assert!(all[5].contains("\"TRACE /x HTTP/1.1\" 405 "), "{}", all[5]);
    assert_eq!(log_of(&root).lines().collect::<Vec<_>>(), all);
    let auth = json!({"/": {"users": {"ada lovelace": {"password": "correct horse"}}}});
    sites.set(HOST, json!({"options": {"auth": auth}}));
    sites.curl(&["--user", "ada lovelace:correct horse", &url("/")]).unwrap();
    assert!(lines(&sites, 1)[0].contains(" - ada\\x20lovelace ["), "{:?}", lines(&sites, 1));
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(root.parent().unwrap().join("logs/access.log")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(sites.get(&url("/../logs/access.log")).status, 401);
}

/// What stands between the brackets, if it looks like a date of the format.
fn regexless_date(line: &str) -> String {
    let date = line.split(['[', ']']).nth(1).unwrap();
    let shape: String = date
        .chars()
        .map(|c| {
            if c.is_ascii_digit() {
                '9'
            } else if c.is_ascii_alphabetic() {
                'a'
            } else {
                c
            }
        })
        .collect();
    assert_eq!(shape, "99/aaa/9999:99:99:99 +9999");
    date.to_owned()
}

#[test]
fn a_log_is_written_by_itself_and_at_the_stop_and_follows_its_site() {
    let (mut sites, root) = site();
    sites.get(&url("/one"));
    until(20, "it is written without anybody asking", || log_of(&root).contains("/one").then_some(()));
    // Somebody tidies up.
    fs::remove_dir_all(root.parent().unwrap().join("logs")).unwrap();
    sites.get(&url("/two"));
    until(20, "it is made again", || log_of(&root).contains("/two").then_some(()));
    sites.get(&url("/three"));
    assert!(sites.node.term().success());
    assert!(log_of(&root).contains("/three"), "the stop lost it: {}", log_of(&root));
    sites.node.start();
    sites.learn();
    let proxied = "redirected.example";
    sites.create(proxied, json!({"handler": {"type": "redirect", "to": "https://a.example"}}));
    sites.get(&format!("https://{proxied}/x"));
    let log = sites.node.get(&format!("/v1/sites/{proxied}/logs")).done().json;
    assert!(log["lines"][0].as_str().unwrap().contains("\"GET /x HTTP/2.0\" 308 "), "{log}");
    for host in [HOST, proxied] {
        sites.get(&format!("https://{host}/last"));
        sites.node.ask("DELETE", &format!("/v1/sites/{host}"), None, &[]).done();
    }
    std::thread::sleep(Duration::from_secs(4));
    let left: Vec<_> = fs::read_dir(sites.node.data.join("sites")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_log_survives_kill_9_and_a_reader_goes_on() {
    let (mut sites, root) = site();
    sites.get(&url("/one"));
    let first = sites.node.get(&format!("/v1/sites/{HOST}/logs")).done().json;
    assert_eq!(first["lines"].as_array().unwrap().len(), 1);
    sites.node.kill();
    // A power cut left half a line.
    File::options()
        .append(true)
        .open(root.parent().unwrap().join("logs/access.log"))
        .unwrap()
        .write_all(b"half a li")
        .unwrap();
    sites.node.start();
    sites.learn();
    sites.get(&url("/two"));
    let after = format!("/v1/sites/{HOST}/logs?after={}", first["next"].as_str().unwrap());
    let next = sites.node.get(&after).done().json;
    let lines: Vec<&str> = next["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert!(lines.len() == 2 && lines[0] == "half a li" && lines[1].contains("/two"), "{lines:?}");
    assert_eq!(sites.node.get(&format!("/v1/sites/{HOST}/logs?after=x")).status, 422);
    assert_eq!(sites.node.get(&format!("/v1/sites/{HOST}/logs?lines=0")).status, 422);
    assert_eq!(sites.node.get("/v1/sites/none.example/logs").status, 404);
}

#[test]
fn a_full_disk_costs_lines_and_no_visit() {
    let dir = tempfile::Builder::new().prefix("ruche-test-").tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&dir.path().join("disk"), 32 << 10) else { return };
    let data = disk.path().join("data");
    let node = Node::with_data(dir, data);
    let config = fs::read_to_string(node.config()).unwrap();
    let web = "[web]\nhttp = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]";
    fs::write(node.config(), config.replace("[web]\nhttp = []\nhttps = []", web)).unwrap();
    let mut sites = Sites { node, http: ([127, 0, 0, 1], 0).into(), https: ([127, 0, 0, 1], 0).into() };
    sites.node.start();
    sites.learn();
    let root = sites.create(HOST, json!({}));
    fs::write(root.join("index.html"), "<p>home").unwrap();
    sites.get(&url("/before"));
    until(20, "it is written", || log_of(&root).contains("/before").then_some(()));
    disk.fill();
    let long = format!("/{}", "x".repeat(1500));
    let name = "ruche_web_log_lines_lost_total{reason=\"disk\"}";
    until(60, "lines are lost", || {
        assert_eq!(sites.get(&url("/")).status, 200);
        sites.get(&url(&long));
        let _ = sites.node.get(&format!("/v1/sites/{HOST}/logs"));
        (sites.metric(name) > 0).then_some(())
    });
    disk.free();
    sites.get(&url("/after"));
    until(20, "it goes on", || log_of(&root).lines().any(|line| line.contains("\"GET /after HTTP")).then_some(()));
    sites.is_well(HOST);
}

#[test]
fn visits_are_counted_and_survive_a_restart() {
    let (mut sites, _root) = site();
    for path in ["/", "/", "/none"] {
        sites.get(&url(path));
    }
    let stats = sites.node.get(&format!("/v1/sites/{HOST}/stats")).done().json;
    assert_eq!(
        (&stats["total"]["hits"], &stats["total"]["2xx"], &stats["total"]["4xx"]),
        (&json!(3), &json!(2), &json!(1)),
        "{stats}"
    );
    assert!(stats["total"]["bytes"].as_u64().unwrap() > 14 && stats["days"].as_array().unwrap().len() <= 2);
    sites.node.restart();
    sites.learn();
    sites.get(&format!("http://{HOST}/"));
    let shown = done(&sites, &["site", "stats", HOST], "");
    let total = shown.lines().last().unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!((total[0], total[1]), ("total", "4"), "{shown}");
    let all = sites.node.all("/v1/stats");
    assert_eq!((all.len(), &all[0]["host"], &all[0]["hits"]), (1, &json!(HOST), &json!(4)));
    assert_eq!(sites.metric(&format!("ruche_site_requests_total{{site=\"{HOST}\"}}")), 1);
}

#[test]
fn a_token_reads_its_accounts_logs_only() {
    let (sites, _root) = site();
    for account in ["ada", "bob"] {
        sites.node.post("/v1/accounts", json!({"name": account})).done();
    }
    sites.set(HOST, json!({"account": "ada"}));
    sites.get(&url("/"));
    for (account, status) in [("ada", 200), ("bob", 404)] {
        let token = json!({"name": account, "access": "read", "account": account});
        let token = sites.node.post("/v1/tokens", token).done().json;
        let bearer = format!("Authorization: Bearer {}", token["secret"].as_str().unwrap());
        let admin = sites.listening_on("admin.listen").unwrap();
        for what in ["logs", "stats"] {
            let url = format!("http://{admin}/v1/sites/{HOST}/{what}");
            let output = Command::new("curl")
                .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", &bearer, &url])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), status.to_string(), "{account} {what}");
        }
    }
}
