//! The task that writes the access logs: takes the lines of all threads every few seconds, gathers those of each site, and
//! appends them in one write. Files are opened by `files`; what a full or broken disk does not take is dropped and counted.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::base::clock::Time;
use crate::base::ids::SiteId;
use crate::base::limits::{
    WEB_LOG_ASKED_MAX, WEB_LOG_ASKED_WAIT, WEB_LOG_FLUSH_EVERY, WEB_LOG_LAST_FLUSH, WEB_LOGS_OPEN, WEB_LOGS_SWEEP_EVERY,
};
use crate::files::logs::{Bounds, Logs, SiteLog};
use crate::files::sites::SiteDirs;
use crate::ops::blocking::Blocking;
use crate::ops::stop::Stop;
use crate::store::feed::{Feed, View};
use crate::store::local::Local;
use crate::web::counts::Tallies;
use crate::web::log::Log;

/// Has what waits written at once, for who wants to read it.
#[derive(Debug, Clone)]
pub struct Flush(mpsc::Sender<oneshot::Sender<()>>);

/// The other end of it.
pub type Flushes = mpsc::Receiver<oneshot::Sender<()>>;

impl Flush {
    pub fn new() -> (Self, Flushes) {
        let (sender, flushes) = mpsc::channel(WEB_LOG_ASKED_MAX);
        (Self(sender), flushes)
    }

    /// Returns when it is written, or when it takes too long.
    pub async fn now(&self) {
        let (done, written) = oneshot::channel();
        if self.0.try_send(done).is_ok() {
            let _ = timeout(WEB_LOG_ASKED_WAIT, written).await;
        }
    }
}

/// What the task works with.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) log: Arc<Log>,
    pub(crate) writer: Arc<Mutex<Writer>>,
    pub(crate) blocking: Blocking,
    pub(crate) flushes: Flushes,
    pub(crate) tallies: Arc<Tallies>,
    pub(crate) local: Local,
    /// Ends when the last thread that answers has ended.
    pub(crate) threads: mpsc::Receiver<std::convert::Infallible>,
}

impl Task {
    /// Writes until all threads that answer have ended, or the drain is over.
    pub(crate) async fn run(mut self, stop: Stop) {
        let (mut sweep, mut due) = (Instant::now(), None);
        let mut given_up = false;
        loop {
            let mut done = None;
            tokio::select! {
                () = self.log.some(), if due.is_none() => {
                    due = Some(Instant::now() + WEB_LOG_FLUSH_EVERY);
                    continue;
                }
                () = self.log.many() => {}
                () = sleep_until(due.unwrap_or(sweep)), if due.is_some() => {}
                Some(asked) = self.flushes.recv() => done = Some(asked),
                () = sleep_until(sweep) => {
                    sweep = Instant::now() + WEB_LOGS_SWEEP_EVERY;
                    self.work(|_, writer| writer.sweep(Time::now())).await;
                    continue;
                }
                // Local facts are written for the last time before the drain.
                () = stop.give_up(), if !given_up => {
                    given_up = true;
                    self.count();
                    continue;
                }
                _ = stop.drain() => break,
            }
            due = None;
            self.count();
            self.work(|log, writer| writer.write(log, Time::now())).await;
            if let Some(done) = done {
                let _ = done.send(());
            }
        }
        let deadline = stop.drain().await;
        let _ = timeout_at(deadline.checked_sub(WEB_LOG_LAST_FLUSH).unwrap_or(deadline), self.threads.recv()).await;
        self.work(|log, writer| writer.write(log, Time::now())).await;
    }

    /// Counts the visits of the day.
    fn count(&self) {
        let day = Time::now().days();
        self.tallies.collect(|site, visits| self.local.visited(site, day, visits));
    }

    async fn work(&self, work: impl FnOnce(&Log, &mut Writer) + Send + 'static) {
        let (log, writer) = (Arc::clone(&self.log), Arc::clone(&self.writer));
        // Where the pool is full the lines wait where they are, as long as there is room.
        let done = self.blocking.run(move || work(&log, &mut writer.lock().unwrap_or_else(PoisonError::into_inner)));
        if let Err(error) = done.await {
            tracing::warn!(%error, "access logs were not written");
        }
    }
}

/// The files. Everything here blocks.
#[derive(Debug)]
pub(crate) struct Writer {
    logs: Logs,
    view: View,
    open: LruCache<SiteId, SiteLog>,
}

impl Writer {
    pub(crate) fn new(dirs: Arc<SiteDirs>, feed: &Feed, bounds: Bounds) -> Self {
        let mut open = LruCache::unbounded();
        open.resize(WEB_LOGS_OPEN);
        Self { logs: Logs::new(dirs, bounds), view: feed.view(), open }
    }

    fn write(&mut self, log: &Log, now: Time) {
        let mut sites: HashMap<SiteId, Vec<u8>> = HashMap::new();
        log.drain(|site, line| sites.entry(site).or_default().extend_from_slice(line));
        for (site, lines) in sites {
            if let Err(error) = self.append(site, &lines, now) {
                self.open.pop(&site);
                let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
                metrics::counter!("ruche_web_log_lines_lost_total", "reason" => "disk").increment(count);
                tracing::warn!(%error, %site, lines = count, "lines of an access log were lost");
            }
        }
    }

    fn append(&mut self, site: SiteId, lines: &[u8], now: Time) -> std::io::Result<()> {
        if self.open.peek(&site).is_some_and(SiteLog::is_gone) {
            self.open.pop(&site);
        }
        if !self.open.contains(&site) {
            // A site that is gone gets no directory again.
            let view = &mut self.view;
            let Some(opened) = self.logs.open(site, || view.now().sites.contains_key(&site))? else { return Ok(()) };
            self.open.put(site, opened);
        }
        let bounds = self.logs.bounds();
        self.open.get_mut(&site).map_or(Ok(()), |log| log.append(lines, now, &bounds))
    }

    /// Deletes what was kept long enough, also of sites that nobody visits any more.
    fn sweep(&mut self, now: Time) {
        let sites: Vec<SiteId> = self.view.now().sites.keys().copied().collect();
        for site in sites {
            if let Err(error) = self.logs.expire(site, now) {
                tracing::warn!(%error, %site, "old access logs were not deleted");
            }
        }
    }
}
