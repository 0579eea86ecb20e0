//! Which version of the program this is.
use std::hint::black_box;

/// Read from where it lies each time: who writes over it, as the tests of upgrades do, has a later version of the same program.
pub fn version() -> &'static str {
    black_box(env!("CARGO_PKG_VERSION"))
}
