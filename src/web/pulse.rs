//! Whether anything moves on a connection, and until when it may stay as it is: slow heads, clients that take nothing, and
//! mere silence end it. Never counts what we owe the client against it: a handler takes the time it takes.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::base::limits::WEB_PART_WAIT;

/// A PING of HTTP/2 and its answer (RFC 9113 section 6.7): that somebody is there is no reason to stay.
const PING_BYTES: usize = 17;

/// How long a connection may stay as it is; tests have less time.
#[derive(Debug)]
pub(crate) struct Waits {
    /// From the first byte of a head to the last.
    pub(crate) head: Duration,
    /// Without a move.
    pub(crate) idle: Duration,
    /// Between the word that it is over and the cut.
    pub(crate) leave: Duration,
}

/// Counted by everything that moves on one connection. All of it happens on one thread; atomics only make it shareable.
#[derive(Debug)]
pub(crate) struct Pulse {
    born: Instant,
    waits: &'static Waits,
    /// Milliseconds after `born` when the connection was last polled.
    polled: AtomicU64,
    /// Milliseconds after `born` of the last move.
    moved: AtomicU64,
    /// The same, plus one, of the first byte of a head that is not whole yet; 0: none.
    head: AtomicU64,
    /// Whether heads are told from the bytes read: with HTTP/1, where one request comes at a time.
    heads: bool,
    /// Requests whose handler works, and bodies that wait for it.
    owed: AtomicU32,
    /// Responses that are not sent to their end.
    open: AtomicU32,
    /// Whether something else than HTTP is spoken from now on.
    switched: AtomicBool,
    /// Whether each answer is to be the last of the connection.
    parting: AtomicBool,
    /// Whether a body was given up before its end: bytes may still come that nobody reads.
    unread: AtomicBool,
}

impl Pulse {
    /// `heads`: with HTTP/1.
    pub(crate) fn new(heads: bool, waits: &'static Waits) -> Arc<Self> {
        Arc::new(Self {
            born: Instant::now(),
            waits,
            polled: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            head: AtomicU64::new(0),
            heads,
            owed: AtomicU32::new(0),
            open: AtomicU32::new(0),
            switched: AtomicBool::new(false),
            parting: AtomicBool::new(false),
            unread: AtomicBool::new(false),
        })
    }

    pub(crate) fn waits(&self) -> &'static Waits {
        self.waits
    }

    /// The connection is polled now.
    pub(crate) fn tick(&self) -> Instant {
        let now = Instant::now();
        self.polled.store(now.saturating_duration_since(self.born).as_millis() as u64, Ordering::Relaxed);
        now
    }

    /// With HTTP/1 all that moves does so while the connection is polled, and the clock need not be asked each time.
    fn now(&self) -> u64 {
        if self.heads { self.polled.load(Ordering::Relaxed) } else { self.born.elapsed().as_millis() as u64 }
    }

    pub(crate) fn touch(&self) {
        self.moved.store(self.now(), Ordering::Relaxed);
    }

    /// A request is there, and is owed an answer until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Owed {
        self.head.store(0, Ordering::Relaxed);
        Owed::new(self)
    }

    /// A response is on its way until the guard is dropped.
    pub(crate) fn open(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// When the connection is over if nothing moves until then; None while we owe something. `left`: since when it has
    /// been asked to end, which one without a response on its way has no reason to put off.
    pub(crate) fn due(&self, left: Option<Instant>) -> Option<Instant> {
        if self.owed.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let at = |millis: u64| self.born + Duration::from_millis(millis);
        let moved = at(self.moved.load(Ordering::Relaxed));
        let silent = match left {
            None => moved + self.waits.idle,
            Some(left) if self.open.load(Ordering::Relaxed) == 0 => moved.max(left) + self.waits.leave,
            Some(left) => (moved + self.waits.idle).max(left + self.waits.leave),
        };
        let head = self.head.load(Ordering::Relaxed).checked_sub(1).map(|since| at(since) + self.waits.head);
        Some(head.map_or(silent, |head| head.min(silent)))
    }

    /// Whether a request has begun to come and is not whole.
    pub(crate) fn is_in_head(&self) -> bool {
        self.head.load(Ordering::Relaxed) > 0
    }

    /// A request asked for another protocol, and it was agreed to (RFC 9110 section 7.8).
    pub(crate) fn switch(&self) {
        self.switched.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_switched(&self) -> bool {
        self.switched.load(Ordering::Relaxed)
    }

    /// The node ends: the next answer says that it is the last.
    pub(crate) fn part(&self) {
        self.parting.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_parting(&self) -> bool {
        self.parting.load(Ordering::Relaxed)
    }

    /// Until when a request that is on its way may arrive on a connection that has nothing else to do; None where it has.
    pub(crate) fn parts(&self, since: Instant) -> Option<Instant> {
        let idle = self.owed.load(Ordering::Relaxed) == 0 && self.open.load(Ordering::Relaxed) == 0;
        let moved = self.born + Duration::from_millis(self.moved.load(Ordering::Relaxed));
        (idle && !self.is_in_head()).then(|| moved.max(since) + WEB_PART_WAIT)
    }

    pub(crate) fn leave_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// Whether HTTP/1 is spoken.
    pub(crate) fn is_http_1(&self) -> bool {
        self.heads
    }

    pub(crate) fn read(&self) {
        let between = self.heads && self.owed.load(Ordering::Relaxed) == 0 && self.open.load(Ordering::Relaxed) == 0;
        if between && self.head.load(Ordering::Relaxed) == 0 {
            self.head.store(self.now() + 1, Ordering::Relaxed);
        }
    }

    pub(crate) fn wrote(&self, bytes: usize) {
        if self.heads || bytes > PING_BYTES {
            self.touch();
            // A request that came early waits for its turn, not we for it.
            if self.is_in_head() {
                self.head.store(self.now() + 1, Ordering::Relaxed);
            }
        }
    }
}

/// While it lives, the connection waits for us.
#[derive(Debug)]
pub(crate) struct Owed(Arc<Pulse>);

impl Owed {
    pub(crate) fn new(pulse: &Arc<Pulse>) -> Self {
        pulse.touch();
        pulse.owed.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(pulse))
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.0.owed.fetch_sub(1, Ordering::Relaxed);
        self.0.touch();
    }
}

/// While it lives, a response is on its way.
#[derive(Debug)]
pub(crate) struct Open(Arc<Pulse>);

impl Open {
    pub(crate) fn pulse(&self) -> &Arc<Pulse> {
        &self.0
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.touch();
    }
}
