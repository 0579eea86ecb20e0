//! raft's state machine. A batch is applied to a clone of the state, which is then swapped in, published and answered for: the
//! log has it on disk, so it is never lost. `state.db` follows behind on its own thread, several batches in one transaction
//! where it is slower than they come; what it lacks after a crash is applied again from the log.
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{RaftLogStorage, RaftStateMachine};
use openraft::{
    EntryPayload, OptionalSend, RaftLogReader, RaftSnapshotBuilder, Snapshot as RaftSnapshot, SnapshotMeta,
    StorageIOError,
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use crate::base::limits::{PUBLISH_EVERY, STATE_BEHIND_BYTES};
use crate::model::LEVEL;
use crate::model::answer::Answer;
use crate::model::apply::apply_batch;
use crate::model::change::{Batch, BatchError};
use crate::model::effect::Effect;
use crate::model::refusal::Refusal;
use crate::model::state::{Snapshot, State};
use crate::ops::stop::Stop;
use crate::store::copy::{self, Copied, CopyError};
use crate::store::database::{self, Job, OpenError, Owns, Thread, Unreached, WriteFailed, Writer};
use crate::store::health::HealthCell;
use crate::store::log::Log;
use crate::store::schema::{self, Meta};
use crate::store::types::{Applied, Entry, LogId, Membership, Payload, Peer, StorageError, TypeConfig, weight};

/// Pages of write-ahead log after which it is moved into the database without waiting for the next snapshot: 8 MiB.
const CHECKPOINT_PAGES: usize = 2000;

/// The state of one node.
#[derive(Debug, Clone)]
pub struct Machine {
    thread: Arc<Thread<Owner>>,
    dir: PathBuf,
    image: Arc<Mutex<Image>>,
    behind: Arc<Mutex<Option<Behind>>>,
    applied: Arc<Notify>,
    /// Bytes of batches that `state.db` may still lack.
    room: Arc<Semaphore>,
    health: HealthCell,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    held: watch::Receiver<Option<LogId>>,
    /// Who sends a copy of the state makes it then.
    copied_later: Arc<AtomicBool>,
    /// Held while entries are applied, and while a copy takes the place of what they made.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// The state as applied, and what `state.db` is to say of itself once it holds as much.
#[derive(Debug)]
struct Image {
    state: State,
    meta: Meta,
    publish: watch::Sender<Arc<Snapshot>>,
}

/// What was applied and is not in `state.db` yet.
#[derive(Debug)]
struct Behind {
    effects: Vec<Effect>,
    meta: Meta,
    room: Vec<OwnedSemaphorePermit>,
}

/// Batches applied to a clone of the state.
struct Prepared {
    state: State,
    meta: Meta,
    effects: Vec<Effect>,
    answers: Vec<Applied>,
}

/// What lives on the thread of `state.db`.
pub(crate) struct Owner {
    pub(crate) writer: Writer,
    /// As it is in the database.
    pub(crate) meta: Meta,
    held: watch::Sender<Option<LogId>>,
    behind: Arc<Mutex<Option<Behind>>>,
    pages: usize,
    /// A transaction was given up: those after it would lack it.
    torn: bool,
}

impl Machine {
    pub(crate) fn open(dir: &Path, health: HealthCell) -> Result<(Self, Meta), OpenError> {
        let path = dir.join("state.db");
        let connection = database::open(&path, &schema::SCHEMA, "NORMAL")?;
        let damaged = |found: String| OpenError::damaged(&path, &found);
        let (state, meta) = schema::load(&connection).map_err(damaged)?;
        let (publish, snapshot) = watch::channel(Arc::new(Snapshot { state: state.clone(), generation: 1 }));
        let image = Image { state, meta: meta.clone(), publish };
        let found = meta.clone();
        let behind = Arc::new(Mutex::new(None));
        let waiting = Arc::clone(&behind);
        let (holds, held) = watch::channel(found.applied);
        let owner = move |writer| Owner { writer, meta: found, held: holds, behind: waiting, pages: 0, torn: false };
        let thread = Thread::start("state", connection, health.clone(), owner, Owner::run);
        let thread = thread.map_err(|error| damaged(format!("no thread for it: {error}")))?;
        let machine = Self {
            thread: Arc::new(thread),
            dir: dir.to_owned(),
            image: Arc::new(Mutex::new(image)),
            behind,
            applied: Arc::default(),
            room: Arc::new(Semaphore::new(STATE_BEHIND_BYTES)),
            health,
            snapshot,
            held,
            copied_later: Arc::default(),
            turn: Arc::default(),
        };
        Ok((machine, meta))
    }

    /// The state after each commit, in memory.
    pub fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.clone()
    }

    /// The last entry that `state.db` holds, after each of its commits. Ends with its thread.
    pub(crate) fn held_so_far(&self) -> watch::Receiver<Option<LogId>> {
        self.held.clone()
    }

    /// Applies what is known to be committed before raft starts, which would do it itself but never end on a full disk: there
    /// the state stays as it is, is served, and catches up when there is space.
    pub async fn catch_up(&self, log: &mut Log) -> Result<(), StorageError> {
        let (applied, committed) = (self.applied(), log.read_committed().await?);
        let after = |at: Option<LogId>| at.map_or(0, |at| at.index + 1);
        let (mut next, end) = (after(applied), after(committed));
        while next < end {
            let entries = log.limited_get_log_entries(next, end).await?;
            next += entries.len().max(1) as u64;
            let Prepared { state, meta, effects, .. } =
                self.prepare(self.held(), entries).map_err(|error| unreadable(&error))?;
            let behind = Behind { effects, meta: meta.clone(), room: Vec::new() };
            let written = self.thread.call(move |owner| owner.write_at_once(behind)).await.map_err(lost)?;
            if written.is_err() {
                let applied = self.applied();
                return log.save_committed(applied).await;
            }
            self.image().swap(state, meta);
        }
        Ok(())
    }

    /// From now on raft gets no copies with its snapshots: where one cannot be made it would end, and it asks for one also at its start, and
    /// to send it to a node that is away.
    pub fn copy_later(&self) {
        self.copied_later.store(true, Ordering::Relaxed);
    }

    /// Has what was applied written, until the node stops; `close` writes the last of it.
    pub async fn follow(&self, stop: &Stop) {
        loop {
            tokio::select! {
                () = self.applied.notified() => {}
                () = stop.give_up() => return,
            }
            tokio::time::sleep(PUBLISH_EVERY).await;
            // Any job will do, and one that finds no place in the queue is not needed.
            let _ = self.thread.send(Box::new(|_| ()));
        }
    }

    /// Returns when the thread of the database has come to this call.
    pub async fn answers(&self) -> bool {
        self.thread.call(|_| ()).await.is_ok()
    }

    /// What was applied when this was called is found by every start after it, also after a power cut.
    pub async fn settle(&self) -> Result<(), StorageError> {
        let settled = self.thread.call(Owner::checkpoint).await.map_err(lost)?;
        settled.map_err(|error| StorageIOError::write_state_machine(&error).into())
    }

    /// A write that waits for space gives up.
    pub fn cease_waiting(&self) {
        self.thread.cease_waiting();
    }

    /// Puts a copy of another node's state in the place of this one, which is wrong, while the node serves: what was committed after
    /// the copy is applied to it again. What was wrong is kept aside.
    pub async fn replace(
        &self,
        meta: &SnapshotMeta<u64, Peer>,
        copied: Box<Copied>,
        log: &mut Log,
        aside: PathBuf,
    ) -> Result<(), StorageError> {
        let _turn = self.turn.lock().await;
        let after = |at: Option<LogId>| at.map_or(0, |at| at.index + 1);
        let (mut next, end) = (after(meta.last_log_id), after(self.applied()));
        let mut entries = Vec::new();
        while next < end {
            let some = log.limited_get_log_entries(next, end).await?;
            let missing = || std::io::Error::other("the log begins after the copy");
            if some.first().is_none_or(|entry| entry.log_id.index != next) {
                return Err(StorageIOError::write_snapshot(Some(meta.signature()), &missing()).into());
            }
            next += some.len() as u64;
            entries.extend(some);
        }
        let wanted = (meta.last_log_id, meta.last_membership.clone());
        let dir = self.dir.clone();
        let installed = self.thread.call(move |owner| {
            copy::keep(owner, &dir, &aside)?;
            // What came after the copy is held nowhere but in the log while that takes the place.
            owner.held.send_replace(wanted.0);
            let installed = copy::install(owner, &copied, &wanted);
            owner.held.send_replace(owner.meta.applied);
            installed
        });
        let installed = installed.await.map_err(lost)?;
        let installed = installed.map_err(|error| StorageIOError::write_snapshot(Some(meta.signature()), &error))?;
        let Some(held) = installed else { return Ok(()) };
        let Prepared { state, meta, effects, .. } = self.prepare(held, entries).map_err(|error| unreadable(&error))?;
        self.image().swap(state, meta.clone());
        self.write_behind(effects, meta, None);
        self.settle().await
    }

    /// Closes the database. Blocks until its thread has ended.
    pub fn close(&self) {
        self.thread.close();
    }

    /// A copy of the state as it is now.
    pub(crate) async fn copied(&self) -> Result<RaftSnapshot<TypeConfig>, CopyError> {
        let dir = self.dir.clone();
        let made = self.thread.call(move |owner| copy::make(owner, &dir)).await;
        let (meta, copied) = made.map_err(std::io::Error::other)??;
        Ok(RaftSnapshot { meta: snapshot_meta(&meta), snapshot: Box::new(copied) })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn thread(&self) -> &Arc<Thread<Owner>> {
        &self.thread
    }

    fn applied(&self) -> Option<LogId> {
        self.image().meta.applied
    }

    fn image(&self) -> MutexGuard<'_, Image> {
        // It is only ever replaced as a whole.
        self.image.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `state.db` says of itself, after all that was applied before the call.
    async fn written(&self) -> Result<Meta, StorageError> {
        self.thread.call(|owner| owner.meta.clone()).await.map_err(|error| StorageIOError::read(&error).into())
    }

    fn held(&self) -> (State, Meta) {
        let image = self.image();
        (image.state.clone(), image.meta.clone())
    }

    fn prepare(&self, (state, meta): (State, Meta), entries: Vec<Entry>) -> Result<Prepared, BatchError> {
        let mut prepared = Prepared { state, meta, effects: Vec::new(), answers: Vec::with_capacity(entries.len()) };
        for entry in entries {
            prepared.meta.applied = Some(entry.log_id);
            let answer = match entry.payload {
                EntryPayload::Blank => Applied::default(),
                EntryPayload::Membership(membership) => {
                    prepared.meta.membership = Membership::new(Some(entry.log_id), membership);
                    Applied::default()
                }
                // What cannot be read stops applying: it is never skipped.
                EntryPayload::Normal(payload) => prepared.batch(&payload).inspect_err(|error| {
                    self.health.fail(&format!("apply the log: {error}; upgrade this node"));
                })?,
            };
            prepared.answers.push(answer);
        }
        prepared.meta.revision = prepared.state.revision;
        prepared.meta.time = prepared.state.time;
        prepared.meta.hash = prepared.state.hash.to_le_bytes();
        Ok(prepared)
    }

    /// Leaves it to the thread of the database to write what was applied, with what else comes in the next moments: a page
    /// that many changes touch is written once.
    fn write_behind(&self, effects: Vec<Effect>, meta: Meta, room: Option<OwnedSemaphorePermit>) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(behind) = &mut *behind {
            behind.effects.extend(effects);
            behind.meta = meta;
            behind.room.extend(room);
            return;
        }
        *behind = Some(Behind { effects, meta, room: room.into_iter().collect() });
        self.applied.notify_one();
    }
}

impl Prepared {
    fn batch(&mut self, payload: &Payload) -> Result<Applied, BatchError> {
        let batch = Batch::decode(&payload.0)?;
        let keep = |(did, answer): (Vec<Effect>, Answer)| {
            self.effects.extend(did);
            answer
        };
        let mut keep = keep;
        let answers: Vec<Result<Answer, Refusal>> =
            apply_batch(&mut self.state, &batch).into_iter().map(|decided| decided.map(&mut keep)).collect();
        if self.state.level() > LEVEL {
            return Err(BatchError::Level(self.state.level()));
        }
        Ok(Applied(answers))
    }
}

impl Image {
    fn swap(&mut self, state: State, meta: Meta) {
        let generation = self.publish.borrow().generation + 1;
        self.publish.send_replace(Arc::new(Snapshot { state: state.clone(), generation }));
        self.state = state;
        self.meta = meta;
    }
}

impl Owns for Owner {
    fn writer(&self) -> &Writer {
        &self.writer
    }

    fn catch_up(&mut self) {
        let behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(behind) = behind {
            // The health says what became of it, and who waits for the next batch learns it there.
            let _ = self.write(behind);
        }
    }
}

impl Owner {
    /// Runs jobs until the last sender is gone. Each finds in the database what was applied before it was given.
    fn run(&mut self, queue: &Receiver<Job<Self>>) {
        while let Ok(job) = queue.recv() {
            self.catch_up();
            job(self);
        }
        self.catch_up();
    }

    /// Writes without waiting for space on a full disk.
    fn write_at_once(&mut self, behind: Behind) -> Result<(), WriteFailed> {
        self.writer.patient.set(false);
        let written = self.write(behind);
        self.writer.patient.set(true);
        self.torn = false;
        written
    }

    fn write(&mut self, behind: Behind) -> Result<(), WriteFailed> {
        let Behind { effects, mut meta, room } = behind;
        if self.torn {
            return Err(self.writer.failed("a change before this one was given up"));
        }
        let before = u128::from_le_bytes(self.meta.history);
        let written = self.writer.commit(|connection| {
            let history = schema::write(connection, &effects, before)?;
            meta.history = history.to_le_bytes();
            schema::write_meta(connection, &meta)
        });
        self.torn = written.is_err();
        written?;
        drop(room);
        self.holds(meta);
        // Rows of one transaction share pages: half as many, and those of the roots.
        self.pages += effects.len() / 2 + 4;
        if self.pages > CHECKPOINT_PAGES {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// The database is as this says.
    pub(crate) fn holds(&mut self, meta: Meta) {
        self.held.send_replace(meta.applied);
        self.meta = meta;
    }

    /// Makes everything written so far durable.
    fn checkpoint(&mut self) -> Result<(), WriteFailed> {
        if self.writer.checkpoint()? {
            self.pages = 0;
        }
        Ok(())
    }
}

fn snapshot_meta(meta: &Meta) -> SnapshotMeta<u64, Peer> {
    let id = meta.applied.map_or_else(|| "0-0".to_owned(), |at| format!("{}-{}", at.leader_id.term, at.index));
    SnapshotMeta { last_log_id: meta.applied, last_membership: meta.membership.clone(), snapshot_id: id }
}

impl RaftSnapshotBuilder<TypeConfig> for Machine {
    /// A snapshot is `state.db` made durable.
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
        self.written().await.map(|meta| (meta.applied, meta.membership))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Applied>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let weight: usize = entries.iter().map(weight).sum();
        let weight = u32::try_from(weight.min(STATE_BEHIND_BYTES)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(weight);
        let room = room.await.map_err(|closed| StorageIOError::write_state_machine(&closed))?;
        if let Some(reason) = self.health.failed() {
            return Err(StorageIOError::write_state_machine(&std::io::Error::other(reason)).into());
        }
        let _turn = self.turn.lock().await;
        let Prepared { state, meta, effects, answers } =
            self.prepare(self.held(), entries).map_err(|error| unreadable(&error))?;
        self.image().swap(state, meta.clone());
        self.write_behind(effects, meta, Some(room));
        Ok(answers)
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
        let _turn = self.turn.lock().await;
        let wanted = (meta.last_log_id, meta.last_membership.clone());
        let installed = self.thread.call(move |owner| copy::install(owner, &copied, &wanted)).await;
        let installed =
            installed.map_err(std::io::Error::other).map_err(CopyError::from).flatten().map_err(|error| {
                // raft ends with this, also where it waits for the state to be taken up.
                self.health.fail(&error.to_string());
                StorageIOError::write_snapshot(Some(meta.signature()), &error)
            })?;
        if let Some((state, meta)) = installed {
            self.image().swap(state, meta);
        }
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<RaftSnapshot<TypeConfig>>, StorageError> {
        let meta = self.written().await?;
        if meta.applied.is_none() {
            return Ok(None);
        }
        if self.copied_later.load(Ordering::Relaxed) {
            return Ok(Some(RaftSnapshot { meta: snapshot_meta(&meta), snapshot: Box::new(Copied::nothing()) }));
        }
        let copied = self.copied().await;
        copied.map(Some).map_err(|error| StorageIOError::read_snapshot(None, &error).into())
    }
}

fn unreadable(error: &BatchError) -> StorageError {
    StorageIOError::write_state_machine(error).into()
}

fn lost(error: Unreached) -> StorageError {
    StorageIOError::write_state_machine(&error).into()
}
