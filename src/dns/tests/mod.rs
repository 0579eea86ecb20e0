//! Tests of the answers: tables by section of the RFCs, read back by another parser, and properties of hostile octets.
mod compile;
mod hostile;
mod messages;
mod names;
pub(crate) mod world;
