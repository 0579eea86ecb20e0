//! A site that moves while files are uploaded and machines are killed; `long_moves.rs` has forty rounds.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

#[path = "support/move_rounds.rs"]
mod move_rounds;
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use move_rounds::Moving;

#[test]
fn no_acknowledged_upload_is_lost_in_a_few_moves_with_kills() {
    Moving::new().rounds(4, true);
}

#[test]
fn no_upload_fails_in_a_few_moves() {
    Moving::new().rounds(4, false);
}
