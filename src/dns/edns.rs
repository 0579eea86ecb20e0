//! EDNS (RFC 6891): what a query's OPT record says, and the one that is answered. Options that are not known are passed over, as
//! padding is. Never keeps anything of a client.
use crate::base::limits::{DNS_UDP_MAX, DNS_UDP_MIN};
use crate::dns::cookie::{CLIENT, COOKIE};
use crate::rr::RecordType;

/// Options (RFC 5001, RFC 7873).
const NSID: u16 = 3;
const COOKIE_OPTION: u16 = 10;
/// An OPT record without options.
const OPT: usize = 11;
/// What stands before each option.
const OPTION: usize = 4;
/// The longest cookie with its server's part (RFC 7873 section 4).
const COOKIE_MAX: usize = 40;

/// What a client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edns<'q> {
    /// Octets of the largest answer it takes over UDP.
    pub(crate) size: usize,
    pub(crate) version: u8,
    dnssec_ok: bool,
    /// Wants to know which server it speaks with.
    nsid: bool,
    /// Its cookie, with ours where it has one.
    pub(crate) cookie: Option<&'q [u8]>,
}

/// What an OPT record of ours says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply<'a> {
    dnssec_ok: bool,
    nsid: Option<&'a [u8]>,
    cookie: Option<[u8; COOKIE]>,
}

impl<'q> Edns<'q> {
    /// Reads class, TTL and data of an OPT record; None: an option is not whole.
    pub(crate) fn read(class: u16, ttl: [u8; 4], data: &'q [u8]) -> Option<Self> {
        let size = usize::from(class).clamp(DNS_UDP_MIN, DNS_UDP_MAX);
        let mut edns = Self { size, version: ttl[1], dnssec_ok: ttl[2] & 0x80 != 0, nsid: false, cookie: None };
        let mut rest = data;
        while !rest.is_empty() {
            let (head, tail) = rest.split_first_chunk::<OPTION>()?;
            let (value, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes([head[2], head[3]])))?;
            match u16::from_be_bytes([head[0], head[1]]) {
                NSID => edns.nsid = true,
                // RFC 7873 section 5.2.2: the client's part alone, or with 8 to 32 octets of a server's.
                COOKIE_OPTION if value.len() == CLIENT || (2 * CLIENT..=COOKIE_MAX).contains(&value.len()) => {
                    edns.cookie = edns.cookie.or(Some(value));
                }
                COOKIE_OPTION => return None,
                _ => {}
            }
            rest = tail;
        }
        Some(edns)
    }

    /// What it is answered with.
    pub(crate) fn reply<'a>(&self, name: &'a [u8], cookie: Option<[u8; COOKIE]>) -> Reply<'a> {
        Reply { dnssec_ok: self.dnssec_ok, nsid: self.nsid.then_some(name), cookie }
    }
}

impl Reply<'_> {
    /// Octets it takes in a message.
    pub(crate) fn len(&self) -> usize {
        OPT + self.nsid.map_or(0, |nsid| OPTION + nsid.len()) + self.cookie.map_or(0, |_| OPTION + COOKIE)
    }

    /// Writes the record with the upper part of the response code; `out` is as long as `len` says.
    pub(crate) fn write(&self, rcode: u16, out: &mut [u8]) {
        let options = (self.len() - OPT) as u16; // a node name and a cookie
        let (size, flags) = (DNS_UDP_MAX as u16, if self.dnssec_ok { 0x80 } else { 0 });
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&[0]);
        put(&RecordType::OPT.0.to_be_bytes());
        put(&size.to_be_bytes());
        put(&[(rcode >> 4) as u8, 0, flags, 0]);
        put(&options.to_be_bytes());
        let mut option = |code: u16, value: &[u8]| {
            put(&code.to_be_bytes());
            put(&(value.len() as u16).to_be_bytes());
            put(value);
        };
        if let Some(nsid) = self.nsid {
            option(NSID, nsid);
        }
        if let Some(cookie) = &self.cookie {
            option(COOKIE_OPTION, cookie);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_whole_or_the_record_is_refused() {
        fn read(data: &[u8]) -> Option<Edns<'_>> {
            Edns::read(4096, [0, 0, 0x80, 0], data)
        }
        let plain = read(&[]).unwrap();
        assert_eq!((plain.size, plain.version, plain.dnssec_ok, plain.cookie), (DNS_UDP_MAX, 0, true, None));
        assert_eq!(Edns::read(0, [0, 7, 0, 0], &[]).map(|edns| (edns.size, edns.version)), Some((DNS_UDP_MIN, 7)));
        // Padding and a number nobody knows.
        assert!(read(&[0, 12, 0, 2, 0, 0, 0xff, 0, 0, 0]).is_some());
        assert!(read(&[0, 3, 0, 0]).unwrap().nsid);
        for cut in [&[0][..], &[0, 3, 0], &[0, 3, 0, 1], &[0, 3, 0, 0, 0]] {
            assert_eq!(read(cut), None, "{cut:?}");
        }
        for (len, sound) in
            [(0, false), (7, false), (8, true), (9, false), (15, false), (16, true), (40, true), (41, false)]
        {
            let option = [&[0, 10, 0, len][..], &vec![9; usize::from(len)]].concat();
            assert_eq!(read(&option).is_some(), sound, "{len}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let asked = Edns::read(1232, [0, 0, 0x80, 0], &[0, 3, 0, 0]).unwrap();
        let reply = asked.reply(b"pi-1", Some([5; COOKIE]));
        let mut out = vec![0xee; reply.len()];
        reply.write(16, &mut out);
        assert_eq!(out[..9], [0, 0, 41, 0x04, 0xd0, 1, 0, 0x80, 0]);
        let back = Edns::read(1232, [1, 0, 0x80, 0], &out[OPT..]).unwrap();
        assert_eq!((back.nsid, back.cookie), (true, Some(&[5; COOKIE][..])));
        assert!(out[OPT..].windows(4).any(|four| four == b"pi-1"));
        assert_eq!(Edns { nsid: false, ..asked }.reply(b"pi-1", None).len(), OPT);
    }
}
