//! Lookups against servers made up in the test.
mod answers;
mod caa;
mod lookups;
