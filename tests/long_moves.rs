//! A site that moves forty times while files are uploaded and machines are killed; prints its figures.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

#[path = "support/move_rounds.rs"]
mod move_rounds;
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use move_rounds::Moving;

#[test]
#[ignore = "long: 40 moves, about five minutes"]
fn no_acknowledged_upload_is_lost_in_forty_moves_with_kills() {
    Moving::new().rounds(40, true);
}

#[test]
#[ignore = "long: 20 moves, about two minutes"]
fn no_upload_fails_in_twenty_moves() {
    Moving::new().rounds(20, false);
}
