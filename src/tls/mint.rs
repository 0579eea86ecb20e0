//! Minting: a certificate for the hosts of a site, or for the node itself, from the sites CA. Never stores anything.
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use zeroize::Zeroizing;

use crate::base::clock::Time;
use crate::base::limits::CERTIFICATE_NAMES_MAX;
use crate::tls::ca::{Authority, between, named, serial};
use crate::tls::error::TlsError;
use crate::tls::{parse, validity};

/// Longest common name (RFC 5280 appendix A.1, ub-common-name).
const COMMON_NAME_MAX: usize = 64;

/// A fresh certificate with its key.
#[derive(Debug)]
pub struct MadeLeaf {
    /// DER, the leaf first. The CA is not in it: who trusts it has it (RFC 8446 section 4.4.2), and 10,000 sites would each keep it.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8.
    pub key: Zeroizing<Vec<u8>>,
    pub not_before: Time,
    pub not_after: Time,
}

/// Mints a certificate for these names, A-labels; `now` is the state's time.
pub fn mint(ca: &Authority, names: &[&str], now: Time) -> Result<MadeLeaf, TlsError> {
    let (key, params) = leaf(names, validity::of_leaf(now, ca.not_after))?;
    let certificate = params.signed_by(&*key, &ca.issuer())?;
    made(certificate.der(), &key)
}

/// The same, signed by its own key: what a node shows until there is a sites CA.
pub fn self_signed(names: &[&str], now: Time) -> Result<MadeLeaf, TlsError> {
    let (key, params) = leaf(names, validity::of_leaf(now, Time(u64::MAX)))?;
    let certificate = params.self_signed(&*key)?;
    made(certificate.der(), &key)
}

fn leaf(names: &[&str], dates: (Time, Time)) -> Result<(Zeroizing<KeyPair>, CertificateParams), TlsError> {
    if names.len() > CERTIFICATE_NAMES_MAX {
        return Err(TlsError::TooManyNames(names.len()));
    }
    let mut params = CertificateParams::default();
    let alternative = |name: &&str| Ok::<_, rcgen::Error>(SanType::DnsName((*name).try_into()?));
    params.subject_alt_names = names.iter().map(alternative).collect::<Result<_, _>>()?;
    let first = names.first().filter(|first| first.len() <= COMMON_NAME_MAX);
    params.distinguished_name = first.map_or_else(rcgen::DistinguishedName::new, |first| named(first));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial()?);
    between(&mut params, dates.0, dates.1);
    Ok((Zeroizing::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?), params))
}

fn made(certificate: &[u8], key: &KeyPair) -> Result<MadeLeaf, TlsError> {
    let facts = parse::certificate(certificate)?;
    Ok(MadeLeaf {
        chain: vec![certificate.to_vec()],
        key: Zeroizing::new(key.serialize_der()),
        not_before: facts.not_before,
        not_after: facts.not_after,
    })
}
