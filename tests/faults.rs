//! Three nodes through a few faults drawn by chance; `long_cluster.rs` has a hundred.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

#[path = "support/fault_rounds.rs"]
mod fault_rounds;
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

#[test]
fn no_acknowledged_change_is_lost_in_a_few_faults_of_three_nodes() {
    fault_rounds::run(4);
}
