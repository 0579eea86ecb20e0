//! A message being written into given octets: names compressed where the RFCs let them be, whole record sets or nothing. Never
//! grows, never allocates.
use crate::base::limits::{DNS_COMPRESSED_NAMES_MAX, NAME_WIRE_MAX};
use crate::dns::name::wire_len;
use crate::dns::query::{CLASS_IN, HEADER};
use crate::rr::RecordType;

/// What a pointer can reach: 14 bits (RFC 1035 section 4.1.4).
const POINTED_MAX: usize = 0x3fff;
const POINTER: u8 = 0xc0;

/// There is no room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// The sections after the question, in the order they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Answer,
    Authority,
    Additional,
}

/// A name that was written: where, and how many octets it has uncompressed.
#[derive(Debug, Clone, Copy, Default)]
struct Written {
    at: u16,
    len: u8,
}

pub(crate) struct Message<'m> {
    out: &'m mut [u8],
    len: usize,
    limit: usize,
    counts: [u16; 3],
    written: [Written; DNS_COMPRESSED_NAMES_MAX],
    names: usize,
}

impl<'m> Message<'m> {
    /// Begins with a header and the question as it was asked. `name` is the question's, in lower case.
    pub(crate) fn begin(out: &'m mut [u8], limit: usize, question: &[u8], name: &[u8]) -> Result<Self, Full> {
        let limit = limit.min(out.len());
        let written = [Written::default(); DNS_COMPRESSED_NAMES_MAX];
        let mut message = Self { out, len: HEADER, limit, counts: [0; 3], written, names: 0 };
        message.put(question)?;
        message.know(HEADER, name);
        Ok(message)
    }

    /// Octets so far.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn counts(&self) -> [u16; 3] {
        self.counts
    }

    /// Takes the sections back; the question stays, which ends at `end`.
    pub(crate) fn clear(&mut self, end: usize) {
        self.len = end;
        self.counts = [0; 3];
    }

    /// Adds records of one owner and type, all or none.
    pub(crate) fn put_set<'v>(
        &mut self,
        section: Section,
        owner: &[u8],
        (rtype, ttl): (RecordType, u32),
        mut values: impl Iterator<Item = Value<'v>>,
    ) -> Result<(), Full> {
        let before = (self.len, self.names, self.counts);
        let done = values.try_for_each(|value| self.put_record(section, owner, (rtype, ttl), value));
        if done.is_err() {
            (self.len, self.names, self.counts) = before;
        }
        done
    }

    fn put_record(
        &mut self,
        section: Section,
        owner: &[u8],
        (rtype, ttl): (RecordType, u32),
        value: Value<'_>,
    ) -> Result<(), Full> {
        self.put_name(owner)?;
        self.put(&rtype.0.to_be_bytes())?;
        self.put(&CLASS_IN.to_be_bytes())?;
        self.put(&ttl.to_be_bytes())?;
        let size = self.len;
        self.put(&[0, 0])?;
        match value {
            Value::V4(octets) => self.put(&octets)?,
            Value::V6(octets) => self.put(&octets)?,
            Value::Wire(data) => self.put_data(rtype, data)?,
        }
        let len = u16::try_from(self.len - size - 2).map_err(|_| Full)?;
        self.out[size..size + 2].copy_from_slice(&len.to_be_bytes());
        let count = &mut self.counts[section as usize];
        *count = count.checked_add(1).ok_or(Full)?;
        Ok(())
    }

    /// Data of a type; its names are compressed for the types of RFC 1035 only, which every reader knows (RFC 3597 section 4).
    fn put_data(&mut self, rtype: RecordType, data: &[u8]) -> Result<(), Full> {
        let (before, names) = match rtype.0 {
            // NS, MD, MF, CNAME, MB, MG, MR, PTR
            2..=5 | 7..=9 | 12 => (0, 1),
            // SOA, MINFO
            6 | 14 => (0, 2),
            // MX
            15 => (2, 1),
            // DNAME: whole (RFC 6672 section 2.5), but the names that follow from it may point there.
            39 if wire_len(data) == Some(data.len()) => {
                let start = self.len;
                self.put(data)?;
                self.know(start, data);
                return Ok(());
            }
            _ => return self.put(data),
        };
        let (head, mut rest) = data.split_at_checked(before).unwrap_or((data, &[]));
        self.put(head)?;
        for _ in 0..names {
            let Some((name, tail)) = wire_len(rest).and_then(|len| rest.split_at_checked(len)) else { break };
            self.put_name(name)?;
            rest = tail;
        }
        self.put(rest)
    }

    /// An uncompressed name in lower case, with a pointer for what of it was written before.
    fn put_name(&mut self, name: &[u8]) -> Result<(), Full> {
        let start = self.len;
        let mut rest = name;
        let known = loop {
            match rest.first() {
                None | Some(0) => break None,
                Some(len) => {
                    if let Some(at) = self.find(rest) {
                        break Some(at);
                    }
                    self.put(rest.get(..=usize::from(*len)).ok_or(Full)?)?;
                    rest = &rest[1 + usize::from(*len)..];
                }
            }
        };
        match known {
            Some(at) => self.put(&(at | u16::from(POINTER) << 8).to_be_bytes())?,
            None => self.put(&[0])?,
        }
        self.know_until(start, name, rest);
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let end = self.len + bytes.len();
        if end > self.limit {
            return Err(Full);
        }
        self.out[self.len..end].copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    fn know(&mut self, start: usize, name: &[u8]) {
        self.know_until(start, name, &[0]);
    }

    /// Remembers a name and its parents down to `end`, which was known.
    fn know_until(&mut self, start: usize, name: &[u8], end: &[u8]) {
        let (mut at, mut rest) = (start, name);
        while rest.len() > end.len() && self.names < DNS_COMPRESSED_NAMES_MAX && at <= POINTED_MAX {
            // At most NAME_WIRE_MAX and POINTED_MAX.
            self.written[self.names] = Written { at: at as u16, len: rest.len().min(NAME_WIRE_MAX) as u8 };
            self.names += 1;
            let step = 1 + usize::from(rest[0]);
            (at, rest) = (at + step, rest.get(step..).unwrap_or_default());
        }
    }

    fn find(&self, name: &[u8]) -> Option<u16> {
        let same = |known: &&Written| usize::from(known.len) == name.len() && self.is_at(usize::from(known.at), name);
        self.written[..self.names].iter().find(same).map(|known| known.at)
    }

    /// Whether the name at a place of the message is this one, as names compare (RFC 4343).
    fn is_at(&self, mut at: usize, name: &[u8]) -> bool {
        let mut rest = name;
        loop {
            let len = self.out[at];
            if len & POINTER == POINTER {
                at = usize::from(u16::from_be_bytes([len & !POINTER, self.out[at + 1]]));
                continue;
            }
            let end = 1 + usize::from(len);
            let here = rest.get(..end).is_some_and(|label| label.eq_ignore_ascii_case(&self.out[at..at + end]));
            if !here || len == 0 {
                return here;
            }
            (at, rest) = (at + end, &rest[end..]);
        }
    }
}

/// The data of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Wire(&'a [u8]),
    V4([u8; 4]),
    V6([u8; 16]),
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &[u8] = b"\x03WWW\x07example\x03org\0\0\x01\0\x01";
    const NAME: &[u8] = b"\x03www\x07example\x03org\0";

    fn put(message: &mut Message<'_>, owner: &[u8], rtype: RecordType, data: &[u8]) -> Vec<u8> {
        let before = message.len();
        message.put_set(Section::Answer, owner, (rtype, 60), [Value::Wire(data)].into_iter()).unwrap();
        message.out[before..message.len()].to_vec()
    }

    #[test]
    fn names_are_compressed_where_every_reader_expects_it() {
        let mut out = [0; 512];
        let mut message = Message::begin(&mut out, 512, QUESTION, NAME).unwrap();
        let head = |rtype: u8, len: u8| [0, rtype, 0, 1, 0, 0, 0, 60, 0, len];
        // The question's name in whatever case, its parents, and what came with the records before.
        let mx = put(&mut message, NAME, RecordType::MX, b"\0\x0a\x04mail\x07example\x03org\0");
        assert_eq!(mx, [&[0xc0, 12][..], &head(15, 9), b"\0\x0a\x04mail\xc0\x10"].concat());
        let at = QUESTION.len() as u8 + 12 + 14;
        let cname = put(&mut message, b"\x04mail\x07example\x03org\0", RecordType::CNAME, b"\x01x\x01y\0");
        assert_eq!(cname, [&[0xc0, at][..], &head(5, 5), b"\x01x\x01y\0"].concat());
        let ns = put(&mut message, b"\x01y\0", RecordType::NS, b"\x01z\x01x\x01y\0");
        assert_eq!(ns[ns.len() - 4..ns.len() - 2], *b"\x01z");
        assert_eq!(ns[0], 0xc0);
        // SRV and DNAME came later: never compressed (RFC 2782, RFC 6672), and neither is what nobody knows.
        for rtype in [RecordType::SRV, RecordType::DNAME, RecordType(65280)] {
            let put = put(&mut message, NAME, rtype, NAME);
            assert_eq!(put[12..], *NAME, "{rtype}");
        }
        assert_eq!(put(&mut message, b"\0", RecordType::NS, b"\0").len(), 1 + 10 + 1);
        // What a DNAME points to is whole, and the CNAME that follows from it points there.
        let dname = put(&mut message, NAME, RecordType::DNAME, b"\x03far\x04away\0");
        assert_eq!(dname[12..], *b"\x03far\x04away\0");
        let target = (message.len() - 10) as u8;
        let cname = put(&mut message, NAME, RecordType::CNAME, b"\x01x\x03far\x04away\0");
        assert_eq!(cname[12..], [1, b'x', 0xc0, target]);
    }

    #[test]
    fn a_set_is_whole_or_not_there() {
        let mut out = [0; 512];
        let mut message = Message::begin(&mut out, QUESTION.len() + 12 + 20, QUESTION, NAME).unwrap();
        let values = || [Value::V4([1, 2, 3, 4]), Value::V4([5, 6, 7, 8])].into_iter();
        let before = (message.len(), message.names);
        assert_eq!(message.put_set(Section::Answer, b"\x01q\0", (RecordType::A, 1), values()), Err(Full));
        assert_eq!((message.len(), message.names, message.counts()), (before.0, before.1, [0; 3]));
        message.put_set(Section::Additional, NAME, (RecordType::A, 1), values().take(1)).unwrap();
        assert_eq!(message.counts(), [0, 0, 1]);
        message.clear(12 + QUESTION.len());
        assert_eq!((message.len(), message.counts()), (12 + QUESTION.len(), [0; 3]));
        assert_eq!(Message::begin(&mut [0; 20], 512, QUESTION, NAME).err(), Some(Full));
    }

    #[test]
    fn broken_data_is_carried_as_it_is() {
        let mut out = [0; 512];
        let mut message = Message::begin(&mut out, 512, QUESTION, NAME).unwrap();
        for data in [&b""[..], b"\0", b"\0\x0a", b"\0\x0a\x40", b"\0\x0a\x03ab"] {
            for rtype in [RecordType::MX, RecordType::DNAME] {
                let put = put(&mut message, NAME, rtype, data);
                assert_eq!(put[12..], *data);
            }
        }
    }

    #[test]
    fn many_names_cost_room_and_nothing_else() {
        let mut out = vec![0; 65_535];
        let mut message = Message::begin(&mut out, 65_535, QUESTION, NAME).unwrap();
        for number in 0..2000_u16 {
            let name = [&[2][..], &number.to_be_bytes().map(|octet| octet | 0x80), NAME].concat();
            put(&mut message, NAME, RecordType::PTR, &name);
        }
        assert_eq!((message.counts()[0], message.names), (2000, DNS_COMPRESSED_NAMES_MAX));
    }
}
