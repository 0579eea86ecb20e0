//! Sealing: secrets are encrypted before they enter a change and opened where they are used. Bytes in and out; never reads
//! or writes a file, never draws randomness itself.
pub mod keyring;

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::base::ids::ClusterId;
use crate::seal::keyring::{KeyId, Keyring};

/// A secret as databases, log, snapshots and wire carry it: XChaCha20-Poly1305, the tag at the end of `bytes`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    pub key_id: KeyId,
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 24],
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed(key {}, {} bytes)", self.key_id, self.bytes.len())
    }
}

/// Where a secret belongs. One that was moved to another place does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    pub cluster: ClusterId,
    pub table: &'a str,
    pub row: &'a str,
    pub field: &'a str,
}

/// Completes "failed to …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error(
        "open {place}: the keyring lacks key {key_id}; take the keyring from a node that has it or from the recovery copy"
    )]
    NoKey { place: String, key_id: KeyId },
    #[error("open {place}: it is not authentic: damaged, moved from another place, or sealed by another cluster")]
    NotAuthentic { place: String },
}

/// Encrypts with the current key. The nonce is 24 random bytes, drawn for this call.
pub fn seal(keyring: &Keyring, place: &Place<'_>, plaintext: &[u8], nonce: [u8; 24]) -> Sealed {
    let (key_id, key) = keyring.current();
    let payload = Payload { msg: plaintext, aad: &place.associated(key_id) };
    let bytes = XChaCha20Poly1305::new((&*key).into())
        .encrypt(&XNonce::from(nonce), payload)
        .expect("a secret is far shorter than the 256 GiB the cipher can take");
    Sealed { key_id, nonce, bytes }
}

/// Decrypts what was sealed for this very place.
pub fn open(keyring: &Keyring, place: &Place<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let Some(key) = keyring.key(sealed.key_id) else {
        return Err(SealError::NoKey { place: place.shown(), key_id: sealed.key_id });
    };
    let payload = Payload { msg: &sealed.bytes, aad: &place.associated(sealed.key_id) };
    XChaCha20Poly1305::new((&*key).into())
        .decrypt(&XNonce::from(sealed.nonce), payload)
        .map(Zeroizing::new)
        .map_err(|_| SealError::NotAuthentic { place: place.shown() })
}

impl Place<'_> {
    /// The place in bytes, each part after its length, so that no two places read the same.
    fn associated(&self, key_id: KeyId) -> Vec<u8> {
        let mut bytes = b"ruche seal 1".to_vec();
        bytes.extend(key_id.0.to_be_bytes());
        bytes.extend(self.cluster.0.to_be_bytes());
        for part in [self.table, self.row, self.field] {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
        bytes
    }

    fn shown(&self) -> String {
        format!("`{}` of {} `{}`", self.field, self.table, self.row)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLACE: Place<'_> = Place { cluster: ClusterId(7), table: "certificates", row: "a", field: "key" };

    fn keyring() -> Keyring {
        Keyring::generate([1; 32])
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_alone() {
        let sealed = seal(&keyring(), &PLACE, b"secret", [9; 24]);
        assert_eq!(open(&keyring(), &PLACE, &sealed).unwrap().as_slice(), b"secret");
        for place in [
            Place { cluster: ClusterId(8), ..PLACE },
            Place { table: "certificate", row: "sa", ..PLACE },
            Place { row: "b", ..PLACE },
            Place { field: "kez", ..PLACE },
            Place { row: "ak", field: "ey", ..PLACE },
        ] {
            let told = open(&keyring(), &place, &sealed).unwrap_err();
            assert!(matches!(told, SealError::NotAuthentic { .. }), "{place:?}");
        }
        let told = open(&Keyring::generate([2; 32]), &PLACE, &sealed).unwrap_err();
        assert_eq!(
            told.to_string(),
            "open `key` of certificates `a`: it is not authentic: damaged, moved from another place, or sealed by another cluster"
        );
    }

    #[test]
    fn a_flipped_bit_anywhere_does_not_open() {
        let sealed = seal(&keyring(), &PLACE, b"secret", [9; 24]);
        for bit in 0..sealed.bytes.len() * 8 {
            let mut flipped = sealed.clone();
            flipped.bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&keyring(), &PLACE, &flipped).is_err(), "bit {bit}");
        }
        for bit in 0..sealed.nonce.len() * 8 {
            let mut flipped = sealed.clone();
            flipped.nonce[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&keyring(), &PLACE, &flipped).is_err(), "nonce bit {bit}");
        }
        let short = Sealed { bytes: vec![0; 15], ..sealed };
        assert!(open(&keyring(), &PLACE, &short).is_err());
    }

    #[test]
    fn a_rotated_keyring_opens_what_the_old_key_sealed_until_it_is_dropped() {
        let keyring = keyring();
        let old = seal(&keyring, &PLACE, b"old", [1; 24]);
        let first = keyring.current().0;
        let second = keyring.add([2; 32]).unwrap();
        assert_eq!(keyring.current().0, first, "added before it is used: the other nodes need it first");
        keyring.make_current(second).unwrap();
        let new = seal(&keyring, &PLACE, b"new", [2; 24]);
        assert_eq!((new.key_id, old.key_id), (second, first));
        assert_eq!(open(&keyring, &PLACE, &old).unwrap().as_slice(), b"old");
        assert!(keyring.drop_key(second).is_err(), "the current key stays");
        keyring.drop_key(first).unwrap();
        assert_eq!(
            open(&keyring, &PLACE, &old).unwrap_err().to_string(),
            "open `key` of certificates `a`: the keyring lacks key 1; take the keyring from a node that has it or from the recovery copy"
        );
        assert_eq!(open(&keyring, &PLACE, &new).unwrap().as_slice(), b"new");
        let forged = Sealed { key_id: KeyId(77), ..new };
        assert!(open(&keyring, &PLACE, &forged).is_err());
    }

    /// The stored form is read back as long as the program lives.
    #[test]
    fn the_stored_form_is_golden() {
        let sealed = seal(&keyring(), &PLACE, b"secret", [9; 24]);
        let stored = rmp_serde::to_vec_named(&sealed).unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&stored), GOLDEN);
        assert_eq!(rmp_serde::from_slice::<Sealed>(&stored).unwrap(), sealed);
        let json = serde_json::to_string(&sealed).unwrap();
        assert_eq!(serde_json::from_str::<Sealed>(&json).unwrap(), sealed);
        assert_eq!(format!("{sealed:?}"), "Sealed(key 1, 22 bytes)");
    }
    const GOLDEN: &str = "83a66b65795f696401a56e6f6e6365c418090909090909090909090909090909090909090909090909a56279746573c4168088dce43bb2c4ff1dc07809884dd0010f1fb6666c57";

    proptest! {
        #[test]
        fn anything_survives_and_two_places_never_read_the_same(
            plaintext: Vec<u8>, nonce: [u8; 24], a: (String, String, String), b: (String, String, String)
        ) {
            let place = |of: &(String, String, String)| {
                let (table, row, field) = (of.0.clone(), of.1.clone(), of.2.clone());
                move |id| Place { cluster: ClusterId(1), table: &table, row: &row, field: &field }.associated(id)
            };
            prop_assert_eq!(a == b, place(&a)(KeyId(1)) == place(&b)(KeyId(1)));
            let here = Place { cluster: ClusterId(1), table: &a.0, row: &a.1, field: &a.2 };
            let sealed = seal(&keyring(), &here, &plaintext, nonce);
            prop_assert_eq!(open(&keyring(), &here, &sealed).unwrap().to_vec(), plaintext);
        }
    }
}
