//! A site that moves while it is visited and written to, and while machines are killed, cut off or full; `long_moves.rs` has forty rounds.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

#[path = "support/move_rounds.rs"]
mod move_rounds;
#[path = "support/onlookers.rs"]
mod onlookers;
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::time::Duration;

use move_rounds::{Faults, Moving, SLOW, Shape};

#[test]
fn no_acknowledged_upload_is_lost_in_a_few_moves_with_kills() {
    Moving::new(SLOW).rounds(4, Faults::Kills);
}

#[test]
fn a_site_has_one_home_through_partitions_and_a_full_disk() {
    if let Some(moving) = Moving::apart(SLOW) {
        moving.rounds(3, Faults::Partitions);
        moving.rounds(1, Faults::FullDisks);
    }
}

#[test]
fn nobody_notices_a_few_moves_of_many_small_files() {
    let lasts = Duration::from_secs(4);
    Moving::new(Shape { files: 2000, file_bytes: 700, large: 8 << 20, lasts, bandwidth: None }).watched(3);
}

#[test]
fn nobody_notices_a_few_moves_of_larger_files() {
    let lasts = Duration::from_secs(4);
    Moving::new(Shape { files: 20, file_bytes: 300_000, large: 32 << 20, lasts, bandwidth: Some(24 << 20) }).watched(3);
}
