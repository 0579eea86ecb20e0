//! Three nodes through a hundred faults; prints its figures.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

#[path = "support/fault_rounds.rs"]
mod fault_rounds;
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

#[test]
#[ignore = "long: 100 rounds, about ten minutes"]
fn no_acknowledged_change_is_lost_in_a_hundred_faults_of_three_nodes() {
    fault_rounds::run(100);
}
