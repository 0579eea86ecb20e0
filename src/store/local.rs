//! `local.db`: facts of this node alone, such as how often it started. Counted in memory, written every few minutes and only
//! when something changed. Losing it loses statistics: a damaged file is set aside and never keeps a node from starting.
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, params};
use tokio::sync::Notify;

use crate::base::ids::SiteId;
use crate::base::limits::{LOCAL_FLUSH_EVERY, LOCAL_LAST_FLUSH};
use crate::ops::stop::Stop;
use crate::store::database::{self, OpenError, Owns, Schema, Thread, Writer};
use crate::store::health::HealthCell;
use crate::store::visits::{self, Pending, Visits};

const COUNTERS: &str = "CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID";

/// The counters of this node, by name.
#[derive(Debug, Clone)]
pub struct Local {
    counters: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    visits: Arc<Mutex<Pending>>,
    changed: Arc<Notify>,
    thread: Option<Arc<Thread<Writer>>>,
}

/// Times this node was started, and times it had not been stopped before that.
const STARTS: &str = "starts";
const UNCLEAN_STOPS: &str = "unclean_stops";
const RUNNING: &str = "running";
const NAMES: [&str; 3] = [STARTS, UNCLEAN_STOPS, RUNNING];

impl Local {
    /// Opens or creates `local.db`; where that fails the node counts in memory only.
    pub fn open(dir: &Path) -> Self {
        let opened = open(dir).or_else(|error| {
            tracing::warn!(%error, "local.db is set aside; statistics begin anew");
            let path = dir.join("local.db");
            // Whether it could be moved shows when it is opened again.
            let _ = std::fs::rename(&path, dir.join("local.db.damaged"));
            open(dir)
        });
        match opened {
            Ok((thread, counters)) => Self::new(counters, Some(Arc::new(thread))),
            Err(error) => {
                tracing::warn!(%error, "statistics are not kept");
                Self::new(BTreeMap::new(), None)
            }
        }
    }

    fn new(counters: BTreeMap<&'static str, u64>, thread: Option<Arc<Thread<Writer>>>) -> Self {
        Self { counters: Arc::new(Mutex::new(counters)), visits: Arc::default(), changed: Arc::default(), thread }
    }

    fn counters(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        // A map is whole after each insertion.
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<&'static str, u64>)) {
        change(&mut self.counters());
        self.changed.notify_one();
    }

    /// Counts a start, and the stop that did not happen before it.
    pub fn started(&self) {
        self.change(|counters| {
            let unclean = counters.insert(RUNNING, 1).unwrap_or(0);
            *counters.entry(STARTS).or_default() += 1;
            *counters.entry(UNCLEAN_STOPS).or_default() += unclean;
        });
    }

    pub fn starts(&self) -> u64 {
        self.counters().get(STARTS).copied().unwrap_or(0)
    }

    pub fn unclean_stops(&self) -> u64 {
        self.counters().get(UNCLEAN_STOPS).copied().unwrap_or(0)
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        // Each change of it is one insertion or removal.
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts visits of a site on a day.
    pub fn visited(&self, site: SiteId, day: u64, visits: &Visits) {
        self.pending().add(site, day, visits);
        self.changed.notify_one();
    }

    /// Forgets a site that is no more.
    pub fn forget(&self, site: SiteId) {
        self.pending().forget(site);
        self.changed.notify_one();
    }

    /// Visits by site and day, of one site or of all.
    pub async fn visits(&self, site: Option<SiteId>) -> BTreeMap<(SiteId, u64), Visits> {
        let read = match &self.thread {
            Some(thread) => thread.read(move |connection| visits::read(connection, site)).await.ok(),
            None => None,
        };
        let mut days = read.and_then(Result::ok).unwrap_or_default();
        let pending = self.pending();
        days.retain(|(of, _), _| !pending.gone.contains(of));
        for ((of, day), more) in pending.days.iter().filter(|((of, _), _)| site.is_none_or(|site| site == *of)) {
            days.entry((*of, *day)).or_default().add(more);
        }
        days
    }

    /// Writes at once what the start counted, then every few minutes what changed, and at the stop that it was one. A full
    /// disk holds up nothing but this.
    pub async fn keep(&self, stop: &Stop) {
        let writing = async {
            loop {
                self.flush().await;
                self.changed.notified().await;
                tokio::time::sleep(LOCAL_FLUSH_EVERY).await;
            }
        };
        tokio::select! {
            () = writing => {}
            () = stop.give_up() => {}
        }
        self.change(|counters| *counters.entry(RUNNING).or_default() = 0);
        if tokio::time::timeout(LOCAL_LAST_FLUSH, self.flush()).await.is_err() {
            tracing::warn!("the last statistics were not written");
        }
    }

    async fn flush(&self) {
        let Some(thread) = &self.thread else { return };
        let (counters, visits) = (self.counters().clone(), std::mem::take(&mut *self.pending()));
        let unwritten = visits.clone();
        let written = thread.call(move |writer| {
            writer.commit(|connection| {
                write(connection, &counters)?;
                if visits.is_empty() { Ok(()) } else { visits::write(connection, &visits) }
            })?;
            // Else the write-ahead log grows with each flush.
            writer.checkpoint().map(drop)
        });
        if !matches!(written.await, Ok(Ok(()))) {
            self.pending().restore(unwritten);
            tracing::warn!("statistics could not be written");
        }
    }

    /// Closes the database. Blocks until its thread has ended.
    pub fn close(&self) {
        if let Some(thread) = &self.thread {
            thread.close();
        }
    }
}

type Opened = (Thread<Writer>, BTreeMap<&'static str, u64>);

impl Owns for Writer {
    fn writer(&self) -> &Writer {
        self
    }
}

fn open(dir: &Path) -> Result<Opened, OpenError> {
    let path = dir.join("local.db");
    let connection = database::open(&path, &Schema::of(&format!("{COUNTERS};{}", visits::SCHEMA)), "NORMAL")?;
    let damaged = |found: String| OpenError::Damaged { path: path.display().to_string(), found };
    let counters = read(&connection).map_err(|error| damaged(error.to_string()))?;
    // Its own health: statistics that cannot be written are no reason to refuse a change.
    let thread = Thread::start("local", connection, HealthCell::new(), |writer| writer, database::run_all);
    Ok((thread.map_err(|error| damaged(format!("no thread for it: {error}")))?, counters))
}

fn read(connection: &Connection) -> rusqlite::Result<BTreeMap<&'static str, u64>> {
    let mut counters = BTreeMap::new();
    for name in NAMES {
        let mut statement = connection.prepare("SELECT value FROM counters WHERE name = ?1")?;
        let found: Option<i64> = statement.query_map([name], |row| row.get(0))?.next().transpose()?;
        counters.insert(name, found.map_or(0, i64::unsigned_abs));
    }
    Ok(counters)
}

fn write(connection: &Connection, counters: &BTreeMap<&'static str, u64>) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO counters(name, value) VALUES(?1, ?2)")?;
    for (name, value) in counters {
        statement.execute(params![name, *value as i64])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::VISITS_DAYS_KEPT;
    use crate::ops::stop::Stopper;

    #[tokio::test]
    async fn a_stop_that_did_not_happen_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        for (clean, starts, unclean) in [(true, 1, 0), (false, 2, 0), (true, 3, 1), (true, 4, 1)] {
            let local = Local::open(dir.path());
            local.started();
            assert_eq!((local.starts(), local.unclean_stops()), (starts, unclean));
            let (stopper, stop) = Stopper::new();
            if clean {
                stopper.give_up();
                local.keep(&stop).await;
            } else {
                local.flush().await;
            }
            local.close();
        }
    }

    #[tokio::test]
    async fn visits_survive_a_restart_and_old_days_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let visits = |hits, bytes| Visits { answers: [0, hits, 0, 1, 0], bytes };
        let local = Local::open(dir.path());
        for (site, day) in [(1, 100), (1, 100), (1, 101), (2, 100), (3, 100), (1, 101 - VISITS_DAYS_KEPT)] {
            local.visited(SiteId(site), day, &visits(2, 10));
        }
        local.forget(SiteId(3));
        let of_one = BTreeMap::from([
            ((SiteId(1), 100), Visits { answers: [0, 4, 0, 2, 0], bytes: 20 }),
            ((SiteId(1), 101), visits(2, 10)),
        ]);
        assert_eq!(local.visits(Some(SiteId(2))).await.into_values().collect::<Vec<_>>(), [visits(2, 10)]);
        local.flush().await;
        assert_eq!(local.visits(Some(SiteId(1))).await, of_one);
        local.visited(SiteId(1), 101, &visits(1, 1));
        local.flush().await;
        local.close();
        let local = Local::open(dir.path());
        let all = local.visits(None).await;
        assert_eq!(all.keys().map(|(site, day)| (site.0, *day)).collect::<Vec<_>>(), [(1, 100), (1, 101), (2, 100)]);
        assert_eq!(all[&(SiteId(1), 101)], Visits { answers: [0, 3, 0, 2, 0], bytes: 11 });
        local.forget(SiteId(1));
        local.flush().await;
        assert_eq!(local.visits(None).await.len(), 1);
        local.close();
    }

    #[tokio::test]
    async fn a_damaged_file_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("local.db"), b"this is no database, and long enough to be looked at by SQLite")
            .unwrap();
        let local = Local::open(dir.path());
        local.started();
        local.flush().await;
        assert!(dir.path().join("local.db.damaged").exists());
        local.close();
        assert_eq!(Local::open(dir.path()).starts(), 1);
    }
}
