//! An hourly copy of the state beside the databases, compressed, for the day when those are lost or damaged. Nothing is written when
//! nothing changed. Secrets in it are sealed as they are in the state; the keyring is not in it.
use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::base::clock::Time;
use crate::base::limits::{COPIES_DAYS, COPIES_HOURLY, COPY_EVERY, COPY_FIRST};
use crate::ops::stop::Stop;
use crate::store::copy::{self, CopyError};
use crate::store::machine::Machine;

/// `state-<seconds since 1970>-<revision>.db.gz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    seconds: u64,
    revision: u64,
}

impl Name {
    fn parse(text: &str) -> Option<Self> {
        let (seconds, revision) = text.strip_prefix("state-")?.strip_suffix(".db.gz")?.split_once('-')?;
        Some(Self { seconds: seconds.parse().ok()?, revision: revision.parse().ok()? })
    }

    fn path(self, dir: &Path) -> PathBuf {
        dir.join(format!("state-{}-{}.db.gz", self.seconds, self.revision))
    }
}

/// Makes copies of a state, in `copies` in the data directory.
#[derive(Debug, Clone)]
pub struct Copies {
    machine: Machine,
    data_dir: PathBuf,
}

impl Copies {
    pub fn new(machine: &Machine, data_dir: &Path) -> Self {
        Self { machine: machine.clone(), data_dir: data_dir.to_owned() }
    }

    /// Makes a copy each hour in which something changed. One that fails is said in the log, and due again an hour later.
    pub async fn keep(&self, stop: &Stop) {
        let mut wait = COPY_FIRST;
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.give_up() => return,
            }
            wait = COPY_EVERY;
            tokio::select! {
                made = self.make(Time::now()) => match made {
                    Ok(Some(path)) => tracing::info!(path = %path.display(), "copied the state"),
                    Ok(None) => {}
                    Err(error) => tracing::warn!("failed to {error}"),
                },
                () = stop.give_up() => return,
            }
        }
    }

    /// None where the newest copy has the same state, or is of this hour.
    async fn make(&self, now: Time) -> Result<Option<PathBuf>, CopyError> {
        let dir = self.data_dir.join("copies");
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let revision = self.machine.snapshot().borrow().revision;
        let before = names(&dir)?;
        let is_new =
            |newest: &Name| newest.revision == revision || now.seconds() < newest.seconds + COPY_EVERY.as_secs();
        if before.last().is_some_and(is_new) {
            return Ok(None);
        }
        let data_dir = self.data_dir.clone();
        let made = self.machine.thread().call(move |owner| copy::make(owner, &data_dir)).await;
        let (meta, copied) = made.map_err(io::Error::other)??;
        let Some(whole) = copied.path() else { return Ok(None) };
        // What is left of a compression that was cut off goes with the other left-over copies at the next start.
        let packed = whole.with_extension("db.gz");
        let name = Name { seconds: now.seconds(), revision: meta.revision };
        compress(whole, &packed).await?;
        let path = name.path(&dir);
        std::fs::rename(&packed, &path)?;
        for old in superfluous(&names(&dir)?) {
            std::fs::remove_file(old.path(&dir))?;
        }
        Ok(Some(path))
    }
}

/// With the program that every Debian machine has: nothing else here compresses.
async fn compress(whole: &Path, packed: &Path) -> io::Result<()> {
    let output = File::create(packed)?;
    let mut command = Command::new("gzip");
    command.arg("-c").stdin(File::open(whole)?).stdout(output.try_clone()?).kill_on_drop(true);
    let status = command.status().await?;
    if !status.success() {
        let _ = std::fs::remove_file(packed);
        return Err(io::Error::other(format!("gzip ended with {status}")));
    }
    output.sync_all()
}

fn names(dir: &Path) -> io::Result<BTreeSet<Name>> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(dir)? {
        names.extend(entry?.file_name().to_str().and_then(Name::parse));
    }
    Ok(names)
}

/// Those beyond the newest, but for the last of each of the days before.
fn superfluous(names: &BTreeSet<Name>) -> Vec<Name> {
    let day = |name: &Name| name.seconds / Duration::from_hours(24).as_secs();
    let (mut days, mut gone) = (BTreeSet::new(), Vec::new());
    for (at, name) in names.iter().rev().enumerate() {
        let last_of_its_day = days.insert(day(name));
        if at >= COPIES_HOURLY && (!last_of_its_day || days.len() > COPIES_DAYS) {
            gone.push(*name);
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::generator::log;
    use crate::model::tests::invariants::assert_same;
    use crate::store::health::HealthCell;
    use crate::store::node::Store;
    use crate::store::tests::bench::{dir, in_memory, run};

    #[tokio::test]
    async fn a_copy_is_the_state_and_nothing_is_written_when_nothing_changed() {
        let batches = log(&(0..60).map(|gene| gene * 7919).collect::<Vec<u64>>());
        let (data, cut) = (dir(), batches.len() / 2);
        let mut store = Store::open(data.path()).unwrap();
        run(&mut store, 0, &batches[..cut]).await;
        let copies = Copies::new(&store.machine, data.path());
        let at = |hours: u64| Time::now().plus(Duration::from_hours(hours));
        let first = copies.make(at(0)).await.unwrap().unwrap();
        assert_eq!(copies.make(at(2)).await.unwrap(), None, "nothing changed");
        run(&mut store, cut as u64, &batches[cut..]).await;
        assert_eq!(copies.make(at(0)).await.unwrap(), None, "the hour is not over");
        let second = copies.make(at(2)).await.unwrap().unwrap();
        for (path, batches) in [(first, &batches[..cut]), (second, &batches[..])] {
            let restored = dir();
            let to = File::create(restored.path().join("state.db")).unwrap();
            let status = Command::new("gzip").arg("-dc").arg(&path).stdout(to).status().await.unwrap();
            assert!(status.success());
            let (machine, _) = Machine::open(restored.path(), HealthCell::new()).unwrap();
            assert_same(&machine.snapshot().borrow(), &in_memory(batches));
        }
        let left = std::fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with("copy-")));
    }

    #[test]
    fn a_day_of_hours_and_some_days_are_kept() {
        let hours = 24 * 40;
        let mut names = BTreeSet::new();
        for hour in 0..hours {
            names.insert(Name { seconds: hour * 3600, revision: hour });
            for name in superfluous(&names) {
                names.remove(&name);
            }
        }
        let kept: Vec<u64> = names.iter().map(|name| name.revision).collect();
        assert_eq!(kept.len(), COPIES_HOURLY + COPIES_DAYS - 1);
        assert_eq!(kept[kept.len() - COPIES_HOURLY], hours - COPIES_HOURLY as u64);
        assert!(kept[..COPIES_DAYS - 1].iter().all(|hour| hour % 24 == 23), "{kept:?}");
    }

    #[test]
    fn only_copies_are_taken_for_copies() {
        for text in ["state-5.db.gz", "state-5-x.db.gz", "state-5-6.db", "keyring", "state--.db.gz"] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
        assert_eq!(Name::parse("state-5-6.db.gz"), Some(Name { seconds: 5, revision: 6 }));
    }
}
