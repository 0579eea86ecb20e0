//! A machine changes its cluster between two starts: what is to happen is written down first, so that a crash at any point goes on
//! with it. What it held before is kept aside where that was asked for. Its own key stays its own.
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::base::clock::Time;
use crate::base::ids::NodeId;
use crate::cluster::joining::Welcome;
use crate::cluster::peer::messages::Members;
use crate::files::atomic::{self, AtomicError};

/// Everything a cluster leaves on a disk. The node's own key is not among it.
const HELD: [&str; 14] = [
    "state.db",
    "state.db-wal",
    "state.db-shm",
    "log.db",
    "log.db-wal",
    "log.db-shm",
    "local.db",
    "local.db-wal",
    "keyring",
    "members",
    "copies",
    "sites",
    "trash",
    "standbys",
];
const PLAN: &str = "adoption";
const MEMBERS: &str = "members";

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum AdoptionError {
    #[error("change the cluster of this node: {0}")]
    Write(#[from] AtomicError),
    #[error("change the cluster of this node: {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("change the cluster of this node: {0} is damaged: remove it to stay in the cluster as it was")]
    Damaged(PathBuf),
}

/// What is to happen at the next start.
#[derive(Serialize, Deserialize)]
struct Plan {
    /// The folder in which the old is kept; absent: there is nothing worth it.
    aside: Option<String>,
    /// The old is out of the way.
    moved: bool,
    /// The cluster that takes it; absent: it founds its own.
    into: Option<Into>,
}

#[derive(Serialize, Deserialize)]
struct Into {
    node: NodeId,
    keyring: String,
    members: Members,
}

impl Drop for Into {
    fn drop(&mut self) {
        self.keyring.zeroize();
    }
}

/// Who this node is in the cluster that took it, and whom it knew there last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    pub node: NodeId,
    pub members: Members,
}

/// Writes down that this machine is of another cluster from its next start on.
pub fn plan_join(data_dir: &Path, node: NodeId, welcome: &Welcome, keep: bool) -> Result<(), AdoptionError> {
    let keyring = String::from_utf8_lossy(&welcome.keyring).into_owned();
    let into = Into { node, keyring, members: welcome.members.clone() };
    write(data_dir, &Plan { aside: keep.then(folder), moved: false, into: Some(into) })
}

/// Writes down that this machine is alone from its next start on. What it held is kept.
pub fn plan_leave(data_dir: &Path) -> Result<(), AdoptionError> {
    write(data_dir, &Plan { aside: Some(folder()), moved: false, into: None })
}

fn folder() -> String {
    format!("set-aside-{}", Time::now().seconds())
}

fn write(data_dir: &Path, plan: &Plan) -> Result<(), AdoptionError> {
    let text = Zeroizing::new(serde_json::to_vec(plan).expect("a plan has no failing serialiser"));
    Ok(atomic::replace(&data_dir.join(PLAN), 0o600, &text)?)
}

/// Does what was written down, if anything was, before the databases are opened.
pub fn adopt(data_dir: &Path) -> Result<(), AdoptionError> {
    let path = data_dir.join(PLAN);
    let text = match fs::read(&path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(AdoptionError::Io { path, source }),
    };
    let mut plan: Plan = serde_json::from_slice(&text).map_err(|_| AdoptionError::Damaged(path.clone()))?;
    if !plan.moved {
        let fault = |path: &Path, source: io::Error| AdoptionError::Io { path: path.to_owned(), source };
        for name in HELD {
            let old = data_dir.join(name);
            let gone = match &plan.aside {
                Some(folder) => set_aside(&old, &data_dir.join(folder).join(name)),
                None => remove(&old),
            };
            gone.map_err(|source| fault(&old, source))?;
        }
        plan.moved = true;
        write(data_dir, &plan)?;
    }
    if let Some(into) = &plan.into {
        atomic::replace(&data_dir.join("keyring"), 0o600, into.keyring.as_bytes())?;
        keep(data_dir, &Joined { node: into.node, members: into.members.clone() })?;
        tracing::info!(node = %into.node, cluster = %into.members.cluster, "this machine is of another cluster now");
    }
    if let Some(folder) = &plan.aside {
        tracing::info!(folder = %data_dir.join(folder).display(), "what this machine held before is kept there");
    }
    fs::remove_file(&path).map_err(|source| AdoptionError::Io { path, source })
}

fn set_aside(old: &Path, new: &Path) -> io::Result<()> {
    if let Some(folder) = new.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::rename(old, new) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn remove(old: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(old) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(old),
        Ok(_) => fs::remove_file(old),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Keeps what was learned about the members over a restart.
pub fn keep(data_dir: &Path, joined: &Joined) -> Result<(), AtomicError> {
    let text = serde_json::to_vec(joined).expect("members have no failing serialiser");
    atomic::replace(&data_dir.join(MEMBERS), 0o600, &text)
}

/// Who this node is, if a cluster took it; what is damaged is as if it were not there, and the state says it better.
pub fn joined(data_dir: &Path) -> Option<Joined> {
    let text = fs::read(data_dir.join(MEMBERS)).ok()?;
    serde_json::from_slice(&text).inspect_err(|error| tracing::warn!("the file of members is damaged: {error}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::ClusterId;

    fn welcome() -> Welcome {
        let members = Members { cluster: ClusterId(9), revision: 7, members: Vec::new() };
        Welcome { keyring: Zeroizing::new(b"the new keyring".to_vec()), members }
    }

    fn held(dir: &Path) {
        for name in ["state.db", "log.db", "keyring", "node.key"] {
            fs::write(dir.join(name), format!("old {name}")).unwrap();
        }
        fs::create_dir_all(dir.join("sites/1/public")).unwrap();
        fs::create_dir_all(dir.join("copies")).unwrap();
    }

    #[test]
    fn a_machine_changes_its_cluster_whatever_interrupts_it() {
        // Where a crash may have come: before anything, after some moves, after all of them.
        for crash in 0..3 {
            let dir = tempfile::tempdir().unwrap();
            let dir = dir.path();
            held(dir);
            plan_join(dir, NodeId(5), &welcome(), true).unwrap();
            let mut plan: Plan = serde_json::from_slice(&fs::read(dir.join(PLAN)).unwrap()).unwrap();
            let folder = dir.join(plan.aside.clone().unwrap());
            if crash == 1 {
                set_aside(&dir.join("state.db"), &folder.join("state.db")).unwrap();
            }
            if crash == 2 {
                HELD.iter().for_each(|name| set_aside(&dir.join(name), &folder.join(name)).unwrap());
                plan.moved = true;
                write(dir, &plan).unwrap();
                fs::write(dir.join("keyring"), "the new keyring").unwrap();
            }
            adopt(dir).unwrap();
            assert_eq!(fs::read(dir.join("keyring")).unwrap(), b"the new keyring");
            assert_eq!(fs::read(folder.join("keyring")).unwrap(), b"old keyring", "crash {crash}");
            assert_eq!(fs::read(folder.join("state.db")).unwrap(), b"old state.db");
            assert!(folder.join("sites/1/public").exists() && !dir.join("sites").exists());
            // A copy of the other state in the place of this one would be another cluster's.
            assert!(folder.join("copies").exists() && !dir.join("copies").exists());
            assert_eq!(fs::read(dir.join("node.key")).unwrap(), b"old node.key");
            assert_eq!(joined(dir).unwrap(), Joined { node: NodeId(5), members: welcome().members });
            assert!(!dir.join(PLAN).exists());
            adopt(dir).unwrap();
        }
    }

    #[test]
    fn who_leaves_begins_anew_and_who_held_nothing_keeps_nothing() {
        let dir = tempfile::tempdir().unwrap();
        held(dir.path());
        plan_leave(dir.path()).unwrap();
        adopt(dir.path()).unwrap();
        assert!(!dir.path().join("keyring").exists() && joined(dir.path()).is_none());
        held(dir.path());
        plan_join(dir.path(), NodeId(5), &welcome(), false).unwrap();
        adopt(dir.path()).unwrap();
        assert!(!dir.path().join("state.db").exists());
        let kept = fs::read_dir(dir.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("set-aside"));
        assert_eq!(kept.count(), 1, "of the first time only");
    }
}
