//! How a node is, as it tells the others who ask. Shown to administrators, and heeded where a site is placed.
use serde::{Deserialize, Serialize};

use crate::base::ids::NodeId;
use crate::model::placement::Facts;

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
    /// Percent of its processors that had work in the last minute; absent where that could not be found out.
    #[serde(default)]
    pub load: Option<u32>,
    /// Fingerprint of its keyring.
    #[serde(default)]
    pub keyring: String,
}

impl Look {
    /// What counts where a site is to be placed.
    pub(crate) fn facts(&self) -> Option<Facts> {
        let Disk { free, size } = self.disk?;
        Some(Facts { free, size, load: self.load.unwrap_or(0) })
    }
}

/// In bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    pub free: u64,
    pub size: u64,
}
