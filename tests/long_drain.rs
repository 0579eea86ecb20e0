//! A node with 300 sites that is drained while they are visited and uploaded to; prints its figures.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

#[path = "support/drain_rounds.rs"]
mod drain_rounds;
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use drain_rounds::Drained;

#[test]
#[ignore = "long: 300 sites leave a node, and a third comes back, about two minutes"]
fn nobody_notices_that_three_hundred_sites_leave_a_node() {
    Drained::new(300).run(false);
}
