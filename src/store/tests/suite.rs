//! openraft's own test of a store.
use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;

use crate::store::log::Log;
use crate::store::machine::Machine;
use crate::store::node::Store;
use crate::store::tests::bench;
use crate::store::types::{StorageError, TypeConfig};

struct Builder;

impl StoreBuilder<TypeConfig, Log, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, Log, Machine), StorageError> {
        let dir = bench::dir();
        let Store { log, machine, .. } = Store::open(dir.path()).unwrap();
        Ok((dir, log, machine))
    }
}

#[test]
fn raft_accepts_log_and_machine() {
    Suite::test_all(Builder).unwrap();
}
