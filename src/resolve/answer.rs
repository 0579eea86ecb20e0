//! What some octets say to a question, decided without a socket. Only the answer section is read, and of it only what belongs to
//! the name that was asked or to what that is an alias of: nothing else is ever believed.
use hickory_proto::op::{Message, OpCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinDecoder;

use crate::base::limits::{RESOLVE_ALIASES_MAX, RESOLVE_RECORDS_MAX};
use crate::resolve::question::{HEADER, Question, Sent};

#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// It answers something else, and is passed over: whoever sent it did not see our question.
    Stray,
    /// Ask again over TCP.
    Truncated,
    /// Nothing if the name does not exist.
    Said(Option<Found>),
    /// SERVFAIL and the like (RFC 1035 section 4.1.1).
    Failed(u8),
    Unreadable,
    /// Its aliases lead in a circle, or too far.
    Endless,
}

#[derive(Debug, PartialEq)]
pub(super) struct Found {
    /// The name that was asked, or where its aliases end.
    pub(super) at: Name,
    /// None if there is no such record.
    pub(super) values: Vec<RData>,
}

pub(super) fn read(sent: &Sent<'_>, octets: &[u8]) -> Answer {
    let asked = &sent.message;
    let (Some(header), Some(section)) = (octets.first_chunk::<HEADER>(), octets.get(HEADER..sent.end)) else {
        return Answer::Stray;
    };
    let number = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
    let is_answer = header[2] & 0x80 != 0 && header[2] & 0x78 == 0;
    // Case does not matter in names; lengths, types and classes that are asked for are no letters.
    let same = number(4) == 1 && section.eq_ignore_ascii_case(&asked[HEADER..sent.end]);
    if header[..2] != asked[..2] || !is_answer || !same {
        return Answer::Stray;
    }
    if header[2] & 0x02 != 0 {
        return Answer::Truncated;
    }
    match header[3] & 0x0f {
        0 => {}
        3 => return Answer::Said(None),
        code => return Answer::Failed(code),
    }
    if number(6) > RESOLVE_RECORDS_MAX {
        return Answer::Unreadable;
    }
    // Pointers lead back to names before the answers too, so the whole message is what is decoded.
    let mut decoder = BinDecoder::new(octets);
    let _ = decoder.read_slice(sent.end);
    let Ok((records, ..)) = Message::read_records(&mut decoder, number(6), false, OpCode::Query) else {
        return Answer::Unreadable;
    };
    follow(sent.question, &records).map_or(Answer::Endless, |found| Answer::Said(Some(found)))
}

/// The values that the name has, or that the name it is an alias of has.
fn follow(question: &Question, records: &[Record]) -> Option<Found> {
    let mut owner = &question.name;
    for _ in 0..=RESOLVE_ALIASES_MAX {
        let of_owner = || records.iter().filter(|record| record.dns_class == DNSClass::IN && record.name == *owner);
        let of_type = of_owner().filter(|record| record.record_type() == question.rtype);
        let values: Vec<_> = of_type.map(|record| record.data.clone()).collect();
        let alias =
            of_owner().find_map(|record| if let RData::CNAME(target) = &record.data { Some(&target.0) } else { None });
        match alias {
            // A zone has its SOA at its own name: that of an alias's target is another zone's.
            Some(target) if values.is_empty() && question.rtype != RecordType::SOA => owner = target,
            _ => return Some(Found { at: owner.clone(), values }),
        }
    }
    None
}
