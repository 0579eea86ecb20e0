//! Where one request of HTTP/1 ends and the next begins, told from the bytes alone and more strictly than the engine reads them: what
//! two servers could read differently is refused before anybody acts on it (RFC 9112 section 11.2). Follows bodies only to
//! find their end; the engine reads and refuses the rest. Never answers.
use memchr::memchr;

use crate::base::limits::{WEB_CHUNK_LINE_MAX, WEB_HEAD_MAX};

/// Follows what comes in on one connection.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    at: At,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    head: Head,
}

#[derive(Debug, Default)]
enum At {
    #[default]
    Head,
    /// Octets of the body that are still to come.
    Body(u64),
    ChunkSize,
    /// Octets of the chunk that are still to come, with the line end behind them.
    Chunk(u64),
    Trailers,
}

/// What a head has said so far.
#[derive(Debug, Default)]
struct Head {
    begun: bool,
    octets: usize,
    length: Option<u64>,
    chunked: bool,
}

/// Why no sound server reads on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsound {
    /// A line that ends with LF alone (section 2.2 lets a server refuse it).
    BareLf,
    /// Content-Length that is no number, or comes twice (section 6.3).
    Length,
    /// Transfer-Encoding that is not `chunked` alone (section 6.1).
    Coding,
    /// Content-Length beside Transfer-Encoding (section 6.3).
    Both,
    /// A chunk without a sound size (section 7.1).
    Chunk,
    TooLong,
}

impl Unsound {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::BareLf => "bare-lf",
            Self::Length => "content-length",
            Self::Coding => "transfer-encoding",
            Self::Both => "two-lengths",
            Self::Chunk => "chunk",
            Self::TooLong => "too-long",
        }
    }
}

impl Framing {
    /// Looks at what was read, in order. After a refusal nothing more is sound on this connection.
    pub(crate) fn look(&mut self, mut bytes: &[u8]) -> Result<(), Unsound> {
        while !bytes.is_empty() {
            match &mut self.at {
                At::Body(left) | At::Chunk(left) => {
                    let count = (bytes.len() as u64).min(*left);
                    *left -= count;
                    bytes = bytes.split_at(count as usize).1;
                    if *left == 0 {
                        self.at = if matches!(self.at, At::Body(_)) { At::Head } else { At::ChunkSize };
                    }
                }
                At::Head | At::ChunkSize | At::Trailers => {
                    let Some(end) = memchr(b'\n', bytes) else {
                        self.line.extend_from_slice(bytes);
                        return if self.line.len() > WEB_HEAD_MAX { Err(Unsound::TooLong) } else { Ok(()) };
                    };
                    let (line, rest) = bytes.split_at(end + 1);
                    bytes = rest;
                    if self.line.is_empty() {
                        self.line(line)?;
                    } else {
                        let mut whole = std::mem::take(&mut self.line);
                        whole.extend_from_slice(line);
                        self.line(&whole)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Unsound> {
        let text = line.strip_suffix(b"\r\n").ok_or(Unsound::BareLf)?;
        match self.at {
            At::Head => return self.head_line(text),
            At::ChunkSize => self.at = chunk(text)?,
            At::Trailers if text.is_empty() => self.at = At::Head,
            At::Trailers | At::Body(_) | At::Chunk(_) => {}
        }
        Ok(())
    }

    fn head_line(&mut self, text: &[u8]) -> Result<(), Unsound> {
        self.head.octets += text.len();
        if self.head.octets > WEB_HEAD_MAX {
            return Err(Unsound::TooLong);
        }
        if !text.is_empty() {
            return if self.head.begun {
                self.head.field(text)
            } else {
                self.head.begun = true;
                Ok(())
            };
        }
        if !self.head.begun {
            // Empty lines before a request are passed over (section 2.2).
            return Ok(());
        }
        let Head { length, chunked, .. } = std::mem::take(&mut self.head);
        self.at = match (length, chunked) {
            (Some(_), true) => return Err(Unsound::Both),
            (None, true) => At::ChunkSize,
            (Some(length @ 1..), false) => At::Body(length),
            (Some(0) | None, false) => At::Head,
        };
        Ok(())
    }
}

impl Head {
    fn field(&mut self, text: &[u8]) -> Result<(), Unsound> {
        // Both names are told by their first letter and their length from nearly all others.
        if !matches!(text.first(), Some(b'c' | b'C' | b't' | b'T')) {
            return Ok(());
        }
        let Some(colon) = memchr(b':', text) else { return Ok(()) };
        let value = text[colon + 1..].trim_ascii();
        // A name with a blank behind it is refused by the engine; some servers would take it for the name.
        match text[..colon].trim_ascii() {
            name if name.eq_ignore_ascii_case(b"content-length") => {
                let length = number(value, 10).ok_or(Unsound::Length)?;
                if self.length.replace(length).is_some() {
                    return Err(Unsound::Length);
                }
            }
            name if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Unsound::Coding);
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }
}

/// What follows the line before a chunk; extensions are passed over (section 7.1.1).
fn chunk(text: &[u8]) -> Result<At, Unsound> {
    if text.len() > WEB_CHUNK_LINE_MAX {
        return Err(Unsound::TooLong);
    }
    let size = text.split(|byte| *byte == b';').next().unwrap_or_default();
    match number(size.trim_ascii_end(), 16).ok_or(Unsound::Chunk)? {
        0 => Ok(At::Trailers),
        size => size.checked_add(2).map(At::Chunk).ok_or(Unsound::Chunk),
    }
}

/// Digits and nothing else.
fn number(text: &[u8], radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digits { u64::from_str_radix(text, radix).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn look(bytes: &[u8]) -> Result<(), Unsound> {
        Framing::default().look(bytes)
    }

    const SOUND: &[&str] = &[
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\nGET /b HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length:  3 \r\n\r\n\n\n\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\n\n\n\n\r\n0\r\nt: v\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nx-content-length: 3\r\nte: trailers\r\n\r\n",
    ];

    const UNSOUND: &[(&str, Unsound)] = &[
        ("GET / HTTP/1.1\nhost: a\r\n\r\n", Unsound::BareLf),
        ("GET / HTTP/1.1\r\nhost: a\n\r\n", Unsound::BareLf),
        ("GET / HTTP/1.1\r\nhost: a\r\n\n", Unsound::BareLf),
        ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n", Unsound::Both),
        ("POST / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n", Unsound::Both),
        ("POST / HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\n", Unsound::Length),
        ("POST / HTTP/1.1\r\ncontent-length: 3, 3\r\n\r\n", Unsound::Length),
        ("POST / HTTP/1.1\r\ncontent-length: +3\r\n\r\n", Unsound::Length),
        ("POST / HTTP/1.1\r\ncontent-length: 0x3\r\n\r\n", Unsound::Length),
        ("POST / HTTP/1.1\r\ncontent-length: \r\n\r\n", Unsound::Length),
        ("POST / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n", Unsound::Length),
        ("POST / HTTP/1.1\r\ncontent-length : 3\r\ntransfer-encoding: chunked\r\n\r\n", Unsound::Both),
        ("POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n", Unsound::Coding),
        ("POST / HTTP/1.1\r\ntransfer-encoding: identity\r\n\r\n", Unsound::Coding),
        ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", Unsound::Coding),
        ("POST / HTTP/1.1\r\ntransfer-encoding: \x0bchunked\r\n\r\n", Unsound::Coding),
        ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", Unsound::BareLf),
        ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", Unsound::Chunk),
        ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n\r\n", Unsound::Chunk),
        ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n", Unsound::Chunk),
        ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nt: v\n\r\n", Unsound::BareLf),
        // The second request is looked at like the first.
        ("POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nabGET / HTTP/1.1\nhost: a\r\n\r\n", Unsound::BareLf),
    ];

    #[test]
    fn what_all_servers_read_alike_is_sound() {
        for text in SOUND {
            assert_eq!(look(text.as_bytes()), Ok(()), "{text:?}");
        }
    }

    #[test]
    fn what_two_servers_could_read_differently_is_refused() {
        for (text, unsound) in UNSOUND {
            assert_eq!(look(text.as_bytes()), Err(*unsound), "{text:?}");
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        assert_eq!(look(&vec![b'a'; WEB_HEAD_MAX + 1]), Err(Unsound::TooLong));
        let mut framing = Framing::default();
        let refused = (0..).find_map(|_| framing.look(b"a: b\r\n").err());
        assert_eq!(refused, Some(Unsound::TooLong));
    }

    proptest! {
        /// However the bytes are cut into reads, they say the same.
        #[test]
        fn cuts_change_nothing(at in 0..UNSOUND.len() + SOUND.len(), cuts in prop::collection::vec(1..9_usize, 0..200)) {
            let text = UNSOUND.iter().map(|(text, _)| *text).chain(SOUND.iter().copied()).nth(at).unwrap();
            let (mut framing, mut rest) = (Framing::default(), text.as_bytes());
            let mut said = Ok(());
            for cut in cuts.into_iter().chain(std::iter::once(usize::MAX)) {
                let (piece, later) = rest.split_at(cut.min(rest.len()));
                rest = later;
                said = said.and_then(|()| framing.look(piece));
            }
            prop_assert_eq!(said, look(text.as_bytes()));
        }

        #[test]
        fn any_bytes_are_borne(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut framing = Framing { at: At::ChunkSize, ..Framing::default() };
            let _ = (look(&bytes), framing.look(&bytes));
        }
    }
}
