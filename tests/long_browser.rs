//! A real browser: headless Chromium that trusts the exported CA and nothing else it would not trust anyway.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::sites::Sites;

fn run(home: &Path, program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).env("HOME", home).output();
    output.unwrap_or_else(|error| panic!("{program} is installed by tests/run --long: {error}"))
}

fn visit(home: &Path, url: &str) -> String {
    let resolve = "--host-resolver-rules=MAP * 127.0.0.1";
    let seen = run(home, "chromium", &["--headless=new", "--no-sandbox", "--disable-gpu", resolve, "--dump-dom", url]);
    String::from_utf8_lossy(&seen.stdout).into_owned()
}

#[test]
#[ignore = "long: needs a browser"]
fn chromium_agrees() {
    let sites = Sites::ready();
    let root = sites.create("bücher.example", json!({"www": "redirect"}));
    fs::write(root.join("style.css"), "p::after { content: 'x' }").unwrap();
    fs::write(root.join("app.js"), "document.title = document.styleSheets[0].cssRules.length + ' rule'").unwrap();
    let page = "<meta charset=utf-8><title>-</title><link rel=stylesheet href=style.css><p>ça marche<script src=app.js></script>";
    fs::write(root.join("index.html"), page).unwrap();
    let home = tempfile::tempdir().unwrap();
    let port = sites.https.port();
    let url = format!("https://www.bücher.example:{port}/");
    assert!(!visit(home.path(), &url).contains("ça marche"), "it trusts anybody");

    let (store, ca) = (home.path().join(".pki/nssdb"), sites.node.path("exported.pem"));
    fs::create_dir_all(&store).unwrap();
    fs::write(&ca, sites.node.get("/v1/certificates/ca").done().text).unwrap();
    let database = format!("sql:{}", store.display());
    for arguments in [
        vec!["-N", "-d", &database, "--empty-password"],
        vec!["-A", "-d", &database, "-t", "C,,", "-n", "ruche", "-i", ca.to_str().unwrap()],
    ] {
        assert!(run(home.path(), "certutil", &arguments).status.success());
    }
    let seen = visit(home.path(), &url);
    assert!(seen.contains("ça marche") && seen.contains("<title>1 rule</title>"), "{seen}");
    sites.set("xn--bcher-kva.example", json!({"maintenance": true}));
    assert!(visit(home.path(), &url).contains("Under maintenance"));
}
