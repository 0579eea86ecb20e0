//! testssl.sh looks at a site's TLS as any auditor would: protocols, ciphers, known attacks, clients of all ages.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;
use std::process::{Command, Stdio};

use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::auditor::audit;
use support::sites::Sites;

/// What it finds and we mean to be so.
const MEANT: &[(&str, &str)] = &[
    ("cipher_order", "all ciphers are sound, and a client knows better which one its processor is fast with"),
    ("cert_validityPeriod", "the certificate is the cluster's own: nobody outside trusts it"),
    ("cert_revocation", "the same"),
];

#[test]
#[ignore = "long: three minutes of handshakes"]
fn an_auditor_finds_nothing_but_what_is_meant() {
    if Command::new("testssl").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("SKIPPED: testssl.sh is not installed (tests/run --long installs it)");
        return;
    }
    let sites = Sites::ready();
    let root = sites.create("one.example", json!({}));
    fs::write(root.join("index.html"), "fine").unwrap();
    let ca = sites.node.path("ca.pem");
    fs::write(&ca, sites.node.get("/v1/certificates/ca").done().text).unwrap();
    let url = format!("https://one.example:{}/", sites.https.port());
    audit(Command::new("testssl"), "127.0.0.1", &url, &ca, MEANT);
    sites.is_well("one.example");
}
