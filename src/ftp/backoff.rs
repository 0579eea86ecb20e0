//! Failed logins, counted for each address and for each login, also one that does not exist: after some of them the next has to
//! wait, longer with each. Pure, given the clock. Never keeps a login or a password: only a keyed hash of the login.
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::base::limits::{
    FTP_FAILURES_FREE_ADDRESS, FTP_FAILURES_FREE_LOGIN, FTP_FAILURES_KEPT, FTP_FAILURES_MAX, FTP_PAUSE_FIRST,
    FTP_PAUSE_MAX_ADDRESS, FTP_PAUSE_MAX_LOGIN,
};

/// The failures that are remembered: a bounded number of them, the oldest forgotten first.
#[derive(Debug)]
pub(crate) struct Backoff {
    hasher: RandomState,
    addresses: LruCache<IpAddr, Failures>,
    logins: LruCache<u64, Failures>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    /// How long after `now` the next try has to wait.
    fn wait(self, free: u32, most: Duration, now: Instant) -> Duration {
        let doublings = self.count.saturating_sub(free);
        if doublings == 0 {
            return Duration::ZERO;
        }
        let pause = FTP_PAUSE_FIRST.saturating_mul(1 << (doublings - 1).min(16)).min(most);
        (self.last + pause).saturating_duration_since(now)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        // They grow with those who fail.
        let (mut addresses, mut logins) = (LruCache::unbounded(), LruCache::unbounded());
        addresses.resize(FTP_FAILURES_MAX);
        logins.resize(FTP_FAILURES_MAX);
        Self { hasher: RandomState::new(), addresses, logins }
    }
}

impl Backoff {
    /// How long this address, or this login, has to wait.
    pub(crate) fn wait(&self, address: IpAddr, login: &str, now: Instant) -> Duration {
        let kept = |failures: &&Failures| now.saturating_duration_since(failures.last) < FTP_FAILURES_KEPT;
        let address = self.addresses.peek(&subscriber(address)).filter(kept);
        let login = self.logins.peek(&self.hasher.hash_one(login)).filter(kept);
        let address = address.map(|it| it.wait(FTP_FAILURES_FREE_ADDRESS, FTP_PAUSE_MAX_ADDRESS, now));
        let login = login.map(|it| it.wait(FTP_FAILURES_FREE_LOGIN, FTP_PAUSE_MAX_LOGIN, now));
        address.unwrap_or_default().max(login.unwrap_or_default())
    }

    pub(crate) fn failed(&mut self, address: IpAddr, login: &str, now: Instant) {
        let none = || Failures { count: 0, last: now };
        let login = self.hasher.hash_one(login);
        let counts =
            [self.addresses.get_or_insert_mut(subscriber(address), none), self.logins.get_or_insert_mut(login, none)];
        for failures in counts {
            let forgotten = now.saturating_duration_since(failures.last) >= FTP_FAILURES_KEPT;
            let count = if forgotten { 1 } else { failures.count.saturating_add(1) };
            *failures = Failures { count, last: now };
        }
    }
}

/// Whom failures are counted for: an IPv4 address, or the /64 that one subscriber has of IPv6.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_waits_longer_and_longer_and_others_do_not() {
        let (mut backoff, start) = (Backoff::default(), Instant::now());
        let (one, other) = (ip("2001:db8::1"), ip("2001:db8:0:1::1"));
        for number in 0..FTP_FAILURES_FREE_ADDRESS {
            assert_eq!(backoff.wait(one, "ada", start), Duration::ZERO);
            backoff.failed(one, &format!("unknown{number}"), start);
        }
        for seconds in [1, 2, 4] {
            backoff.failed(one, "ada", start);
            assert_eq!(backoff.wait(ip("2001:db8::2"), "bob", start), Duration::from_secs(seconds));
        }
        assert_eq!(backoff.wait(other, "ada", start), Duration::ZERO);
        for _ in 0..100 {
            backoff.failed(one, "ada", start);
        }
        assert_eq!(backoff.wait(one, "bob", start), FTP_PAUSE_MAX_ADDRESS);
        assert_eq!(backoff.wait(other, "ada", start), FTP_PAUSE_MAX_LOGIN);
        assert_eq!(backoff.wait(other, "bob", start), Duration::ZERO);
        assert_eq!(backoff.wait(one, "bob", start + FTP_FAILURES_KEPT), Duration::ZERO);
        backoff.failed(one, "bob", start + FTP_FAILURES_KEPT);
        assert_eq!(backoff.wait(one, "bob", start + FTP_FAILURES_KEPT), Duration::ZERO, "it begins anew");
    }

    #[test]
    fn many_addresses_take_no_more_memory() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        for number in 0..FTP_FAILURES_MAX.get() as u32 + 100 {
            backoff.failed(IpAddr::V4(number.into()), &number.to_string(), now);
        }
        assert_eq!((backoff.addresses.len(), backoff.logins.len()), (FTP_FAILURES_MAX.get(), FTP_FAILURES_MAX.get()));
    }
}
