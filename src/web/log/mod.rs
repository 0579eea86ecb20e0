//! The access logs of the sites: each thread that answers puts its lines into a buffer of its own, a task takes them from there
//! every few seconds and writes them. A visitor never waits for a disk: what finds no room is dropped and counted.
mod line;
pub mod writer;

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;
use http::request::Parts;
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::base::ids::SiteId;
use crate::base::limits::{WEB_LOG_BUFFER_MAX, WEB_LOG_SOON_BYTES, WEB_LOG_SPARE_BYTES, WEB_LOG_SPARES};
use crate::web::log::line::Said;

/// Before each line: when it was begun, the site's id and the length.
const MARK: usize = 8 + 8 + 4;

/// What the threads write to and the task reads from.
#[derive(Debug)]
pub(crate) struct Log {
    threads: Vec<Arc<Lines>>,
    waits: Arc<Waits>,
}

#[derive(Debug, Default)]
struct Waits {
    /// There is a line where there was none.
    some: Notify,
    /// There are so many that they should not wait any longer.
    many: Notify,
}

/// The lines of one thread.
#[derive(Debug)]
pub(crate) struct Lines {
    buffer: Mutex<Buffer>,
    waits: Arc<Waits>,
}

#[derive(Debug, Default)]
struct Buffer {
    waiting: Vec<u8>,
    /// Buffers of lines that are done, for the next ones.
    spares: Vec<Vec<u8>>,
    second: u64,
    date: String,
}

/// A line that lacks nothing but the bytes sent; written when it is dropped.
#[derive(Debug)]
pub(crate) struct Line {
    lines: Arc<Lines>,
    /// Nanoseconds since 1970.
    begun: u64,
    site: SiteId,
    text: Vec<u8>,
    /// Where the bytes stand in the text.
    gap: usize,
    bytes: u64,
}

impl Log {
    pub(crate) fn new(threads: usize) -> Self {
        let waits = Arc::<Waits>::default();
        let lines = || Arc::new(Lines { buffer: Mutex::default(), waits: Arc::clone(&waits) });
        Self { threads: (0..threads).map(|_| lines()).collect(), waits }
    }

    pub(crate) fn of(&self, thread: usize) -> &Arc<Lines> {
        &self.threads[thread]
    }

    /// Waits until lines wait to be written.
    async fn some(&self) {
        self.waits.some.notified().await;
    }

    /// Waits until they should not wait any longer.
    async fn many(&self) {
        self.waits.many.notified().await;
    }

    /// Hands each line that waits to `take`, the oldest first, whichever thread it is of.
    fn drain(&self, mut take: impl FnMut(SiteId, &[u8])) {
        let waiting: Vec<Vec<u8>> = self.threads.iter().map(|lines| mem::take(&mut lines.buffer().waiting)).collect();
        let mut all = Vec::new();
        for mut rest in waiting.iter().map(Vec::as_slice) {
            while let Some((mark, after)) = rest.split_first_chunk::<MARK>() {
                let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, length @ ..] = *mark;
                let begun = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
                let site = SiteId(u64::from_be_bytes([i, j, k, l, m, n, o, p]));
                let (line, after) = after.split_at((u32::from_be_bytes(length) as usize).min(after.len()));
                all.push((begun, site, line));
                rest = after;
            }
        }
        all.sort_by_key(|(begun, ..)| *begun);
        all.into_iter().for_each(|(_, site, line)| take(site, line));
    }
}

impl Lines {
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        // The task holds it for the moment of a swap; a panic leaves whole lines.
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the line of a response that is on its way.
    pub(crate) fn begin(
        self: &Arc<Self>,
        site: SiteId,
        peer: &str,
        user: Option<&str>,
        status: StatusCode,
        parts: &Parts,
    ) -> Line {
        let mut buffer = self.buffer();
        let mut text = buffer.spares.pop().unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let second = now.as_secs();
        if buffer.second != second || buffer.date.is_empty() {
            buffer.second = second;
            buffer.date = date(second);
        }
        line::begin(&mut text, &Said { peer, user, date: &buffer.date, status }, parts);
        drop(buffer);
        let gap = text.len();
        line::end(&mut text, &parts.headers);
        let begun = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        Line { lines: Arc::clone(self), begun, site, text, gap, bytes: 0 }
    }
}

impl Line {
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.bytes += bytes;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut guard = self.lines.buffer();
        let buffer = &mut *guard;
        let before = buffer.waiting.len();
        if before + MARK + self.text.len() + 20 > WEB_LOG_BUFFER_MAX {
            metrics::counter!("ruche_web_log_lines_lost_total", "reason" => "slow").increment(1);
        } else {
            let out = &mut buffer.waiting;
            out.extend_from_slice(&self.begun.to_be_bytes());
            out.extend_from_slice(&self.site.0.to_be_bytes());
            out.extend_from_slice(&[0; 4]);
            let (begin, end) = self.text.split_at(self.gap);
            out.extend_from_slice(begin);
            line::number(out, self.bytes);
            out.extend_from_slice(end);
            // Below the size of the buffer.
            let length = (out.len() - before - MARK) as u32;
            out[before + 16..before + MARK].copy_from_slice(&length.to_be_bytes());
        }
        let after = buffer.waiting.len();
        if buffer.spares.len() < WEB_LOG_SPARES && self.text.capacity() <= WEB_LOG_SPARE_BYTES {
            self.text.clear();
            buffer.spares.push(mem::take(&mut self.text));
        }
        drop(guard);
        if before == 0 {
            self.lines.waits.some.notify_one();
        }
        if before < WEB_LOG_SOON_BYTES && after >= WEB_LOG_SOON_BYTES {
            self.lines.waits.many.notify_one();
        }
    }
}

/// As the combined format has it, in UTC.
fn date(second: u64) -> String {
    let stamp = i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok()).unwrap_or_default();
    stamp.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use http::Request;

    use super::*;

    fn parts() -> Parts {
        let request = Request::get("/index.html?x=1").header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)");
        request.body(()).unwrap().into_parts().0
    }

    fn visit(lines: &Arc<Lines>, site: u64, bytes: u64) {
        let mut line = lines.begin(SiteId(site), "127.0.0.1", None, StatusCode::OK, &parts());
        line.sent(bytes);
    }

    fn drained(log: &Log) -> Vec<(u64, String)> {
        let mut all = Vec::new();
        log.drain(|site, line| all.push((site.0, String::from_utf8(line.to_vec()).unwrap())));
        all
    }

    #[tokio::test]
    async fn lines_come_out_whole_with_their_site() {
        let log = Log::new(2);
        visit(log.of(0), 1, 10);
        visit(log.of(1), 2, 0);
        visit(log.of(0), 3, u64::MAX);
        log.some().await;
        let all = drained(&log);
        assert_eq!(all.iter().map(|(site, _)| *site).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(all[0].1.contains("\" 200 10 \"-\" \"Mozilla") && all[2].1.contains(&format!(" 200 {} ", u64::MAX)));
        assert!(all.iter().all(|(_, line)| line.ends_with("\"\n") && line.lines().count() == 1));
        assert!(drained(&log).is_empty());
    }

    #[test]
    fn dates_are_those_of_the_format() {
        assert_eq!(date(0), "01/Jan/1970:00:00:00 +0000");
        assert_eq!(date(1_795_328_000), "22/Nov/2026:06:13:20 +0000");
    }

    #[test]
    fn what_finds_no_room_is_dropped() {
        let log = Log::new(1);
        while log.of(0).buffer().waiting.len() + 1000 < WEB_LOG_BUFFER_MAX {
            visit(log.of(0), 1, 1);
        }
        (0..1000).for_each(|_| visit(log.of(0), 1, 1));
        assert!(log.of(0).buffer().waiting.len() <= WEB_LOG_BUFFER_MAX);
        assert!(drained(&log).iter().all(|(_, line)| line.ends_with("\"\n")));
    }

    /// Run by hand, with `--release`, for the figure.
    #[test]
    #[ignore = "a measurement"]
    fn what_a_line_costs() {
        let (log, parts) = (Log::new(1), parts());
        let mut best = Duration::MAX;
        for _ in 0..50 {
            let begin = Instant::now();
            for _ in 0..2000 {
                let mut line = log.of(0).begin(SiteId(1), "192.0.2.1", None, StatusCode::OK, &parts);
                line.sent(1024);
            }
            best = best.min(begin.elapsed() / 2000);
            log.drain(|_, _| {});
        }
        println!("{best:?} a line");
        assert!(best < Duration::from_micros(1) || cfg!(debug_assertions), "{best:?}");
    }
}
