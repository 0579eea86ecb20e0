//! The board: how every part is, and which revision every plane serves. What `status`, `/readyz` and `--wait` read. Never
//! written to disk, never asked for a decision about data.
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::base::clock::Time;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    Green,
    /// Works, but somebody should look.
    Yellow,
    /// Does not do its work.
    Red,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryView {
    pub name: String,
    pub health: Health,
    pub text: String,
    /// When it came to this health.
    pub since: Time,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaneView {
    pub name: String,
    /// The oldest revision one of its threads serves.
    pub served: u64,
}

/// All of the board at one moment, entries and planes sorted by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardView {
    pub ready: bool,
    /// The worst of the entries.
    pub health: Health,
    pub entries: Vec<EntryView>,
    pub served: Option<u64>,
    pub planes: Vec<PlaneView>,
}

/// A handle on the one board of a node.
#[derive(Clone)]
pub struct Board(Arc<Inner>);

struct Inner {
    ready: AtomicBool,
    entries: Mutex<BTreeMap<String, Entry>>,
    planes: Mutex<Vec<Arc<Plane>>>,
    /// The oldest revision served by any thread of any plane; woken when it moves.
    served: watch::Sender<Option<u64>>,
}

struct Entry {
    health: Health,
    text: String,
    since: Time,
}

struct Plane {
    name: String,
    threads: Box<[AtomicU64]>,
}

impl Plane {
    fn served(&self) -> u64 {
        self.threads.iter().map(|thread| thread.load(Ordering::Acquire)).min().unwrap_or(u64::MAX)
    }
}

impl Default for Board {
    fn default() -> Self {
        Self(Arc::new(Inner {
            ready: AtomicBool::new(false),
            entries: Mutex::default(),
            planes: Mutex::default(),
            served: watch::Sender::new(None),
        }))
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

impl Board {
    pub fn green(&self, name: &str, text: impl Into<String>) {
        self.set(name, Health::Green, text.into());
    }

    pub fn yellow(&self, name: &str, text: impl Into<String>) {
        self.set(name, Health::Yellow, text.into());
    }

    pub fn red(&self, name: &str, text: impl Into<String>) {
        self.set(name, Health::Red, text.into());
    }

    /// Takes an entry away: what it spoke of is gone.
    pub fn clear(&self, name: &str) {
        lock(&self.0.entries).remove(name);
    }

    fn set(&self, name: &str, health: Health, text: String) {
        let mut entries = lock(&self.0.entries);
        let before = entries.get(name);
        let changed = before.is_none_or(|entry| entry.health != health);
        let since = before.filter(|entry| entry.health == health).map_or_else(Time::now, |entry| entry.since);
        let worth_a_line = changed && (before.is_some() || health != Health::Green);
        entries.insert(name.to_owned(), Entry { health, text: text.clone(), since });
        drop(entries);
        if worth_a_line {
            match health {
                Health::Green => tracing::info!(entry = name, "{text}"),
                Health::Yellow => tracing::warn!(entry = name, "{text}"),
                Health::Red => tracing::error!(entry = name, "{text}"),
            }
        }
    }

    /// Everything that was to be started is there.
    pub fn set_ready(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Release);
    }

    /// Announces a plane of so many threads, which all serve nothing yet. It leaves the board with its reporter.
    pub fn register_plane(&self, name: &str, threads: usize) -> PlaneReporter {
        let threads = (0..threads).map(|_| AtomicU64::new(0)).collect();
        let plane = Arc::new(Plane { name: name.to_owned(), threads });
        lock(&self.0.planes).push(Arc::clone(&plane));
        self.recount();
        PlaneReporter { board: self.clone(), plane }
    }

    /// The oldest revision that any thread of any plane serves; None while there is no plane.
    pub fn served(&self) -> Option<u64> {
        *self.0.served.borrow()
    }

    /// Waits until every plane serves the revision; false at the deadline. Where there is no plane there is nothing to
    /// wait for.
    pub async fn wait_served(&self, revision: u64, deadline: Instant) -> bool {
        let mut served = self.0.served.subscribe();
        let there = served.wait_for(|served| served.is_none_or(|served| served >= revision));
        tokio::time::timeout_at(deadline, there).await.is_ok_and(|there| there.is_ok())
    }

    pub fn view(&self) -> BoardView {
        let entries: Vec<EntryView> = lock(&self.0.entries)
            .iter()
            .map(|(name, entry)| EntryView {
                name: name.clone(),
                health: entry.health,
                text: entry.text.clone(),
                since: entry.since,
            })
            .collect();
        let mut planes: Vec<PlaneView> = lock(&self.0.planes)
            .iter()
            .map(|plane| PlaneView { name: plane.name.clone(), served: plane.served() })
            .collect();
        planes.sort_by(|a, b| a.name.cmp(&b.name));
        BoardView {
            ready: self.0.ready.load(Ordering::Acquire),
            health: entries.iter().map(|entry| entry.health).max().unwrap_or(Health::Green),
            served: planes.iter().map(|plane| plane.served).min(),
            entries,
            planes,
        }
    }

    fn recount(&self) {
        // Counted under the channel's lock, so that of two threads at once the later one sees both.
        self.0.served.send_if_modified(|served| {
            let now = lock(&self.0.planes).iter().map(|plane| plane.served()).min();
            std::mem::replace(served, now) != now
        });
    }
}

/// A plane's hand on the board.
pub struct PlaneReporter {
    board: Board,
    plane: Arc<Plane>,
}

impl fmt::Debug for PlaneReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlaneReporter").field("plane", &self.plane.name).field("served", &self.plane.served()).finish()
    }
}

impl PlaneReporter {
    /// From now on this thread of the plane answers from this revision.
    pub fn serves(&self, thread: usize, revision: u64) {
        self.plane.threads[thread].store(revision, Ordering::Release);
        self.board.recount();
    }
}

impl Drop for PlaneReporter {
    fn drop(&mut self) {
        lock(&self.board.0.planes).retain(|plane| !Arc::ptr_eq(plane, &self.plane));
        self.board.recount();
    }
}

/// A panic while the board was held leaves nothing half written: every change under these locks is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn entries_keep_their_moment_until_their_health_changes() {
        let board = Board::default();
        assert_eq!(board.view().health, Health::Green);
        board.green("b", "fine");
        board.red("a", "gone");
        lock(&board.0.entries).get_mut("a").unwrap().since = Time(1);
        board.red("a", "still gone");
        board.set_ready(true);
        let view = board.view();
        assert_eq!(view.entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((view.health, view.ready, view.entries[0].since), (Health::Red, true, Time(1)));
        assert_eq!(view.entries[0].text, "still gone");
        board.yellow("a", "back");
        assert_ne!(board.view().entries[0].since, Time(1));
        board.clear("a");
        assert_eq!(board.view().health, Health::Green);
        let json = serde_json::to_string(&board.view()).unwrap();
        assert_eq!(serde_json::from_str::<BoardView>(&json).unwrap(), board.view());
    }

    #[tokio::test]
    async fn the_slowest_thread_decides_what_is_served() {
        let board = Board::default();
        assert_eq!(board.served(), None);
        assert!(board.wait_served(9, Instant::now()).await, "nothing to wait for");
        let (web, dns) = (board.register_plane("web", 2), board.register_plane("dns", 1));
        assert_eq!(board.served(), Some(0));
        web.serves(0, 5);
        dns.serves(0, 7);
        assert!(!board.wait_served(5, Instant::now() + Duration::from_millis(20)).await);
        let waiting = tokio::spawn({
            let board = board.clone();
            async move { board.wait_served(5, soon()).await }
        });
        tokio::task::yield_now().await;
        web.serves(1, 6);
        assert!(waiting.await.unwrap());
        assert_eq!(board.served(), Some(5));
        drop(web);
        assert_eq!((board.served(), board.view().planes.len()), (Some(7), 1));
    }
}
