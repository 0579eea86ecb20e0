//! A store in a directory of its own, driven as raft drives it.
use std::path::Path;
use std::sync::Arc;

use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::{CommittedLeaderId, EntryPayload};
use tempfile::TempDir;

use crate::model::apply::apply_batch;
use crate::model::change::Batch;
use crate::model::state::{Snapshot, State};
use crate::model::tests::generator::{Chance, log};
use crate::store::database::OpenError;
use crate::store::node::Store;
use crate::store::types::{Applied, Entry, LogId, Payload};

pub(in crate::store) fn id(index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(1, 1), index)
}

pub(in crate::store) fn entry(index: u64, batch: &Batch) -> Entry {
    Entry { log_id: id(index), payload: EntryPayload::Normal(Payload(batch.encode().into())) }
}

/// A random log of about this many envelopes.
pub(in crate::store) fn batches(seed: u64, envelopes: usize) -> Vec<Batch> {
    let mut chance = Chance(seed);
    let genes: Vec<u64> = (0..envelopes).map(|_| chance.next()).collect();
    log(&genes)
}

/// What a log makes in memory, in one go.
pub(in crate::store) fn in_memory(batches: &[Batch]) -> State {
    let mut state = State::default();
    batches.iter().for_each(|batch| drop(apply_batch(&mut state, batch)));
    state
}

pub(in crate::store) fn dir() -> TempDir {
    tempfile::Builder::new().prefix("ruche-store-").tempdir().unwrap()
}

/// Appends and applies batches from an index on, one entry each.
pub(in crate::store) async fn run(store: &mut Store, first: u64, batches: &[Batch]) -> Vec<Applied> {
    let mut answers = Vec::new();
    for (at, batch) in batches.iter().enumerate() {
        let entry = entry(first + at as u64, batch);
        store.log.blocking_append([entry.clone()]).await.unwrap();
        store.log.save_committed(Some(entry.log_id)).await.unwrap();
        answers.extend(store.machine.apply([entry]).await.unwrap());
        // Each a transaction of its own, and none left to be written.
        assert!(store.machine.answers().await);
    }
    answers
}

pub(in crate::store) fn now(store: &Store) -> Arc<Snapshot> {
    store.machine.snapshot().borrow().clone()
}

/// The files as a kill -9 would leave them: copied while the databases are open.
pub(in crate::store) fn killed(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// What an admin reads.
pub(in crate::store) fn refused(dir: &Path) -> String {
    match Store::open(dir) {
        Ok(_) => panic!("opened"),
        Err(error) => readable(&error),
    }
}

pub(in crate::store) fn readable(error: &OpenError) -> String {
    let text = error.to_string();
    assert!(text.contains(".db") && text.len() < 600 && !text.contains('\u{fffd}'), "{text}");
    text
}
