//! A site that moves forty times while files are uploaded and machines are killed, and twenty times while visitors of every kind look on;
//! prints its figures.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

#[path = "support/move_rounds.rs"]
mod move_rounds;
#[path = "support/onlookers.rs"]
mod onlookers;
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::time::Duration;

use move_rounds::{Faults, Moving, SLOW, Shape};

/// Longer than the files stay at a home that was left.
const LASTS: Duration = Duration::from_secs(50);

#[test]
#[ignore = "long: 40 moves, about five minutes"]
fn no_acknowledged_upload_is_lost_in_forty_moves_with_kills() {
    Moving::new(SLOW).rounds(40, Faults::Kills);
}

#[test]
#[ignore = "long: 40 moves, about ten minutes"]
fn a_site_has_one_home_in_twenty_partitions_and_twenty_full_disks() {
    if let Some(moving) = Moving::apart(SLOW) {
        moving.rounds(20, Faults::Partitions);
        moving.rounds(20, Faults::FullDisks);
    }
}

#[test]
#[ignore = "long: 20 moves of 50,000 small files, about five minutes"]
fn nobody_notices_twenty_moves_of_many_small_files() {
    Moving::new(Shape { files: 50_000, file_bytes: 2000, large: 64 << 20, lasts: LASTS, bandwidth: None }).watched(20);
}

#[test]
#[ignore = "long: 20 moves of a GiB, about ten minutes"]
fn nobody_notices_twenty_moves_of_a_gibibyte() {
    Moving::new(Shape { files: 400, file_bytes: 2_400_000, large: 64 << 20, lasts: LASTS, bandwidth: None })
        .watched(20);
}
