//! Connections on which nobody has shown yet who they are: so many at one time, and then the oldest goes. Whoever opens many and says nothing
//! keeps nobody out.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[derive(Debug)]
pub struct Strangers {
    most: usize,
    all: Arc<Mutex<All>>,
}

/// By the order of their coming.
#[derive(Debug, Default)]
struct All {
    next: u64,
    waiting: BTreeMap<u64, Arc<Notify>>,
}

/// One connection's place among them, until it is dropped.
#[derive(Debug)]
pub struct Stranger {
    number: u64,
    told: Arc<Notify>,
    all: Arc<Mutex<All>>,
}

impl Strangers {
    pub fn new(most: usize) -> Self {
        Self { most, all: Arc::default() }
    }

    pub fn enter(&self) -> Stranger {
        let mut all = lock(&self.all);
        if all.waiting.len() >= self.most
            && let Some((_, oldest)) = all.waiting.pop_first()
        {
            oldest.notify_one();
        }
        let (number, told) = (all.next, Arc::new(Notify::new()));
        all.next += 1;
        all.waiting.insert(number, Arc::clone(&told));
        drop(all);
        Stranger { number, told, all: Arc::clone(&self.all) }
    }
}

impl Stranger {
    /// Returns when this one has to make room.
    pub async fn must_go(&self) {
        self.told.notified().await;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        lock(&self.all).waiting.remove(&self.number);
    }
}

fn lock(all: &Mutex<All>) -> MutexGuard<'_, All> {
    // Each change of it is one insertion or removal.
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    /// Whether a future is done at once.
    fn now(future: impl Future<Output = ()>) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn the_oldest_makes_room() {
        let strangers = Strangers::new(2);
        let (one, two) = (strangers.enter(), strangers.enter());
        assert!(!now(one.must_go()));
        let three = strangers.enter();
        assert!(now(one.must_go()) && !now(two.must_go()) && !now(three.must_go()));
        drop((one, two));
        let four = strangers.enter();
        assert!(!now(three.must_go()) && !now(four.must_go()));
        assert_eq!(lock(&strangers.all).waiting.len(), 2);
    }
}
