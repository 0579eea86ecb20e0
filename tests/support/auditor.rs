//! testssl.sh, which looks at a server's TLS as any auditor would: protocols, ciphers, known attacks, clients of all ages.
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Looks at `https://HOST:PORT/`, whose authority is in a file; says what it finds, and panics at what is not meant to be so.
pub fn audit(mut testssl: Command, address: &str, url: &str, ca: &Path, meant: &[(&str, &str)]) {
    let found = ca.with_extension("json");
    testssl.args(["--quiet", "--color", "0", "--warnings", "batch", "--ip", address, "--add-ca"]).arg(ca);
    let output = testssl.arg("--jsonfile").arg(&found).arg(url).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let findings: Vec<Value> = serde_json::from_str(&fs::read_to_string(&found).expect(&text)).expect(&text);
    assert!(findings.len() > 100, "it looked at little: {text}");
    let mut bad = Vec::new();
    for finding in &findings {
        let (id, severity) = (finding["id"].as_str().unwrap(), finding["severity"].as_str().unwrap());
        if !matches!(severity, "OK" | "INFO") {
            let why = meant.iter().find(|(meant, _)| *meant == id).map(|(_, why)| *why);
            println!("{severity} {id}: {} ({})", finding["finding"], why.unwrap_or("minor"));
            if why.is_none() && !matches!(severity, "LOW" | "MEDIUM") {
                bad.push(finding);
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}
