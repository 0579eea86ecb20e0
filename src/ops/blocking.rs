//! The one bounded pool for work that blocks: files, password hashing, long decoding. Never queues without bound.
use std::sync::Arc;

use tokio::runtime::{Builder, Handle};
use tokio::sync::Semaphore;

use crate::base::limits::{BLOCKING_IDLE, BLOCKING_QUEUE_MAX, BLOCKING_THREADS_MAX};

/// Completes "failed to …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockingError {
    #[error("find room in the pool for blocking work: it is full")]
    Full,
    #[error("finish blocking work: it panicked")]
    Panicked,
}

/// Gives a runtime the size of the pool: its threads come with work and go when idle.
pub fn bound(builder: &mut Builder) -> &mut Builder {
    builder.max_blocking_threads(BLOCKING_THREADS_MAX).thread_keep_alive(BLOCKING_IDLE)
}

/// The blocking threads of one runtime, used from everywhere.
#[derive(Debug, Clone)]
pub struct Blocking {
    runtime: Handle,
    places: Arc<Semaphore>,
}

impl Blocking {
    /// The runtime's builder must have been through `bound`.
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, places: Arc::new(Semaphore::new(BLOCKING_THREADS_MAX + BLOCKING_QUEUE_MAX)) }
    }

    /// Runs the work on a thread of the pool. Work once begun goes on when its caller is gone, and keeps its place.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, BlockingError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| BlockingError::Full)?;
        let done = self.runtime.spawn_blocking(move || {
            let answer = work();
            drop(place);
            answer
        });
        done.await.map_err(|_| BlockingError::Panicked)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn the_pool_is_bounded_and_survives_a_panic() {
        let runtime = bound(Builder::new_current_thread().enable_all()).build().unwrap();
        let pool = Blocking::new(runtime.handle().clone());
        runtime.block_on(async {
            assert_eq!(pool.run(|| 7).await, Ok(7));
            assert_eq!(pool.run(|| panic!("broken")).await, Err::<(), _>(BlockingError::Panicked));
            let (release, gate) = mpsc::sync_channel::<()>(1);
            let gate = Arc::new(std::sync::Mutex::new(gate));
            let waiting: Vec<_> = (0..BLOCKING_THREADS_MAX + BLOCKING_QUEUE_MAX)
                .map(|_| {
                    let (pool, gate) = (pool.clone(), Arc::clone(&gate));
                    tokio::spawn(async move { pool.run(move || gate.lock().unwrap().recv().is_ok()).await })
                })
                .collect();
            while pool.places.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!(pool.run(|| 7).await, Err(BlockingError::Full));
            drop(release);
            for done in waiting {
                assert_eq!(done.await.unwrap(), Ok(false));
            }
            assert_eq!(pool.run(|| 7).await, Ok(7));
        });
    }
}
