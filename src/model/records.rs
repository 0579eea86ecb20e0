//! Records: one change puts or removes a whole record set. What DNS forbids is refused here, with the reason.
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::limits::{RRSET_BYTES_MAX, RRSET_VALUES_MAX};
use crate::base::names::{AccountName, ZoneName};
use crate::model::answer::{Object, Outcome};
use crate::model::apply::Apply;
use crate::model::chunk::{self, Packed};
use crate::model::places;
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;
use crate::model::soa::Soa;
use crate::model::zones::{Zone, ZoneHead};
use crate::rr::{self, Name, RecordType};

/// All records of one owner and type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSet {
    pub zone: ZoneName,
    pub owner: Name,
    pub rtype: RecordType,
    /// Seconds.
    pub ttl: u32,
    /// Wire data, uncompressed.
    pub values: Vec<serde_bytes::ByteBuf>,
    pub revision: u64,
}

impl RecordSet {
    /// Reads a set as it lies in its zone.
    pub fn unpack(head: &ZoneHead, set: &Packed<'_>) -> Option<Self> {
        let (owner, rtype) = chunk::owner(set.key, &head.origin())?;
        let values = set.values().map(|value| value.to_vec().into()).collect();
        Some(Self { zone: head.name.clone(), owner, rtype, ttl: set.ttl, values, revision: set.revision })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordPut {
    pub zone: ZoneName,
    pub owner: Name,
    pub rtype: RecordType,
    pub ttl: u32,
    pub values: Vec<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRemove {
    pub zone: ZoneName,
    pub owner: Name,
    pub rtype: RecordType,
}

pub(crate) fn put(cx: &mut Apply<'_>, change: &RecordPut) -> Result<Outcome, Refusal> {
    let zone = open(cx, &change.zone)?;
    let origin = zone.head.origin();
    if change.rtype == RecordType::SOA {
        return put_soa(cx, &zone, change);
    }
    let key = chunk::key(&change.owner, &origin, change.rtype);
    let old = zone.find(&key);
    cx.expect(Kind::Record, label(change.rtype, &change.owner), old.map(|set| set.revision))?;
    check_ttl(change.ttl)?;
    places::check(&zone, &change.owner, change.rtype)?;
    let values = sound_values(change)?;
    let mut head = zone.head.moved(cx.revision, cx.time);
    if old.is_none() {
        head.records += 1;
        check_count(cx, head.account.as_ref(), head.records)?;
    }
    let set = chunk::pack(&key, cx.revision, change.ttl, &values);
    edit(cx, &zone, &key, Some(&set));
    let object = RecordSet {
        zone: change.zone.clone(),
        owner: change.owner.clone(),
        rtype: change.rtype,
        ttl: change.ttl,
        values: values.into_iter().map(Into::into).collect(),
        revision: cx.revision,
    };
    Ok(finish(cx, "record.put", head, &change.owner, change.rtype).object(Object::RecordSet(object)))
}

/// Sets all of the SOA but its serial, which moves as always: one that is later than that is taken.
fn put_soa(cx: &mut Apply<'_>, zone: &Zone, change: &RecordPut) -> Result<Outcome, Refusal> {
    cx.expect(Kind::Record, label(change.rtype, &change.owner), Some(zone.head.revision))?;
    check_ttl(change.ttl)?;
    let (soa, serial) = Soa::of_change(change, &zone.head.origin())?;
    let mut head = zone.head.moved_past(cx.revision, cx.time, serial);
    head.soa = Some(soa);
    let object = Zone { head: head.clone(), chunks: zone.chunks.clone() }.soa_set();
    Ok(finish(cx, "record.put", head, &change.owner, change.rtype).object(Object::RecordSet(object)))
}

pub(crate) fn remove(cx: &mut Apply<'_>, change: &RecordRemove) -> Result<Outcome, Refusal> {
    let zone = open(cx, &change.zone)?;
    if change.rtype == RecordType::SOA {
        return Err(Refusal::invalid("type", "a zone always has its SOA: set it to what it is to be"));
    }
    let name = label(change.rtype, &change.owner);
    let origin = zone.head.origin();
    if !change.owner.is_under(&origin) {
        return Err(Refusal::not_found(Kind::Record, name));
    }
    let key = chunk::key(&change.owner, &origin, change.rtype);
    let old = zone.find(&key).ok_or_else(|| Refusal::not_found(Kind::Record, &name))?;
    cx.expect(Kind::Record, &name, Some(old.revision))?;
    let mut head = zone.head.moved(cx.revision, cx.time);
    head.records = head.records.saturating_sub(1);
    edit(cx, &zone, &key, None);
    Ok(finish(cx, "record.remove", head, &change.owner, change.rtype))
}

fn open(cx: &Apply<'_>, name: &ZoneName) -> Result<Arc<Zone>, Refusal> {
    let zone = cx.state.zone(name)?;
    cx.may(Kind::Zone, name, zone.head.account.as_ref())?;
    Ok(Arc::clone(zone))
}

fn finish(cx: &mut Apply<'_>, action: &'static str, head: ZoneHead, owner: &Name, rtype: RecordType) -> Outcome {
    let outcome = Outcome::new(action, label(rtype, owner)).account(head.account.as_ref());
    cx.put(Row::Zone(head));
    outcome
}

fn label(rtype: RecordType, owner: &Name) -> String {
    format!("{owner} {rtype}")
}

/// Rewrites the chunk a key belongs to.
pub(crate) fn edit(cx: &mut Apply<'_>, zone: &Zone, key: &[u8], set: Option<&[u8]>) {
    let old = &zone.chunks[zone.chunk_of(key)];
    for new in old.edit(key, set, cx.revision) {
        if new.packed.is_empty() && !new.low.is_empty() {
            cx.delete(Row::ZoneChunk(Arc::clone(old)));
        } else {
            cx.put(Row::ZoneChunk(new.into()));
        }
    }
}

/// Whether an account may have so many record sets in one zone.
pub(crate) fn check_count(cx: &Apply<'_>, account: Option<&AccountName>, records: u64) -> Result<(), Refusal> {
    let Some(account) = account else { return Ok(()) };
    let limits = cx.growing(account)?;
    cx.within(account, "record sets in a zone", limits.records, records)
}

pub(crate) fn check_ttl(ttl: u32) -> Result<(), Refusal> {
    // RFC 2181 section 8: 31 bits.
    if ttl < 1 << 31 { Ok(()) } else { Err(Refusal::invalid("ttl", "expected at most 2147483647 seconds")) }
}

/// The values of a set: each sound, in order, once.
pub(crate) fn sound_values(change: &RecordPut) -> Result<Vec<Vec<u8>>, Refusal> {
    let count = change.values.len();
    if count == 0 || count > RRSET_VALUES_MAX {
        return Err(Refusal::invalid("values", format!("expected 1 to {RRSET_VALUES_MAX} of them")));
    }
    if count > 1 && matches!(change.rtype, RecordType::CNAME | RecordType::DNAME | RecordType::SOA) {
        return Err(Refusal::invalid("values", format!("{} has one value only", change.rtype)));
    }
    if change.values.iter().map(|value| value.len() + 12).sum::<usize>() > RRSET_BYTES_MAX {
        return Err(Refusal::invalid("values", "together they do not fit in one DNS message"));
    }
    for value in &change.values {
        rr::check_data(change.rtype, value).map_err(|error| Refusal::invalid("values", error))?;
    }
    let mut values = change.values.clone();
    values.sort();
    values.dedup();
    Ok(values)
}
