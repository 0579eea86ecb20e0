//! testssl.sh looks at a site's TLS as any auditor would: protocols, ciphers, known attacks, clients of all ages.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

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
    let (ca, found) = (sites.node.path("ca.pem"), sites.node.path("found.json"));
    fs::write(&ca, sites.node.get("/v1/certificates/ca").done().text).unwrap();
    let output = Command::new("testssl")
        .args(["--quiet", "--color", "0", "--warnings", "batch", "--ip", "127.0.0.1", "--add-ca"])
        .arg(&ca)
        .arg("--jsonfile")
        .arg(&found)
        .arg(format!("https://one.example:{}/", sites.https.port()))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let findings: Vec<Value> = serde_json::from_str(&fs::read_to_string(&found).expect(&text)).expect(&text);
    assert!(findings.len() > 100, "it looked at little: {text}");
    let mut bad = Vec::new();
    for finding in &findings {
        let (id, severity) = (finding["id"].as_str().unwrap(), finding["severity"].as_str().unwrap());
        if !matches!(severity, "OK" | "INFO") {
            let why = MEANT.iter().find(|(meant, _)| *meant == id).map(|(_, why)| *why);
            println!("{severity} {id}: {} ({})", finding["finding"], why.unwrap_or("minor"));
            if why.is_none() && !matches!(severity, "LOW" | "MEDIUM") {
                bad.push(finding);
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
    sites.is_well("one.example");
}
