//! Our answers beside those of NSD and Knot: a part of the questions that `long_dns_peers` asks.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::dns::against_peers;
use support::dns::rules::{KNOT, NSD};
use support::dns::wire::Mode;

#[test]
fn we_answer_as_nsd_and_knot_do() {
    against_peers(7, &[Mode::Plain, Mode::Edns(1232), Mode::Tcp]);
}

/// Whoever meets a difference finds its reason.
#[test]
fn every_rule_is_written_down() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/dns.md")).unwrap();
    for rule in NSD.iter().chain(KNOT) {
        assert!(page.contains(&format!("| {} |", rule.name)), "docs/dns.md says nothing of `{}`", rule.name);
    }
}
