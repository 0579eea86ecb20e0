//! openraft's own test of a store.
use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;

use crate::store::health::HealthCell;
use crate::store::log::Log;
use crate::store::machine::Machine;
use crate::store::tests::bench;
use crate::store::types::{StorageError, TypeConfig};

struct Builder;

impl StoreBuilder<TypeConfig, Log, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, Log, Machine), StorageError> {
        let dir = bench::dir();
        // Not `Store::open`, whose log waits for the state: the suite purges what no state ever held.
        let health = HealthCell::new();
        let (log, _) = Log::open(dir.path(), health.clone()).unwrap();
        let (machine, _) = Machine::open(dir.path(), health).unwrap();
        Ok((dir, log, machine))
    }
}

#[test]
fn raft_accepts_log_and_machine() {
    Suite::test_all(Builder).unwrap();
}
