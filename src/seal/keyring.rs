//! The keyring: several keys by id, one of them current, and its text form, which is the 0600 file of a node and the
//! recovery copy alike. Never shows a key in a message.
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::base::limits::KEYRING_KEYS_MAX;

/// Never used twice in one keyring, even after a key was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyId(pub u32);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

type Key = Zeroizing<[u8; 32]>;

/// Shared by all who seal and open: a key that comes is there for all of them.
pub struct Keyring(RwLock<Ring>);

#[derive(Clone, PartialEq, Eq)]
struct Ring {
    keys: BTreeMap<KeyId, Key>,
    current: KeyId,
    /// The id of the next key to be added.
    next: u32,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u32> = self.ids().iter().map(|id| id.0).collect();
        write!(f, "Keyring(keys {ids:?}, current {}, {})", self.current().0, self.fingerprint())
    }
}

/// Completes "failed to …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    #[error("read the keyring: this is no keyring; it starts with `{MAGIC}`")]
    Foreign,
    #[error("read the keyring: its form {0} is newer than this program: upgrade ruche")]
    Newer(String),
    #[error("read the keyring: it is damaged ({0}); take it from another node or from the recovery copy")]
    Damaged(&'static str),
    #[error("add a key: the keyring has {KEYRING_KEYS_MAX} already; drop those no longer in use")]
    Full,
    #[error("use key {0}: the keyring lacks it")]
    Unknown(KeyId),
    #[error("drop key {0}: it is the current one; make another one current first")]
    Current(KeyId),
}

const MAGIC: &str = "ruche-keyring";
const VERSION: &str = "1";

impl PartialEq for Keyring {
    fn eq(&self, other: &Self) -> bool {
        *self.ring() == *other.ring()
    }
}

impl Eq for Keyring {}

impl Keyring {
    /// A keyring of one key, made of 32 bytes from the system's generator.
    pub fn generate(random: [u8; 32]) -> Self {
        Self(RwLock::new(Ring { keys: BTreeMap::from([(KeyId(1), Key::new(random))]), current: KeyId(1), next: 2 }))
    }

    fn ring(&self) -> RwLockReadGuard<'_, Ring> {
        // Whatever changes it is checked before anything is written.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Ring> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds what the other one does, from here on.
    pub fn take_up(&self, other: &Self) {
        let ring = other.ring().clone();
        *self.change() = ring;
    }

    /// The key that seals.
    pub fn current(&self) -> (KeyId, Key) {
        let ring = self.ring();
        (ring.current, ring.keys[&ring.current].clone())
    }

    pub fn key(&self, id: KeyId) -> Option<Key> {
        self.ring().keys.get(&id).cloned()
    }

    pub fn ids(&self) -> Vec<KeyId> {
        self.ring().keys.keys().copied().collect()
    }

    /// Adds a key that opens but does not seal yet: every node must have it first.
    pub fn add(&self, random: [u8; 32]) -> Result<KeyId, KeyringError> {
        let mut ring = self.change();
        if ring.keys.len() >= KEYRING_KEYS_MAX || ring.next == u32::MAX {
            return Err(KeyringError::Full);
        }
        let id = KeyId(ring.next);
        ring.next += 1;
        ring.keys.insert(id, Key::new(random));
        Ok(id)
    }

    pub fn make_current(&self, id: KeyId) -> Result<(), KeyringError> {
        let mut ring = self.change();
        if !ring.keys.contains_key(&id) {
            return Err(KeyringError::Unknown(id));
        }
        ring.current = id;
        Ok(())
    }

    /// Drops a key nothing is sealed with any more.
    pub fn drop_key(&self, id: KeyId) -> Result<(), KeyringError> {
        let mut ring = self.change();
        if id == ring.current {
            return Err(KeyringError::Current(id));
        }
        ring.keys.remove(&id).map(drop).ok_or(KeyringError::Unknown(id))
    }

    /// What two people compare to know that they hold the same keys; it tells nothing about them.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"ruche keyring fingerprint 1");
        for (id, key) in &self.ring().keys {
            hash.update(id.0.to_be_bytes());
            hash.update(**key);
        }
        let digest = HEXLOWER.encode(&hash.finalize()[..10]);
        let groups: Vec<&str> = (0..5).map(|i| &digest[i * 4..i * 4 + 4]).collect();
        groups.join("-")
    }

    /// The file of a node. One item a line; the last line is a checksum of those before it.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let body = self.ring().body();
        let mut bytes = Zeroizing::new(body.as_bytes().to_vec());
        bytes.extend(format!("check {}\n", checksum(&body)).bytes());
        bytes
    }

    /// The same with words for whoever finds the sheet years later.
    pub fn to_recovery_copy(&self, cluster: &str) -> Zeroizing<Vec<u8>> {
        let mut copy = Zeroizing::new(Vec::new());
        copy.extend(
            format!(
                "# Recovery copy of the keyring of the Ruche cluster {cluster}.\n\
                 # With it and one node's disk or a backup the cluster can be recovered; without a keyring no\n\
                 # certificate key and no DNSSEC key can be opened any more.\n\
                 # Whoever has it can open all of them: keep it offline, and away from the backups.\n\
                 # Fingerprint: {}\n",
                self.fingerprint()
            )
            .bytes(),
        );
        copy.extend(self.to_bytes().iter());
        copy
    }

    /// Reads either form back: lines that start with `#`, empty lines and blanks around a line do not count.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyringError> {
        let text = std::str::from_utf8(bytes).map_err(|_| KeyringError::Foreign)?;
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        match lines.next().and_then(|line| line.split_once(' ')) {
            Some((MAGIC, VERSION)) => {}
            Some((MAGIC, version)) if version.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(KeyringError::Newer(version.chars().take(20).collect()));
            }
            Some((MAGIC, _)) => return Err(KeyringError::Damaged("its first line")),
            _ => return Err(KeyringError::Foreign),
        }
        let lines: Vec<&str> = lines.take(KEYRING_KEYS_MAX + 4).collect();
        let Some((check, items)) = lines.split_last() else { return Err(KeyringError::Damaged("it ends early")) };
        let Some(check) = check.strip_prefix("check ") else { return Err(KeyringError::Damaged("it ends early")) };
        let mut body = Zeroizing::new(String::with_capacity(bytes.len() + MAGIC.len()));
        for line in std::iter::once(&[MAGIC, VERSION].join(" ").as_str()).chain(items) {
            body.push_str(line);
            body.push('\n');
        }
        if checksum(&body) != check {
            return Err(KeyringError::Damaged("its checksum differs"));
        }
        let ring = Ring::from_items(items).ok_or(KeyringError::Damaged("a line of it"))?;
        Ok(Self(RwLock::new(ring)))
    }
}

impl Ring {
    fn from_items(items: &[&str]) -> Option<Self> {
        let [current, next, keys @ ..] = items else { return None };
        let mut ring = Self {
            keys: BTreeMap::new(),
            current: KeyId(current.strip_prefix("current ")?.parse().ok()?),
            next: next.strip_prefix("next ")?.parse().ok()?,
        };
        for line in keys {
            let (id, text) = line.strip_prefix("key ")?.split_once(' ')?;
            let id = KeyId(id.parse().ok()?);
            let mut key = Key::default();
            if text.len() != 64 || HEXLOWER.decode_mut(text.as_bytes(), &mut *key).is_err() || id.0 >= ring.next {
                return None;
            }
            if ring.keys.insert(id, key).is_some() {
                return None;
            }
        }
        (ring.keys.contains_key(&ring.current) && ring.keys.len() <= KEYRING_KEYS_MAX).then_some(ring)
    }

    fn body(&self) -> Zeroizing<String> {
        // Room enough at once: a text that grows leaves copies of the keys behind.
        let mut body = Zeroizing::new(String::with_capacity(128 + self.keys.len() * 96));
        let written = write!(body, "{MAGIC} {VERSION}\ncurrent {}\nnext {}\n", self.current, self.next);
        written.expect("a text takes everything");
        for (id, key) in &self.keys {
            let hex = Zeroizing::new(HEXLOWER.encode(&**key));
            writeln!(body, "key {id} {}", *hex).expect("a text takes everything");
        }
        body
    }
}

/// Tells a damaged file from a wrong one; no protection against somebody who writes one.
fn checksum(body: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(body.as_bytes())[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring() -> Keyring {
        let keyring = Keyring::generate([0xab; 32]);
        let second = keyring.add([0xcd; 32]).unwrap();
        keyring.make_current(second).unwrap();
        keyring
    }

    #[test]
    fn both_forms_are_read_back() {
        let keyring = keyring();
        assert_eq!(Keyring::from_bytes(&keyring.to_bytes()).unwrap(), keyring);
        let copy = keyring.to_recovery_copy("hives");
        let copy = std::str::from_utf8(&copy).unwrap();
        assert!(copy.contains(&format!("# Fingerprint: {}\n", keyring.fingerprint())), "{copy}");
        assert_eq!(Keyring::from_bytes(copy.as_bytes()).unwrap(), keyring);
        let typed = copy.replace('\n', "  \r\n\r\n ");
        assert_eq!(Keyring::from_bytes(typed.as_bytes()).unwrap(), keyring);
    }

    #[test]
    fn the_file_is_golden() {
        let file =
            format!("ruche-keyring 1\ncurrent 2\nnext 3\nkey 1 {}\nkey 2 {}\ncheck ", "ab".repeat(32), "cd".repeat(32));
        let bytes = keyring().to_bytes();
        assert!(std::str::from_utf8(&bytes).unwrap().starts_with(&file));
        assert_eq!(keyring().fingerprint(), FINGERPRINT);
    }
    const FINGERPRINT: &str = "c34b-1adf-14b7-e03b-b6b5";

    #[test]
    fn every_flipped_byte_is_found() {
        let bytes = keyring().to_bytes();
        for at in 0..bytes.len() - 1 {
            for mask in [1, 0x20, 0x80] {
                let mut damaged = bytes.to_vec();
                damaged[at] ^= mask;
                assert!(Keyring::from_bytes(&damaged).is_err(), "byte {at} mask {mask}");
            }
        }
        for end in 0..bytes.len() - 1 {
            assert!(Keyring::from_bytes(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn wrong_newer_and_damaged_are_told_apart() {
        let good = keyring().to_bytes();
        let good = std::str::from_utf8(&good).unwrap();
        let checked = |body: &str| format!("{body}check {}\n", checksum(body));
        for (text, error) in [
            ("", KeyringError::Foreign),
            ("[node]\nname = 'a'", KeyringError::Foreign),
            ("ruche-keyring 2\n?", KeyringError::Newer("2".to_owned())),
            ("ruche-keyring 1\n", KeyringError::Damaged("it ends early")),
            (&good.replace("current 2", "current 1"), KeyringError::Damaged("its checksum differs")),
            (&checked("ruche-keyring 1\ncurrent 1\nnext 2\n"), KeyringError::Damaged("a line of it")),
            (
                &checked(&format!("ruche-keyring 1\ncurrent 1\nnext 1\nkey 1 {}\n", "ab".repeat(32))),
                KeyringError::Damaged("a line of it"),
            ),
        ] {
            assert_eq!(Keyring::from_bytes(text.as_bytes()).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn ids_are_not_reused_and_the_ring_is_bounded() {
        let keyring = keyring();
        let third = keyring.add([1; 32]).unwrap();
        keyring.drop_key(third).unwrap();
        let keyring = Keyring::from_bytes(&keyring.to_bytes()).unwrap();
        assert_eq!(keyring.add([2; 32]), Ok(KeyId(4)));
        assert_eq!(keyring.make_current(third), Err(KeyringError::Unknown(third)));
        while keyring.ids().len() < KEYRING_KEYS_MAX {
            keyring.add([3; 32]).unwrap();
        }
        assert_eq!(keyring.add([3; 32]), Err(KeyringError::Full));
        assert_eq!(Keyring::from_bytes(&keyring.to_bytes()).unwrap(), keyring);
    }

    #[test]
    fn no_key_is_shown() {
        let shown = format!("{:?}", keyring());
        assert!(!shown.contains("abab") && !shown.contains("171"), "{shown}");
    }
}
