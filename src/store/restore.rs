//! A copy of the state in the place of databases that are lost or damaged: verified row by row first. Where the log is whole it brings
//! the copy up to date; where it is not, a log is made that begins where the copy ends, with this node as its only voter. What lay there
//! before is kept aside. Never runs beside a node, and knows no key.
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;

use crate::base::clock::Time;
use crate::base::ids::{ClusterId, NodeId, Seed};
use crate::base::names::NodeName;
use crate::model::effect::{Effect, Stored};
use crate::model::row::Row;
use crate::model::state::State;
use crate::store::database::{self, OpenError};
use crate::store::health::HealthCell;
use crate::store::log::Log;
use crate::store::schema::{self, Meta};
use crate::store::types::{LogId, Membership, StorageError, Vote};

/// Where both databases are made before they take their places.
const FOLDER: &str = "restoring";

/// Failed to put a copy in the place of the databases.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("unpack {path}: {cause}")]
    Unpack { path: PathBuf, cause: io::Error },
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("use the copy: it is damaged: {0}; take another one")]
    Damaged(String),
    #[error("use the copy: it was made before there was a cluster; take another one")]
    Empty,
    #[error(
        "use the copy: it is of a cluster of {0} nodes. If any of them is left, let this one join it; if none is, say --force-single"
    )]
    Others(usize),
    #[error("know which node this machine is: say --node with one of {0}")]
    Which(String),
    #[error("draw random bytes: {0}")]
    Random(String),
    #[error("write the log: {0}")]
    Log(#[from] Box<StorageError>),
    #[error("write {path}: {cause}")]
    Write { path: PathBuf, cause: io::Error },
}

/// What is to be restored, and as what.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Compressed if its name ends so.
    pub copy: &'a Path,
    /// Needed where the copy knows several.
    pub node: Option<&'a NodeName>,
    /// No other node is left.
    pub alone: bool,
}

#[derive(Debug)]
pub struct Restored {
    /// When the last change of the copy was made, and its number.
    pub time: Time,
    pub revision: u64,
    /// Whether the log was whole: what was changed after the copy comes back with it.
    pub with_log: bool,
    /// Where the databases of before are.
    pub aside: PathBuf,
}

/// The caller holds the lock of the directory.
pub async fn restore(data_dir: &Path, wanted: Wanted<'_>) -> Result<Restored, RestoreError> {
    let folder = data_dir.join(FOLDER);
    // Of one that was cut off.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).map_err(|cause| RestoreError::Write { path: folder.clone(), cause })?;
    let restored = prepare(data_dir, &folder, wanted).await;
    let put = restored.and_then(|restored| {
        exchange(data_dir, &folder, &restored).map_err(|(path, cause)| RestoreError::Write { path, cause })?;
        Ok(restored)
    });
    let _ = fs::remove_dir_all(&folder);
    put
}

async fn prepare(data_dir: &Path, folder: &Path, wanted: Wanted<'_>) -> Result<Restored, RestoreError> {
    let path = folder.join("state.db");
    let fault = |cause| RestoreError::Unpack { path: wanted.copy.to_owned(), cause };
    unpack(wanted.copy, &path).map_err(fault)?;
    let connection = database::open(&path, &schema::SCHEMA, "FULL")?;
    let (mut state, mut meta) = schema::load(&connection).map_err(RestoreError::Damaged)?;
    let applied = meta.applied.ok_or(RestoreError::Empty)?;
    let with_log = goes_on(data_dir, applied).await;
    if !with_log {
        let node = single(&state, &meta, wanted)?;
        log(folder, node, applied).await.map_err(Box::new)?;
        let peer = meta.membership.nodes().find(|(id, _)| **id == node.0).map(|(_, peer)| peer.clone());
        let members = BTreeMap::from([(node.0, peer.unwrap_or_default())]);
        let voters = BTreeSet::from([node.0]);
        meta.membership = Membership::new(Some(applied), openraft::Membership::new(vec![voters], members));
        let faulty = |error: rusqlite::Error| RestoreError::Damaged(error.to_string());
        if let Some(cluster) = state.cluster.clone().filter(|_| wanted.alone) {
            // Whoever is left of the old one is refused, and whatever it still decides is another cluster's.
            let renamed = Effect::Put(Stored::new(Row::Cluster(cluster.renamed(new_id()?))));
            state.absorb(&renamed);
            let history = schema::write(&connection, &[renamed], u128::from_le_bytes(meta.history)).map_err(faulty)?;
            (meta.hash, meta.history) = (state.hash.to_le_bytes(), history.to_le_bytes());
        }
        schema::write_meta(&connection, &meta).map_err(faulty)?;
    }
    connection.close().map_err(|(_, error)| RestoreError::Damaged(error.to_string()))?;
    let aside = data_dir.join(format!("set-aside-{}", Time::now().seconds()));
    Ok(Restored { time: meta.time, revision: meta.revision, with_log, aside })
}

fn new_id() -> Result<ClusterId, RestoreError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| RestoreError::Random(error.to_string()))?;
    Ok(ClusterId(Seed(random).id()))
}

fn unpack(copy: &Path, to: &Path) -> io::Result<()> {
    let mut packed = File::open(copy)?;
    let mut whole = File::create_new(to)?;
    if copy.extension().is_some_and(|ending| ending == "gz") {
        let status = Command::new("gzip").arg("-dc").stdin(packed).stdout(whole.try_clone()?).status()?;
        if !status.success() {
            return Err(io::Error::other(format!("gzip ended with {status}")));
        }
    } else {
        io::copy(&mut packed, &mut whole)?;
    }
    whole.sync_all()
}

/// Whether the log that is there is whole, and holds what follows the copy.
async fn goes_on(data_dir: &Path, applied: LogId) -> bool {
    if !data_dir.join("log.db").exists() {
        return false;
    }
    let Ok((mut log, extent)) = Log::open(data_dir, HealthCell::new()) else { return false };
    let same = if extent.purged == Some(applied) {
        true
    } else {
        let found = log.try_get_log_entries(applied.index..=applied.index).await;
        found.is_ok_and(|found| found.first().is_some_and(|entry| entry.log_id == applied))
    };
    log.close();
    same
}

/// The node that goes on alone.
fn single(state: &State, meta: &Meta, wanted: Wanted<'_>) -> Result<NodeId, RestoreError> {
    let members = meta.membership.nodes().count();
    if members > 1 && !wanted.alone {
        return Err(RestoreError::Others(members));
    }
    let mut nodes = state.nodes.values().filter(|node| wanted.node.is_none_or(|name| node.name == *name));
    match (nodes.next(), nodes.next()) {
        (Some(node), None) => Ok(node.id),
        _ => {
            let names: Vec<_> = state.nodes.values().map(|node| node.name.to_string()).collect();
            Err(RestoreError::Which(names.join(", ")))
        }
    }
}

/// A log of this node that holds nothing and ends where the copy does. Its vote is of a term that nobody else led.
async fn log(folder: &Path, node: NodeId, applied: LogId) -> Result<(), StorageError> {
    let opened = Log::open(folder, HealthCell::new());
    let (mut log, _) = opened.map_err(|error| openraft::StorageIOError::write_logs(&error))?;
    log.set_node_id(node).await?;
    log.save_vote(&Vote::new(applied.leader_id.term + 1, node.0)).await?;
    log.purge(applied).await?;
    log.close();
    Ok(())
}

/// Each step is a rename. One that is cut off leaves databases that the node refuses to start with, and is done again.
fn exchange(data_dir: &Path, folder: &Path, restored: &Restored) -> Result<(), (PathBuf, io::Error)> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |cause| (path, cause)
    };
    fs::create_dir(&restored.aside).map_err(at(&restored.aside))?;
    let state = ["state.db", "state.db-wal"].as_slice();
    // Whom it knew as members is the old cluster's.
    let log = if restored.with_log { &[] } else { ["log.db", "log.db-wal", "members"].as_slice() };
    for name in state.iter().chain(log) {
        let old = data_dir.join(name);
        match fs::rename(&old, restored.aside.join(name)) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err((old, cause)),
            _ => {}
        }
    }
    for name in state.iter().chain(log) {
        let new = data_dir.join(name);
        match fs::rename(folder.join(name), &new) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err((new, cause)),
            _ => {}
        }
    }
    File::open(data_dir).and_then(|dir| dir.sync_all()).map_err(at(data_dir))
}
