//! Server-sent events out of bytes as they come (WHATWG HTML, section 9.2.6). Pure; an event larger than its limit is an error.
use crate::base::limits::CLIENT_EVENT_MAX;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {CLIENT_EVENT_MAX} bytes")]
pub(crate) struct TooLarge;

#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// The line that is not complete yet.
    line: Vec<u8>,
    id: Option<String>,
    data: String,
}

impl Reader {
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Message>, TooLarge> {
        let mut messages = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.grow(&bytes[..end])?;
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned();
            messages.extend(self.take(&line));
        }
        self.grow(bytes)?;
        Ok(messages)
    }

    fn grow(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        if self.line.len() + self.data.len() + bytes.len() > CLIENT_EVENT_MAX {
            return Err(TooLarge);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn take(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let (id, mut data) = (self.id.take(), std::mem::take(&mut self.data));
            return data.pop().map(|_| Message { id, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: Option<&str>, data: &str) -> Message {
        Message { id: id.map(Into::into), data: data.into() }
    }

    #[test]
    fn events_however_they_are_cut() {
        let text = ": hello\n\nid: 7\nevent: change\ndata: {\"a\":1}\n\ndata:x\r\ndata: y\r\n\r\nid:9\n\ndata\n\n";
        let wanted = [message(Some("7"), "{\"a\":1}"), message(None, "x\ny"), message(None, "")];
        for size in [1, 2, 3, 7, text.len()] {
            let mut reader = Reader::default();
            let found: Vec<_> = text.as_bytes().chunks(size).flat_map(|part| reader.push(part).unwrap()).collect();
            assert_eq!(found, wanted, "in parts of {size}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut reader = Reader::default();
        let part = [b'a'; 4096];
        assert!((0..1000).any(|_| reader.push(&part).is_err()));
        let mut reader = Reader::default();
        assert!((0..1_000_000).any(|_| reader.push(b"data: aaaa\n").is_err()));
    }
}
