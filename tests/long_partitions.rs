//! A home that is cut off thirty times while files are uploaded on both sides; prints its figures.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

#[path = "support/standby_rounds.rs"]
#[expect(dead_code, reason = "the short ones use the rest of it")]
mod standby_rounds;
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use standby_rounds::Hive;

#[test]
#[ignore = "long: 30 partitions, about twenty minutes"]
fn two_homes_never_take_uploads_in_thirty_partitions() {
    if let Some(hive) = Hive::new() {
        hive.rounds(30);
    }
}
