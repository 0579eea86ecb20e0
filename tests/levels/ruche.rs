//! The binary with a level more than the newest one (feature `extra-level`), for the test of clusters of two levels.
use std::process::ExitCode;

#[path = "../../src/main.rs"]
mod dispatch;

fn main() -> ExitCode {
    dispatch::main()
}
