//! Our answers beside those of NSD and Knot: every name, every type, every way to ask.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::dns::against_peers;
use support::dns::wire::MODES;

#[test]
#[ignore = "long: some minutes"]
fn we_answer_as_nsd_and_knot_do_to_everything() {
    against_peers(1, &MODES);
}
