//! How a node is, as it tells the others who ask. Shown to administrators, decided on by nobody.
use serde::{Deserialize, Serialize};

use crate::base::ids::NodeId;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    pub node: NodeId,
    pub version: String,
    pub level: u32,
    pub revision: u64,
    /// Of the state at that revision; two nodes that differ at one revision have diverged.
    pub hash: String,
    pub applied: Option<u64>,
    pub leader: Option<NodeId>,
    pub term: u64,
    /// What each plane serves, by name.
    pub served: Vec<(String, u64)>,
    /// Its clock, in milliseconds since 1970.
    pub clock: u64,
    /// What holds its data; absent where that could not be found out.
    #[serde(default)]
    pub disk: Option<Disk>,
    /// Fingerprint of its keyring.
    #[serde(default)]
    pub keyring: String,
}

/// In bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    pub free: u64,
    pub size: u64,
}
