//! Replies (RFC 959 section 4.2): a code, and text of one line or several. Never longer than what it is made of; never with a
//! line end that a client could take for another reply.
use std::borrow::Cow;
use std::fmt;

/// One reply. Line ends in its text part the lines of the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    text: Cow<'static, str>,
}

impl Reply {
    pub(crate) fn new(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, text: text.into() }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What could not be done, from an error whose text completes "failed to …".
    pub(crate) fn failed(code: u16, error: impl fmt::Display) -> Self {
        Self::new(code, format!("Failed to {error}"))
    }

    /// Several lines, those between the first and the last set off by a space.
    pub(crate) fn list(code: u16, first: &str, lines: impl IntoIterator<Item = String>, last: &str) -> Self {
        let mut text = plain(first);
        for line in lines {
            text.push_str("\n ");
            text.push_str(&plain(&line));
        }
        text.push('\n');
        text.push_str(last);
        Self::new(code, text)
    }
}

/// The text without characters that have a meaning on the wire.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code;
        let Some((first, rest)) = self.text.split_once('\n') else {
            return write!(f, "{code} {}\r\n", plain(&self.text));
        };
        write!(f, "{code}-{first}\r\n")?;
        let (middle, last) = rest.rsplit_once('\n').map_or((None, rest), |(middle, last)| (Some(middle), last));
        for line in middle.into_iter().flat_map(|middle| middle.split('\n')) {
            write!(f, "{line}\r\n")?;
        }
        write!(f, "{code} {last}\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_one_line_and_of_several() {
        assert_eq!(Reply::new(200, "Done").to_string(), "200 Done\r\n");
        assert_eq!(Reply::new(550, "a\r\0b").to_string(), "550 a??b\r\n");
        let lines = ["one".to_owned(), "226 Done\r\n226 x".to_owned()];
        let list = Reply::list(211, "Features:", lines, "End").to_string();
        assert_eq!(list, "211-Features:\r\n one\r\n 226 Done??226 x\r\n211 End\r\n");
        assert_eq!(Reply::list(213, "None", [], "End").to_string(), "213-None\r\n213 End\r\n");
    }
}
