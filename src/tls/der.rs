//! DER (X.690) taken apart, one value after the other, for what no library here reads. Any bytes may come.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTETS: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
/// `[0]`, of what is written as it is and of what stands for another value.
pub(crate) const EXPLICIT: u8 = 0xa0;
pub(crate) const IMPLICIT: u8 = 0x80;

/// What is left of the values that stand in a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Der<'a>(pub(crate) &'a [u8]);

impl<'a> Der<'a> {
    /// The next value, if it has this tag.
    pub(crate) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, rest) = self.0.split_first()?;
        let (length, rest) = length(rest)?;
        if *found != tag {
            return None;
        }
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(value)
    }

    /// The values within the next one.
    pub(crate) fn enter(&mut self, tag: u8) -> Option<Self> {
        self.take(tag).map(Der)
    }

    /// An integer that is not negative.
    pub(crate) fn number(&mut self) -> Option<u32> {
        let bytes = self.take(INTEGER)?;
        let bytes = bytes.strip_prefix(&[0]).unwrap_or(bytes);
        if bytes.len() > 4 {
            return None;
        }
        Some(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Of definite form and three octets at most: what is read here is small.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    match *first {
        short if short < 0x80 => Some((short.into(), rest)),
        long @ 0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            Some((length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_one_after_the_other() {
        let mut der = Der(&[0x30, 4, 2, 2, 1, 0, 4, 0x81, 1, 7]);
        assert_eq!(der.take(OCTETS), None);
        let mut inner = der.enter(SEQUENCE).unwrap();
        assert_eq!((inner.number(), inner.is_empty()), (Some(256), true));
        assert_eq!((der.take(OCTETS), der.is_empty()), (Some(&[7][..]), true));
        for bad in [&[4][..], &[4, 1], &[4, 0x80, 0, 0], &[4, 0x84, 0, 0, 0, 1, 0], &[4, 0x82, 1], &[]] {
            assert_eq!(Der(bad).take(OCTETS), None, "{bad:?}");
        }
        assert_eq!(Der(&[2, 5, 1, 0, 0, 0, 0]).number(), None);
    }
}
