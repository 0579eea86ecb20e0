//! A home that is cut off while files are uploaded on both sides; `long_partitions.rs` has thirty rounds.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

#[path = "support/standby_rounds.rs"]
mod standby_rounds;
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use standby_rounds::Hive;

#[test]
fn two_homes_never_take_uploads_in_a_few_partitions() {
    if let Some(hive) = Hive::new() {
        hive.rounds(3);
    }
}

#[test]
fn a_home_that_was_not_told_of_its_lease_has_no_other_beside_it() {
    if let Some(hive) = Hive::new() {
        hive.switched_while_cut_off();
    }
}
