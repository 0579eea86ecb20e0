//! kill -9 under write load through the API, again and again: no acknowledged change is lost, none is half applied.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

#[path = "support/kill_rounds.rs"]
mod kill_rounds;
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

#[test]
fn no_acknowledged_change_is_lost() {
    kill_rounds::run(30);
}
