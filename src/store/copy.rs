//! Copies of `state.db`: how a member that lags too far behind, or a new one, gets the state. Made with SQLite's backup,
//! verified row by row before they are taken up.
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::model::state::State;
use crate::store::database;
use crate::store::machine::Owner;
use crate::store::schema::{self, Meta};
use crate::store::types::{LogId, Membership};

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
    Open(#[from] database::OpenError),
    #[error("take up a copy of the state: it is damaged: {0}")]
    Damaged(String),
    #[error("take up a copy of the state: it was made at another index than announced")]
    OtherIndex,
    #[error("take up a copy of the state: it is in use")]
    InUse,
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

/// Copies the state as it is now.
pub(crate) fn make(owner: &mut Owner, dir: &Path) -> Result<(Meta, Copied), CopyError> {
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

/// Replaces the state by a copy, in one transaction of SQLite, after every row of it was verified.
pub(crate) fn install(
    owner: &mut Owner,
    copied: &Copied,
    wanted: (Option<LogId>, Membership),
) -> Result<Option<(State, Meta)>, CopyError> {
    let Some(path) = copied.path() else { return Ok(None) };
    let source = database::open(path, &schema::SCHEMA, "OFF")?;
    let (state, mut meta) = schema::load(&source).map_err(CopyError::Damaged)?;
    if (meta.applied, meta.membership.clone()) != wanted {
        return Err(CopyError::OtherIndex);
    }
    meta.copied = meta.applied;
    schema::write_meta(&source, &meta)?;
    let target = Rc::get_mut(&mut owner.writer.connection).ok_or(CopyError::InUse)?;
    target.flush_prepared_statement_cache();
    copy(&source, target)?;
    owner.writer.checkpoint().map_err(std::io::Error::other)?;
    owner.meta = meta.clone();
    Ok(Some((state, meta)))
}

fn copy(source: &Connection, target: &mut Connection) -> Result<(), CopyError> {
    let backup = Backup::new(source, target)?;
    match backup.step(-1)? {
        StepResult::Done => Ok(()),
        _ => Err(CopyError::InUse),
    }
}
