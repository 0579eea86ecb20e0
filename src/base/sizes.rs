//! Sizes as people read them.

/// Names of the powers of 1024, from the first.
pub const UNITS: [char; 5] = ['K', 'M', 'G', 'T', 'P'];

/// `2.0 GiB`.
pub fn human(bytes: u64) -> String {
    let at = (1..=UNITS.len()).rev().find(|at| bytes >> (10 * at) > 0);
    match at {
        None => format!("{bytes} B"),
        Some(at) => format!("{:.1} {}iB", bytes as f64 / (1u64 << (10 * at)) as f64, UNITS[at - 1]),
    }
}
