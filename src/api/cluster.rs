//! `/v1/cluster/key`: the recovery copy of the keyring, for root on the node itself.
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
