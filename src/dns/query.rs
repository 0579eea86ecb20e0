//! A query as it comes from the network, read strictly: what is not one in every octet gets an error, or silence. Never panics,
//! whatever the octets.
use crate::dns::edns::Edns;
use crate::dns::name::wire_len;
use crate::rr::RecordType;

/// Octets of the header (RFC 1035 section 4.1.1).
pub(crate) const HEADER: usize = 12;
pub(crate) const CLASS_IN: u16 = 1;

/// The response codes that are answered with (RFC 1035 section 4.1.1, RFC 2136, RFC 6891).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rcode {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
    YxDomain = 6,
    NotAuth = 9,
    BadVers = 16,
}

/// One question with what came beside it.
pub(crate) struct Query<'q> {
    /// As it was asked for, in wire form.
    pub(crate) name: &'q [u8],
    pub(crate) rtype: RecordType,
    pub(crate) class: u16,
    pub(crate) edns: Option<Edns<'q>>,
    /// Where the question ends in the message.
    pub(crate) end: usize,
}

/// Reads a message. None: it is no query, or too short to be answered. The header's own flags are still to be looked at.
pub(crate) fn read(message: &[u8]) -> Option<Result<Query<'_>, Rcode>> {
    let header: &[u8; HEADER] = message.first_chunk()?;
    // An answer to an answer would be a loop.
    if header[2] & 0x80 != 0 {
        return None;
    }
    if header[2] & 0x78 != 0 {
        return Some(Err(Rcode::NotImp));
    }
    Some(question(message, header).ok_or(Rcode::FormErr))
}

fn question<'q>(message: &'q [u8], header: &[u8; HEADER]) -> Option<Query<'q>> {
    let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let truncated = header[2] & 0x02 != 0;
    if truncated || (count(4), count(6), count(8)) != (1, 0, 0) {
        return None;
    }
    let mut at = HEADER + wire_len(&message[HEADER..])?;
    let name = &message[HEADER..at];
    let [rtype, class] = [number(message, at)?, number(message, at + 2)?];
    at += 4;
    let end = at;
    let mut edns = None;
    for _ in 0..count(10) {
        let owner = wire_len(&message[at..])?;
        let [kind, size] = [number(message, at + owner)?, number(message, at + owner + 2)?];
        let more = message.get(at + owner + 4..at + owner + 8)?;
        let data = at + owner + 10;
        let after = data + usize::from(number(message, data - 2)?);
        let data = message.get(data..after)?;
        if RecordType(kind) == RecordType::OPT {
            // RFC 6891 section 6.1.1: one of them, and the root is its owner.
            if owner != 1 || edns.is_some() {
                return None;
            }
            edns = Some(Edns::read(size, [more[0], more[1], more[2], more[3]], data)?);
        }
        at = after;
    }
    (at == message.len()).then_some(Query { name, rtype: RecordType(rtype), class, edns, end })
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    message.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]]))
}
