//! The control connection as lines: telnet's own bytes taken out, line ends found, everything bounded. Never reads a socket.
use crate::base::limits::FTP_LINE_MAX;

/// Interpret as command, and those after which one more byte belongs to it (RFC 854).
const IAC: u8 = 255;
const WILL: u8 = 251;
const DONT: u8 = 254;

/// Why there is no line. Completes "failed to …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Bad {
    #[error("read the line: it is longer than {FTP_LINE_MAX} bytes")]
    TooLong,
    #[error("read the line: it is not UTF-8")]
    NotUtf8,
    #[error("read the line: it holds control characters")]
    Control,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Telnet {
    #[default]
    Data,
    Command,
    Option,
}

/// What comes next on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// No whole line yet.
    Nothing,
    Abort,
    Other,
}

/// What was received and not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    telnet: Telnet,
}

impl Lines {
    /// Takes up what was read. To be called only when there is no whole line: that bounds what is held.
    pub(crate) fn feed(&mut self, raw: &[u8]) {
        for &byte in raw {
            self.telnet = match (self.telnet, byte) {
                (Telnet::Data, IAC) => Telnet::Command,
                (Telnet::Command, WILL..=DONT) => Telnet::Option,
                (Telnet::Data, _) | (Telnet::Command, IAC) => {
                    self.bytes.push(byte);
                    Telnet::Data
                }
                (Telnet::Command | Telnet::Option, _) => Telnet::Data,
            };
        }
    }

    /// The next line without its end, if all of it is there.
    pub(crate) fn take(&mut self) -> Option<Result<String, Bad>> {
        let Some(end) = self.end() else {
            return (self.bytes.len() >= FTP_LINE_MAX).then_some(Err(Bad::TooLong));
        };
        let rest = self.bytes.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.bytes, rest);
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if line.len() >= FTP_LINE_MAX {
            return Some(Err(Bad::TooLong));
        }
        let line = String::from_utf8(line).map_err(|_| Bad::NotUtf8);
        Some(line.and_then(|line| if line.chars().any(char::is_control) { Err(Bad::Control) } else { Ok(line) }))
    }

    /// What the next line is, which stays where it is.
    pub(crate) fn next(&self) -> Next {
        match self.end() {
            None if self.bytes.len() >= FTP_LINE_MAX => Next::Other,
            None => Next::Nothing,
            Some(end) if self.bytes[..end].trim_ascii().eq_ignore_ascii_case(b"ABOR") => Next::Abort,
            Some(_) => Next::Other,
        }
    }

    /// Nothing is left, not even a part of a line.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn end(&self) -> Option<usize> {
        self.bytes.iter().position(|byte| *byte == b'\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(raw: &[u8]) -> Vec<Result<String, Bad>> {
        let mut lines = Lines::default();
        lines.feed(raw);
        std::iter::from_fn(|| lines.take()).take(10).collect()
    }

    #[test]
    fn lines_end_with_a_line_feed_and_telnet_is_taken_out() {
        let ok = |lines: &[&str]| lines.iter().map(|line| Ok((*line).to_owned())).collect::<Vec<_>>();
        assert_eq!(all(b"USER a\r\nPASS b \r\nNOOP"), ok(&["USER a", "PASS b "]));
        assert_eq!(all(b"NOOP\n\r\n"), ok(&["NOOP", ""]));
        // Interrupt process, data mark, will echo.
        assert_eq!(all(b"\xff\xf4\xff\xf2ABOR\r\n\xff\xfb\x01NOOP\r\n"), ok(&["ABOR", "NOOP"]));
        assert_eq!(all("CWD été\r\n".as_bytes()), ok(&["CWD été"]));
        assert_eq!(all(b"CWD \xe9\r\nNOOP\r\n"), [Err(Bad::NotUtf8), Ok("NOOP".to_owned())]);
        assert_eq!(all(b"CWD \xff\xff\r\n"), [Err(Bad::NotUtf8)]);
        for odd in [&b"DELE a\0b\n"[..], b"DELE a\rb\n", b"DELE \x1b\n"] {
            assert_eq!(all(odd), [Err(Bad::Control)]);
        }
    }

    #[test]
    fn a_line_has_a_longest_length() {
        let line = |length: usize, end: &str| format!("{}{end}", "x".repeat(length)).into_bytes();
        assert!(all(&line(FTP_LINE_MAX - 1, "\r\n"))[0].is_ok());
        assert_eq!(all(&line(FTP_LINE_MAX, "\r\n"))[0], Err(Bad::TooLong));
        assert!(all(&line(FTP_LINE_MAX - 1, "")).is_empty());
        assert_eq!(all(&line(FTP_LINE_MAX, ""))[0], Err(Bad::TooLong));
    }

    #[test]
    fn an_abort_is_seen_where_it_stands() {
        let next = |raw: &[u8]| {
            let mut lines = Lines::default();
            lines.feed(raw);
            lines.next()
        };
        assert_eq!(next(b"ABO"), Next::Nothing);
        assert_eq!(next(b"\xff\xf4\xff\xf2abor\r\nNOOP\r\n"), Next::Abort);
        assert_eq!(next(b"NOOP\r\nABOR\r\n"), Next::Other);
    }
}
