//! What an order of a certificate is made of: a key of its own, the request that names it, the answer to TLS-ALPN-01, and the chain
//! that comes back, looked at before anybody is shown it. Never asks anybody for anything.
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::base::clock::Time;
use crate::tls::error::TlsError;
use crate::tls::parse;
use crate::tls::sealed::{certified, signing};

/// What clients of TLS-ALPN-01 speak (RFC 8737 section 6.2).
pub const ACME_TLS: &[u8] = b"acme-tls/1";
/// Certificates of one chain; longer ones are somebody's mistake.
const CHAIN_MAX: usize = 10;

/// A chain that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// DER, the leaf first.
    pub certificates: Vec<Vec<u8>>,
    /// DNS names of the leaf, in lower case.
    pub names: Vec<String>,
    pub not_before: Time,
    pub not_after: Time,
}

/// A fresh P-256 key, PKCS#8.
pub fn fresh_key() -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let key = Zeroizing::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?);
    Ok(Zeroizing::new(key.serialize_der()))
}

/// The request (PKCS#10, DER) for a certificate of these names, signed with its key.
pub fn request(names: &[String], key: &[u8]) -> Result<Vec<u8>, TlsError> {
    let key = pair(key)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = alternative(names.iter().map(String::as_str))?;
    Ok(params.serialize_request(&*key)?.der().to_vec())
}

/// What is shown to who validates a name by TLS-ALPN-01 (RFC 8737 section 3).
pub fn challenge(name: &str, answer: &str) -> Result<CertifiedKey, TlsError> {
    let key = Zeroizing::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = alternative(std::iter::once(name))?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&Sha256::digest(answer.as_bytes()))];
    let certificate = params.self_signed(&*key)?;
    // Nobody who is no issuer can read its extension, so it is not compared with its key: it was made with it.
    let chain = vec![certificate.der().clone()];
    Ok(CertifiedKey::new(chain, signing(&Zeroizing::new(key.serialize_der()))?))
}

/// Reads a chain as text (RFC 8555 section 9.1) and refuses one that could not be served with this key.
pub fn chain(pem: &[u8], key: &[u8]) -> Result<Chain, TlsError> {
    let fault = |reason: &str| TlsError::Parse(reason.to_owned());
    let certificates = parse::certificates(pem)?;
    if certificates.len() > CHAIN_MAX {
        return Err(fault("its chain is too long"));
    }
    let leaf = parse::certificate(&certificates[0])?;
    certified(certificates.iter().map(Vec::as_slice), key)?;
    let names = leaf.names.iter().map(|name| name.to_ascii_lowercase()).collect();
    Ok(Chain { certificates, names, not_before: leaf.not_before, not_after: leaf.not_after })
}

/// Refuses a chain in which one certificate was not signed by the next one: visitors would have to find the way by themselves.
pub fn linked(certificates: &[Vec<u8>]) -> Result<(), TlsError> {
    let facts = certificates.iter().map(|der| parse::certificate(der)).collect::<Result<Vec<_>, _>>()?;
    match facts.windows(2).position(|two| two[0].issuer != two[1].subject) {
        Some(at) => Err(TlsError::Parse(format!(
            "number {} of its chain did not sign the one before it: put them in order, the one for the names first",
            at + 2
        ))),
        None => Ok(()),
    }
}

/// The chain of a key out of certificates in any order, without the root that everybody has.
pub(crate) fn in_order(mut left: Vec<Vec<u8>>, key: &[u8]) -> Result<Vec<Vec<u8>>, TlsError> {
    let leaf = left.iter().position(|der| certified(std::iter::once(der.as_slice()), key).is_ok());
    let leaf = leaf.ok_or_else(|| TlsError::Parse("none of them is for the key".into()))?;
    let mut chain = vec![left.swap_remove(leaf)];
    while chain.len() < CHAIN_MAX {
        let last = parse::certificate(&chain[chain.len() - 1])?;
        let signs = |der: &Vec<u8>| {
            parse::certificate(der).is_ok_and(|other| other.subject == last.issuer && other.subject != other.issuer)
        };
        let Some(next) = left.iter().position(signs) else { break };
        chain.push(left.swap_remove(next));
    }
    Ok(chain)
}

fn pair(key: &[u8]) -> Result<Zeroizing<KeyPair>, TlsError> {
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(key), &PKCS_ECDSA_P256_SHA256)?;
    Ok(Zeroizing::new(key))
}

fn alternative<'a>(names: impl Iterator<Item = &'a str>) -> Result<Vec<SanType>, TlsError> {
    names.map(|name| Ok(SanType::DnsName(name.try_into().map_err(TlsError::Make)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::mint;

    #[test]
    fn a_request_names_what_was_asked_for() {
        let key = fresh_key().unwrap();
        let der = request(&["a.test".to_owned(), "*.a.test".to_owned()], &key).unwrap();
        use x509_parser::prelude::{FromDer, X509CertificationRequest};
        let (rest, read) = X509CertificationRequest::from_der(&der).unwrap();
        assert!(rest.is_empty());
        let shown = format!("{:?}", read.requested_extensions().unwrap().collect::<Vec<_>>());
        assert!(shown.contains("DNSName(\"a.test\")") && shown.contains("DNSName(\"*.a.test\")"), "{shown}");
    }

    #[test]
    fn an_answer_to_tls_alpn_is_marked_and_holds_the_digest() {
        let shown = challenge("a.test", "token.print").unwrap();
        let digest = Sha256::digest(b"token.print");
        let der = shown.cert[0].as_ref();
        assert!(der.windows(32).any(|part| part == digest.as_slice()));
        // OID 1.3.6.1.5.5.7.1.31, critical, an OCTET STRING in the value.
        let mark = [6, 8, 0x2b, 6, 1, 5, 5, 7, 1, 31, 1, 1, 0xff, 4, 34, 4, 32];
        assert!(der.windows(mark.len()).any(|part| part == mark), "{der:02x?}");
        assert_eq!(parse::certificate(der).unwrap().names, ["a.test"]);
    }

    #[test]
    fn a_chain_without_its_key_is_refused() {
        let made = mint::self_signed(&["A.test"], Time(1)).unwrap();
        let pem = parse::pem(&made.chain[0]);
        let read = chain(pem.as_bytes(), &made.key).unwrap();
        assert_eq!((read.names, read.certificates), (vec!["a.test".to_owned()], made.chain));
        assert!(chain(pem.as_bytes(), &fresh_key().unwrap()).is_err());
        assert!(chain(b"", &made.key).is_err());
        assert!(chain(pem.repeat(11).as_bytes(), &made.key).is_err());
    }
}
