//! The leader's voice, as this node hears it: when it spoke last, and whether its connection broke. What the watchdog goes by.
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::base::ids::NodeId;
use crate::base::limits::peers::HEARTBEAT_EVERY;

#[derive(Debug)]
pub(crate) struct Voice {
    heard: Mutex<Heard>,
    news: Notify,
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
            news: Notify::new(),
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
        let heard = Heard { at: Instant::now(), from: Some(from), broken: false, rests: None };
        let before = std::mem::replace(&mut *self.lock(), heard);
        // One at rest speaks once a heartbeat; of a busy one it is enough to know when it spoke last.
        if before.at.elapsed() >= HEARTBEAT_EVERY / 2 {
            self.news.notify_one();
        }
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
            self.news.notify_one();
        }
    }

    /// Returns when the leader's connection breaks, and when it speaks after a pause: the alarm that was set for its silence is
    /// set anew then, instead of ringing once a second.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_word_after_a_pause_is_news_and_those_of_a_busy_leader_are_not() {
        let voice = Voice::default();
        let is_news = || pin!(voice.news()).poll(&mut Context::from_waker(Waker::noop())).is_ready();
        voice.hear(NodeId(1));
        assert!(!is_news(), "this node has just begun to listen");
        voice.lock().at -= HEARTBEAT_EVERY;
        voice.hear(NodeId(1));
        assert!(is_news());
        voice.hear(NodeId(1));
        assert!(!is_news());
        voice.broke(NodeId(2));
        assert!(!is_news(), "another one's connection");
        voice.broke(NodeId(1));
        assert!(is_news());
    }
}
