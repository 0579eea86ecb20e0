//! The body of an upstream's answer, cut out of the bytes of its connection as its framing says (RFC 9112 sections 6 and 7), more
//! strictly than most read it: where an answer ends is never a guess. Copies nothing, waits for nothing. Pure.
use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use memchr::memchr;

use crate::base::limits::{PROXY_HEADERS_MAX, PROXY_TRAILERS_MAX, WEB_CHUNK_LINE_MAX};
use crate::web::proxy::headers::is_for_trailers;
use crate::web::proxy::heads::Unsound;

/// What of a body is still to come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    Nothing,
    /// Never zero.
    Length(u64),
    Chunked(Box<Chunks>),
    /// All up to the end of the connection.
    Close,
}

/// Where in the chunks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunks {
    at: At,
    /// Octets of the chunk that are still to come.
    left: u64,
    /// Octets of its first line.
    line: usize,
    /// All that came after the last chunk, and where its last line begins.
    trailers: Vec<u8>,
    begun: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    /// Blanks behind the size, which may stand before an extension.
    Blank,
    Extension,
    SizeEnd,
    Data,
    DataReturn,
    DataEnd,
    Trailers,
}

impl Rest {
    pub(crate) fn chunked() -> Self {
        Self::Chunked(Box::default())
    }

    /// The next piece of what came; none: that was all of it, or more must come. After a refusal nothing more is sound.
    pub(crate) fn take(&mut self, input: &mut Bytes) -> Result<Option<Frame<Bytes>>, Unsound> {
        match self {
            Self::Nothing => Ok(None),
            _ if input.is_empty() => Ok(None),
            Self::Close => Ok(Some(Frame::data(std::mem::take(input)))),
            Self::Length(left) => {
                let piece = cut(input, left);
                if *left == 0 {
                    *self = Self::Nothing;
                }
                Ok(Some(Frame::data(piece)))
            }
            Self::Chunked(chunks) => {
                let piece = chunks.take(input)?;
                if chunks.at == At::Trailers && chunks.is_over() {
                    let trailers = trailers(&chunks.trailers)?;
                    *self = Self::Nothing;
                    return Ok(trailers.map(Frame::trailers));
                }
                Ok(piece)
            }
        }
    }

    /// The connection has ended; whether the body has too.
    pub(crate) fn ends_here(&self) -> bool {
        matches!(self, Self::Nothing | Self::Close)
    }
}

impl Chunks {
    fn take(&mut self, input: &mut Bytes) -> Result<Option<Frame<Bytes>>, Unsound> {
        while let Some(&octet) = input.first() {
            match self.at {
                At::Data => {
                    let piece = cut(input, &mut self.left);
                    if self.left == 0 {
                        self.at = At::DataReturn;
                    }
                    return Ok(Some(Frame::data(piece)));
                }
                At::Trailers => {
                    self.trailer(input)?;
                    if self.is_over() {
                        break;
                    }
                    continue;
                }
                _ => self.at = self.step(octet)?,
            }
            input.advance(1);
        }
        Ok(None)
    }

    /// One octet between the pieces.
    fn step(&mut self, octet: u8) -> Result<At, Unsound> {
        self.line += 1;
        let has_size = self.line > 1;
        match (self.at, octet) {
            _ if self.line > WEB_CHUNK_LINE_MAX => Err(Unsound::Chunk),
            (At::Size, digit) if digit.is_ascii_hexdigit() => {
                let digit = char::from(digit).to_digit(16).map_or(0, u64::from);
                self.left = self.left.checked_mul(16).ok_or(Unsound::Chunk)? + digit;
                Ok(At::Size)
            }
            (At::Size | At::Blank, b' ' | b'\t') if has_size => Ok(At::Blank),
            (At::Size | At::Blank, b';') if has_size => Ok(At::Extension),
            (At::Size | At::Blank | At::Extension, b'\r') if has_size => Ok(At::SizeEnd),
            (At::Extension, b'\t' | b' '..=b'~' | 0x80..) => Ok(At::Extension),
            (At::SizeEnd, b'\n') => {
                self.line = 0;
                Ok(if self.left > 0 { At::Data } else { At::Trailers })
            }
            (At::DataReturn, b'\r') => Ok(At::DataEnd),
            (At::DataEnd, b'\n') => {
                self.line = 0;
                Ok(At::Size)
            }
            _ => Err(Unsound::Chunk),
        }
    }

    /// Up to the end of one line.
    fn trailer(&mut self, input: &mut Bytes) -> Result<(), Unsound> {
        let end = memchr(b'\n', input).map_or(input.len(), |end| end + 1);
        let line_begins = self.trailers.last().is_none_or(|last| *last == b'\n');
        if self.trailers.len() + end > PROXY_TRAILERS_MAX {
            return Err(Unsound::Trailers);
        }
        if line_begins {
            self.begun = self.trailers.len();
        }
        self.trailers.extend_from_slice(&input[..end]);
        if self.trailers.ends_with(b"\n") && !self.trailers.ends_with(b"\r\n") {
            return Err(Unsound::Trailers);
        }
        input.advance(end);
        Ok(())
    }

    /// Whether the empty line behind the trailers has come.
    fn is_over(&self) -> bool {
        self.trailers[self.begun..] == *b"\r\n"
    }
}

/// As much of `left` as there is.
fn cut(input: &mut Bytes, left: &mut u64) -> Bytes {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    *left -= count as u64;
    input.split_to(count)
}

/// Those that may stand there (RFC 9110 section 6.5.1).
fn trailers(bytes: &[u8]) -> Result<Option<HeaderMap>, Unsound> {
    if bytes.len() <= 2 {
        return Ok(None);
    }
    let mut space = [httparse::EMPTY_HEADER; PROXY_HEADERS_MAX];
    let parsed = httparse::parse_headers(bytes, &mut space).map_err(|_| Unsound::Trailers)?;
    let httparse::Status::Complete((_, found)) = parsed else { return Err(Unsound::Trailers) };
    let mut headers = HeaderMap::with_capacity(found.len());
    for header in found {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| Unsound::Trailers)?;
        let value = HeaderValue::from_bytes(header.value).map_err(|_| Unsound::Trailers)?;
        if is_for_trailers(&name) {
            headers.append(name, value);
        }
    }
    Ok(Some(headers).filter(|headers| !headers.is_empty()))
}

#[cfg(test)]
mod tests;
