//! `ruche cluster recover`: puts a copy of the state in the place of lost or damaged databases, on a node that does not run. Decides
//! nothing that `store` does not.
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::Mode;

use crate::config::load::load;
use crate::daemon::start::{BAD_CONFIG, control_runtime};
use crate::files::lock::{self, LockError};
use crate::store::restore::{RestoreError, Restored, Wanted, restore};

#[derive(Debug, thiserror::Error)]
enum RecoverError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error("give the files in {0} to their owner: {1}")]
    Own(String, #[source] std::io::Error),
    #[error("start the runtime: {0}")]
    Runtime(#[source] std::io::Error),
}

pub fn run(file: Option<&Path>, wanted: Wanted<'_>) -> ExitCode {
    let config = match load(file) {
        Ok(config) => config,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::from(BAD_CONFIG);
        }
    };
    match recover(&config.node.data_dir, wanted) {
        Ok(restored) => {
            println!("{}", told(&config.node.data_dir, &restored));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: failed to {error}");
            ExitCode::FAILURE
        }
    }
}

fn recover(data_dir: &Path, wanted: Wanted<'_>) -> Result<Restored, RecoverError> {
    rustix::process::umask(Mode::RWXO | Mode::WGRP);
    let lock = lock::acquire(data_dir)?;
    let runtime = control_runtime().map_err(RecoverError::Runtime)?;
    let restored = runtime.block_on(restore(data_dir, wanted))?;
    own(data_dir, &restored.aside).map_err(|error| RecoverError::Own(data_dir.display().to_string(), error))?;
    drop(lock);
    Ok(restored)
}

/// Whoever did this may be root: the node is not.
fn own(data_dir: &Path, aside: &Path) -> std::io::Result<()> {
    let owner = std::fs::metadata(data_dir)?;
    let made = ["state.db", "log.db", "lock"].map(|name| data_dir.join(name));
    for path in made.iter().map(AsRef::as_ref).chain([aside]) {
        chown(path, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

fn told(data_dir: &Path, restored: &Restored) -> String {
    let Restored { time, revision, with_log, aside } = restored;
    let then = if *with_log {
        "The log was whole: what was changed after the copy comes back with it."
    } else {
        "What was changed after the copy is lost, and this node is alone in its cluster."
    };
    format!(
        "Put the state of {time} (revision {revision}) into {}. {then}\nThe databases of before are in {}.\n\
         The node opens the secrets in it with its keyring: put the recovery copy of the keys there if that is lost too, then start it.",
        data_dir.display(),
        aside.display(),
    )
}
