//! What a cluster is: accounts, sites, zones and the rest as values, the changes that may happen to them, and the rules
//! that decide. `apply` is pure and deterministic: the same log gives the same state on every node. No IO, no SQL, no async.
pub mod accounts;
pub mod advice;
pub mod answer;
pub mod apply;
pub mod budget;
pub mod certificates;
pub mod challenges;
pub mod change;
pub mod chunk;
pub mod cluster;
pub mod drains;
pub mod effect;
pub mod ftp_users;
pub mod issuers;
pub mod joins;
pub mod moves;
pub mod nodes;
pub mod operations;
pub mod options;
pub mod orders;
pub mod placement;
pub mod places;
pub mod plans;
pub mod records;
pub mod refusal;
pub mod rotation;
pub mod row;
pub mod serials;
pub mod sites;
pub mod soa;
pub mod standbys;
pub mod state;
pub mod stations;
pub mod tokens;
pub mod wishes;
pub mod zone_files;
pub mod zones;

#[cfg(test)]
pub(crate) mod tests;

/// The newest level this binary knows: the format of what is stored and the rules in force. Until the first release there is one.
pub const LEVEL: u32 = if cfg!(feature = "extra-level") { 2 } else { 1 };
