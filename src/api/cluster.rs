//! `/v1/cluster/key`: the recovery copy of the keyring, for root on the node itself. `/v1/cluster/level`: what the state may hold.
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The recovery copy. Who has it and a copy of the state can read every secret of the cluster.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyExport {
    pub cluster: String,
    /// The keyring as text; keep it off the machine.
    pub keyring: String,
    /// What two people compare to know that they hold the same keys.
    pub fingerprint: String,
    pub revision: u64,
}

impl fmt::Debug for KeyExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyExport").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// Which level the state is raised to: the one after its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LevelRaise {
    pub level: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LevelRaised {
    pub level: u32,
    pub revision: u64,
}
