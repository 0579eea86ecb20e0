//! The number of a record type and its names. Never knows what the data of a type looks like.
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A record type by its number (RFC 1035 section 3.2.2); every number is a value, known or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecordType(pub u16);

/// The text is neither a known mnemonic nor `TYPE` and a number.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record type is a name like MX or a number like TYPE65280")]
pub struct UnknownType;

macro_rules! record_types {
    ($($name:ident = $number:literal,)*) => {
        impl RecordType {
            $(pub const $name: RecordType = RecordType($number);)*
        }
        const NAMES: &[(RecordType, &str)] = &[$((RecordType::$name, stringify!($name)),)*];
    };
}

record_types! {
    A = 1,
    NS = 2,
    MD = 3,
    MF = 4,
    CNAME = 5,
    SOA = 6,
    MB = 7,
    MG = 8,
    MR = 9,
    NULL = 10,
    WKS = 11,
    PTR = 12,
    HINFO = 13,
    MINFO = 14,
    MX = 15,
    TXT = 16,
    RP = 17,
    AFSDB = 18,
    AAAA = 28,
    LOC = 29,
    SRV = 33,
    NAPTR = 35,
    CERT = 37,
    DNAME = 39,
    OPT = 41,
    DS = 43,
    SSHFP = 44,
    RRSIG = 46,
    NSEC = 47,
    DNSKEY = 48,
    NSEC3 = 50,
    NSEC3PARAM = 51,
    TLSA = 52,
    SMIMEA = 53,
    CDS = 59,
    CDNSKEY = 60,
    OPENPGPKEY = 61,
    CSYNC = 62,
    ZONEMD = 63,
    SVCB = 64,
    HTTPS = 65,
    SPF = 99,
    TKEY = 249,
    TSIG = 250,
    IXFR = 251,
    AXFR = 252,
    MAILB = 253,
    MAILA = 254,
    ANY = 255,
    URI = 256,
    CAA = 257,
}

impl RecordType {
    /// True for what signing a zone makes of it (RFC 4034, RFC 5155): never typed in.
    pub fn is_signed(self) -> bool {
        matches!(self, RecordType::RRSIG | RecordType::NSEC | RecordType::NSEC3 | RecordType::NSEC3PARAM)
    }

    /// True for what only a question or a message carries: such a type is never stored (RFC 6895 section 3.1).
    pub fn is_meta(self) -> bool {
        self == RecordType::OPT || matches!(self.0, 0 | 128..=255 | u16::MAX)
    }
}

impl FromStr for RecordType {
    type Err = UnknownType;

    fn from_str(text: &str) -> Result<RecordType, UnknownType> {
        if let Some((known, _)) = NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)) {
            return Ok(*known);
        }
        // RFC 3597 section 5.
        match text.split_at_checked(4) {
            Some((prefix, number))
                if prefix.eq_ignore_ascii_case("TYPE") && number.bytes().all(|b| b.is_ascii_digit()) =>
            {
                number.parse().map(RecordType).map_err(|_| UnknownType)
            }
            _ => Err(UnknownType),
        }
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(known, _)| known == self) {
            Some((_, name)) => f.pad(name),
            None => f.pad(&format!("TYPE{}", self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_read_back() {
        for number in 0..=u16::MAX {
            let shown = RecordType(number).to_string();
            assert_eq!(shown.parse(), Ok(RecordType(number)));
            assert_eq!(shown.to_lowercase().parse(), Ok(RecordType(number)));
            assert_eq!(format!("TYPE{number}").parse(), Ok(RecordType(number)));
        }
        assert_eq!(RecordType(65280).to_string(), "TYPE65280");
        for bad in ["", "TYPE", "TYPE65536", "TYPE-1", "TYPE+1", "TYPE 1", "XX", "TYPé1", "MX "] {
            assert_eq!(bad.parse::<RecordType>(), Err(UnknownType), "{bad}");
        }
    }

    #[test]
    fn questions_are_not_records() {
        for meta in ["ANY", "AXFR", "IXFR", "OPT", "TSIG", "TKEY", "TYPE0", "TYPE128", "TYPE65535"] {
            assert!(meta.parse::<RecordType>().unwrap().is_meta(), "{meta}");
        }
        for data in ["A", "SPF", "CAA", "URI", "TYPE127", "TYPE65280"] {
            assert!(!data.parse::<RecordType>().unwrap().is_meta(), "{data}");
        }
    }
}
