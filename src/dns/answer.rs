//! One answer for all transports: a query's octets in, an answer's octets out, decided by the zones, who asks and how. Pure: no
//! clock, no socket, and never a panic, whatever comes.
use std::net::IpAddr;

use crate::base::limits::{DNS_MESSAGE_MAX, DNS_UDP_MIN};
use crate::dns::edns::Reply;
use crate::dns::lookup::{Said, lookup};
use crate::dns::message::Message;
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

/// Answers a query into `out`, which has room for the largest message of the transport. None: there is nothing to say to it.
pub fn answer(zones: &Zones, asker: &Asker, message: &[u8], out: &mut [u8]) -> Option<Answered> {
    if out.len() < HEADER {
        return None;
    }
    match query::read(message)? {
        Ok(query) => compose(zones, asker, message, &query, out),
        Err(rcode) => Some(fault(message, rcode, out)),
    }
}

/// A header that says what is wrong.
fn fault(message: &[u8], rcode: Rcode, out: &mut [u8]) -> Answered {
    out[..HEADER].fill(0);
    head(message, Said { rcode, ..Said::refused() }, out);
    Answered { len: HEADER, rcode, rtype: None, truncated: false }
}

fn compose(zones: &Zones, asker: &Asker, message: &[u8], query: &Query<'_>, out: &mut [u8]) -> Option<Answered> {
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
    let question = &message[HEADER..query.end];
    let mut built = Message::begin(out, room, question, query.name.as_wire()).ok()?;
    let mut said = decide(zones, query, &mut built);
    if said.truncated {
        // A record set is not cut in pieces: over TCP there is room for it (RFC 2181 section 9).
        built.clear(query.end);
        if asker.transport == Transport::Tcp {
            said = Said { rcode: Rcode::ServFail, ..Said::refused() };
        }
    }
    let (len, [answers, authorities, additional]) = (built.len(), built.counts());
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

/// What is said to a sound query.
fn decide(zones: &Zones, query: &Query<'_>, built: &mut Message<'_>) -> Said {
    let fault = |rcode| Said { rcode, ..Said::refused() };
    match query.rtype {
        _ if query.edns.is_some_and(|edns| edns.version > 0) => fault(Rcode::BadVers),
        _ if query.class != CLASS_IN => fault(Rcode::Refused),
        // Transfers are for those who are allowed to, which is nobody yet.
        RecordType::AXFR | RecordType::IXFR => fault(Rcode::Refused),
        // What belongs to messages has no meaning in a question (RFC 6895 section 3.1), and mailboxes nobody asks for any more.
        RecordType::OPT | RecordType::TKEY | RecordType::TSIG => fault(Rcode::NotImp),
        RecordType::MAILB | RecordType::MAILA => fault(Rcode::NotImp),
        rtype => lookup(zones, &query.name, rtype, built),
    }
}

/// Identity, opcode and the wish for recursion as they came; the rest is ours.
fn head(message: &[u8], said: Said, out: &mut [u8]) {
    out[..2].copy_from_slice(&message[..2]);
    let (authoritative, truncated) = (u8::from(said.authoritative) << 2, u8::from(said.truncated) << 1);
    out[2] = 0x80 | (message[2] & 0x79) | authoritative | truncated;
    out[3] = (said.rcode as u16 & 0x0f) as u8;
}
