//! Copies of `state.db`: how a member that lags too far behind, or a new one, gets the state. Made with SQLite's backup,
//! verified row by row before they are taken up.
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::model::state::State;
use crate::store::database::{self, OpenError, WriteFailed};
use crate::store::machine::Owner;
use crate::store::schema::{self, Meta};
use crate::store::types::{LogId, Membership};

/// Bytes of disk that a copy leaves to the changes that come while it lies there.
const COPY_LEAVES: u64 = 16 << 20;

/// A copy in a file of its own, removed with this value.
#[derive(Debug)]
pub struct Copied {
    path: Option<PathBuf>,
}

/// Failed to make a copy or to take one up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error("copy the state: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("copy the state: {0}")]
    Io(#[from] std::io::Error),
    #[error("take up a copy of the state: {0}")]
    Open(#[from] OpenError),
    #[error("take up a copy of the state: {0}")]
    Write(#[from] WriteFailed),
    #[error("take up a copy of the state: it is damaged: {0}")]
    Damaged(String),
    #[error("take up a copy of the state: it was made at another index than announced")]
    OtherIndex,
    #[error("take up a copy of the state: it is in use")]
    InUse,
    #[error("copy the state: it takes {needed} bytes, with what changes need meanwhile, and the disk has {free}")]
    NoRoom { needed: u64, free: u64 },
}

impl CopyError {
    fn is_full(&self) -> bool {
        match self {
            Self::Sqlite(error) | Self::Open(OpenError::Sqlite { source: error, .. }) => database::is_full(error),
            Self::NoRoom { .. } => true,
            _ => false,
        }
    }
}

impl Copied {
    /// Stands for the durable `state.db` itself, of which no copy was needed.
    pub(crate) fn nothing() -> Self {
        Self { path: None }
    }

    /// A fresh file to be filled, or to be received into.
    pub(crate) fn empty(dir: &Path) -> std::io::Result<Self> {
        let mut random = [0u8; 8];
        getrandom::fill(&mut random).map_err(std::io::Error::other)?;
        let path = dir.join(format!("copy-{:016x}.db", u64::from_ne_bytes(random)));
        std::fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(Self { path: Some(path) })
    }

    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What cannot be removed now is removed at the next start, with every other left-over copy.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Removes copies that a killed process left.
pub(crate) fn sweep(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("copy-") && name.contains(".db") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Copies the state as it is now, where the disk has room for that.
pub(crate) fn make(owner: &mut Owner, dir: &Path) -> Result<(Meta, Copied), CopyError> {
    room(dir, bytes(&owner.writer.connection)?)?;
    let copied = Copied::empty(dir)?;
    let path = copied.path().unwrap_or(dir);
    let mut target = Connection::open(path)?;
    target.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; PRAGMA cache_size = -256")?;
    copy(&owner.writer.connection, &mut target)?;
    Ok((owner.meta.clone(), copied))
}

/// Keeps the state as it is in a folder of its own.
pub(crate) fn keep(owner: &mut Owner, dir: &Path, aside: &Path) -> Result<(), CopyError> {
    let (_, copied) = make(owner, dir)?;
    std::fs::create_dir_all(aside)?;
    Ok(std::fs::rename(copied.path().unwrap_or(dir), aside.join("state.db"))?)
}

/// Replaces the state by a copy, in one transaction of SQLite, after every row of it was verified. A full disk is waited out.
pub(crate) fn install(
    owner: &mut Owner,
    copied: &Copied,
    wanted: &(Option<LogId>, Membership),
) -> Result<Option<(State, Meta)>, CopyError> {
    let Some(path) = copied.path() else { return Ok(None) };
    let (source, state, meta) = patiently(owner, |_| verified(path, wanted))?;
    patiently(owner, |owner| take_up(owner, &source, path))?;
    owner.holds(meta.clone());
    Ok(Some((state, meta)))
}

/// Tries again while the disk is full.
fn patiently<T>(owner: &mut Owner, mut work: impl FnMut(&mut Owner) -> Result<T, CopyError>) -> Result<T, CopyError> {
    loop {
        match work(owner) {
            Err(error) if error.is_full() => owner.writer.wait_for_space()?,
            done => return done,
        }
    }
}

fn verified(path: &Path, wanted: &(Option<LogId>, Membership)) -> Result<(Connection, State, Meta), CopyError> {
    let source = database::open(path, &schema::SCHEMA, "OFF")?;
    let (state, mut meta) = schema::load(&source).map_err(CopyError::Damaged)?;
    if (meta.applied, &meta.membership) != (wanted.0, &wanted.1) {
        return Err(CopyError::OtherIndex);
    }
    meta.copied = meta.applied;
    schema::write_meta(&source, &meta)?;
    Ok((source, state, meta))
}

/// The pages go into the write-ahead log first, all of them, and then into the database: where there is no room for that nothing is
/// written, which would take it from everybody else.
fn take_up(owner: &mut Owner, source: &Connection, path: &Path) -> Result<(), CopyError> {
    owner.writer.checkpoint()?;
    let journal = owner.writer.connection.path().map(|path| format!("{path}-wal"));
    let journal = journal.and_then(|path| Some(std::fs::metadata(path).ok()?.len())).unwrap_or_default();
    let (size, own) = (bytes(source)?, bytes(&owner.writer.connection)?);
    room(path, (size + size.saturating_sub(own)).saturating_sub(journal))?;
    let target = Rc::get_mut(&mut owner.writer.connection).ok_or(CopyError::InUse)?;
    target.flush_prepared_statement_cache();
    copy(source, target)?;
    owner.writer.checkpoint()?;
    Ok(())
}

/// Of a database.
fn bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let count = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0)).map(u64::from);
    Ok(count("page_count")? * count("page_size")?)
}

/// Refused where the disk has not so many bytes and what it leaves to others.
fn room(path: &Path, bytes: u64) -> Result<(), CopyError> {
    let disk = rustix::fs::statvfs(path).map_err(std::io::Error::from)?;
    let (needed, free) = (bytes + COPY_LEAVES, disk.f_bavail * disk.f_frsize);
    if free < needed { Err(CopyError::NoRoom { needed, free }) } else { Ok(()) }
}

fn copy(source: &Connection, target: &mut Connection) -> Result<(), CopyError> {
    let backup = Backup::new(source, target)?;
    match backup.step(-1)? {
        StepResult::Done => Ok(()),
        _ => Err(CopyError::InUse),
    }
}
