//! What is minted is what was asked for, and others than us take it.
use std::fs;
use std::process::Command;

use proptest::prelude::*;

use crate::base::clock::Time;
use crate::base::limits::CERTIFICATE_NAMES_MAX;
use crate::base::names::{Host, NodeName};
use crate::model::tests::world::{START, host};
use crate::seal::keyring::Keyring;
use crate::tls::error::TlsError;
use crate::tls::mint::mint;
use crate::tls::tests::world::{CLUSTER, Cell};
use crate::tls::{ca, node, parse, sealed};

#[test]
fn the_ca_says_whose_it_is_and_signs_leaves_only() {
    let made = ca::make(CLUSTER, START).unwrap();
    let facts = parse::certificate(&made.certificate).unwrap();
    assert_eq!(facts.common_name, "Ruche sites CA 0000000000000009");
    assert_eq!(facts.not_before, Time::parse("2026-01-01T00:00:00Z").unwrap());
    assert_eq!(facts.not_after, Time::parse("2046-11-17T00:00:00Z").unwrap());
    assert_eq!((made.not_after, facts.key_identifier.len()), (facts.not_after, 20));
    assert_ne!(ca::make(CLUSTER, START).unwrap().certificate, made.certificate);
    let text = openssl(&["x509", "-noout", "-text"], &parse::pem(&made.certificate));
    for wanted in ["CA:TRUE, pathlen:0", "Certificate Sign", "Public-Key: (256 bit)"] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
}

#[test]
fn a_leaf_is_for_its_names_alone() {
    let cell = Cell::new();
    let hundred: Vec<Host> = (0..CERTIFICATE_NAMES_MAX).map(|n| host(&format!("n{n}.a.test"))).collect();
    let long = host(&format!("{}.{}.test", "l".repeat(60), "m".repeat(60)));
    for names in [vec![host("a.test")], vec![host("bücher.test"), host("www.bücher.test")], vec![long.clone()], hundred]
    {
        let minted = sealed::mint_for(&cell.cluster(), &cell.keyring, names.clone(), START).unwrap();
        let facts = parse::certificate(&minted.chain[0]).unwrap();
        assert!(facts.names.iter().map(String::as_str).eq(names.iter().map(Host::as_str)));
        assert_eq!(facts.common_name, if names[0] == long { "" } else { names[0].as_str() });
        assert_eq!((facts.not_before, facts.not_after), (minted.not_before, minted.not_after));
        assert!(facts.not_after < cell.cluster().sites_ca.as_ref().unwrap().not_after);
    }
    let many: Vec<Host> = (0..=CERTIFICATE_NAMES_MAX).map(|n| host(&format!("n{n}.a.test"))).collect();
    let refused = sealed::mint_for(&cell.cluster(), &cell.keyring, many, START).unwrap_err();
    assert_eq!(refused.to_string(), "mint a certificate: 103 names are more than a site can have");
}

#[test]
fn openssl_agrees() {
    let cell = Cell::new();
    let dir = tempfile::tempdir().unwrap();
    let cluster = cell.cluster();
    let (ca, leaf) = (dir.path().join("ca.pem"), dir.path().join("leaf.pem"));
    fs::write(&ca, parse::pem(&cluster.sites_ca.as_ref().unwrap().certificate)).unwrap();
    let names = vec![host("bücher.test"), host("b.test")];
    let minted = sealed::mint_for(&cluster, &cell.keyring, names, START).unwrap();
    fs::write(&leaf, parse::pem(&minted.chain[0])).unwrap();
    let verify = |host: &str| {
        let mut command = Command::new("openssl");
        command.args(["verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", host, "-CAfile"]);
        command.arg(&ca).arg(&leaf).output().expect("openssl is installed (tests/run does it)").status.success()
    };
    assert!(verify("xn--bcher-kva.test") && verify("b.test") && !verify("c.test"));
    let other = Cell::new();
    fs::write(&ca, parse::pem(&other.cluster().sites_ca.as_ref().unwrap().certificate)).unwrap();
    assert!(!verify("b.test"), "another cluster's CA has the same name and another key");
}

fn openssl(arguments: &[&str], input: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("in.pem");
    fs::write(&file, input).unwrap();
    let run = Command::new("openssl").args(arguments).arg("-in").arg(&file).output();
    let output = run.expect("openssl is installed (tests/run does it)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn without_a_ca_or_with_another_keyring_nothing_is_minted() {
    let cell = Cell::new();
    let cluster = cell.cluster();
    let none = crate::model::cluster::Cluster { sites_ca: None, ..(*cluster).clone() };
    let names = || vec![host("a.test")];
    assert!(matches!(sealed::mint_for(&none, &cell.keyring, names(), START), Err(TlsError::NoCa)));
    let wrong = Keyring::generate([8; 32]);
    assert!(matches!(sealed::mint_for(&cluster, &wrong, names(), START), Err(TlsError::Open(_))));
    // The node's own certificate is there in any case.
    let name = NodeName::parse("pi-1").unwrap();
    for (cluster, keyring) in [(Some(&none), &*cell.keyring), (Some(&*cluster), &wrong), (None, &wrong)] {
        assert_eq!(node::certificate(cluster, keyring, &name, START).unwrap().cert.len(), 1);
    }
}

#[test]
fn a_key_of_another_certificate_is_not_used() {
    let cell = Cell::new();
    let ca = sealed::open_sites_ca(&cell.cluster(), &cell.keyring).unwrap();
    let (one, two) = (mint(&ca, &["a.test"], START).unwrap(), mint(&ca, &["a.test"], START).unwrap());
    let chain = || one.chain.iter().map(Vec::as_slice);
    assert!(sealed::certified(chain(), &one.key).is_ok());
    assert!(matches!(sealed::certified(chain(), &two.key), Err(TlsError::Key(_))));
    assert!(matches!(sealed::certified(chain(), b"no key"), Err(TlsError::Key(_))));
}

#[test]
fn any_bytes_are_read_or_refused() {
    let made = ca::make(CLUSTER, START).unwrap();
    proptest!(|(bytes: Vec<u8>, at in 0..made.certificate.len(), value: u8, cut in 0..made.certificate.len())| {
        let _ = parse::certificate(&bytes);
        let mut changed = made.certificate.clone();
        changed[at] = value;
        let _ = parse::certificate(&changed);
        prop_assert!(parse::certificate(&changed[..cut]).is_err());
        let _ = ca::Authority::new(&changed, &bytes);
    });
    let followed = [made.certificate.clone(), vec![0]].concat();
    assert_eq!(parse::certificate(&followed).unwrap_err().to_string(), "read a certificate: something follows it");
}
