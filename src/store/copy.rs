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
    /// What SQLite said of a full disk.
    fn full(&self) -> Option<&rusqlite::Error> {
        match self {
            Self::Sqlite(error) | Self::Open(OpenError::Sqlite { source: error, .. }) => {
                Some(error).filter(|error| database::is_full(error))
            }
            _ => None,
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
    let connection = &owner.writer.connection;
    let count = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0)).map(u64::from);
    let needed = count("page_count")? * count("page_size")? + COPY_LEAVES;
    let disk = rustix::fs::statvfs(dir).map_err(std::io::Error::from)?;
    let free = disk.f_bavail * disk.f_frsize;
    if free < needed {
        return Err(CopyError::NoRoom { needed, free });
    }
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
    loop {
        let error = match take_up(owner, path, wanted) {
            Ok(taken) => return Ok(Some(taken)),
            Err(error) => error,
        };
        match error.full() {
            Some(full) => owner.writer.bear(full)?,
            None => return Err(error),
        }
    }
}

fn take_up(owner: &mut Owner, path: &Path, wanted: &(Option<LogId>, Membership)) -> Result<(State, Meta), CopyError> {
    let source = database::open(path, &schema::SCHEMA, "OFF")?;
    let (state, mut meta) = schema::load(&source).map_err(CopyError::Damaged)?;
    if (meta.applied, &meta.membership) != (wanted.0, &wanted.1) {
        return Err(CopyError::OtherIndex);
    }
    meta.copied = meta.applied;
    schema::write_meta(&source, &meta)?;
    let target = Rc::get_mut(&mut owner.writer.connection).ok_or(CopyError::InUse)?;
    target.flush_prepared_statement_cache();
    copy(&source, target)?;
    owner.writer.checkpoint()?;
    owner.holds(meta.clone());
    Ok((state, meta))
}

fn copy(source: &Connection, target: &mut Connection) -> Result<(), CopyError> {
    let backup = Backup::new(source, target)?;
    match backup.step(-1)? {
        StepResult::Done => Ok(()),
        _ => Err(CopyError::InUse),
    }
}
