//! Cuts a zone file into entries: one record or directive each, over several lines where parentheses say so, without comments.
//! Never reads a word of them.
use crate::base::limits::ZONE_FILE_ENTRY_MAX;

/// One entry on one line, parentheses as spaces, quotes and escapes as they were.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where it begins, from 1.
    pub(super) line: usize,
    /// It begins with white space: its owner is that of the record before.
    pub(super) indented: bool,
    pub(super) text: String,
}

/// Why a line is no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum EntryError {
    #[error("a quote is not closed on its line")]
    OpenQuote,
    #[error("a parenthesis is opened here and never closed")]
    OpenParenthesis,
    #[error("a parenthesis is closed that was not opened")]
    ClosedParenthesis,
    #[error("the line ends with a backslash")]
    EndEscape,
    #[error("it is not UTF-8: write other octets as `\\DDD`")]
    NotUtf8,
    #[error("it is longer than {ZONE_FILE_ENTRY_MAX} octets")]
    TooLong,
}

/// The entries of a file, those at fault with the line they begin on. Comments may be in any encoding.
pub(super) fn entries(file: &[u8]) -> impl Iterator<Item = Result<Entry, (usize, EntryError)>> {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let mut lines = file.split(|byte| *byte == b'\n').enumerate().map(|(at, line)| (at + 1, line));
    std::iter::from_fn(move || {
        loop {
            let (begins, first) = lines.next()?;
            let mut open = Open { text: Vec::new(), depth: 0, too_long: false };
            let mut fault = open.line(first).err();
            while fault.is_none() && open.depth > 0 {
                match lines.next() {
                    Some((_, line)) => fault = open.line(line).err(),
                    None => fault = Some(EntryError::OpenParenthesis),
                }
            }
            if fault.is_none() && open.too_long {
                fault = Some(EntryError::TooLong);
            }
            if let Some(fault) = fault {
                return Some(Err((begins, fault)));
            }
            if open.text.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let indented = matches!(first.first(), Some(b' ' | b'\t'));
            let text = String::from_utf8(open.text);
            return Some(match text {
                Ok(text) => Ok(Entry { line: begins, indented, text }),
                Err(_) => Err((begins, EntryError::NotUtf8)),
            });
        }
    })
}

/// An entry as far as it is read.
struct Open {
    text: Vec<u8>,
    depth: usize,
    too_long: bool,
}

impl Open {
    /// Takes up one line of the file.
    fn line(&mut self, line: &[u8]) -> Result<(), EntryError> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut quoted = false;
        let mut at = 0;
        while let Some(&byte) = line.get(at) {
            at += 1;
            match byte {
                b'\\' => {
                    self.push(byte);
                    self.push(*line.get(at).ok_or(EntryError::EndEscape)?);
                    at += 1;
                }
                b'"' => {
                    quoted = !quoted;
                    self.push(byte);
                }
                _ if quoted => self.push(byte),
                b';' => break,
                b'(' => {
                    self.depth += 1;
                    self.space();
                }
                b')' => {
                    self.depth = self.depth.checked_sub(1).ok_or(EntryError::ClosedParenthesis)?;
                    self.space();
                }
                b' ' | b'\t' => self.space(),
                _ => self.push(byte),
            }
        }
        self.space();
        if quoted { Err(EntryError::OpenQuote) } else { Ok(()) }
    }

    fn push(&mut self, byte: u8) {
        if self.text.len() < ZONE_FILE_ENTRY_MAX {
            self.text.push(byte);
        } else {
            self.too_long = true;
        }
    }

    /// Any white space between words is one.
    fn space(&mut self) {
        if self.text.last() != Some(&b' ') {
            self.push(b' ');
        }
    }
}
