//! Everything a node keeps on disk, opened together and compared: a log that ends before the state does, or
//! begins after it, has lost something.
use std::path::{Path, PathBuf};

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
    /// Where they are.
    pub dir: PathBuf,
}

impl Store {
    /// Opens or creates `log.db` and `state.db` in `dir` and verifies every row of both.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let health = HealthCell::new();
        if let Err(error) = copy::sweep(dir) {
            tracing::warn!(%error, "left-over copies could not be removed");
        }
        let (mut log, extent) = Log::open(dir, health.clone())?;
        let (machine, meta) = Machine::open(dir, health.clone())?;
        let (last, purged) = (extent.last.map(|last| last.index), extent.purged.map(|purged| purged.index));
        let applied = meta.applied.map(|applied| applied.index);
        if let (Some(copied), true) =
            (meta.copied.filter(|_| extent.used), applied > last && meta.applied == meta.copied)
        {
            // Killed between taking up a copy of the state and the purge of the log up to there.
            tracing::info!(index = copied.index, "the log begins after the copy of the state that was taken up");
            log.begin_after(copied);
        } else if applied > last {
            let found = format!("log.db {}, state.db {}", end(last), end(applied));
            return Err(OpenError::Apart { dir: dir.display().to_string(), found });
        }
        if purged > applied {
            let found = format!("log.db begins after entry {}, state.db {}", purged.unwrap_or_default(), end(applied));
            return Err(OpenError::Apart { dir: dir.display().to_string(), found });
        }
        log.keep_for(machine.held_so_far());
        let history = History::new(&machine);
        Ok(Self { log, machine, history, health, dir: dir.to_owned() })
    }
}

fn end(at: Option<u64>) -> String {
    at.map_or_else(|| "is empty".to_owned(), |at| format!("ends with entry {at}"))
}
