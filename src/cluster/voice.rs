//! The leader's voice, as this node hears it: when it spoke last, and whether its connection broke. What the watchdog goes by.
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::base::ids::NodeId;

#[derive(Debug)]
pub(crate) struct Voice {
    heard: Mutex<Heard>,
    broken: Notify,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    /// When it spoke last; at first, when this node began to listen.
    pub(crate) at: Instant,
    pub(crate) from: Option<NodeId>,
    /// Its connection has broken since.
    pub(crate) broken: bool,
    /// No election before then: one has just been tried.
    pub(crate) rests: Option<Instant>,
}

impl Default for Voice {
    fn default() -> Self {
        Self {
            heard: Mutex::new(Heard { at: Instant::now(), from: None, broken: false, rests: None }),
            broken: Notify::new(),
        }
    }
}

impl Voice {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        // It is only ever replaced as a whole.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn heard(&self) -> Heard {
        *self.lock()
    }

    /// A node whose word raft took as the leader's.
    pub(crate) fn hear(&self, from: NodeId) {
        *self.lock() = Heard { at: Instant::now(), from: Some(from), broken: false, rests: None };
    }

    /// The leader is busy sending this node a copy.
    pub(crate) fn hear_copy(&self, from: NodeId) {
        let mut heard = self.lock();
        if heard.from == Some(from) || heard.from.is_none() {
            *heard = Heard { at: Instant::now(), from: Some(from), broken: false, rests: None };
        }
    }

    /// Who was frozen has not listened: silence counts from here.
    pub(crate) fn listen_anew(&self) {
        self.lock().at = Instant::now();
    }

    /// Stands for no election before then.
    pub(crate) fn rest_until(&self, moment: Instant) {
        self.lock().rests = Some(moment);
    }

    pub(crate) fn broke(&self, from: NodeId) {
        let mut heard = self.lock();
        if heard.from == Some(from) {
            heard.broken = true;
            drop(heard);
            self.broken.notify_one();
        }
    }

    /// Returns when the leader's connection breaks.
    pub(crate) async fn broken(&self) {
        self.broken.notified().await;
    }
}
