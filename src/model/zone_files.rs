//! Many record sets in one change, as a zone file brings them: all of them or none, and one move of the serial.
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::base::limits::ZONE_CHUNK_BYTES;
use crate::base::names::{AccountName, ZoneName};
use crate::model::answer::{Object, Outcome};
use crate::model::apply::Apply;
use crate::model::chunk::{self, Packed, ZoneChunk};
use crate::model::places;
use crate::model::records::{self, RecordPut, RecordSet};
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;
use crate::model::serials;
use crate::model::soa::Soa;
use crate::model::zones::{self, DEFAULT_TTL, Zone, ZoneHead};
use crate::rr::{Name, RecordType};

/// Puts sets into a zone, which is made if it is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneImport {
    pub zone: ZoneName,
    /// Whose a new zone is.
    pub account: Option<AccountName>,
    /// The zone has these sets and no others afterwards.
    pub replace: bool,
    /// TTL in seconds of a zone that is new or replaced.
    pub ttl: Option<u32>,
    /// The SOA with its serial, which is taken if it is later than the zone's own would be.
    pub soa: Option<(Soa, u32)>,
    pub sets: Vec<ImportedSet>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedSet {
    pub owner: Name,
    pub rtype: RecordType,
    /// Seconds.
    pub ttl: u32,
    /// Wire data, uncompressed.
    pub values: Vec<ByteBuf>,
}

/// What became of one set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    Added(RecordSet),
    Changed(RecordSet),
    /// As it was.
    Removed(RecordSet),
}

pub(crate) fn import(cx: &mut Apply<'_>, change: &ZoneImport) -> Result<Outcome, Refusal> {
    let old = cx.state.zones.get(&change.zone).map(Arc::clone);
    if let Some(zone) = &old {
        cx.may(Kind::Zone, &change.zone, zone.head.account.as_ref())?;
    }
    cx.expect(Kind::Zone, &change.zone, old.as_ref().map(|zone| zone.head.revision))?;
    let mut head = match &old {
        Some(zone) => zone.head.clone(),
        None => zones::begin(cx, &change.zone, change.account.as_ref(), change.ttl.unwrap_or(DEFAULT_TTL))?,
    };
    let sets = merge(old.as_deref(), change, cx.revision)?;
    places::check_all(&head.origin(), sets.keys().map(|key| &**key))?;
    head.records = sets.len() as u64;
    if old.as_ref().is_none_or(|old| old.head.records < head.records) {
        records::check_count(cx, head.account.as_ref(), head.records)?;
    }
    if let Some(ttl) = change.ttl.filter(|_| change.replace) {
        records::check_ttl(ttl)?;
        head.ttl = ttl;
    }
    let chunks = match old.as_ref().filter(|old| old.sets().map(|set| set.whole()).eq(sets.values().map(|set| &**set)))
    {
        Some(same) => same.chunks.clone(),
        None => rechunk(&head.name, old.as_deref(), &sets, cx.revision),
    };
    let head = settle(cx, change, old.as_deref(), Zone { head, chunks: chunks.clone() })?;
    if old.as_ref().is_none_or(|old| old.head != head) {
        cx.put(Row::Zone(head.clone()));
    }
    let before = old.as_ref().map_or(&[][..], |old| &old.chunks);
    for gone in before.iter().filter(|gone| !chunks.iter().any(|chunk| chunk.low == gone.low)) {
        cx.delete(Row::ZoneChunk(Arc::clone(gone)));
    }
    for new in chunks.iter().filter(|new| !before.contains(new)) {
        cx.put(Row::ZoneChunk(Arc::clone(new)));
    }
    if old.is_none() {
        serials::move_parent(cx, &head.name);
    }
    let outcome = Outcome::new("zone.import", &head.name).account(head.account.as_ref());
    Ok(outcome.object(Object::Zone(head)))
}

/// The head with the SOA that was given, moved if anything is answered otherwise than before.
fn settle(cx: &Apply<'_>, change: &ZoneImport, old: Option<&Zone>, mut new: Zone) -> Result<ZoneHead, Refusal> {
    if let Some((soa, _)) = &change.soa {
        records::check_ttl(soa.ttl).and(records::check_ttl(soa.minimum))?;
        // One that says what is said anyway stays unsaid, and follows the name servers as before.
        if *soa != new.soa() {
            new.head.soa = Some(soa.clone());
        }
    }
    let given = change.soa.as_ref().map(|(_, serial)| *serial);
    let Some(old) = old else {
        // It begins with the serial it is known by, if that is not past already.
        let serial = given.filter(|given| given.wrapping_sub(new.head.serial) < 1 << 31).unwrap_or(new.head.serial);
        return Ok(ZoneHead { serial, ..new.head });
    };
    let ahead = given.is_some_and(|given| (1..1 << 31).contains(&given.wrapping_sub(old.head.serial)));
    let same = new.head == old.head && new.chunks == old.chunks;
    Ok(match given {
        _ if same && !ahead => new.head,
        Some(given) => new.head.moved_past(cx.revision, cx.time, given),
        None => new.head.moved(cx.revision, cx.time),
    })
}

type Sets<'a> = BTreeMap<Cow<'a, [u8]>, Cow<'a, [u8]>>;

/// The sets of the zone after the change, packed, by key. What is the same as before keeps its revision.
fn merge<'a>(old: Option<&'a Zone>, change: &ZoneImport, revision: u64) -> Result<Sets<'a>, Refusal> {
    let origin = zones::origin(&change.zone);
    let before = || old.into_iter().flat_map(Zone::sets);
    let mut sets = Sets::new();
    if !change.replace {
        sets.extend(before().map(|set| (Cow::Borrowed(set.key), Cow::Borrowed(set.whole()))));
    }
    for ImportedSet { owner, rtype, ttl, values } in &change.sets {
        if *rtype == RecordType::SOA {
            return Err(Refusal::invalid("sets", "the SOA is no set among the others"));
        }
        places::check_alone(&origin, owner, *rtype)?;
        records::check_ttl(*ttl)?;
        let values = values.iter().map(|value| value.to_vec()).collect();
        let zone = change.zone.clone();
        let values =
            records::sound_values(&RecordPut { zone, owner: owner.clone(), rtype: *rtype, ttl: *ttl, values })?;
        let key = chunk::key(owner, &origin, *rtype);
        let packed = chunk::pack(&key, revision, *ttl, &values);
        sets.insert(key.into(), packed.into());
    }
    for set in before() {
        if let Some(new) = sets.get_mut(set.key)
            && chunk::read(new).is_some_and(|new| is_same(&new, &set))
        {
            *new = Cow::Borrowed(set.whole());
        }
    }
    Ok(sets)
}

fn is_same(left: &Packed<'_>, right: &Packed<'_>) -> bool {
    left.ttl == right.ttl && left.values().eq(right.values())
}

/// The sets in chunks that begin where the old ones did: what is as it was is the same chunk.
fn rechunk(zone: &ZoneName, old: Option<&Zone>, sets: &Sets<'_>, revision: u64) -> Vec<Arc<ZoneChunk>> {
    let before = old.map_or(&[][..], |old| &old.chunks);
    let mut chunks = vec![ZoneChunk::first(zone.clone(), revision)];
    let mut packed = vec![Vec::new()];
    let mut lows = before.iter().map(|chunk| &chunk.low).skip(1).peekable();
    for (key, set) in sets {
        let mut begins = false;
        while lows.next_if(|low| ***low <= **key).is_some() {
            begins = true;
        }
        let Some(open) = packed.last_mut() else { break };
        if !open.is_empty() && (begins || open.len() + set.len() > ZONE_CHUNK_BYTES) {
            chunks.push(ZoneChunk { low: (**key).into(), ..ZoneChunk::first(zone.clone(), revision) });
            packed.push(set.to_vec());
        } else {
            open.extend_from_slice(set);
        }
    }
    let whole = chunks.into_iter().zip(packed).map(|(chunk, packed)| ZoneChunk { packed: packed.into(), ..chunk });
    let kept = |new: &ZoneChunk| before.iter().find(|old| old.low == new.low && old.packed == new.packed);
    whole.map(|new| kept(&new).cloned().unwrap_or_else(|| Arc::new(new))).collect()
}

/// What differs between a zone as it was, if it was, and as it is: set by set, the SOA first.
pub fn differences(before: Option<&Zone>, after: &Zone) -> Vec<Difference> {
    let mut found = Vec::new();
    let soa = after.soa_set();
    match before.map(|before| (before.soa(), before)) {
        None => found.push(Difference::Added(soa)),
        Some((old, _)) if old != after.soa() => found.push(Difference::Changed(soa)),
        Some(_) => {}
    }
    let mut olds = before.into_iter().flat_map(Zone::sets).peekable();
    let set_of = |zone: &Zone, set: &Packed<'_>| RecordSet::unpack(&zone.head, set);
    let gone = |set: &Packed<'_>| before.and_then(|before| set_of(before, set)).map(Difference::Removed);
    for new in after.sets() {
        while let Some(old) = olds.next_if(|old| old.key < new.key) {
            found.extend(gone(&old));
        }
        match olds.next_if(|old| old.key == new.key) {
            Some(old) if is_same(&old, &new) => {}
            Some(_) => found.extend(set_of(after, &new).map(Difference::Changed)),
            None => found.extend(set_of(after, &new).map(Difference::Added)),
        }
    }
    found.extend(olds.filter_map(|old| gone(&old)));
    found
}
