//! What the tests of the running daemon share: a node as a child process, a client of its API, a load that knows what it was
//! promised, and the tools that make faults. Ends only processes it started.
pub mod auditor;
pub mod backend;
pub mod chance;
pub mod checker;
pub mod cluster;
pub mod dns;
pub mod ear;
pub mod faults;
pub mod frames;
pub mod ftp;
pub mod http;
pub mod issuer;
pub mod load;
pub mod measure;
pub mod net;
pub mod node;
pub mod power;
pub mod replaceable;
pub mod scripts;
pub mod sites;
pub mod zones;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Says that it is over when it is dropped, also by a panic: or those who wait for it would wait for ever, and nobody hear why.
#[derive(Debug)]
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Asks until there is an answer; panics with `what` when the time is over. The machine may be slow and shared: deadlines are
/// generous, and reached only by a fault.
pub fn until<T>(seconds: u64, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
