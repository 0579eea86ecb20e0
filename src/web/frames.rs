//! The frames an HTTP/2 client sends that ask for nothing: PING, SETTINGS, PRIORITY, RST_STREAM, WINDOW_UPDATE, empty DATA and
//! CONTINUATION, and unknown ones. Each costs a little and the engine bears them all; a client that sends more of them than
//! its requests and our answers give reason for is flooding (RFC 9113 section 10.5). It also begins with SETTINGS, which the
//! engine does not ask for. Never reads what is in a frame.
use tokio::time::Instant;

use crate::base::limits::{WEB_IDLE_FRAMES_MAX, WEB_IDLE_FRAMES_PER_SECOND, WEB_SENT_PER_IDLE_FRAME};

/// What a client begins with (section 3.4).
const PREFACE: u64 = 24;
/// Length, type, flags, stream (section 4.1).
const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
/// DATA and HEADERS: the last of a stream.
const END_STREAM: u8 = 1;
/// SETTINGS: those of the other side are taken note of.
const ACK: u8 = 1;

/// Counts what comes in on one connection.
#[derive(Debug)]
pub(crate) struct Frames {
    /// Octets to pass over before the next frame's head.
    skip: u64,
    head: [u8; HEAD],
    /// Of the head, how much there is.
    have: usize,
    /// Whether its first frame has come.
    begun: bool,
    /// Idle frames it may still send.
    left: u32,
    /// Since when seconds count.
    since: Instant,
    /// Octets sent that have not become frames.
    sent: usize,
}

/// Why a connection is not worth going on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// The first frame is not SETTINGS (section 3.4).
    Preface,
    /// Too many frames for nothing.
    Flood,
}

impl Unfit {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Preface => "preface",
            Self::Flood => "flood",
        }
    }
}

impl Frames {
    pub(crate) fn new(now: Instant) -> Self {
        Self { skip: PREFACE, head: [0; HEAD], have: 0, begun: false, left: WEB_IDLE_FRAMES_MAX, since: now, sent: 0 }
    }

    /// What we send may have to be asked on with WINDOW_UPDATE.
    pub(crate) fn sent(&mut self, octets: usize) {
        self.sent += octets;
        let frames = self.sent / WEB_SENT_PER_IDLE_FRAME;
        self.sent %= WEB_SENT_PER_IDLE_FRAME;
        self.left = self.left.saturating_add(u32::try_from(frames).unwrap_or(u32::MAX)).min(WEB_IDLE_FRAMES_MAX);
    }

    /// Looks at what was read, in order.
    pub(crate) fn look(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Unfit> {
        while !bytes.is_empty() {
            let skipped = (bytes.len() as u64).min(self.skip);
            self.skip -= skipped;
            bytes = &bytes[skipped as usize..];
            let count = bytes.len().min(HEAD - self.have);
            self.head[self.have..self.have + count].copy_from_slice(&bytes[..count]);
            self.have += count;
            bytes = &bytes[count..];
            if self.have == HEAD {
                self.have = 0;
                let [a, b, c, kind, flags, ..] = self.head;
                self.skip = u64::from(u32::from_be_bytes([0, a, b, c]));
                if !self.begun && (kind != SETTINGS || flags & ACK > 0) {
                    return Err(Unfit::Preface);
                }
                self.begun = true;
                let asks = match kind {
                    DATA => self.skip > 0 || flags & END_STREAM > 0,
                    CONTINUATION => self.skip > 0,
                    kind => kind == HEADERS,
                };
                if !asks {
                    self.idle(now)?;
                }
            }
        }
        Ok(())
    }

    fn idle(&mut self, now: Instant) -> Result<(), Unfit> {
        if self.left == 0 {
            let seconds = now.saturating_duration_since(self.since).as_secs();
            self.since = now;
            self.left = (seconds.saturating_mul(u64::from(WEB_IDLE_FRAMES_PER_SECOND)))
                .min(u64::from(WEB_IDLE_FRAMES_MAX)) as u32;
        }
        self.left = self.left.checked_sub(1).ok_or(Unfit::Flood)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    const NO_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const REQUEST: [u8; 10] = [0, 0, 1, HEADERS, 5, 0, 0, 0, 1, 0x82];
    const SAID: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    /// Frames of one kind until it is too much.
    fn borne(frames: &mut Frames, frame: &[u8], now: Instant, most: u32) -> u32 {
        (0..most).take_while(|_| frames.look(frame, now).is_ok()).count() as u32
    }

    fn begun(now: Instant) -> Frames {
        let mut frames = Frames::new(now);
        frames.look(SAID, now).unwrap();
        frames.begun = true;
        frames
    }

    #[tokio::test]
    async fn settings_come_first() {
        let now = Instant::now();
        for (frame, expected) in [
            (&NO_SETTINGS[..], Ok(())),
            (&PING, Err(Unfit::Preface)),
            (&REQUEST, Err(Unfit::Preface)),
            (&[0, 0, 0, SETTINGS, ACK, 0, 0, 0, 0], Err(Unfit::Preface)),
        ] {
            let mut frames = Frames::new(now);
            assert_eq!(frames.look(SAID, now), Ok(()));
            assert_eq!(frames.look(frame, now), expected, "{frame:?}");
        }
    }

    #[tokio::test]
    async fn frames_for_nothing_are_a_flood() {
        let now = Instant::now();
        let most = 2 * WEB_IDLE_FRAMES_MAX;
        let empty_data = [0, 0, 0, DATA, 0, 0, 0, 0, 1];
        let window_update = [0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 0, 0, 1];
        for frame in [&PING[..], &empty_data, &window_update, &NO_SETTINGS] {
            assert_eq!(borne(&mut begun(now), frame, now, most), WEB_IDLE_FRAMES_MAX, "{frame:?}");
        }
        assert_eq!(borne(&mut begun(now), &REQUEST, now, most), most, "requests are counted elsewhere");
    }

    #[tokio::test]
    async fn time_and_answers_give_reason() {
        let now = Instant::now();
        let mut frames = begun(now);
        borne(&mut frames, &NO_SETTINGS, now, 2 * WEB_IDLE_FRAMES_MAX);
        let later = now + Duration::from_secs(1);
        assert_eq!(borne(&mut frames, &NO_SETTINGS, later, WEB_IDLE_FRAMES_MAX), WEB_IDLE_FRAMES_PER_SECOND);
        frames.sent(10 * WEB_SENT_PER_IDLE_FRAME);
        assert_eq!(borne(&mut frames, &NO_SETTINGS, later, WEB_IDLE_FRAMES_MAX), 10);
    }

    #[tokio::test]
    async fn frames_are_found_however_they_are_cut() {
        let now = Instant::now();
        let mut frames = begun(now);
        for _ in 0..WEB_IDLE_FRAMES_MAX {
            for byte in PING {
                frames.look(&[byte], now).unwrap();
            }
        }
        assert_eq!(frames.look(&PING, now), Err(Unfit::Flood));
    }
}
