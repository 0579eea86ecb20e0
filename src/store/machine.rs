//! `state.db`: raft's state machine. A batch is applied to a clone of the state; one transaction writes its rows, the index and
//! the hashes; only then is the clone swapped in and published. If that fails the clone is dropped and nothing happened.
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openraft::storage::{RaftLogStorage, RaftStateMachine};
use openraft::{
    EntryPayload, OptionalSend, RaftLogReader, RaftSnapshotBuilder, Snapshot as RaftSnapshot, SnapshotMeta,
    StorageIOError,
};
use tokio::sync::watch;

use crate::model::LEVEL;
use crate::model::answer::Answer;
use crate::model::apply::apply_batch;
use crate::model::change::{Batch, BatchError};
use crate::model::effect::Effect;
use crate::model::refusal::Refusal;
use crate::model::state::{Snapshot, State};
use crate::store::copy::{self, Copied};
use crate::store::database::{self, OpenError, Owns, Thread, Unreached, Writer};
use crate::store::health::HealthCell;
use crate::store::log::Log;
use crate::store::schema::{self, Meta};
use crate::store::types::{Applied, Entry, LogId, Membership, Payload, Peer, StorageError, TypeConfig};

/// Pages of write-ahead log after which it is moved into the database without waiting for the next snapshot: 8 MiB.
const CHECKPOINT_PAGES: usize = 2000;

/// The state of one node.
#[derive(Debug, Clone)]
pub struct Machine {
    thread: Arc<Thread<Owner>>,
    dir: PathBuf,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    starting: Arc<AtomicBool>,
}

/// What lives on the thread of `state.db`.
pub(crate) struct Owner {
    pub(crate) writer: Writer,
    pub(crate) meta: Meta,
    pub(crate) state: State,
    health: HealthCell,
    publish: watch::Sender<Arc<Snapshot>>,
    pages: usize,
}

/// Why an entry was not applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error(transparent)]
    Write(#[from] database::WriteFailed),
    #[error(transparent)]
    Unreadable(#[from] BatchError),
}

impl Machine {
    pub(crate) fn open(dir: &Path, health: HealthCell) -> Result<(Self, Meta), OpenError> {
        let path = dir.join("state.db");
        let connection = database::open(&path, LEVEL, schema::SCHEMA, "NORMAL")?;
        let damaged = |found: String| OpenError::damaged(&path, &found);
        let (state, meta) = schema::load(&connection).map_err(damaged)?;
        let found = meta.clone();
        let (publish, snapshot) = watch::channel(Arc::new(Snapshot { state: state.clone(), generation: 1 }));
        let cell = health.clone();
        let owner = move |writer| Owner { writer, meta, state, health, publish, pages: 0 };
        let thread = Thread::start("state", connection, cell, owner, database::run_all);
        let thread = thread.map_err(|error| damaged(format!("no thread for it: {error}")))?;
        let machine = Self { thread: Arc::new(thread), dir: dir.to_owned(), snapshot, starting: Arc::default() };
        Ok((machine, found))
    }

    /// The state after each commit, in memory.
    pub fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.clone()
    }

    /// Applies what is known to be committed before raft starts, which would do it itself but never end on a full disk: there
    /// the state stays as it is, is served, and catches up when there is space.
    pub async fn catch_up(&self, log: &mut Log) -> Result<(), StorageError> {
        let (applied, committed) = (self.meta().await?.applied, log.read_committed().await?);
        let after = |at: Option<LogId>| at.map_or(0, |at| at.index + 1);
        let (mut next, end) = (after(applied), after(committed));
        while next < end {
            let entries = log.limited_get_log_entries(next, end).await?;
            next += entries.len().max(1) as u64;
            let applied = self.thread.call(move |owner| owner.apply_at_once(entries)).await.map_err(lost)?;
            if applied.is_err() {
                return log.save_committed(self.meta().await?.applied).await;
            }
        }
        Ok(())
    }

    /// While raft starts it asks for the snapshot to learn its index: no peer needs a copy then, and a full disk has no room.
    pub fn set_starting(&self, starting: bool) {
        self.starting.store(starting, Ordering::Relaxed);
    }

    /// Returns when the thread of the database has come to this call.
    pub async fn answers(&self) -> bool {
        self.thread.call(|_| ()).await.is_ok()
    }

    /// A write that waits for space gives up.
    pub fn cease_waiting(&self) {
        self.thread.cease_waiting();
    }

    /// Closes the database. Blocks until its thread has ended.
    pub fn close(&self) {
        self.thread.close();
    }

    pub(crate) fn thread(&self) -> &Arc<Thread<Owner>> {
        &self.thread
    }

    async fn meta(&self) -> Result<Meta, StorageError> {
        self.thread.call(|owner| owner.meta.clone()).await.map_err(|error| StorageIOError::read(&error).into())
    }
}

impl Owns for Owner {
    fn writer(&self) -> &Writer {
        &self.writer
    }
}

impl Owner {
    /// Applies without waiting for space on a full disk.
    fn apply_at_once(&mut self, entries: Vec<Entry>) -> Result<Vec<Applied>, ApplyError> {
        self.writer.patient.set(false);
        let applied = self.apply(entries);
        self.writer.patient.set(true);
        applied
    }

    fn apply(&mut self, entries: Vec<Entry>) -> Result<Vec<Applied>, ApplyError> {
        let mut state = self.state.clone();
        let mut meta = self.meta.clone();
        let mut effects = Vec::new();
        let mut answers = Vec::with_capacity(entries.len());
        for entry in entries {
            meta.applied = Some(entry.log_id);
            answers.push(match entry.payload {
                EntryPayload::Blank => Applied::default(),
                EntryPayload::Membership(membership) => {
                    meta.membership = Membership::new(Some(entry.log_id), membership);
                    Applied::default()
                }
                EntryPayload::Normal(payload) => self.batch(&payload, &mut state, &mut effects)?,
            });
        }
        self.commit(state, meta, &effects)?;
        Ok(answers)
    }

    /// Applies one batch. What cannot be read stops applying: it is never skipped.
    fn batch(&self, payload: &Payload, state: &mut State, effects: &mut Vec<Effect>) -> Result<Applied, ApplyError> {
        let batch = Batch::decode(&payload.0).inspect_err(|error| {
            self.health.fail(&format!("apply the log: {error}; upgrade this node"));
        })?;
        let keep = |(did, answer): (Vec<Effect>, Answer)| {
            effects.extend(did);
            answer
        };
        let mut keep = keep;
        let answers: Vec<Result<Answer, Refusal>> =
            apply_batch(state, &batch).into_iter().map(|decided| decided.map(&mut keep)).collect();
        Ok(Applied(answers))
    }

    fn commit(&mut self, state: State, mut meta: Meta, effects: &[Effect]) -> Result<(), database::WriteFailed> {
        meta.revision = state.revision;
        meta.time = state.time;
        meta.hash = state.hash.to_le_bytes();
        let before = u128::from_le_bytes(meta.history);
        let history = self.writer.commit(|connection| {
            let history = schema::write(connection, effects, before)?;
            meta.history = history.to_le_bytes();
            schema::write_meta(connection, &meta)?;
            Ok(history)
        })?;
        meta.history = history.to_le_bytes();
        // Rows of one transaction share pages: half as many, and those of the roots.
        self.pages += effects.len() / 2 + 4;
        self.swap(state, meta);
        if self.pages > CHECKPOINT_PAGES {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Makes everything applied so far durable.
    fn checkpoint(&mut self) -> Result<(), database::WriteFailed> {
        if self.writer.checkpoint()? {
            self.pages = 0;
        }
        Ok(())
    }

    pub(crate) fn swap(&mut self, state: State, meta: Meta) {
        let generation = self.publish.borrow().generation + 1;
        self.publish.send_replace(Arc::new(Snapshot { state: state.clone(), generation }));
        self.state = state;
        self.meta = meta;
    }
}

fn snapshot_meta(meta: &Meta) -> SnapshotMeta<u64, Peer> {
    let id = meta.applied.map_or_else(|| "0-0".to_owned(), |at| format!("{}-{}", at.leader_id.term, at.index));
    SnapshotMeta { last_log_id: meta.applied, last_membership: meta.membership.clone(), snapshot_id: id }
}

impl RaftSnapshotBuilder<TypeConfig> for Machine {
    /// A snapshot is `state.db` made durable. A copy is made only when a peer needs one.
    async fn build_snapshot(&mut self) -> Result<RaftSnapshot<TypeConfig>, StorageError> {
        let build = |owner: &mut Owner| owner.checkpoint().map(|()| snapshot_meta(&owner.meta));
        let meta = self.thread.call(build).await.map_err(lost)?;
        let meta = meta.map_err(|error| StorageError::from(StorageIOError::write_state_machine(&error)))?;
        Ok(RaftSnapshot { meta, snapshot: Box::new(Copied::nothing()) })
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), StorageError> {
        self.meta().await.map(|meta| (meta.applied, meta.membership))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Applied>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let applied = self.thread.call(move |owner| owner.apply(entries)).await.map_err(lost)?;
        applied.map_err(|error| StorageIOError::write_state_machine(&error).into())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Copied>, StorageError> {
        let copied = Copied::empty(&self.dir).map_err(|error| StorageIOError::write_snapshot(None, &error))?;
        Ok(Box::new(copied))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, Peer>,
        copied: Box<Copied>,
    ) -> Result<(), StorageError> {
        let wanted = (meta.last_log_id, meta.last_membership.clone());
        let installed = self.thread.call(move |owner| copy::install(owner, &copied, wanted)).await.map_err(lost)?;
        installed.map_err(|error| StorageIOError::write_snapshot(Some(meta.signature()), &error).into())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<RaftSnapshot<TypeConfig>>, StorageError> {
        let meta = self.meta().await?;
        if meta.applied.is_none() {
            return Ok(None);
        }
        if self.starting.load(Ordering::Relaxed) {
            return Ok(Some(RaftSnapshot { meta: snapshot_meta(&meta), snapshot: Box::new(Copied::nothing()) }));
        }
        let dir = self.dir.clone();
        let made = self.thread.call(move |owner| copy::make(owner, &dir)).await.map_err(lost)?;
        let (meta, copied) = made.map_err(|error| StorageError::from(StorageIOError::read_snapshot(None, &error)))?;
        Ok(Some(RaftSnapshot { meta: snapshot_meta(&meta), snapshot: Box::new(copied) }))
    }
}

fn lost(error: Unreached) -> StorageError {
    StorageIOError::write_state_machine(&error).into()
}
