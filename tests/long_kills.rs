//! The same as `kills.rs` for so long that what happens once in a hundred times has happened; prints its figures.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

#[path = "support/kill_rounds.rs"]
mod kill_rounds;
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

#[test]
#[ignore = "long: 1,000 rounds, about half an hour"]
fn no_acknowledged_change_is_lost_in_a_thousand_kills() {
    kill_rounds::run(1000);
}
