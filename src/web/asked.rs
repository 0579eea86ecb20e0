//! A request's body as it comes from the visitor: within its limit, and not slower than honest lines are. Never read before
//! somebody wants it, never held.
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::EXPECT;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::base::limits::{WEB_BODY_STEP, WEB_BODY_WAIT, WEB_DISCARD_BYTES_MAX, WEB_DISCARD_WAIT};
use crate::web::pulse::Pulse;

/// Failed to read a request's body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskedError {
    #[error("take a body larger than the site allows")]
    TooLarge,
    #[error("wait for the body any longer")]
    Slow,
    #[error("read a body of another length than was said")]
    Length,
    #[error("read the body: {0}")]
    Broken(hyper::Error),
}

#[derive(Debug)]
pub(crate) struct Asked {
    body: Incoming,
    pulse: Arc<Pulse>,
    /// Bytes it may still have.
    left: u64,
    pace: Pace,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Asked {
    /// `most`: bytes that are taken.
    pub(crate) fn new(body: Incoming, pulse: &Arc<Pulse>, most: u64) -> Self {
        Self { body, pulse: Arc::clone(pulse), left: most, pace: Pace::default(), alarm: None }
    }

    /// Whether it says by itself that it is too large.
    pub(crate) fn is_too_large(&self) -> bool {
        self.body.size_hint().lower() > self.left
    }

    /// Reads to its end a small body that no handler wanted, so that the connection can be used again. One that waits to be
    /// asked for is never sent.
    pub(crate) async fn discard(mut self, headers: &HeaderMap) {
        let small = |bytes: u64| bytes <= WEB_DISCARD_BYTES_MAX;
        if self.is_end_stream() || headers.contains_key(EXPECT) || !small(self.size_hint().lower()) {
            return;
        }
        let reading = async {
            let mut bytes = 0;
            while let Some(Ok(frame)) = self.frame().await {
                bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                if !small(bytes) {
                    return;
                }
            }
        };
        let _ = timeout(WEB_DISCARD_WAIT, reading).await;
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.pace.wait(Instant::now());
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if alarm.deadline() != due {
            alarm.as_mut().reset(due);
        }
        alarm.as_mut().poll(cx)
    }
}

impl Body for Asked {
    type Data = Bytes;
    type Error = AskedError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AskedError>>> {
        let asked = &mut *self;
        let frame = match Pin::new(&mut asked.body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                ready!(asked.poll_late(cx));
                return Poll::Ready(Some(Err(AskedError::Slow)));
            }
        };
        let Some(frame) = frame else { return Poll::Ready(None) };
        let frame = frame.map_err(AskedError::Broken)?;
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        asked.pace.came(Instant::now(), bytes);
        asked.left = asked.left.checked_sub(bytes as u64).ok_or(AskedError::TooLarge)?;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.body.is_end_stream() {
            self.pulse.leave_unread();
        }
    }
}

/// How long we waited for how much. The time in which nobody wanted more is not the visitor's.
#[derive(Debug, Default)]
struct Pace {
    waited: Duration,
    bytes: usize,
    since: Option<Instant>,
}

impl Pace {
    /// Nothing is there; returns until when something must be.
    fn wait(&mut self, now: Instant) -> Instant {
        *self.since.get_or_insert(now) + WEB_BODY_WAIT.saturating_sub(self.waited)
    }

    fn came(&mut self, now: Instant, bytes: usize) {
        self.waited += self.since.take().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.bytes += bytes;
        if self.bytes >= WEB_BODY_STEP {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_drips_is_late_and_one_that_nobody_reads_is_not() {
        let begun = Instant::now();
        let second = Duration::from_secs(1);
        let mut pace = Pace::default();
        assert_eq!(pace.wait(begun), begun + WEB_BODY_WAIT);
        assert_eq!(pace.wait(begun + second), begun + WEB_BODY_WAIT, "asking again is no reason to wait longer");
        // A byte buys no time, and time passes only while we wait.
        pace.came(begun + 2 * second, 1);
        let later = begun + 1000 * second;
        assert_eq!(pace.wait(later), later + WEB_BODY_WAIT - 2 * second);
        pace.came(later + second, WEB_BODY_STEP);
        assert_eq!(pace.wait(later), later + WEB_BODY_WAIT, "enough came: the time begins anew");
    }
}
