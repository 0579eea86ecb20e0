//! A node that is drained while its sites are visited and uploaded to, and the leader is killed; `long_drain.rs` has 300 sites.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

#[path = "support/drain_rounds.rs"]
mod drain_rounds;
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use drain_rounds::Drained;

#[test]
fn nobody_notices_a_drain_but_those_of_a_leader_that_is_killed() {
    Drained::new(12).run(true);
}
