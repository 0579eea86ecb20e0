//! Property tests of the rules.
