//! The start of authority of a zone: what an admin may set of it, what it is otherwise, and its wire form. The serial is the
//! zone's own and moves by itself; never kept here.
use serde::{Deserialize, Serialize};

use crate::model::chunk;
use crate::model::records::{self, RecordPut, RecordSet};
use crate::model::refusal::Refusal;
use crate::model::zones::{Zone, ZoneHead};
use crate::rr::{self, Name, RecordType};

/// The fields of an SOA record (RFC 1035 section 3.3.13) without the serial; times in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Soa {
    pub ttl: u32,
    pub primary: Name,
    pub mailbox: Name,
    pub refresh: u32,
    pub retry: u32,
    pub expire: u32,
    /// How long a negative answer may be kept (RFC 2308 section 4).
    pub minimum: u32,
}

/// What secondaries are told when nobody said otherwise, in seconds: look every two hours, again after a quarter, give up after
/// two weeks. A name that was just missing is asked for again after five minutes.
const REFRESH: u32 = 7200;
const RETRY: u32 = 900;
const EXPIRE: u32 = 1_209_600;
const MINIMUM: u32 = 300;

impl Soa {
    /// Reads wire data that `rr` accepted: the fields and the serial.
    pub fn read(ttl: u32, data: &[u8]) -> Option<(Self, u32)> {
        let (primary, rest) = rr::take_name(data)?;
        let (mailbox, rest) = rr::take_name(rest)?;
        let (numbers, rest) = rest.as_chunks::<4>();
        let [serial, refresh, retry, expire, minimum] = *numbers else { return None };
        let number = u32::from_be_bytes;
        let soa = Self {
            ttl,
            primary,
            mailbox,
            refresh: number(refresh),
            retry: number(retry),
            expire: number(expire),
            minimum: number(minimum),
        };
        rest.is_empty().then_some((soa, number(serial)))
    }

    /// Wire data with a serial.
    pub fn data(&self, serial: u32) -> Vec<u8> {
        let mut data = [self.primary.as_wire(), self.mailbox.as_wire()].concat();
        for number in [serial, self.refresh, self.retry, self.expire, self.minimum] {
            data.extend(number.to_be_bytes());
        }
        data
    }

    /// Reads what a change gives for the SOA: one sound value at the apex.
    pub(crate) fn of_change(change: &RecordPut, origin: &Name) -> Result<(Self, u32), Refusal> {
        if change.owner != *origin {
            return Err(Refusal::invalid("name", "an SOA stands at the apex of its zone only, `@`"));
        }
        let values = records::sound_values(change)?;
        let read = values.first().and_then(|value| Self::read(change.ttl, value));
        let (soa, serial) = read.ok_or_else(|| Refusal::invalid("values", "it is no SOA"))?;
        // RFC 2181 section 8: the minimum is a TTL.
        records::check_ttl(soa.minimum).map_err(|_| Refusal::invalid("values", "the minimum is a TTL: 31 bits"))?;
        Ok((soa, serial))
    }
}

impl Zone {
    /// The SOA as it is answered: the one that was set, or one that names the first name server.
    pub fn soa(&self) -> Soa {
        self.head.soa.clone().unwrap_or_else(|| {
            let origin = self.head.origin();
            let mailbox = Name::parse("hostmaster", Some(&origin)).unwrap_or_else(|_| origin.clone());
            let (primary, ttl) = (self.nameservers().into_iter().next().unwrap_or(origin), self.head.ttl);
            Soa { ttl, primary, mailbox, refresh: REFRESH, retry: RETRY, expire: EXPIRE, minimum: MINIMUM }
        })
    }

    /// The same as a record set.
    pub fn soa_set(&self) -> RecordSet {
        let (soa, ZoneHead { name, serial, revision, .. }) = (self.soa(), &self.head);
        RecordSet {
            zone: name.clone(),
            owner: self.head.origin(),
            rtype: RecordType::SOA,
            ttl: soa.ttl,
            values: vec![soa.data(*serial).into()],
            revision: *revision,
        }
    }

    /// The hosts of the NS records at the apex.
    pub fn nameservers(&self) -> Vec<Name> {
        let origin = self.head.origin();
        let key = chunk::key(&origin, &origin, RecordType::NS);
        let values = self.find(&key).into_iter().flat_map(|set| set.values());
        values.filter_map(|value| rr::targets(RecordType::NS, value)).collect()
    }
}
