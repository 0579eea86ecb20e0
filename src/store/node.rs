//! Everything a node keeps on disk, opened together and compared: a log that ends before the state does has lost something.
use std::path::Path;

use crate::store::copy;
use crate::store::database::OpenError;
use crate::store::health::HealthCell;
use crate::store::history::History;
use crate::store::log::Log;
use crate::store::machine::Machine;

/// The opened databases of one node.
#[derive(Debug)]
pub struct Store {
    pub log: Log,
    pub machine: Machine,
    pub history: History,
    pub health: HealthCell,
    /// Whether the state knows no other member than this one.
    pub alone: bool,
}

impl Store {
    /// Opens or creates `log.db` and `state.db` in `dir` and verifies every row of both.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let health = HealthCell::new();
        if let Err(error) = copy::sweep(dir) {
            tracing::warn!(%error, "left-over copies could not be removed");
        }
        let (log, extent) = Log::open(dir, health.clone())?;
        let (machine, meta) = Machine::open(dir, health.clone())?;
        let applied = meta.applied;
        let last = extent.last.map(|last| last.index);
        if applied.map(|applied| applied.index) > last {
            let path = dir.join("log.db").display().to_string();
            let found = format!(
                "it ends at entry {} and state.db holds what entry {} did",
                last.unwrap_or_default(),
                applied.map(|applied| applied.index).unwrap_or_default()
            );
            return Err(OpenError::Damaged { path, found });
        }
        let history = History::new(&machine);
        let alone = meta.membership.nodes().count() <= 1;
        Ok(Self { log, machine, history, health, alone })
    }
}
