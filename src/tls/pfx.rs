//! PFX files (PKCS#12, RFC 7292), as other servers hand out certificates: the key and the chain of the first key in it. Never writes one,
//! and reads none of those ciphers that nobody should use any more.
use std::num::NonZeroU32;

use aws_lc_rs::cipher::{AES_128, AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use crate::base::limits::PFX_ITERATIONS_MAX;
use crate::tls::der::{Der, EXPLICIT, IMPLICIT, OCTETS, OID, SEQUENCE};
use crate::tls::error::TlsError;
use crate::tls::order::in_order;

/// What was in a file.
#[derive(Debug)]
pub struct Unpacked {
    /// DER, the leaf first.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8.
    pub key: Zeroizing<Vec<u8>>,
}

const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06];
/// 1.2.840.113549.1.12.10.1, and what is in a bag.
const BAGS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01];
const KEY_BAG: u8 = 1;
const SHROUDED_KEY_BAG: u8 = 2;
const CERTIFICATE_BAG: u8 = 3;
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
const HMAC_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x07];
const HMAC_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09];
const AES_128_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x02];
const AES_256_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];
const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
/// 1.2.840.113549.1.12.1: RC4, RC2 and 3DES.
const OLD_CIPHERS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01];

/// Opens a file with its password and puts the certificates in their order.
pub fn unpack(file: &[u8], password: &str) -> Result<Unpacked, TlsError> {
    let (content, mac) = outer(file).ok_or_else(damaged)?;
    if let Some(mac) = mac {
        mac.check(content, password)?;
    }
    read(content, password)
}

fn read(content: &[u8], password: &str) -> Result<Unpacked, TlsError> {
    let mut bags = Bags::default();
    let mut parts = Der(content).enter(SEQUENCE).ok_or_else(damaged)?;
    while !parts.is_empty() {
        let mut part = parts.enter(SEQUENCE).ok_or_else(damaged)?;
        let kind = part.take(OID).ok_or_else(damaged)?;
        let mut inner = part.enter(EXPLICIT).ok_or_else(damaged)?;
        match kind {
            DATA => bags.read(inner.take(OCTETS).ok_or_else(damaged)?, password)?,
            ENCRYPTED_DATA => {
                let (cipher, secret) = encrypted(inner).ok_or_else(damaged)?;
                bags.read(&decrypted(cipher, secret, password)?, password)?;
            }
            _ => return Err(fault("it is encrypted for somebody's certificate, not with a password")),
        }
    }
    let key = bags.key.ok_or_else(|| fault("there is no key in it"))?;
    Ok(Unpacked { chain: in_order(bags.certificates, &key)?, key })
}

fn fault(reason: &str) -> TlsError {
    TlsError::Pfx(reason.to_owned())
}

fn damaged() -> TlsError {
    fault("it is damaged, or no PFX")
}

fn outer(file: &[u8]) -> Option<(&[u8], Option<Mac<'_>>)> {
    let mut pfx = Der(file).enter(SEQUENCE)?;
    pfx.number()?;
    let mut info = pfx.enter(SEQUENCE)?;
    if info.take(OID)? != DATA {
        return None;
    }
    let content = info.enter(EXPLICIT)?.take(OCTETS)?;
    Some((content, if pfx.is_empty() { None } else { Some(Mac::read(pfx.enter(SEQUENCE)?)?) }))
}

/// What tells a wrong password, and damage (RFC 7292 section 4).
struct Mac<'a> {
    algorithm: &'a [u8],
    digest: &'a [u8],
    salt: &'a [u8],
    iterations: u32,
}

impl<'a> Mac<'a> {
    fn read(mut mac: Der<'a>) -> Option<Self> {
        let mut info = mac.enter(SEQUENCE)?;
        let algorithm = info.enter(SEQUENCE)?.take(OID)?;
        let (digest, salt) = (info.take(OCTETS)?, mac.take(OCTETS)?);
        let iterations = if mac.is_empty() { 1 } else { mac.number()? };
        Some(Self { algorithm, digest, salt, iterations })
    }

    fn check(&self, content: &[u8], password: &str) -> Result<(), TlsError> {
        let (hash, code) = match self.algorithm {
            SHA256 => (&digest::SHA256, hmac::HMAC_SHA256),
            SHA1 => (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            _ => return Err(fault("it is protected in a way that is not known here")),
        };
        let key = mac_key(hash, password, self.salt, bounded(self.iterations)?.get());
        let wrong = |_| fault("the password is another one, or it is damaged");
        hmac::verify(&hmac::Key::new(code, &key), content, self.digest).map_err(wrong)
    }
}

fn bounded(iterations: u32) -> Result<NonZeroU32, TlsError> {
    let bounded = NonZeroU32::new(iterations).filter(|iterations| iterations.get() <= PFX_ITERATIONS_MAX);
    bounded.ok_or_else(|| fault("its key is derived in too many steps"))
}

/// RFC 7292 appendix B.2, for a key that is as long as its hash, and `ID` 3.
fn mac_key(hash: &'static digest::Algorithm, password: &str, salt: &[u8], iterations: u32) -> Zeroizing<Vec<u8>> {
    const BLOCK: usize = 64;
    // UTF-16 with its end, big-endian (appendix B.1).
    let text: Zeroizing<Vec<u8>> =
        Zeroizing::new(password.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect());
    let filled = |bytes: &[u8]| bytes.iter().copied().cycle().take(bytes.len().div_ceil(BLOCK) * BLOCK).collect();
    let salt: Vec<u8> = if salt.is_empty() { Vec::new() } else { filled(salt) };
    let mut text: Zeroizing<Vec<u8>> =
        Zeroizing::new([&[3; BLOCK][..], &salt, &Zeroizing::new(filled(&text))].concat());
    for _ in 0..iterations {
        *text = digest::digest(hash, &text).as_ref().to_vec();
    }
    text
}

#[derive(Default)]
struct Bags {
    key: Option<Zeroizing<Vec<u8>>>,
    certificates: Vec<Vec<u8>>,
}

impl Bags {
    fn read(&mut self, content: &[u8], password: &str) -> Result<(), TlsError> {
        let mut bags = Der(content).enter(SEQUENCE).ok_or_else(damaged)?;
        while !bags.is_empty() {
            let mut bag = bags.enter(SEQUENCE).ok_or_else(damaged)?;
            let kind = bag.take(OID).ok_or_else(damaged)?;
            let value = bag.take(EXPLICIT).ok_or_else(damaged)?;
            let Some([kind]) = kind.strip_prefix(BAGS) else { continue };
            match *kind {
                KEY_BAG if self.key.is_none() => self.key = Some(Zeroizing::new(value.to_vec())),
                SHROUDED_KEY_BAG if self.key.is_none() => {
                    let mut shrouded = Der(value).enter(SEQUENCE).ok_or_else(damaged)?;
                    let cipher = shrouded.enter(SEQUENCE).ok_or_else(damaged)?;
                    let secret = shrouded.take(OCTETS).ok_or_else(damaged)?;
                    self.key = Some(decrypted(cipher, secret, password)?);
                }
                CERTIFICATE_BAG => self.certificates.push(certificate(value).ok_or_else(damaged)?.to_vec()),
                // Lists of revocations, secrets, bags in bags.
                _ => {}
            }
        }
        Ok(())
    }
}

fn certificate(bag: &[u8]) -> Option<&[u8]> {
    let mut bag = Der(bag).enter(SEQUENCE)?;
    bag.take(OID)?;
    bag.enter(EXPLICIT)?.take(OCTETS)
}

/// How a part is encrypted, and its bytes (RFC 5652 section 8).
fn encrypted(mut data: Der<'_>) -> Option<(Der<'_>, &[u8])> {
    let mut data = data.enter(SEQUENCE)?;
    data.number()?;
    let mut content = data.enter(SEQUENCE)?;
    content.take(OID)?;
    Some((content.enter(SEQUENCE)?, content.take(IMPLICIT)?))
}

/// PBES2 with PBKDF2 and AES-CBC (RFC 8018), which is what has been written since 2016.
fn decrypted(mut cipher: Der<'_>, secret: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let scheme = cipher.take(OID).ok_or_else(damaged)?;
    if scheme.starts_with(OLD_CIPHERS) {
        return Err(fault(
            "it is encrypted with RC2 or 3DES; write it anew: `openssl pkcs12 -legacy -in OLD -nodes | openssl pkcs12 -export -out NEW`",
        ));
    }
    let unknown = || fault("it is encrypted in a way that is not known here");
    if scheme != PBES2 {
        return Err(unknown());
    }
    let mut both = cipher.enter(SEQUENCE).ok_or_else(damaged)?;
    let derivation = both.enter(SEQUENCE).ok_or_else(damaged)?;
    let mut encryption = both.enter(SEQUENCE).ok_or_else(damaged)?;
    let (algorithm, length) = match encryption.take(OID) {
        Some(AES_256_CBC) => (&AES_256, 32),
        Some(AES_128_CBC) => (&AES_128, 16),
        _ => return Err(unknown()),
    };
    let start: Option<[u8; 16]> = encryption.take(OCTETS).and_then(|start| start.try_into().ok());
    let start = start.ok_or_else(damaged)?;
    let key = derived(derivation, password, length)?;
    let wrong = |_| fault("the password is another one, or it is damaged");
    let key = UnboundCipherKey::new(algorithm, &key).and_then(PaddedBlockDecryptingKey::cbc_pkcs7).map_err(wrong)?;
    let mut clear = Zeroizing::new(secret.to_vec());
    let length = key.decrypt(&mut clear, DecryptionContext::Iv128(FixedLength::from(start))).map_err(wrong)?.len();
    clear.truncate(length);
    Ok(clear)
}

fn derived(mut derivation: Der<'_>, password: &str, length: usize) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    if derivation.take(OID) != Some(PBKDF2) {
        return Err(fault("its key is derived in a way that is not known here"));
    }
    let mut facts = derivation.enter(SEQUENCE).ok_or_else(damaged)?;
    let salt = facts.take(OCTETS).ok_or_else(damaged)?;
    let iterations = bounded(facts.number().ok_or_else(damaged)?)?;
    // The length of the key follows from its cipher; that it is said is optional.
    facts.number();
    let code = match facts.enter(SEQUENCE).map(|mut code| code.take(OID)) {
        None | Some(Some(HMAC_SHA1)) => pbkdf2::PBKDF2_HMAC_SHA1,
        Some(Some(HMAC_SHA256)) => pbkdf2::PBKDF2_HMAC_SHA256,
        Some(_) => return Err(fault("its key is derived in a way that is not known here")),
    };
    let mut key = Zeroizing::new(vec![0; length]);
    pbkdf2::derive(code, iterations, salt, password.as_bytes(), &mut key);
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::parse;

    /// `openssl pkcs12 -export -passout pass:x -iter 3`: a P-256 key and its own certificate for a.test.
    const FILE: &str = "MIIECQIBAzCCA8AGCSqGSIb3DQEHAaCCA7EEggOtMIIDqTCCAmEGCSqGSIb3DQEHBqCCAlIwggJOAgEAMIICRwYJKoZIhvcNAQcBMFYGCSqGSIb3\
        DQEFDTBJMCgGCSqGSIb3DQEFDDAbBAjL/25c8PFGJAIBAzAMBggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBKgQQnuBu2B0HC4oz1kd4iPp21oCCAeAp\
        0pT0UzEwivE5CvC5c3dt+/fK2SCPc7hsHWfWnZKy6BmP71DMhXjvYeo1iii+Ju3GA3BsEEvrEWC7FlsUXNuxQAthAnKIEv3CvuGF0KnEiYu+kyGf\
        JmazIrpzkZrKtX17Gt1MLAK+saIgT/ZqHfwe5AEm20j1xk3eGEKYPDFTdYE2Bss0M1QdivxQwo63GoK9rPZUDRfg67XWBY/klELH71oAGvaNwpTk\
        n1/GnUFYSK6C+UO6cMqOIBV/j3hZLw8HgaLyJ5EDAqSs27+9Pdw1qZLvKgst4Pe+Bjnh1c9xPBjveL4wteVAWORpkxQyqSgMBx2JWQ7li8CWCpI5\
        zcISGm41jCdcMtyRERvA1mQ4aD9JSW6eCXtHXZE4gEbe16Dr+J71XvM6Igabhy5C6mi2k2ckim6k4OwmGOdHO0R9OQEwm0Oe7+W1OA17WQJfL3JE\
        DBVUrcUurCksg7znfU6VMyuhWFSI/2sukYcFybWq+vK1F5Q/OrrVwZPi36m1Oy+PYqZQHgnHoyCqAEQ5W+3j4v0bRJpq6IK55X1X6RdEdMvSfG4o\
        TZFWl7Qgp3CJzqLMIougIdsat8hrSQM7weBc+NDVwRGgEWqJrWN1B0g1JooFG7QbgsrDLw+xYa3tLyEwggFABgkqhkiG9w0BBwGgggExBIIBLTCC\
        ASkwggElBgsqhkiG9w0BDAoBAqCB7jCB6zBWBgkqhkiG9w0BBQ0wSTAoBgkqhkiG9w0BBQwwGwQIVOKyvaJnvsYCAQMwDAYIKoZIhvcNAgkFADAd\
        BglghkgBZQMEASoEENHMp0E6Z8ktrkPvsdq8yDYEgZC7wMXbODLtKIGu9PnKIedBWXXxVW7LM9VQfigA5343VTYYPLPIs94tVFuEBmciBt2hDYqa\
        1mYlTtnz22wLUgpNK3Qt/PVxJgG/+LQd92o2+zDi3p9E1EC5gr6HNHLvsDwrtjp/VMSpbaUChnAmVFNRr1n4rxAFHggTs+KRLVh3HLkJpsn83RPD\
        xCC2xxCslp0xJTAjBgkqhkiG9w0BCRUxFgQUAcaRslFwP3iZLSy75ul5yRixixUwQDAxMA0GCWCGSAFlAwQCAQUABCC8FCWdX1ggDVhQwLgq6Z3+\
        /LdipspaxDOlQ8s2mOPftAQIIC+Qehx97rICAQM=";

    #[test]
    fn what_is_in_it_comes_out_and_damage_does_not() {
        let file = data_encoding::BASE64.decode(FILE.as_bytes()).unwrap();
        let unpacked = unpack(&file, "x").unwrap();
        assert_eq!(parse::certificate(&unpacked.chain[0]).unwrap().names, ["a.test"]);
        assert_eq!(unpacked.chain.len(), 1);
        for password in ["", "y", "x\0"] {
            assert!(unpack(&file, password).unwrap_err().to_string().contains("the password is another one"));
        }
        for length in 0..file.len() {
            unpack(&file[..length], "x").unwrap_err();
        }
        // Whatever is changed, also past what the check of the whole covers, nothing panics or takes long.
        let (content, _) = outer(&file).unwrap();
        let parts = content.to_vec();
        for at in 0..parts.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut broken = parts.clone();
                broken[at] ^= mask;
                let _ = read(&broken, "x");
                let mut whole = file.clone();
                whole[at] ^= mask;
                let _ = unpack(&whole, "x");
            }
        }
        assert!(bounded(PFX_ITERATIONS_MAX + 1).is_err() && bounded(0).is_err());
    }
}
