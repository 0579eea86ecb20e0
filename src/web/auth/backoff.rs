//! Who gave wrong passwords lately has to wait before the next one is looked at. Bounded: the oldest is forgotten first.
use std::net::IpAddr;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::base::limits::{AUTH_FREE_FAILURES, AUTH_SOURCES_MAX, AUTH_WAIT_FIRST, AUTH_WAIT_MAX};

#[derive(Debug)]
pub(crate) struct Backoff(Mutex<LruCache<IpAddr, Failed>>);

#[derive(Debug, Clone, Copy)]
struct Failed {
    count: u32,
    last: Instant,
}

impl Failed {
    fn wait(&self) -> Duration {
        match self.count.checked_sub(AUTH_FREE_FAILURES) {
            None => Duration::ZERO,
            Some(over) => AUTH_WAIT_FIRST.saturating_mul(1 << over.min(16)).min(AUTH_WAIT_MAX),
        }
    }
}

impl Backoff {
    pub(crate) fn new() -> Self {
        let mut sources = LruCache::unbounded();
        sources.resize(AUTH_SOURCES_MAX);
        Self(Mutex::new(sources))
    }

    fn sources(&self) -> MutexGuard<'_, LruCache<IpAddr, Failed>> {
        // Each change of the map is one insertion or removal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the source has still to wait.
    pub(crate) fn left(&self, source: IpAddr, now: Instant) -> Option<Duration> {
        let sources = self.sources();
        let failed = sources.peek(&source_of(source))?;
        failed.wait().checked_sub(now.saturating_duration_since(failed.last)).filter(|left| !left.is_zero())
    }

    pub(crate) fn failed(&self, source: IpAddr, now: Instant) {
        let mut sources = self.sources();
        let failed = sources.get_or_insert_mut(source_of(source), || Failed { count: 0, last: now });
        if now.saturating_duration_since(failed.last) > AUTH_WAIT_MAX {
            failed.count = 0;
        }
        *failed = Failed { count: failed.count.saturating_add(1), last: now };
    }

    pub(crate) fn entered(&self, source: IpAddr) {
        self.sources().pop(&source_of(source));
    }
}

/// A subscriber of IPv6 has a /64 at least.
fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn waits_double_and_end() {
        let (backoff, begin, source) = (Backoff::new(), Instant::now(), ip("192.0.2.1"));
        for _ in 0..AUTH_FREE_FAILURES {
            assert_eq!(backoff.left(source, begin), None);
            backoff.failed(source, begin);
        }
        assert_eq!(backoff.left(source, begin), Some(AUTH_WAIT_FIRST));
        backoff.failed(source, begin);
        assert_eq!(backoff.left(source, begin), Some(2 * AUTH_WAIT_FIRST));
        assert_eq!(backoff.left(source, begin + 2 * AUTH_WAIT_FIRST), None);
        assert_eq!(backoff.left(ip("192.0.2.2"), begin), None, "others are not meant");
        (0..100).for_each(|_| backoff.failed(source, begin));
        assert_eq!(backoff.left(source, begin), Some(AUTH_WAIT_MAX));
        backoff.entered(source);
        assert_eq!(backoff.left(source, begin), None);
    }

    #[test]
    fn one_subscriber_is_one_source_and_many_are_bounded() {
        let (backoff, begin) = (Backoff::new(), Instant::now());
        for host in 0..u16::try_from(AUTH_FREE_FAILURES).unwrap() {
            backoff.failed(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host]), begin);
        }
        assert!(backoff.left(ip("2001:db8::ffff"), begin).is_some());
        for number in 0..u32::try_from(AUTH_SOURCES_MAX.get()).unwrap() + 10 {
            backoff.failed(IpAddr::from(number.to_be_bytes()), begin);
        }
        assert_eq!(backoff.sources().len(), AUTH_SOURCES_MAX.get());
    }
}
