//! Record sets packed in chunks of about one database page, so that a change of one set rewrites one page, whatever the
//! size of the zone. A chunk holds the sets from its `low` key up to the next chunk's, in canonical order (RFC 4034 section 6.1).
use serde::{Deserialize, Serialize};

use crate::base::limits::ZONE_CHUNK_BYTES;
use crate::base::names::ZoneName;
use crate::rr::{Name, RecordType};

/// Sets of one zone. `packed` repeats: key length u16, key, revision u64, TTL u32, count u16, then per value length u16 and wire data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneChunk {
    pub zone: ZoneName,
    /// Below or equal to every key in it; the first chunk of a zone has the empty one. Never changes.
    #[serde(with = "serde_bytes")]
    pub low: Box<[u8]>,
    #[serde(with = "serde_bytes")]
    pub packed: Box<[u8]>,
    pub revision: u64,
}

/// One record set as it lies in a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed<'a> {
    pub key: &'a [u8],
    pub revision: u64,
    /// Seconds.
    pub ttl: u32,
    count: u16,
    data: &'a [u8],
    whole: &'a [u8],
}

impl<'a> Packed<'a> {
    /// The set as it lies in its chunk.
    pub(crate) fn whole(&self) -> &'a [u8] {
        self.whole
    }

    /// The values in wire form, uncompressed.
    pub fn values(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.data;
        (0..self.count).map_while(move |_| take_sized(&mut rest))
    }
}

/// Orders sets canonically: labels from the root down, each ended by 0, then 0 and the type. Octets 0 and 1 inside a label
/// are escaped so that the end of a label sorts first.
pub fn key(owner: &Name, origin: &Name, rtype: RecordType) -> Vec<u8> {
    let mut key = owner_key(owner, origin);
    key.extend(rtype.0.to_be_bytes());
    key
}

/// What all keys of one owner begin with, and no other owner's.
pub fn owner_key(owner: &Name, origin: &Name) -> Vec<u8> {
    let labels: Vec<&[u8]> = owner.labels().collect();
    let own = labels.len().saturating_sub(origin.labels().count());
    let mut key = Vec::with_capacity(owner.as_wire().len() + 2);
    for label in labels[..own].iter().rev() {
        for byte in *label {
            match byte {
                0 => key.extend([1, 1]),
                1 => key.extend([1, 2]),
                byte => key.push(*byte),
            }
        }
        key.push(0);
    }
    key.push(0);
    key
}

/// The owner and type a key stands for; absent where the key was not made by `key`.
pub fn owner(key: &[u8], origin: &Name) -> Option<(Name, RecordType)> {
    let (path, tail) = key.split_at_checked(key.len().checked_sub(3)?)?;
    let rtype = RecordType(u16::from_be_bytes([tail[1], tail[2]]));
    let mut labels = Vec::new();
    for part in path.split(|byte| *byte == 0) {
        let mut label = Vec::with_capacity(part.len());
        let mut bytes = part.iter();
        while let Some(byte) = bytes.next() {
            label.push(if *byte == 1 { bytes.next()?.checked_sub(1)? } else { *byte });
        }
        labels.push(label);
    }
    labels.pop();
    let mut wire = Vec::new();
    for label in labels.iter().rev() {
        wire.push(u8::try_from(label.len()).ok()?);
        wire.extend(label);
    }
    wire.extend(origin.as_wire());
    Name::from_wire(&wire).ok().map(|name| (name, rtype))
}

impl ZoneChunk {
    pub fn first(zone: ZoneName, revision: u64) -> Self {
        Self { zone, low: Box::default(), packed: Box::default(), revision }
    }

    pub fn sets(&self) -> impl Iterator<Item = Packed<'_>> {
        let mut rest = &*self.packed;
        std::iter::from_fn(move || take_set(&mut rest))
    }

    /// The chunk with one set replaced, added (`set`) or removed; two where it grew too large.
    pub(crate) fn edit(&self, key: &[u8], set: Option<&[u8]>, revision: u64) -> Vec<Self> {
        let mut sets: Vec<&[u8]> = self.sets().filter(|old| old.key != key).map(|old| old.whole).collect();
        if let Some(set) = set {
            let at = sets.partition_point(|other| set_key(other) < key);
            sets.insert(at, set);
        }
        let size: usize = sets.iter().map(|set| set.len()).sum();
        if size <= ZONE_CHUNK_BYTES || sets.len() < 2 {
            return vec![self.with(self.low.clone(), &sets, revision)];
        }
        let mut before = 0;
        let middle = sets.iter().position(|set| {
            before += set.len();
            before > size / 2
        });
        let (left, right) = sets.split_at(middle.unwrap_or(1).clamp(1, sets.len() - 1));
        let low = set_key(right[0]).into();
        vec![self.with(self.low.clone(), left, revision), self.with(low, right, revision)]
    }

    fn with(&self, low: Box<[u8]>, sets: &[&[u8]], revision: u64) -> Self {
        Self { zone: self.zone.clone(), low, packed: sets.concat().into(), revision }
    }
}

/// One set in packed form. The caller has checked the sizes: 65,535 values of 65,535 octets at most.
pub(crate) fn pack(key: &[u8], revision: u64, ttl: u32, values: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut out =
        Vec::with_capacity(key.len() + 16 + values.iter().map(|value| value.as_ref().len() + 2).sum::<usize>());
    put_sized(&mut out, key);
    out.extend(revision.to_le_bytes());
    out.extend(ttl.to_le_bytes());
    out.extend((values.len() as u16).to_le_bytes());
    values.iter().for_each(|value| put_sized(&mut out, value.as_ref()));
    out
}

/// Reads one set in packed form.
pub(crate) fn read(mut packed: &[u8]) -> Option<Packed<'_>> {
    take_set(&mut packed)
}

fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u16).to_le_bytes());
    out.extend(bytes);
}

fn set_key(mut set: &[u8]) -> &[u8] {
    take_sized(&mut set).unwrap_or_default()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn take_sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let size = u16::from_le_bytes(take(rest)?);
    let (head, tail) = rest.split_at_checked(usize::from(size))?;
    *rest = tail;
    Some(head)
}

fn take_set<'a>(rest: &mut &'a [u8]) -> Option<Packed<'a>> {
    let start = *rest;
    let key = take_sized(rest)?;
    let revision = u64::from_le_bytes(take(rest)?);
    let ttl = u32::from_le_bytes(take(rest)?);
    let count = u16::from_le_bytes(take(rest)?);
    let data = *rest;
    for _ in 0..count {
        take_sized(rest)?;
    }
    let data = &data[..data.len() - rest.len()];
    Some(Packed { key, revision, ttl, count, data, whole: &start[..start.len() - rest.len()] })
}
