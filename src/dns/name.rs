//! A name as it is looked up: lower-case wire form without the heap, with the place of each label. Never a name of a message
//! with pointers in it.
use crate::base::limits::{LABEL_MAX, NAME_WIRE_MAX};

/// Labels of the longest name: each has two octets at least, and the root has one.
const LABELS_MAX: usize = NAME_WIRE_MAX / 2;

#[derive(Clone)]
pub(crate) struct NameBuf {
    wire: [u8; NAME_WIRE_MAX],
    len: usize,
    /// Where each label begins, the root left out.
    starts: [u8; LABELS_MAX],
    labels: usize,
}

impl NameBuf {
    /// The uncompressed name that `wire` begins with.
    pub(crate) fn read(wire: &[u8]) -> Option<Self> {
        let mut name = Self { wire: [0; NAME_WIRE_MAX], len: 0, starts: [0; LABELS_MAX], labels: 0 };
        let mut at = 0;
        loop {
            let len = usize::from(*wire.get(at)?);
            let end = at + 1 + len;
            if len > LABEL_MAX || end > NAME_WIRE_MAX {
                return None;
            }
            if len == 0 {
                name.len = end;
                // Length octets are at most 63, below any letter.
                name.wire[..end].copy_from_slice(&wire[..end]);
                name.wire[..end].make_ascii_lowercase();
                return Some(name);
            }
            *name.starts.get_mut(name.labels)? = u8::try_from(at).ok()?;
            name.labels += 1;
            at = end;
        }
    }

    pub(crate) fn as_wire(&self) -> &[u8] {
        &self.wire[..self.len]
    }

    /// How many labels, the root left out.
    pub(crate) fn labels(&self) -> usize {
        self.labels
    }

    /// The name without its leftmost labels.
    pub(crate) fn without(&self, labels: usize) -> &[u8] {
        let start = if labels < self.labels { usize::from(self.starts[labels]) } else { self.len - 1 };
        &self.wire[start..self.len]
    }

    /// The octets of one label, counted from the left.
    pub(crate) fn label(&self, index: usize) -> &[u8] {
        let rest = self.without(index);
        &rest[1..=usize::from(rest[0])]
    }

    /// Whether it is a name of so many labels, or lies below it.
    pub(crate) fn is_under(&self, name: &[u8], labels: usize) -> bool {
        self.labels.checked_sub(labels).is_some_and(|below| self.without(below) == name)
    }

    /// The leftmost labels before another name; None where that is too long to be a name (RFC 6672 section 2.2).
    pub(crate) fn moved_under(&self, labels: usize, target: &[u8]) -> Option<Self> {
        let kept = self.len - self.without(labels).len();
        let mut wire = [0; 2 * NAME_WIRE_MAX];
        let end = kept + target.len().min(NAME_WIRE_MAX);
        wire[..kept].copy_from_slice(&self.wire[..kept]);
        wire[kept..end].copy_from_slice(&target[..end - kept]);
        Self::read(&wire[..end])
    }
}

/// Octets of the uncompressed name that `wire` begins with.
pub(crate) fn wire_len(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let len = usize::from(*wire.get(at)?);
        at += 1 + len;
        if len > LABEL_MAX || at > NAME_WIRE_MAX {
            return None;
        }
        if len == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rr::Name;

    #[test]
    fn labels_and_what_is_left_without_them() {
        let name = NameBuf::read(b"\x03wWw\x07Example\x03org\0tail").unwrap();
        assert_eq!((name.as_wire(), name.labels()), (&b"\x03www\x07example\x03org\0"[..], 3));
        assert_eq!((name.label(0), name.label(2)), (&b"www"[..], &b"org"[..]));
        assert_eq!((name.without(1), name.without(3)), (&b"\x07example\x03org\0"[..], &b"\0"[..]));
        assert_eq!(name.moved_under(1, b"\x01x\0").unwrap().as_wire(), b"\x03www\x01x\0");
        assert_eq!(name.moved_under(0, b"\x01x\0").unwrap().as_wire(), b"\x01x\0");
        assert!(
            name.is_under(b"\x07example\x03org\0", 2) && name.is_under(name.as_wire(), 3) && name.is_under(b"\0", 0)
        );
        assert!(!name.is_under(b"\x03org\0", 2) && !name.is_under(b"\x01x\x03www\x07example\x03org\0", 4));
        let root = NameBuf::read(b"\0").unwrap();
        assert_eq!((root.labels(), root.without(0)), (0, &b"\0"[..]));
    }

    #[test]
    fn the_longest_name_and_one_octet_more() {
        let longest = [&[63; 64][..], &[63; 64], &[63; 64], &[61; 62], &[0]].concat();
        let name = NameBuf::read(&longest).unwrap();
        assert_eq!(name.as_wire().len(), NAME_WIRE_MAX);
        assert!(name.moved_under(1, &[&[190; 1][..], &[0]].concat()).is_none(), "no label has 190 octets");
        assert!(name.moved_under(3, &[&[63; 64][..], &[0]].concat()).is_none());
        assert!(name.moved_under(1, b"\0").is_some());
        for wire in [&b""[..], b"\x01", b"\x01a", b"\xc0\x0c", b"\x40a\0"] {
            assert!(NameBuf::read(wire).is_none() && wire_len(wire).is_none(), "{wire:?}");
        }
        let many = [b"\x01a".repeat(LABELS_MAX), vec![0]].concat();
        assert_eq!(NameBuf::read(&many).unwrap().labels(), LABELS_MAX);
        assert!(NameBuf::read(&[b"\x01a".repeat(128), vec![0]].concat()).is_none());
    }

    proptest! {
        #[test]
        fn the_same_names_as_everywhere(wire in prop::collection::vec(prop_oneof![0u8..5, any::<u8>()], 0..300)) {
            let read = NameBuf::read(&wire);
            prop_assert_eq!(read.as_ref().map(|name| name.as_wire().len()), wire_len(&wire));
            let name = read.and_then(|name| Name::from_wire(name.as_wire()).ok());
            prop_assert_eq!(name.is_some(), wire_len(&wire).is_some());
        }
    }
}
