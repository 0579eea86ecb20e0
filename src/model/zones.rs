//! Zones: a head with the serial, and the records in chunks. The serial moves whenever the zone's answers change.
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::names::{AccountName, Host, ZoneName};
use crate::model::answer::{Object, Outcome};
use crate::model::apply::Apply;
use crate::model::change::Set;
use crate::model::chunk::{self, Packed, ZoneChunk};
use crate::model::records::{self, RecordPut};
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;
use crate::model::serials;
use crate::model::soa::Soa;
use crate::rr::{Name, RecordType};

/// TTL of records that name none, in seconds.
pub const DEFAULT_TTL: u32 = 3600;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneHead {
    pub name: ZoneName,
    pub account: Option<AccountName>,
    /// RFC 1982 serial number.
    pub serial: u32,
    /// TTL in seconds of record sets given without one.
    pub ttl: u32,
    /// Record sets in the zone, without the SOA.
    pub records: u64,
    /// Absent: made of what the zone has, see `Zone::soa`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soa: Option<Soa>,
    pub created: Time,
    pub revision: u64,
}

impl ZoneHead {
    pub fn origin(&self) -> Name {
        origin(&self.name)
    }

    /// The head after a change of the zone's answers: max(old + 1, state time), in serial arithmetic.
    pub(crate) fn moved(&self, revision: u64, time: Time) -> Self {
        let next = self.serial.wrapping_add(1);
        let now = time.seconds() as u32;
        // At most 2^31 - 1 ahead of the old one: of a serial half of all numbers away nobody knows which is later (RFC 1982).
        let later = now.wrapping_sub(next) < (1 << 31) - 1;
        Self { serial: if later { now } else { next }, revision, ..self.clone() }
    }

    /// The same, and not behind a serial that was given, which other servers may know the zone by.
    pub(crate) fn moved_past(&self, revision: u64, time: Time, given: u32) -> Self {
        let head = self.moved(revision, time);
        let later = |than: u32| given.wrapping_sub(than) < 1 << 31;
        if later(head.serial) && later(self.serial) { Self { serial: given, ..head } } else { head }
    }
}

pub fn origin(zone: &ZoneName) -> Name {
    Name::parse(&format!("{zone}."), None).expect("a zone name is a valid absolute name")
}

/// A zone as it lies in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    pub head: ZoneHead,
    pub(crate) chunks: Vec<Arc<ZoneChunk>>,
}

impl Zone {
    /// All record sets in canonical order.
    pub fn sets(&self) -> impl Iterator<Item = Packed<'_>> {
        self.chunks.iter().flat_map(|chunk| chunk.sets())
    }

    /// Record sets from a key on, in canonical order.
    pub fn sets_from<'z>(&'z self, key: &[u8]) -> impl Iterator<Item = Packed<'z>> {
        let chunks = &self.chunks[self.chunk_of(key)..];
        chunks.iter().flat_map(|chunk| chunk.sets()).skip_while(move |set| set.key < key)
    }

    pub fn find(&self, key: &[u8]) -> Option<Packed<'_>> {
        self.sets_from(key).next().filter(|set| set.key == key)
    }

    /// The record sets of one owner.
    pub fn sets_at<'z>(&'z self, owner_key: &[u8]) -> impl Iterator<Item = Packed<'z>> {
        self.sets_from(owner_key).take_while(move |set| set.key.starts_with(owner_key))
    }

    pub(crate) fn chunk_of(&self, key: &[u8]) -> usize {
        self.chunks.partition_point(|chunk| *chunk.low <= *key).saturating_sub(1)
    }

    pub(crate) fn put_chunk(&mut self, new: Arc<ZoneChunk>) -> Option<Arc<ZoneChunk>> {
        let at = self.chunks.partition_point(|chunk| chunk.low < new.low);
        if self.chunks.get(at).is_some_and(|chunk| chunk.low == new.low) {
            return Some(std::mem::replace(&mut self.chunks[at], new));
        }
        self.chunks.insert(at, new);
        None
    }

    pub(crate) fn remove_chunk(&mut self, low: &[u8]) {
        self.chunks.retain(|chunk| *chunk.low != *low);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneCreate {
    pub name: ZoneName,
    pub account: Option<AccountName>,
    pub ttl: Option<u32>,
    /// NS records of the apex, if any.
    pub nameservers: Vec<Host>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneSet {
    pub name: ZoneName,
    pub account: Set<Option<AccountName>>,
    pub ttl: Set<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneRemove {
    pub name: ZoneName,
}

pub(crate) fn create(cx: &mut Apply<'_>, change: &ZoneCreate) -> Result<Outcome, Refusal> {
    let old = cx.state.zones.get(&change.name);
    cx.expect(Kind::Zone, &change.name, old.map(|zone| zone.head.revision))?;
    if old.is_some() {
        return Err(Refusal::exists(Kind::Zone, &change.name));
    }
    let mut head = begin(cx, &change.name, change.account.as_ref(), change.ttl.unwrap_or(DEFAULT_TTL))?;
    head.records = u64::from(!change.nameservers.is_empty());
    let mut first = ZoneChunk::first(change.name.clone(), cx.revision);
    if !change.nameservers.is_empty() {
        first.packed = apex_ns(cx.revision, &head, &change.nameservers)?.into();
    }
    let outcome = Outcome::new("zone.create", &head.name).account(head.account.as_ref());
    cx.put(Row::Zone(head.clone()));
    cx.put(Row::ZoneChunk(first.into()));
    serials::move_parent(cx, &head.name);
    Ok(outcome.object(Object::Zone(head)))
}

/// The head of a zone that is made now, if it may be: later than one of the same name that was removed.
pub(crate) fn begin(
    cx: &Apply<'_>,
    name: &ZoneName,
    account: Option<&AccountName>,
    ttl: u32,
) -> Result<ZoneHead, Refusal> {
    let account = cx.owner(account)?;
    records::check_ttl(ttl)?;
    check_owner(cx, name, account.as_ref())?;
    let head = ZoneHead {
        name: name.clone(),
        account,
        serial: cx.time.seconds() as u32,
        ttl,
        records: 0,
        soa: None,
        created: cx.time,
        revision: cx.revision,
    };
    Ok(match serials::gone(cx, name) {
        Some(serial) => ZoneHead { serial, ..head }.moved(cx.revision, cx.time),
        None => head,
    })
}

pub(crate) fn set(cx: &mut Apply<'_>, change: &ZoneSet) -> Result<Outcome, Refusal> {
    let mut head = existing(cx, &change.name)?;
    if let Set::To(account) = &change.account {
        cx.unscoped()?;
        if *account != head.account {
            check_owner(cx, &change.name, account.as_ref())?;
            records::check_count(cx, account.as_ref(), head.records)?;
        }
    }
    if let Set::To(ttl) = change.ttl {
        records::check_ttl(ttl)?;
    }
    // What is answered without a TTL of its own has the zone's.
    if matches!(change.ttl, Set::To(ttl) if ttl != head.ttl) {
        head = head.moved(cx.revision, cx.time);
    }
    change.account.apply_to(&mut head.account);
    change.ttl.apply_to(&mut head.ttl);
    head.revision = cx.revision;
    let outcome = Outcome::new("zone.set", &head.name).account(head.account.as_ref());
    cx.put(Row::Zone(head.clone()));
    Ok(outcome.object(Object::Zone(head)))
}

pub(crate) fn remove(cx: &mut Apply<'_>, change: &ZoneRemove) -> Result<Outcome, Refusal> {
    let head = existing(cx, &change.name)?;
    let zone = Arc::clone(cx.state.zone(&change.name)?);
    serials::keep(cx, &zone);
    serials::move_parent(cx, &change.name);
    zone.chunks.iter().for_each(|chunk| cx.delete(Row::ZoneChunk(Arc::clone(chunk))));
    let outcome = Outcome::new("zone.remove", &head.name).account(head.account.as_ref());
    cx.delete(Row::Zone(head));
    Ok(outcome)
}

fn existing(cx: &Apply<'_>, name: &ZoneName) -> Result<ZoneHead, Refusal> {
    let head = &cx.state.zone(name)?.head;
    cx.may(Kind::Zone, name, head.account.as_ref())?;
    cx.expect(Kind::Zone, name, Some(head.revision))?;
    Ok(head.clone())
}

fn check_owner(cx: &Apply<'_>, name: &ZoneName, account: Option<&AccountName>) -> Result<(), Refusal> {
    if let Some((_, parent)) = name.as_str().split_once('.') {
        cx.own_ground(parent, account)?;
    }
    let Some(account) = account else { return Ok(()) };
    if cx.is_scoped() {
        check_ground(cx, name, account)?;
    }
    let limits = cx.growing(account)?;
    cx.within(account, "zones", limits.zones, cx.state.zones_count(account) + 1)
}

/// Who is limited to an account takes no zone above what others have here: it would answer for their hosts and keep them from
/// adding any. A name of one label lies above everybody's.
fn check_ground(cx: &Apply<'_>, name: &ZoneName, account: &AccountName) -> Result<(), Refusal> {
    if !name.as_str().contains('.') {
        return Err(Refusal::Forbidden { reason: format!("{name} lies above the names of everybody") });
    }
    let within = |other: &str| {
        let rest = other.strip_suffix(name.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let hosts = cx.state.hosts.iter().filter(|(host, _)| within(host.as_str()));
    let mut sites = hosts.filter_map(|(_, id)| cx.state.sites.get(id));
    if sites.any(|site| site.account.as_ref() != Some(account)) {
        return Err(Refusal::Forbidden { reason: format!("hosts of others lie in {name}") });
    }
    let mut zones = cx.state.zones.values().filter(|zone| within(zone.head.name.as_str()));
    if zones.any(|zone| zone.head.account.as_ref() != Some(account)) {
        return Err(Refusal::Forbidden { reason: format!("zones of others lie in {name}") });
    }
    Ok(())
}

fn apex_ns(revision: u64, head: &ZoneHead, hosts: &[Host]) -> Result<Vec<u8>, Refusal> {
    let origin = head.origin();
    let names = hosts.iter().map(|host| Name::parse(&format!("{host}."), None));
    let values: Result<Vec<_>, _> = names.map(|name| name.map(|name| name.as_wire().to_vec())).collect();
    let values = values.map_err(|error| Refusal::invalid("nameservers", error))?;
    let put =
        RecordPut { zone: head.name.clone(), owner: origin.clone(), rtype: RecordType::NS, ttl: head.ttl, values };
    let values = records::sound_values(&put)?;
    Ok(chunk::pack(&chunk::key(&origin, &origin, RecordType::NS), revision, head.ttl, &values))
}
