//! Ids: random 64-bit numbers, never reused, sixteen hexadecimal digits in text. They name, they do not authorise.
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

#[derive(Debug, thiserror::Error)]
#[error("read `{0}` as an id: expected sixteen hexadecimal digits")]
pub struct IdError(String);

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let digits = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                let number = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
                number.map(Self).ok_or_else(|| IdError(text.chars().take(40).collect()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                if out.is_human_readable() { out.collect_str(self) } else { out.serialize_u64(self.0) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                if !from.is_human_readable() {
                    return u64::deserialize(from).map(Self);
                }
                std::borrow::Cow::<'de, str>::deserialize(from)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

id! {
    /// A cluster. A forced recovery makes a new one.
    ClusterId,
    /// A member of a cluster.
    NodeId,
    /// A site; also the name of its directory on its home.
    SiteId,
    CertificateId,
    TokenId,
    OperationId,
    /// An order of a certificate.
    OrderId,
    /// A certificate that was asked for.
    WishId,
}

/// Public randomness of one envelope: ids are made from it in `apply`, so that every node makes the same. Never a secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl Seed {
    /// The id this seed gives, never 0.
    pub fn id(self) -> u64 {
        let mut half = [0; 8];
        half.copy_from_slice(&self.0[..8]);
        u64::from_be_bytes(half).max(1)
    }
}

/// What tells a request from every other one: `key` names it (random, or derived from the caller and its Idempotency-Key),
/// `digest` says what was asked, so that a key reused for something else is noticed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestId {
    #[serde(with = "serde_bytes")]
    pub key: [u8; 16],
    #[serde(with = "serde_bytes")]
    pub digest: [u8; 16],
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_sixteen_lower_case_digits() {
        let id = SiteId(0xab);
        assert_eq!(id.to_string(), "00000000000000ab");
        assert_eq!("00000000000000ab".parse::<SiteId>().unwrap(), id);
        for bad in ["", "ab", "00000000000000AB", "+0000000000000ab", "00000000000000abc"] {
            assert!(bad.parse::<SiteId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn stored_as_a_number_shown_as_text() {
        let id = NodeId(u64::MAX);
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"ffffffffffffffff\"");
        let stored = rmp_serde::to_vec_named(&id).unwrap();
        assert_eq!(stored.len(), 9);
        assert_eq!(rmp_serde::from_slice::<NodeId>(&stored).unwrap(), id);
    }

    #[test]
    fn a_seed_never_gives_zero() {
        assert_eq!(Seed([0; 16]).id(), 1);
    }
}
