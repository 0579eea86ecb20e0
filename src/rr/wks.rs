//! The well-known services of WKS (RFC 1035 section 3.4.2): a protocol and a bit for each port. Never asks the system's lists.
use std::borrow::Cow;

use crate::rr::field::{self, Fault, Words};

pub(super) const PROTOCOL: &str = "tcp, udp or a number from 0 to 255";
pub(super) const SERVICES: &str = "ports from 0 to 65535 or names like smtp";

/// The names that old zone files use, with their ports.
const NAMES: &[(&str, u16)] = &[
    ("echo", 7),
    ("discard", 9),
    ("daytime", 13),
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("time", 37),
    ("domain", 53),
    ("gopher", 70),
    ("finger", 79),
    ("http", 80),
    ("pop3", 110),
    ("nntp", 119),
    ("ntp", 123),
    ("imap", 143),
    ("https", 443),
];

pub(super) fn protocol(words: &mut Words<'_>) -> Result<u8, Fault> {
    match words.bare()? {
        word if word.eq_ignore_ascii_case("tcp") => Ok(6),
        word if word.eq_ignore_ascii_case("udp") => Ok(17),
        word => field::number(word, PROTOCOL),
    }
}

/// Appends the bits of all services left, as few octets as hold them.
pub(super) fn parse(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut bits = Vec::new();
    loop {
        let word = match words.bare() {
            Err(Fault::Missing) => break,
            word => word?,
        };
        let port = match NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
            Some((_, port)) => *port,
            None => field::number(word, SERVICES)?,
        };
        let at = usize::from(port / 8);
        if bits.len() <= at {
            bits.resize(at + 1, 0);
        }
        bits[at] |= 0x80 >> (port % 8);
    }
    out.extend(bits);
    Ok(())
}

/// As few octets as hold the bits: the same services have the same octets.
pub(super) fn check(wire: &[u8]) -> Result<(), Cow<'static, str>> {
    if wire.len() <= 8192 && wire.last() != Some(&0) { Ok(()) } else { Err(SERVICES.into()) }
}

pub(super) fn present(wire: &[u8], out: &mut String) {
    let ports = (0..wire.len() * 8).filter(|port| wire[port / 8] & (0x80 >> (port % 8)) != 0);
    let ports: Vec<_> = ports.map(|port| port.to_string()).collect();
    out.push_str(&ports.join(" "));
}
