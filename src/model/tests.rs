//! Tests of the rules: a table of every refusal, and properties of random changes that collide often.
mod accounts;
mod certificates;
mod cluster;
pub(crate) mod generator;
pub(crate) mod golden;
pub(crate) mod invariants;
mod obtaining;
mod operations;
mod orders;
mod properties;
mod records;
mod requests;
mod serials;
mod sites;
mod tokens;
pub(crate) mod world;
mod zone_files;
mod zones;
