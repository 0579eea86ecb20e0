//! How many connections there may be, in all and of one address, over all threads of a plane. Knows nothing of what is said on them.
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::Gauge;

/// Parts of the map, so that threads seldom meet at one lock.
const SHARDS: usize = 16;

/// Hands out places for connections.
#[derive(Debug)]
pub struct Places {
    most: usize,
    most_each: u32,
    taken: AtomicUsize,
    shown: Gauge,
    hasher: RandomState,
    shards: [Mutex<HashMap<Source, u32>>; SHARDS],
}

/// One connection's place, free again when dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    source: Option<Source>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    All,
    Address,
}

impl Full {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "full",
            Self::Address => "address-full",
        }
    }
}

/// Whom connections are counted for: an IPv4 address, or the /64 that one subscriber has of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Source {
    /// None for the machine itself: what runs here may be a proxy for many.
    fn of(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            address if address.is_loopback() => None,
            IpAddr::V4(address) => Some(Self::V4(address.octets())),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Some(Self::V6([a, b, c, d, e, f, g, h]))
            }
        }
    }
}

impl Places {
    /// `shown`: the gauge of the places taken.
    pub fn new(most: usize, most_each: u32, shown: Gauge) -> Arc<Self> {
        // Shown from the first scrape.
        shown.set(0.0);
        Arc::new(Self {
            most,
            most_each,
            taken: AtomicUsize::new(0),
            shown,
            hasher: RandomState::new(),
            shards: Default::default(),
        })
    }

    pub fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, Full> {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        self.shown.increment(1.0);
        // Gives back what was taken when it is dropped on the way out.
        let mut place = Place { places: Arc::clone(self), source: None };
        if taken >= self.most {
            return Err(Full::All);
        }
        if let Some(source) = Source::of(address) {
            let mut shard = self.shard(&source);
            let count = shard.entry(source).or_insert(0);
            if *count >= self.most_each {
                return Err(Full::Address);
            }
            *count += 1;
            place.source = Some(source);
        }
        Ok(place)
    }

    fn shard(&self, source: &Source) -> MutexGuard<'_, HashMap<Source, u32>> {
        let at = self.hasher.hash_one(source) as usize % SHARDS;
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(source) = self.source {
            let mut shard = self.places.shard(&source);
            if let Some(count) = shard.get_mut(&source) {
                *count -= 1;
                if *count == 0 {
                    shard.remove(&source);
                }
            }
        }
        self.places.shown.decrement(1.0);
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn nobody_takes_all_places_and_each_comes_free_again() {
        let places = Places::new(5, 2, Gauge::noop());
        let mut held = vec![places.take(ip("192.0.2.1")).unwrap(), places.take(ip("192.0.2.1")).unwrap()];
        assert_eq!(places.take(ip("192.0.2.1")).err(), Some(Full::Address));
        assert_eq!(places.take(ip("::ffff:192.0.2.1")).err(), Some(Full::Address), "it is the same address");
        held.push(places.take(ip("2001:db8::1")).unwrap());
        held.push(places.take(ip("2001:db8::2")).unwrap());
        assert_eq!(places.take(ip("2001:db8::3")).err(), Some(Full::Address), "one /64 is one subscriber");
        held.push(places.take(ip("2001:db8:0:1::1")).unwrap());
        assert_eq!(places.take(ip("192.0.2.9")).err(), Some(Full::All));
        held.remove(0);
        held.push(places.take(ip("192.0.2.1")).unwrap());
        drop(held);
        assert_eq!(places.taken.load(Ordering::Relaxed), 0);
        assert!(places.shards.iter().all(|shard| shard.lock().unwrap().is_empty()), "an address is remembered");
    }

    #[test]
    fn the_machine_itself_counts_in_all_only() {
        let places = Places::new(4, 1, Gauge::noop());
        let held: Vec<_> = ["127.0.0.1", "127.0.0.1", "::1", "::1"].map(|at| places.take(ip(at)).unwrap()).into();
        assert_eq!(places.take(ip("127.0.0.1")).err(), Some(Full::All));
        drop(held);
    }
}
