//! One SQLite database: one connection, owned by one thread, locked exclusively so that the index of its write-ahead log lies
//! in heap memory (a mapped file would raise SIGBUS on a full disk) and no second process can open it. A full disk is waited
//! out; any other error of a write ends writing until a restart, because a failed fsync must not be tried again.
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::oneshot;

use crate::base::limits::{DISK_FULL_RETRY, STORE_QUEUE};
use crate::store::health::HealthCell;

/// "RUCH": marks our databases.
const APPLICATION_ID: i32 = 0x5255_4348;

/// Characters of what was found in a damaged database: a sentence of SQLite and what it quotes.
const FOUND_MAX: usize = 300;
/// Bytes of write-ahead log that stay on the disk: what changes take between two checkpoints, and more than that.
pub(super) const JOURNAL_KEPT: u32 = 16 << 20;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("open {path}: {source}")]
    Sqlite { path: String, source: rusqlite::Error },
    #[error("open {path}: another process uses it")]
    Busy { path: String },
    #[error("read {path}: it is damaged: {found}; `ruche cluster recover` puts a copy of the state in its place")]
    Damaged { path: String, found: String },
    #[error("read {path}: {found}")]
    Foreign { path: String, found: String },
    #[error(
        "open {dir}: {found}: one of them is missing or older than the other; `ruche cluster recover` puts a copy of the state in their place"
    )]
    Apart { dir: String, found: String },
}

impl OpenError {
    /// What was found may quote damaged bytes: only what can be shown on one line is kept of them.
    pub(crate) fn damaged(path: &Path, found: &str) -> Self {
        let legible = |c: char| if c.is_control() || c == char::REPLACEMENT_CHARACTER { '?' } else { c };
        Self::Damaged { path: path.display().to_string(), found: found.chars().take(FOUND_MAX).map(legible).collect() }
    }
}

/// A write that did not happen, or of which nobody knows.
#[derive(Debug, Clone, thiserror::Error)]
#[error("write {database}: {reason}")]
pub struct WriteFailed {
    pub(crate) database: &'static str,
    pub(crate) reason: String,
}

/// The tables of a database: those it began with, those a later ruche gives it when it opens it, and what each level after the first
/// adds when it is raised to that. All one statement a line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schema<'a> {
    pub(crate) first: &'a str,
    pub(crate) later: &'a str,
    pub(crate) levels: &'a [&'a str],
}

impl<'a> Schema<'a> {
    pub(crate) fn of(first: &'a str) -> Self {
        Self { first, later: "", levels: &[] }
    }

    /// The newest level it has tables for.
    fn newest(&self) -> u32 {
        1 + self.levels.len() as u32
    }

    /// Brings a database to a level, within the transaction that says so; one that is there already stays as it is.
    pub(crate) fn raise(&self, connection: &Connection, level: u32) -> rusqlite::Result<()> {
        let found = level_of(connection)?;
        for at in found + 1..=level.min(self.newest()) {
            connection.execute_batch(self.levels[at as usize - 2])?;
            connection.pragma_update(None, "user_version", at)?;
        }
        Ok(())
    }
}

fn level_of(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn statements(sql: &str) -> impl Iterator<Item = &str> {
    sql.split(';').map(str::trim).filter(|sql| !sql.is_empty())
}

/// Opens or creates `path` with our pragmas and compares what is in it with `schema`.
pub(crate) fn open(path: &Path, schema: &Schema<'_>, synchronous: &str) -> Result<Connection, OpenError> {
    let shown = path.display().to_string();
    let sqlite = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Busy { path: shown.clone() },
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => OpenError::damaged(path, &source.to_string()),
        _ => OpenError::Sqlite { path: shown.clone(), source },
    };
    let connection = connect(path, synchronous).map_err(sqlite)?;
    let found: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(sqlite)?;
    let tables: u32 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(sqlite)?;
    if tables == 0 && found == 0 {
        create(&connection, schema.first).map_err(sqlite)?;
    } else if found != APPLICATION_ID {
        return Err(OpenError::Foreign { path: shown, found: "it is not a database of ruche".into() });
    }
    check(&connection, schema, &shown, sqlite)?;
    Ok(connection)
}

fn connect(path: &Path, synchronous: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    // Only of a new database: said again it writes a page, at every start and on a full disk too.
    if connection.pragma_query_value(None, "page_count", |row| row.get::<_, u32>(0))? == 0 {
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    // Checkpoints are ours: SQLite's own would hide their errors.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // What a copy of the whole state needs is given back with the next write, once it is in the database.
    connection.pragma_update(None, "journal_size_limit", JOURNAL_KEPT)?;
    connection.pragma_update(None, "cache_size", -1024)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn create(connection: &Connection, schema: &str) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(schema)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", 1)?;
    transaction.commit()
}

/// Gives a database the tables it has none of yet. Rows that were lost with a table are missed by the hash over all of them.
fn grow(connection: &Connection, schema: &Schema<'_>) -> rusqlite::Result<()> {
    let has = |sql: &str| {
        connection.query_row("SELECT count(*) FROM sqlite_schema WHERE sql = ?1", [sql], |row| row.get::<_, u32>(0))
    };
    for sql in statements(schema.later) {
        if has(sql)? == 0 {
            connection.execute_batch(sql)?;
        }
    }
    Ok(())
}

fn check(
    connection: &Connection,
    schema: &Schema<'_>,
    path: &str,
    sqlite: impl Fn(rusqlite::Error) -> OpenError,
) -> Result<(), OpenError> {
    let damaged = |found: String| OpenError::damaged(Path::new(path), &found);
    if connection.is_readonly("main").map_err(&sqlite)? {
        return Err(damaged("it can only be read; look at its permissions and at its disk".into()));
    }
    let (level, newest) = (level_of(connection).map_err(&sqlite)?, schema.newest());
    if level > newest {
        let found = format!("it is of level {level}, this ruche knows {newest}; start the newer version");
        return Err(OpenError::Foreign { path: path.to_owned(), found });
    }
    let Some(raised) = level.checked_sub(1) else { return Err(damaged("its level reads 0".into())) };
    grow(connection, schema).map_err(&sqlite)?;
    let mut statement = connection.prepare("SELECT sql FROM sqlite_schema WHERE sql NOT NULL").map_err(&sqlite)?;
    let mut found: Vec<String> =
        statement.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(&sqlite)?;
    let levels = schema.levels.iter().take(raised as usize);
    let all = [schema.first, schema.later].into_iter().chain(levels.copied());
    let mut wanted: Vec<String> = all.flat_map(statements).map(str::to_owned).collect();
    found.sort();
    wanted.sort();
    if found != wanted {
        return Err(damaged("its tables are not those of its level".into()));
    }
    let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(&sqlite)?;
    if sound == "ok" { Ok(()) } else { Err(damaged(sound)) }
}

/// A connection together with the rules for writing through it.
pub(crate) struct Writer {
    pub(crate) connection: Rc<Connection>,
    name: &'static str,
    health: HealthCell,
    stopping: Arc<AtomicBool>,
    reads: Receiver<Read>,
    /// Reads that were taken up and are still to run.
    taken_up: RefCell<VecDeque<Read>>,
    /// Whether a write waits for space on a full disk; else it fails.
    pub(crate) patient: Cell<bool>,
}

impl Writer {
    /// Runs one transaction until it is committed: a full disk is waited out, anything else ends writing.
    pub(crate) fn commit<T>(&self, mut work: impl FnMut(&Connection) -> rusqlite::Result<T>) -> Result<T, WriteFailed> {
        self.insist(|connection| {
            let transaction = connection.unchecked_transaction()?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
    }

    /// One transaction of what can be done another time, too: nothing of it is waited for, and a failure of the power may undo
    /// it. None where it was not done.
    pub(crate) fn commit_idly<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Option<T> {
        if self.health.failed().is_some() {
            return None;
        }
        let idly = |connection: &Connection| {
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            let transaction = connection.unchecked_transaction()?;
            let done = work(&transaction).and_then(|done| transaction.commit().map(|()| done));
            connection.pragma_update(None, "synchronous", "FULL")?;
            done
        };
        let done = idly(&self.connection);
        done.inspect_err(|error| {
            if !is_full(error) {
                self.broke(error)
            }
        })
        .ok()
    }

    /// Runs a single statement, which is a transaction of its own; for the rest as `commit`.
    pub(crate) fn commit_statement<T>(
        &self,
        statement: impl FnMut(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, WriteFailed> {
        self.insist(statement)
    }

    /// Moves the write-ahead log into the database and syncs it. True when all of it was moved.
    pub(crate) fn checkpoint(&self) -> Result<bool, WriteFailed> {
        self.insist(|connection| {
            connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                let (busy, log, done): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(busy == 0 && log == done)
            })
        })
    }

    pub(crate) fn failed(&self, reason: impl Into<String>) -> WriteFailed {
        WriteFailed { database: self.name, reason: reason.into() }
    }

    fn insist<T>(&self, mut work: impl FnMut(&Connection) -> rusqlite::Result<T>) -> Result<T, WriteFailed> {
        loop {
            if let Some(reason) = self.health.failed() {
                return Err(self.failed(reason));
            }
            match work(&self.connection) {
                Ok(done) => {
                    self.health.space(self.name);
                    return Ok(done);
                }
                Err(error) if is_full(&error) => self.wait_for_space()?,
                Err(error) => {
                    self.broke(&error);
                    return Err(self.failed(error.to_string()));
                }
            }
        }
    }

    /// The disk is full: waits a while, unless nothing is to wait any more.
    pub(crate) fn wait_for_space(&self) -> Result<(), WriteFailed> {
        self.health.full(self.name);
        if self.stopping.load(Ordering::Relaxed) || !self.patient.get() {
            return Err(self.failed("the disk is full and nobody waits for space"));
        }
        self.read_until(Instant::now() + DISK_FULL_RETRY);
        Ok(())
    }

    /// While a write waits for space, what was committed is still read.
    fn read_until(&self, retry: Instant) {
        self.read_taken_up();
        while let Some(left) = retry.checked_duration_since(Instant::now()) {
            let Ok(read) = self.reads.recv_timeout(left) else { return };
            read(&self.connection);
            if self.stopping.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    fn broke(&self, error: &rusqlite::Error) {
        self.health.fail(&format!("{}: {error}", self.name));
        // Closing would checkpoint, and so sync again what a sync has failed on.
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }

    fn take_up_reads(&self) {
        self.taken_up.borrow_mut().extend(self.reads.try_iter());
    }

    fn read_taken_up(&self) {
        while let Some(read) = self.next_taken_up() {
            read(&self.connection);
        }
    }

    fn next_taken_up(&self) -> Option<Read> {
        self.taken_up.borrow_mut().pop_front()
    }
}

pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

pub(crate) type Job<T> = Box<dyn FnOnce(&mut T) + Send>;
type Read = Box<dyn FnOnce(&Connection) + Send>;

/// What a thread owns beside its database; the writer is in there.
pub(crate) trait Owns {
    fn writer(&self) -> &Writer;

    /// Writes what was answered for and is not in the database yet.
    fn catch_up(&mut self) {}
}

/// The thread that owns a database. Jobs run in the order in which they were given.
pub(crate) struct Thread<T> {
    jobs: Mutex<Option<SyncSender<Job<T>>>>,
    reads: SyncSender<Read>,
    /// Whether a job that looks at `reads` waits already: reads must not fill the queue that raft's writes need.
    called: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<T> std::fmt::Debug for Thread<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Thread")
    }
}

/// The thread of a database has ended, or too many jobs wait for it.
#[derive(Debug, thiserror::Error)]
#[error("reach the database: {0}")]
pub struct Unreached(&'static str);

impl<T: 'static> Thread<T> {
    /// Starts the thread; `owner` is made on it, because a connection stays where it is used.
    pub(crate) fn start(
        name: &'static str,
        connection: Connection,
        health: HealthCell,
        owner: impl FnOnce(Writer) -> T + Send + 'static,
        run: impl FnOnce(&mut T, &Receiver<Job<T>>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel::<Job<T>>(STORE_QUEUE);
        let (reads, waiting) = sync_channel::<Read>(STORE_QUEUE);
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let body = move || {
            let writer = Writer {
                connection: Rc::new(connection),
                name,
                health,
                stopping: stop,
                reads: waiting,
                taken_up: RefCell::default(),
                patient: Cell::new(true),
            };
            let mut owner = owner(writer);
            run(&mut owner, &queue);
        };
        let thread = std::thread::Builder::new().name(format!("store-{name}")).spawn(body)?;
        let called = Arc::new(AtomicBool::new(false));
        Ok(Self { jobs: Mutex::new(Some(jobs)), reads, called, stopping, thread: Mutex::new(Some(thread)) })
    }

    /// Hands over a job without waiting for it.
    pub(crate) fn send(&self, job: Job<T>) -> Result<(), Unreached> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = jobs.as_ref().ok_or(Unreached("it is closed"))?;
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Unreached("too many wait for it"),
            TrySendError::Disconnected(_) => Unreached("its thread has ended"),
        })
    }

    /// Runs a job on the thread and waits for what it gives.
    pub(crate) async fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, Unreached> {
        let (answer, answered) = oneshot::channel();
        self.send(Box::new(move |owner| drop(answer.send(job(owner)))))?;
        answered.await.map_err(|_| Unreached("its thread has ended"))
    }
}

impl<T: Owns + 'static> Thread<T> {
    /// Reads what was committed, on the thread; also while a write there waits for space on the disk.
    pub(crate) async fn read<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> R + Send + 'static,
    ) -> Result<R, Unreached> {
        let (answer, answered) = oneshot::channel();
        let read: Read = Box::new(move |connection| drop(answer.send(work(connection))));
        self.reads.try_send(read).map_err(|error| match error {
            TrySendError::Full(_) => Unreached("too many wait for it"),
            TrySendError::Disconnected(_) => Unreached("its thread has ended"),
        })?;
        if !self.called.swap(true, Ordering::SeqCst) {
            let called = Arc::clone(&self.called);
            let look = move |owner: &mut T| {
                called.store(false, Ordering::SeqCst);
                // First taken up, then caught up: each finds what was answered before it was asked.
                owner.writer().take_up_reads();
                owner.catch_up();
                owner.writer().read_taken_up();
            };
            self.send(Box::new(look)).inspect_err(|_| self.called.store(false, Ordering::SeqCst))?;
        }
        answered.await.map_err(|_| Unreached("its thread has ended"))
    }
}

impl<T> Thread<T> {
    /// A write that waits for space gives up, now and from now on.
    pub(crate) fn cease_waiting(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Wakes it; where the queue is full it is about to look by itself.
        let _ = self.reads.try_send(Box::new(|_| ()));
    }

    /// Closes the database after the jobs its thread has. Blocks until it is done.
    pub(crate) fn close(&self) {
        self.cease_waiting();
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic there was reported when it happened; the databases are left to SQLite's recovery.
            let _ = thread.join();
        }
    }
}

impl<T> Drop for Thread<T> {
    fn drop(&mut self) {
        self.close();
    }
}

/// Runs jobs until the last sender is gone.
pub(crate) fn run_all<T>(owner: &mut T, queue: &Receiver<Job<T>>) {
    while let Ok(job) = queue.recv() {
        job(owner);
    }
}
