//! Whether an upstream is worth asking, as its answers to visitors show. An upstream that failed is left alone for a while,
//! then one request finds out. Never asks by itself: nothing ticks.
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::base::limits::{PROXY_DOWN_FIRST, PROXY_DOWN_MAX};

/// Shared by all threads.
#[derive(Debug)]
pub(crate) struct Health {
    born: Instant,
    /// In a row.
    failures: AtomicU32,
    /// Milliseconds after `born`.
    down_until: AtomicU64,
}

impl Health {
    pub(crate) fn new(now: Instant) -> Self {
        Self { born: now, failures: AtomicU32::new(0), down_until: AtomicU64::new(0) }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.failures.load(Ordering::Relaxed) == 0
    }

    /// Whether it is left alone now.
    pub(crate) fn is_down(&self, now: Instant) -> bool {
        !self.is_up() && self.down_until.load(Ordering::Relaxed) > self.at(now)
    }

    /// Whether to ask it. Of one that is down and whose time is over only the first caller is told so.
    pub(crate) fn admits(&self, now: Instant) -> bool {
        let failures = self.failures.load(Ordering::Relaxed);
        if failures == 0 {
            return true;
        }
        let until = self.down_until.load(Ordering::Relaxed);
        let (now, next) = (self.at(now), self.at(now + pause(failures)));
        until <= now && self.down_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// True: it was up until now.
    pub(crate) fn failed(&self, now: Instant) -> bool {
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        self.down_until.store(self.at(now + pause(before.saturating_add(1))), Ordering::Relaxed);
        before == 0
    }

    /// True: it was down until now.
    pub(crate) fn worked(&self) -> bool {
        !self.is_up() && self.failures.swap(0, Ordering::Relaxed) > 0
    }

    fn at(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.born).as_millis() as u64
    }
}

fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (PROXY_DOWN_FIRST * 2_u32.pow(doublings)).min(PROXY_DOWN_MAX)
}

/// The next of `count` upstreams in turn that was not `tried` and is worth asking; if none is, the next that was not tried:
/// better a try than a refusal.
pub(crate) fn choose(count: usize, turn: usize, tried: u32, admits: impl Fn(usize) -> bool) -> Option<usize> {
    let left = || (0..count).map(|step| (turn.wrapping_add(step)) % count).filter(|index| tried & (1 << index) == 0);
    left().find(|index| admits(*index)).or_else(|| left().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_left_alone_longer_each_time_and_asked_by_one() {
        let begun = Instant::now();
        let health = Health::new(begun);
        let second = Duration::from_secs(1);
        assert!(health.is_up() && health.admits(begun) && health.admits(begun));
        assert!(health.failed(begun) && !health.failed(begun), "it fails for the first time once");
        assert!(!health.is_up() && health.is_down(begun) && !health.admits(begun + second));
        assert!(!health.is_down(begun + 2 * second), "nobody asks, nobody knows");
        assert!(health.admits(begun + 2 * second), "two failures, two seconds");
        assert!(!health.admits(begun + 2 * second), "one finds out, not all");
        assert!(health.admits(begun + 4 * second), "whoever was to find out never came back");
        for _ in 0..100 {
            health.failed(begun);
        }
        assert!(!health.admits(begun + PROXY_DOWN_MAX - second) && health.admits(begun + PROXY_DOWN_MAX));
        assert!(health.worked() && !health.worked() && health.is_up() && health.admits(begun));
    }

    #[test]
    fn they_take_turns_and_never_all_refuse() {
        let all = |_| true;
        let turns: Vec<_> = (0..4).map(|turn| choose(3, turn, 0, all)).collect();
        assert_eq!(turns, [Some(0), Some(1), Some(2), Some(0)]);
        assert_eq!(choose(3, 0, 0b001, all), Some(1));
        assert_eq!(choose(3, 2, 0, |index| index == 1), Some(1));
        assert_eq!(choose(3, 2, 0, |_| false), Some(2), "none is worth it");
        assert_eq!(choose(3, 2, 0b100, |_| false), Some(0));
        assert_eq!(choose(3, 2, 0b111, all), None);
        assert_eq!(choose(0, 0, 0, all), None);
        assert_eq!(choose(32, usize::MAX, u32::MAX >> 1, all), Some(31));
    }
}
