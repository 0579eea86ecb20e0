//! What the service manager is told: ready, status, reloading, stopping, and that the process is alive. Says nothing where
//! there is no service manager.
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;

use crate::ops::passing;
use crate::ops::stop::Stop;
use crate::ops::tasks::{Ends, TaskResult, Tasks};

/// Set when another process speaks for the service.
static SILENT: AtomicBool = AtomicBool::new(false);

pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

pub fn status(status: &str) {
    tell(&[NotifyState::Status(&one_line(status))]);
}

/// To be followed by `ready`.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "failed to read the monotonic clock"),
    }
}

pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Another process is the service's from now on: this one has nothing to say any more.
pub(super) fn hand_over(process: u32) {
    tell(&[NotifyState::MainPid(process)]);
    SILENT.store(true, Ordering::Release);
}

/// For so long the watchdog is not fed, and with good reason.
pub fn busy(time: Duration) {
    if sd_notify::watchdog_enabled().is_some() {
        tell(&[NotifyState::WatchdogUsec(u32::try_from(time.as_micros()).unwrap_or(u32::MAX)), NotifyState::Watchdog]);
    }
}

/// The service manager keeps a copy of the socket, and hands it to the next process that it starts.
pub(super) fn store(name: &str, socket: &OwnedFd) {
    if let Err(error) = keep(name, socket) {
        tracing::warn!(%error, name, "failed to have the service manager keep a socket");
    }
}

fn keep(name: &str, socket: &OwnedFd) -> io::Result<()> {
    let Some(manager) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let sender = UnixDatagram::unbound()?;
    match manager.as_bytes().strip_prefix(b"@") {
        Some(hidden) => sender.connect_addr(&SocketAddr::from_abstract_name(hidden)?)?,
        None => sender.connect(&manager)?,
    }
    // It need not watch a socket that is ours.
    let state = format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0\n");
    passing::send(&sender, state.as_bytes(), &[socket.try_clone()?])
}

/// It lets go of its copies of that name.
pub(super) fn forget(name: &str) {
    let name = format!("FDNAME={name}");
    tell(&[NotifyState::Custom("FDSTOREREMOVE=1"), NotifyState::Custom(&name)]);
}

/// Starts the watchdog where the service manager wants one: it hears from us while `alive` answers true in time, which is
/// to ask what must not hang.
pub fn watchdog<F, Fut>(tasks: &Tasks, alive: F)
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = bool> + Send + 'static,
{
    if let Some(period) = sd_notify::watchdog_enabled().filter(|period| !period.is_zero()) {
        // The process before may have asked for more time.
        tell(&[NotifyState::WatchdogUsec(u32::try_from(period.as_micros()).unwrap_or(u32::MAX))]);
        tasks.spawn("watchdog", Ends::AtDrain, move |stop| {
            beat(stop, period, alive.clone(), || tell(&[NotifyState::Watchdog]))
        });
    }
}

async fn beat<F, Fut>(stop: Stop, period: Duration, alive: F, ping: impl Fn()) -> TaskResult
where
    F: Fn() -> Fut,
    Fut: Future<Output = bool>,
{
    loop {
        if tokio::time::timeout(period / 2, alive()).await == Ok(true) {
            ping();
        } else if !stop.is_given_up() {
            tracing::error!("not alive: the watchdog is not fed");
        }
        tokio::select! {
            () = tokio::time::sleep(period / 2) => {}
            deadline = stop.drain() => {
                // What would answer is gone by now; the stop has its own deadline.
                let left = deadline.saturating_duration_since(Instant::now()) + period;
                tell(&[NotifyState::WatchdogUsec(u32::try_from(left.as_micros()).unwrap_or(u32::MAX))]);
                ping();
                return Ok(());
            }
        }
    }
}

/// A line break would start another variable.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

fn tell(state: &[NotifyState<'_>]) {
    if SILENT.load(Ordering::Acquire) {
        return;
    }
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "failed to notify the service manager");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    use super::*;
    use crate::ops::stop::Stopper;

    #[tokio::test]
    async fn the_watchdog_is_fed_only_while_alive() {
        let (stopper, stop) = Stopper::new();
        let (alive, pings) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
        let beating = tokio::spawn({
            let (alive, pings) = (Arc::clone(&alive), Arc::clone(&pings));
            async move {
                let asked = || async {
                    // Dead means hanging, the worse of the two ways.
                    if !alive.load(Ordering::SeqCst) {
                        std::future::pending::<()>().await;
                    }
                    true
                };
                beat(stop, Duration::from_millis(20), asked, || {
                    pings.fetch_add(1, Ordering::SeqCst);
                })
                .await
                .is_ok()
            }
        });
        let deadline = Instant::now() + Duration::from_secs(10);
        while pings.load(Ordering::SeqCst) < 3 {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        alive.store(false, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(40)).await;
        let before = pings.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(pings.load(Ordering::SeqCst), before);
        stopper.drain(Instant::now());
        assert!(beating.await.unwrap());
    }

    #[test]
    fn a_status_is_one_line() {
        assert_eq!(one_line("a\nREADY=1"), "a READY=1");
    }
}
