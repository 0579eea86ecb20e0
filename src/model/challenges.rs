//! Answers to DNS-01: one TXT value more at a name of a zone, beside those that are there, and gone again when the order is over.
use serde::{Deserialize, Serialize};

use crate::base::names::ZoneName;
use crate::model::answer::Outcome;
use crate::model::apply::Apply;
use crate::model::chunk;
use crate::model::places;
use crate::model::records::{self, RecordPut};
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;
use crate::rr::{Name, RecordType};

/// TTL in seconds of a set that stands for a challenge alone: nobody is to remember it.
const TTL: u32 = 60;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengePut {
    pub zone: ZoneName,
    pub owner: Name,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengeRemove {
    pub zone: ZoneName,
    pub owner: Name,
    pub text: String,
}

pub(crate) fn put(cx: &mut Apply<'_>, change: &ChallengePut) -> Result<Outcome, Refusal> {
    let value = value(&change.text)?;
    edit(cx, "challenge.put", &change.zone, &change.owner, |values| {
        values.push(value.clone());
        values.sort();
        values.dedup();
    })
}

pub(crate) fn remove(cx: &mut Apply<'_>, change: &ChallengeRemove) -> Result<Outcome, Refusal> {
    let value = value(&change.text)?;
    edit(cx, "challenge.remove", &change.zone, &change.owner, |values| values.retain(|held| *held != value))
}

/// One character string (RFC 1035 section 3.3.14).
fn value(text: &str) -> Result<Vec<u8>, Refusal> {
    let length = u8::try_from(text.len()).map_err(|_| Refusal::invalid("text", "expected 255 bytes at most"))?;
    Ok([&[length], text.as_bytes()].concat())
}

fn edit(
    cx: &mut Apply<'_>,
    action: &'static str,
    zone: &ZoneName,
    owner: &Name,
    change: impl FnOnce(&mut Vec<Vec<u8>>),
) -> Result<Outcome, Refusal> {
    cx.by_the_cluster()?;
    let outcome = Outcome::new(action, owner);
    let zone = cx.state.zone(zone)?.clone();
    let origin = zone.head.origin();
    if !owner.is_under(&origin) {
        return Err(Refusal::not_found(Kind::Record, owner));
    }
    let key = chunk::key(owner, &origin, RecordType::TXT);
    let old = zone.find(&key);
    let (ttl, before) =
        old.as_ref().map_or((TTL, Vec::new()), |set| (set.ttl, set.values().map(|value| value.to_vec()).collect()));
    let mut values = before.clone();
    change(&mut values);
    if values == before {
        return Ok(outcome);
    }
    let mut head = zone.head.moved(cx.revision, cx.time);
    head.records = (head.records + u64::from(before.is_empty())).saturating_sub(u64::from(values.is_empty()));
    let set = match values.is_empty() {
        true => None,
        false => {
            places::check(&zone, owner, RecordType::TXT)?;
            let put = RecordPut { zone: head.name.clone(), owner: owner.clone(), rtype: RecordType::TXT, ttl, values };
            Some(chunk::pack(&key, cx.revision, ttl, &records::sound_values(&put)?))
        }
    };
    records::edit(cx, &zone, &key, set.as_deref());
    cx.put(Row::Zone(head));
    Ok(outcome)
}
