//! `log.db`: raft's log, vote and committed index. The fsync comes before the acknowledgement; every row has a checksum.
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader, StorageIOError};
use rusqlite::{Connection, OptionalExtension, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use xxhash_rust::xxh3::xxh3_128;

use crate::base::ids::NodeId;
use crate::base::limits::peers::PEER_ENTRIES_BYTES;
use crate::base::limits::{LOG_CACHE_BYTES, LOG_CACHE_ENTRIES, LOG_PURGE_BYTES, LOG_READ_ENTRIES_MAX};
use crate::store::database::{self, Job, OpenError, Schema, Thread, Unreached, WriteFailed, Writer};
use crate::store::health::{Health, HealthCell};
use crate::store::types::{Entry, LogId, StorageError, TypeConfig, Vote, weight};

const SCHEMA: &str = "\
CREATE TABLE log(at INTEGER PRIMARY KEY, value BLOB NOT NULL, checksum BLOB NOT NULL) STRICT;
CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL, checksum BLOB NOT NULL) STRICT, WITHOUT ROWID";
/// Purged rows that are dropped, or pages that are given back to the file system, at one time: about a millisecond, in which
/// no change is written.
const DROP_ROWS: u64 = 64;
const VACUUM_PAGES: u32 = 64;
/// Pages of write-ahead log that so many dropped rows take.
const DROPPED_PAGES: u32 = 8;
/// Free pages that stay in the file: a log that is purged grows again.
pub(super) const FREE_PAGES_MAX: u32 = 1024;
/// Pages of write-ahead log after which it is moved into the database: 1 MiB, which takes a few milliseconds.
const CHECKPOINT_PAGES: u32 = 250;
/// Bytes of one.
const PAGE: u32 = 4096;

/// An entry as it lies in the log, with what was committed when it was written: a row of its own would cost a page.
#[derive(Serialize, Deserialize)]
struct Row {
    entry: Entry,
    committed: Option<LogId>,
}

/// The log of one node, shared by raft and its readers.
#[derive(Debug, Clone)]
pub struct Log {
    thread: Arc<Thread<Owner>>,
    cache: Arc<Mutex<Cache>>,
    grown: Arc<Notify>,
    /// The last entry that the state holds, where there is one beside the log.
    held: Option<watch::Receiver<Option<LogId>>>,
    health: HealthCell,
}

#[derive(Debug, Default)]
struct Cache {
    entries: BTreeMap<u64, Entry>,
    bytes: usize,
    committed: Option<LogId>,
    /// The first entry that was not purged. Rows below it are gone for everybody, and dropped little by little.
    first: u64,
    /// Bytes of values in the database, roughly: what a purge would free.
    stored: u64,
}

struct Owner {
    writer: Writer,
    pages: u32,
    /// The first entry that stays, while there may be rows below it.
    dropping: Option<u64>,
}

/// What a check of the log at the start found.
#[derive(Debug, Clone, Default)]
pub struct Extent {
    pub purged: Option<LogId>,
    pub last: Option<LogId>,
    /// It is tied to a node: not a fresh one in the place of another that was lost.
    pub used: bool,
    bytes: u64,
}

impl Log {
    pub fn open(dir: &Path, health: HealthCell) -> Result<(Self, Extent), OpenError> {
        let path = dir.join("log.db");
        let connection = database::open(&path, &Schema::of(SCHEMA), "FULL")?;
        let damaged = |found: String| OpenError::damaged(&path, &found);
        let extent = verify(&connection).map_err(damaged)?;
        let first = after(extent.purged);
        let own = move |writer| Owner { writer, pages: 0, dropping: Some(first) };
        let thread = Thread::start("log", connection, health.clone(), own, Owner::run);
        let thread = thread.map_err(|error| damaged(format!("no thread for it: {error}")))?;
        let cache = Cache { first, stored: extent.bytes, ..Cache::default() };
        let (thread, cache) = (Arc::new(thread), Arc::new(Mutex::new(cache)));
        Ok((Self { thread, cache, grown: Arc::default(), held: None, health }, extent))
    }

    /// From now on nothing is purged before the state holds it.
    pub(crate) fn keep_for(&mut self, held: watch::Receiver<Option<LogId>>) {
        self.held = Some(held);
    }

    /// The id of the node whose log this is; absent in a log that was never used.
    pub async fn node_id(&self) -> Result<Option<NodeId>, StorageError> {
        self.meta("node").await
    }

    /// Ties the log to a node, once: a vote belongs to who cast it.
    pub async fn set_node_id(&self, id: NodeId) -> Result<(), StorageError> {
        self.write(move |connection| write_meta(connection, "node", &id)).await
    }

    /// Nothing up to this entry is in the log any more, for whoever asks it from now on.
    pub(crate) fn begin_after(&self, upto: LogId) {
        self.cache().first = after(Some(upto));
        // What fails is in the health of the node: nothing is written any more.
        let _ = self.thread.send(Box::new(move |owner: &mut Owner| drop(owner.purge(upto))));
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

    /// Bytes of entries in the log.
    pub fn bytes(&self) -> u64 {
        self.cache().stored
    }

    /// Returns when an entry was appended to a log that holds as many bytes as it should.
    pub async fn grown(&self) {
        self.grown.notified().await;
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // Nothing in there can be left half done: the lock is held for single assignments only.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(
        &self,
        mut work: impl FnMut(&Connection) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<(), StorageError> {
        let done = self.thread.call(move |owner| owner.writer.commit(&mut work)).await;
        done.map_err(lost)?.map_err(failed)
    }

    /// raft orders a copy to be taken up and the log to be purged up to there, and does not wait for the first: killed between
    /// the two a node would have lost what lies between its state and its log.
    async fn until_held(&self, upto: LogId) -> Result<(), StorageError> {
        let Some(mut held) = self.held.clone() else { return Ok(()) };
        let mut health = self.health.watch();
        tokio::select! {
            biased;
            held = held.wait_for(|held| *held >= Some(upto)) => {
                held.map(drop).map_err(|ended| StorageIOError::write_logs(&ended).into())
            }
            failed = health.wait_for(|health| matches!(health, Health::Failed { .. })) => {
                let reason = failed.map(|_| "the state is not held".to_owned()).unwrap_or_else(|ended| ended.to_string());
                Err(StorageIOError::write_logs(&std::io::Error::other(reason)).into())
            }
        }
    }

    async fn meta<T: DeserializeOwned + Send + 'static>(&self, name: &'static str) -> Result<Option<T>, StorageError> {
        let read = self.thread.call(move |owner| read_meta(&owner.writer.connection, name)).await;
        read.map_err(lost)?.map_err(|found| StorageIOError::read(&std::io::Error::other(found)).into())
    }

    async fn last(&self) -> Result<Option<Row>, StorageError> {
        let first = self.cache().first;
        let last = move |owner: &mut Owner| {
            let query = "SELECT at, value, checksum FROM log WHERE at >= ?1 ORDER BY at DESC LIMIT 1";
            let row = owner.writer.connection.query_row(query, [first as i64], raw).optional();
            row.map_err(|error| error.to_string())?.map(|row| read_row(&row)).transpose()
        };
        self.thread.call(last).await.map_err(lost)?.map_err(|found| unreadable(&found))
    }
}

impl Cache {
    fn push(&mut self, entry: Entry, bytes: usize) {
        self.bytes += bytes;
        self.stored += bytes as u64;
        self.entries.insert(entry.log_id.index, entry);
        if self.bytes > LOG_CACHE_BYTES {
            // The newest one stays, whatever its size: it is about to be applied.
            let newest = self.entries.pop_last();
            self.entries.clear();
            self.entries.extend(newest);
            self.bytes = bytes;
        }
        while self.entries.len() > LOG_CACHE_ENTRIES {
            self.entries.pop_first();
        }
    }

    /// The entries of a range, if all of them are here.
    fn range(&self, first: u64, last: u64) -> Option<Vec<Entry>> {
        let found: Vec<_> = self.entries.range(first..=last).map(|(_, entry)| entry.clone()).collect();
        let whole = found.first().is_some_and(|entry| entry.log_id.index == first)
            && found
                .last()
                .is_some_and(|entry| entry.log_id.index == last || self.newest() == Some(entry.log_id.index))
            && found.windows(2).all(|pair| pair[0].log_id.index + 1 == pair[1].log_id.index);
        whole.then_some(found)
    }

    fn newest(&self) -> Option<u64> {
        self.entries.keys().next_back().copied()
    }
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let first = match range.start_bound() {
            Bound::Included(at) => *at,
            Bound::Excluded(at) => at + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(at) => at.saturating_add(1),
            Bound::Excluded(at) => *at,
            Bound::Unbounded => i64::MAX as u64,
        };
        let first = first.max(self.cache().first);
        if end <= first {
            return Ok(Vec::new());
        }
        if let Some(found) = self.cache().range(first, end - 1) {
            return Ok(found);
        }
        let read = move |owner: &mut Owner| read_rows(&owner.writer.connection, first, end);
        let rows = self.thread.call(read).await.map_err(lost)?.map_err(|found| unreadable(&found))?;
        Ok(rows.into_iter().map(|row| row.entry).collect())
    }

    /// As many as fit in one message to a peer; at least one.
    async fn limited_get_log_entries(&mut self, first: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        let mut entries = self.try_get_log_entries(first..end.min(first + LOG_READ_ENTRIES_MAX)).await?;
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            bytes += weight(entry);
            bytes <= PEER_ENTRIES_BYTES
        };
        let count = entries.iter().take_while(fits).count().max(1);
        entries.truncate(count);
        Ok(entries)
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let purged: Option<LogId> = self.meta("purged").await?;
        let last = self.last().await?.map(|row| row.entry.log_id);
        Ok(LogState { last_purged_log_id: purged, last_log_id: last.or(purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let vote = *vote;
        self.write(move |connection| write_meta(connection, "vote", &vote)).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        self.meta("vote").await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        self.cache().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        if let Some(committed) = self.cache().committed {
            return Ok(Some(committed));
        }
        Ok(self.last().await?.and_then(|row| row.committed))
    }

    async fn append<I>(&mut self, entries: I, flushed: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut rows = Vec::new();
        {
            let mut cache = self.cache();
            let committed = cache.committed;
            for entry in entries {
                let row = Row { entry, committed };
                let value = pack(&row);
                cache.push(row.entry, value.len());
                let at = cache.newest().unwrap_or_default();
                rows.push((at, value));
            }
            if cache.stored >= LOG_PURGE_BYTES {
                self.grown.notify_one();
            }
        }
        let append = move |owner: &mut Owner| {
            let done = match &rows[..] {
                [row] => owner.writer.commit_statement(|connection| insert(connection, row)),
                rows => owner.writer.commit(|connection| rows.iter().try_for_each(|row| insert(connection, row))),
            };
            flushed.log_io_completed(done.map_err(std::io::Error::other));
            owner.wrote(&rows);
        };
        self.thread.send(Box::new(append)).map_err(lost)
    }

    async fn truncate(&mut self, from: LogId) -> Result<(), StorageError> {
        {
            let mut cache = self.cache();
            cache.entries.split_off(&from.index);
        }
        let at = from.index as i64;
        self.write(move |connection| connection.execute("DELETE FROM log WHERE at >= ?1", [at]).map(drop)).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        self.until_held(upto).await?;
        {
            let mut cache = self.cache();
            cache.first = after(Some(upto));
            cache.entries = cache.entries.split_off(&after(Some(upto)));
        }
        let stored = self.thread.call(move |owner| owner.purge(upto)).await.map_err(lost)?.map_err(failed)?;
        self.cache().stored = stored.unsigned_abs();
        Ok(())
    }
}

impl Owner {
    /// Runs jobs until the last sender is gone; between two of them, and when there is none, some of what was purged goes.
    fn run(&mut self, queue: &Receiver<Job<Self>>) {
        while let Some(job) = self.next(queue) {
            job(self);
        }
        // An older version finds no rows it does not expect.
        while self.dropping.is_some() {
            self.drop_some();
        }
    }

    fn next(&mut self, queue: &Receiver<Job<Self>>) -> Option<Job<Self>> {
        while self.dropping.is_some() {
            self.drop_some();
            match queue.try_recv() {
                Ok(job) => return Some(job),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return None,
            }
        }
        queue.recv().ok()
    }

    /// From now on the log begins after this entry; returns the bytes of those that are left.
    fn purge(&mut self, upto: LogId) -> Result<i64, WriteFailed> {
        let first = after(Some(upto));
        let left = self.writer.commit(|connection| {
            write_meta(connection, "purged", &upto)?;
            let size = "SELECT coalesce(sum(length(value)), 0) FROM log WHERE at >= ?1";
            connection.query_row(size, [first as i64], |row| row.get::<_, i64>(0))
        })?;
        self.dropping = Some(first);
        Ok(left)
    }

    /// Drops the oldest of the purged rows, or gives back some of what the file has too much. What a failure of the power
    /// brings back goes at the next start; where the disk is full it stays until the next purge.
    fn drop_some(&mut self) {
        let Some(first) = self.dropping else { return };
        match self.writer.commit_idly(|connection| drop_rows(connection, first)) {
            // The next change moves the write-ahead log, when it is time.
            Some(pages) if pages > 0 => self.pages += pages,
            _ => self.dropping = None,
        }
    }

    /// Counts what was written and moves the write-ahead log on when it has grown.
    fn wrote(&mut self, rows: &[(u64, Vec<u8>)]) {
        // Of each row what it fills, of each transaction the pages above them.
        self.pages += 2 + rows.iter().map(|(_, value)| 1 + value.len() as u32 / PAGE).sum::<u32>();
        if self.pages >= CHECKPOINT_PAGES && self.writer.checkpoint().is_ok() {
            self.pages = 0;
        }
    }
}

fn insert(connection: &Connection, (at, value): &(u64, Vec<u8>)) -> rusqlite::Result<()> {
    let mut statement =
        connection.prepare_cached("INSERT OR REPLACE INTO log(at, value, checksum) VALUES(?1, ?2, ?3)")?;
    statement.execute(params![*at as i64, value, checksum(&at.to_le_bytes(), value)]).map(drop)
}

/// Some of the rows below this one, then some of the free pages; returns how many pages that wrote, roughly.
fn drop_rows(connection: &Connection, first: u64) -> rusqlite::Result<u32> {
    let oldest: Option<i64> = connection.query_row("SELECT min(at) FROM log", [], |row| row.get(0))?;
    if let Some(oldest) = oldest.map(i64::unsigned_abs).filter(|oldest| *oldest < first) {
        let upto = first.min(oldest + DROP_ROWS);
        connection.execute("DELETE FROM log WHERE at < ?1", [upto as i64])?;
        return Ok(DROPPED_PAGES);
    }
    let free = connection.pragma_query_value(None, "freelist_count", |row| row.get::<_, u32>(0))?;
    if free <= FREE_PAGES_MAX {
        return Ok(0);
    }
    let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
    // It gives a row for each page.
    let (mut pages, mut given_back) = (vacuum.query([])?, 0);
    while pages.next()?.is_some() {
        given_back += 1;
    }
    Ok(2 * given_back)
}

fn write_meta(connection: &Connection, name: &str, value: &impl Serialize) -> rusqlite::Result<()> {
    let value = pack(value);
    let checksum = checksum(name.as_bytes(), &value);
    let mut statement =
        connection.prepare_cached("INSERT OR REPLACE INTO meta(name, value, checksum) VALUES(?1, ?2, ?3)")?;
    statement.execute(params![name, value, checksum]).map(drop)
}

fn read_meta<T: DeserializeOwned>(connection: &Connection, name: &str) -> Result<Option<T>, String> {
    let query = "SELECT value, checksum FROM meta WHERE name = ?1";
    let row = connection.query_row(query, [name], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)));
    let Some((value, sum)) = row.optional().map_err(|error| error.to_string())? else { return Ok(None) };
    if checksum(name.as_bytes(), &value)[..] != sum {
        return Err(format!("the checksum of meta row {name} is wrong"));
    }
    rmp_serde::from_slice(&value).map(Some).map_err(|error| format!("meta row {name}: {error}"))
}

type Raw = (i64, Vec<u8>, Vec<u8>);

fn raw(row: &rusqlite::Row<'_>) -> rusqlite::Result<Raw> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn read_row((at, value, sum): &Raw) -> Result<Row, String> {
    let index = at.unsigned_abs();
    if checksum(&index.to_le_bytes(), value)[..] != sum[..] {
        return Err(format!("the checksum of entry {at} is wrong"));
    }
    let row: Row = rmp_serde::from_slice(value).map_err(|error| format!("entry {at}: {error}"))?;
    if row.entry.log_id.index != index {
        return Err(format!("entry {at} says it is entry {}", row.entry.log_id.index));
    }
    Ok(row)
}

fn read_rows(connection: &Connection, first: u64, end: u64) -> Result<Vec<Row>, String> {
    let bound = |at: u64| i64::try_from(at).unwrap_or(i64::MAX);
    let query = "SELECT at, value, checksum FROM log WHERE at >= ?1 AND at < ?2 ORDER BY at";
    let mut statement = connection.prepare_cached(query).map_err(|error| error.to_string())?;
    let rows = statement.query_map([bound(first), bound(end)], raw).map_err(|error| error.to_string())?;
    rows.map(|row| read_row(&row.map_err(|error| error.to_string())?)).collect()
}

/// Reads all of the log once: every checksum, and no entry missing between the first and the last.
fn verify(connection: &Connection) -> Result<Extent, String> {
    let purged: Option<LogId> = read_meta(connection, "purged")?;
    read_meta::<Vote>(connection, "vote")?;
    let used = read_meta::<NodeId>(connection, "node")?.is_some();
    let mut extent = Extent { purged, last: purged, used, bytes: 0 };
    let mut statement = connection
        .prepare("SELECT at, value, checksum FROM log WHERE at >= ?1 ORDER BY at")
        .map_err(|error| error.to_string())?;
    let mut rows = statement.query([after(purged) as i64]).map_err(|error| error.to_string())?;
    while let Some(row) = rows.next().map_err(|error| error.to_string())? {
        let row = raw(row).map_err(|error| error.to_string())?;
        let entry = read_row(&row)?.entry;
        let next = extent.last.map_or(0, |last| last.index + 1);
        if entry.log_id.index != next {
            return Err(format!("entry {next} is missing"));
        }
        extent.last = Some(entry.log_id);
        extent.bytes += row.1.len() as u64;
    }
    Ok(extent)
}

fn after(purged: Option<LogId>) -> u64 {
    purged.map_or(0, |purged| purged.index + 1)
}

fn pack(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("log rows have no failing serialiser")
}

fn checksum(key: &[u8], value: &[u8]) -> [u8; 16] {
    let mut all = Vec::with_capacity(key.len() + 1 + value.len());
    all.extend(key);
    all.push(0);
    all.extend(value);
    xxh3_128(&all).to_le_bytes()
}

fn lost(error: Unreached) -> StorageError {
    StorageIOError::write(&error).into()
}

fn failed(error: WriteFailed) -> StorageError {
    StorageIOError::write_logs(&error).into()
}

fn unreadable(found: &str) -> StorageError {
    StorageIOError::read_logs(&std::io::Error::other(found.to_owned())).into()
}
