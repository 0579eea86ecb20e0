//! HTTP/2 as raw frames over TLS: what is sent is the test's to the last bit, what comes back is read frame by frame.
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use super::sites::{Sites, Tls};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const WITH_PRIORITY: u8 = 0x20;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a frame is waited for: longer than any answer takes.
const FRAME_WAIT: Duration = Duration::from_secs(20);

/// One frame as bytes (RFC 9113 section 4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

pub fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = pairs.iter().flat_map(|(id, value)| setting(*id, *value)).collect();
    frame(SETTINGS, 0, 0, &payload)
}

pub fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub fn ping(word: &[u8; 8]) -> Vec<u8> {
    frame(PING, 0, 0, word)
}

/// One field as a literal that stays out of the table, without Huffman coding (RFC 7541 section 6.2.2).
pub fn field(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name.as_ref(), value.as_ref()] {
        length(&mut field, text.len());
        field.extend_from_slice(text);
    }
    field
}

/// With a prefix of seven bits (RFC 7541 section 5.1).
fn length(field: &mut Vec<u8>, length: usize) {
    if length < 127 {
        return field.push(length as u8);
    }
    field.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        field.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    field.push(rest as u8);
}

pub fn fields(pairs: &[(&str, &str)]) -> Vec<u8> {
    pairs.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// The pseudo-fields of a request.
pub fn asking(method: &str, path: &str, host: &str) -> Vec<u8> {
    fields(&[(":method", method), (":scheme", "https"), (":authority", host), (":path", path)])
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM > 0
    }

    /// The code of a RST_STREAM or GOAWAY.
    pub fn code(&self) -> Option<u32> {
        let at = match self.kind {
            RST_STREAM => 0,
            GOAWAY => 4,
            _ => return None,
        };
        Some(u32::from_be_bytes(self.payload.get(at..at + 4)?.try_into().unwrap()))
    }

    /// The status in the HEADERS of a response: its first field. The table is not followed: only the first response of a
    /// connection is sure to be understood.
    pub fn status(&self) -> Option<u16> {
        const STATIC: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
        if self.kind != HEADERS {
            return None;
        }
        // Changes of the table's size stand before it (RFC 7541 section 6.3).
        let at = self.payload.iter().position(|byte| byte & 0xe0 != 0x20)?;
        let (first, rest) = self.payload[at..].split_first()?;
        match first {
            0x88..=0x8e => Some(STATIC[usize::from(first - 0x88)]),
            0x48 | 0x08 | 0x18 => {
                let (length, text) = rest.split_first()?;
                let text = text.get(..usize::from(length & 0x7f))?;
                let digits = if length & 0x80 == 0 { String::from_utf8(text.to_vec()).ok()? } else { digits(text)? };
                digits.parse().ok()
            }
            _ => None,
        }
    }
}

/// Three digits in Huffman coding (RFC 7541 appendix B): 0 to 2 have five bits, 3 to 9 six.
fn digits(text: &[u8]) -> Option<String> {
    let bits: Vec<u8> = text.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0, |number, bit| number * 2 + bit);
    let (mut at, mut found) = (0, String::new());
    for _ in 0..3 {
        let (five, six) = (number(bits.get(at..at + 5)?), bits.get(at..at + 6).map(number));
        let (digit, length) = match (five, six) {
            (0..=2, _) => (five, 5),
            (_, Some(six @ 0x19..=0x1f)) => (six - 0x19 + 3, 6),
            _ => return None,
        };
        found.push(char::from(b'0' + digit));
        at += length;
    }
    Some(found)
}

/// What came instead of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoFrame {
    /// The other side ended the connection, in whichever way.
    End,
    /// Nothing within the time.
    Silence,
}

/// A connection that speaks frames.
#[derive(Debug)]
pub struct Talk {
    stream: Tls,
    heard: Vec<u8>,
}

impl Talk {
    /// The handshake is done, nothing is said yet.
    pub fn silent(sites: &Sites, host: &str) -> Self {
        let stream = sites.tls(Some(host), &["h2"]).unwrap();
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
        stream.sock.set_read_timeout(Some(FRAME_WAIT)).unwrap();
        stream.sock.set_write_timeout(Some(FRAME_WAIT)).unwrap();
        Self { stream, heard: Vec::new() }
    }

    /// The preface is said, with some settings.
    pub fn begun(sites: &Sites, host: &str, pairs: &[(u16, u32)]) -> Self {
        let mut talk = Self::silent(sites, host);
        talk.send(&[PREFACE, &settings(pairs)].concat());
        talk
    }

    /// What cannot be sent any more is left: the other side may have ended the connection for what came before.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).is_ok()
    }

    /// Waits for less time than usual.
    pub fn patience(&mut self, wait: Duration) {
        self.stream.sock.set_read_timeout(Some(wait)).unwrap();
    }

    pub fn next(&mut self) -> Result<Frame, NoFrame> {
        loop {
            if let Some(frame) = self.whole() {
                return Ok(frame);
            }
            let mut piece = [0; 16 << 10];
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(NoFrame::End),
                Ok(read) => self.heard.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(NoFrame::Silence);
                }
                Err(_) => return Err(NoFrame::End),
            }
        }
    }

    fn whole(&mut self) -> Option<Frame> {
        let head: [u8; 9] = self.heard.get(..9)?.try_into().unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = self.heard.get(9..9 + length)?.to_vec();
        self.heard.drain(..9 + length);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads until a frame is the one; the frames before it are kept in `heard`.
    pub fn until(&mut self, heard: &mut Vec<Frame>, mut is_it: impl FnMut(&Frame) -> bool) -> Result<Frame, NoFrame> {
        loop {
            let frame = self.next()?;
            heard.push(frame.clone());
            if is_it(&frame) {
                return Ok(frame);
            }
        }
    }
}
