//! What the planes' threads see of the state: the newest snapshot, at most every two milliseconds. A thread keeps its own and
//! compares a number to learn that there is a newer one: no lock, no waiting. Never reads the databases.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::base::limits::PUBLISH_EVERY;
use crate::model::state::Snapshot;
use crate::ops::stop::Stop;

/// Where the threads of all planes take their snapshots from.
#[derive(Debug, Clone)]
pub struct Feed {
    newest: watch::Receiver<Arc<Snapshot>>,
    generation: Arc<AtomicU64>,
}

/// The end that publishes; one task runs it, on the control runtime.
#[derive(Debug)]
pub struct Feeder {
    source: watch::Receiver<Arc<Snapshot>>,
    newest: watch::Sender<Arc<Snapshot>>,
    generation: Arc<AtomicU64>,
    /// Kept until no thread has them any more: what takes long to drop is dropped here and not on a thread that answers.
    old: Vec<Arc<Snapshot>>,
}

/// A thread's own snapshot.
#[derive(Debug)]
pub struct View {
    feed: Feed,
    now: Arc<Snapshot>,
}

impl Feeder {
    pub fn new(mut source: watch::Receiver<Arc<Snapshot>>) -> (Self, Feed) {
        let first = Arc::clone(&source.borrow_and_update());
        let generation = Arc::new(AtomicU64::new(first.generation));
        let (newest, receiver) = watch::channel(first);
        let feed = Feed { newest: receiver, generation: Arc::clone(&generation) };
        (Self { source, newest, generation, old: Vec::new() }, feed)
    }

    /// Publishes until there is nothing more to publish or the node stops.
    pub async fn run(&mut self, stop: &Stop) {
        loop {
            tokio::select! {
                changed = self.source.changed() => if changed.is_err() { return },
                () = stop.give_up() => return,
            }
            self.publish();
            tokio::time::sleep(PUBLISH_EVERY).await;
        }
    }

    /// Gives the threads what the source has.
    pub fn publish(&mut self) {
        let snapshot = Arc::clone(&self.source.borrow_and_update());
        let generation = snapshot.generation;
        // First the number: whoever is woken by the snapshot must find that it is another one.
        self.generation.store(generation, Ordering::Release);
        self.old.push(self.newest.send_replace(snapshot));
        self.old.retain(|old| Arc::strong_count(old) > 1);
    }
}

impl Feed {
    /// A thread's own view, beginning with the newest snapshot.
    pub fn view(&self) -> View {
        let feed = self.clone();
        let now = Arc::clone(&feed.newest.borrow());
        View { feed, now }
    }
}

impl View {
    /// The newest snapshot.
    pub fn now(&mut self) -> &Arc<Snapshot> {
        if self.feed.generation.load(Ordering::Acquire) != self.now.generation {
            self.now = Arc::clone(&self.feed.newest.borrow());
        }
        &self.now
    }

    /// Waits until there is a snapshot this view has not waited for yet. False: none will come.
    pub async fn changed(&mut self) -> bool {
        self.feed.newest.changed().await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::state::State;

    fn snapshot(generation: u64) -> Arc<Snapshot> {
        let mut state = State::default();
        state.revision = generation * 10;
        Arc::new(Snapshot { state, generation })
    }

    #[tokio::test]
    async fn a_view_follows_at_the_pace_of_the_feed_and_old_snapshots_die_with_the_feeder() {
        let (sender, source) = watch::channel(snapshot(1));
        let (mut feeder, feed) = Feeder::new(source);
        let (mut view, mut idle) = (feed.view(), feed.view());
        assert_eq!(view.now().generation, 1);
        let first = Arc::downgrade(view.now());
        let (stopper, stop) = crate::ops::stop::Stopper::new();
        let run = tokio::spawn(async move {
            feeder.run(&stop).await;
            feeder
        });
        sender.send_replace(snapshot(2));
        assert!(view.changed().await);
        assert_eq!(view.now().state.revision, 20);
        let begun = tokio::time::Instant::now();
        for generation in 3..=9 {
            sender.send_replace(snapshot(generation));
        }
        assert!(view.changed().await);
        assert_eq!(view.now().generation, 9);
        assert!(begun.elapsed() >= PUBLISH_EVERY / 2, "two snapshots came one after the other at once");
        assert!(first.upgrade().is_some(), "a view that was not asked since still has it");
        assert_eq!(idle.now().generation, 9);
        sender.send_replace(snapshot(10));
        assert!(view.changed().await);
        assert!(first.upgrade().is_none());
        stopper.give_up();
        run.await.expect("the feeder ends when it is told to");
    }
}
