//! TYPE A (RFC 959 section 3.1.1.1): lines end with CR LF on the wire and with LF on the disk, whatever pieces they come in.
//! Never holds more than one byte from piece to piece.

/// From the disk to the wire. A line end that has its CR already keeps it alone.
#[derive(Debug, Default)]
pub(crate) struct ToWire {
    after_cr: bool,
}

impl ToWire {
    pub(crate) fn convert(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len() + piece.len() / 16);
        for &byte in piece {
            if byte == b'\n' && !self.after_cr {
                out.push(b'\r');
            }
            self.after_cr = byte == b'\r';
            out.push(byte);
        }
        out
    }
}

/// From the wire to the disk: CR LF becomes LF, a CR alone stays.
#[derive(Debug, Default)]
pub(crate) struct FromWire {
    held_cr: bool,
}

impl FromWire {
    pub(crate) fn convert(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len() + 1);
        for &byte in piece {
            if std::mem::replace(&mut self.held_cr, false) && byte != b'\n' {
                out.push(b'\r');
            }
            if byte == b'\r' {
                self.held_cr = true;
            } else {
                out.push(byte);
            }
        }
        out
    }

    /// What the end of the file still brings.
    pub(crate) fn end(&mut self) -> &'static [u8] {
        if std::mem::replace(&mut self.held_cr, false) { b"\r" } else { b"" }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn to(pieces: &[&[u8]]) -> Vec<u8> {
        let mut wire = ToWire::default();
        pieces.iter().flat_map(|piece| wire.convert(piece)).collect()
    }

    fn from(pieces: &[&[u8]]) -> Vec<u8> {
        let mut disk = FromWire::default();
        let mut out: Vec<u8> = pieces.iter().flat_map(|piece| disk.convert(piece)).collect();
        out.extend(disk.end());
        out
    }

    #[test]
    fn line_ends_are_converted_across_pieces() {
        assert_eq!(to(&[b"a\nb\r\nc\r", b"\n\n"]), b"a\r\nb\r\nc\r\n\r\n");
        assert_eq!(from(&[b"a\r\nb\nc\r", b"\nd\r", b"e\r\r\nf\r"]), b"a\nb\nc\nd\re\r\nf\r");
    }

    proptest! {
        #[test]
        fn what_has_plain_line_ends_comes_back(
            text in prop::collection::vec(prop::sample::select(b"ab\n".to_vec()), 0..200),
            cut in 0..200_usize,
        ) {
            let wire = to(&[&text]);
            let (one, other) = wire.split_at(cut.min(wire.len()));
            prop_assert_eq!(from(&[one, other]), text);
        }
    }
}
