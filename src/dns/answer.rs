//! One answer for all transports: a query's octets in, an answer's octets out, decided by the zones, who asks and how. Pure: no
//! clock, no socket, and never a panic, whatever comes.
use std::net::IpAddr;

use crate::base::limits::{DNS_MESSAGE_MAX, DNS_UDP_MIN, NAME_WIRE_MAX};
use crate::dns::edns::Reply;
use crate::dns::kept::{Asked, Body, Kept};
use crate::dns::lookup::{Said, lookup};
use crate::dns::message::Message;
use crate::dns::name::NameBuf;
use crate::dns::query::{self, CLASS_IN, HEADER, Query, Rcode};
use crate::dns::zones::Zones;
use crate::rr::RecordType;

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker {
    pub transport: Transport,
    pub peer: IpAddr,
    /// Seconds of the clock on the wall, for cookies.
    pub now: u32,
}

/// What was answered: how long it is, and what it is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    pub len: usize,
    pub rcode: Rcode,
    /// Absent where the question could not be read.
    pub rtype: Option<RecordType>,
    pub truncated: bool,
}

/// Answers a query into `out`, which has room for the largest message of the transport. `kept`: answers that were made before
/// from the same zones; what is said is the same with and without. None: there is nothing to say to it.
pub fn answer(
    zones: &Zones,
    kept: Option<&mut Kept>,
    asker: &Asker,
    message: &[u8],
    out: &mut [u8],
) -> Option<Answered> {
    if out.len() < HEADER {
        return None;
    }
    match query::read(message)? {
        Ok(query) => compose(zones, kept, asker, message, &query, out),
        Err(rcode) => Some(fault(message, rcode, out)),
    }
}

/// A header that says what is wrong.
fn fault(message: &[u8], rcode: Rcode, out: &mut [u8]) -> Answered {
    out[..HEADER].fill(0);
    head(message, Said { rcode, ..Said::refused() }, out);
    Answered { len: HEADER, rcode, rtype: None, truncated: false }
}

fn compose(
    zones: &Zones,
    kept: Option<&mut Kept>,
    asker: &Asker,
    message: &[u8],
    query: &Query<'_>,
    out: &mut [u8],
) -> Option<Answered> {
    let limit = match asker.transport {
        Transport::Udp => query.edns.map_or(DNS_UDP_MIN, |edns| edns.size),
        Transport::Tcp => DNS_MESSAGE_MAX,
    };
    let reply = query.edns.map(|edns| {
        let cookies = zones.cookies.as_ref();
        let cookie = edns.cookie.and_then(|shown| cookies?.answer(shown, asker.peer, asker.now));
        edns.reply(&zones.node, cookie)
    });
    let opt = reply.as_ref().map_or(0, Reply::len);
    let room = limit.min(out.len()).checked_sub(opt)?;
    let Body { said, counts: [answers, authorities, additional], len } = match kept.filter(|_| is_looked_up(query)) {
        Some(kept) => {
            let mut lower = [0; NAME_WIRE_MAX];
            let name = lower.get_mut(..query.name.len())?;
            name.copy_from_slice(query.name);
            name.make_ascii_lowercase();
            let asked = Asked::new(name, query.rtype, room);
            match kept.find(&asked) {
                Some((body, sections)) => {
                    out.get_mut(HEADER..query.end)?.copy_from_slice(&message[HEADER..query.end]);
                    out.get_mut(query.end..body.len)?.copy_from_slice(sections);
                    body
                }
                None => {
                    let body = build(zones, asker.transport, query, room, message, out)?;
                    kept.keep(&asked, body, &out[query.end..body.len]);
                    body
                }
            }
        }
        None => build(zones, asker.transport, query, room, message, out)?,
    };
    head(message, said, out);
    let counts = [1, answers, authorities, additional + u16::from(reply.is_some())];
    for (at, count) in (4..HEADER).step_by(2).zip(counts) {
        out[at..at + 2].copy_from_slice(&count.to_be_bytes());
    }
    if let Some(reply) = reply {
        reply.write(said.rcode as u16, &mut out[len..len + opt]);
    }
    Some(Answered { len: len + opt, rcode: said.rcode, rtype: Some(query.rtype), truncated: said.truncated })
}

/// Writes the question and the sections after it into `room` octets.
fn build(
    zones: &Zones,
    transport: Transport,
    query: &Query<'_>,
    room: usize,
    message: &[u8],
    out: &mut [u8],
) -> Option<Body> {
    let name = NameBuf::read(query.name)?;
    let mut built = Message::begin(out, room, &message[HEADER..query.end], name.as_wire()).ok()?;
    let mut said = decide(zones, query, &name, &mut built);
    if said.truncated {
        // A record set is not cut in pieces: over TCP there is room for it (RFC 2181 section 9).
        built.clear(query.end);
        if transport == Transport::Tcp {
            said = Said { rcode: Rcode::ServFail, ..Said::refused() };
        }
    }
    Some(Body { said, counts: built.counts(), len: built.len() })
}

/// Whether the zones are asked: in the class they have, by a client we understand.
fn is_looked_up(query: &Query<'_>) -> bool {
    query.class == CLASS_IN && query.edns.is_none_or(|edns| edns.version == 0)
}

/// What is said to a sound query.
fn decide(zones: &Zones, query: &Query<'_>, name: &NameBuf, built: &mut Message<'_>) -> Said {
    let fault = |rcode| Said { rcode, ..Said::refused() };
    match query.rtype {
        _ if query.edns.is_some_and(|edns| edns.version > 0) => fault(Rcode::BadVers),
        _ if query.class != CLASS_IN => fault(Rcode::Refused),
        // Transfers are for those who are allowed to, which is nobody yet, and of zones that are here (RFC 5936 section 2.2.1).
        RecordType::AXFR | RecordType::IXFR if zones.at(name.as_wire()).is_some() => fault(Rcode::Refused),
        RecordType::AXFR | RecordType::IXFR => fault(Rcode::NotAuth),
        // What belongs to messages has no meaning in a question (RFC 6895 section 3.1), and mailboxes nobody asks for any more.
        RecordType::OPT | RecordType::TKEY | RecordType::TSIG => fault(Rcode::NotImp),
        RecordType::MAILB | RecordType::MAILA => fault(Rcode::NotImp),
        rtype => lookup(zones, name, rtype, built),
    }
}

/// Identity, opcode and the wish for recursion as they came; the rest is ours.
fn head(message: &[u8], said: Said, out: &mut [u8]) {
    out[..2].copy_from_slice(&message[..2]);
    let (authoritative, truncated) = (u8::from(said.authoritative) << 2, u8::from(said.truncated) << 1);
    out[2] = 0x80 | (message[2] & 0x79) | authoritative | truncated;
    out[3] = (said.rcode as u16 & 0x0f) as u8;
}
