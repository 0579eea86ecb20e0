//! The sites CA: the authority behind the internal certificates. A visitor who trusts it trusts every site of the cluster, and
//! nothing else: it signs leaves only.
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroizing;

use crate::base::clock::Time;
use crate::base::ids::ClusterId;
use crate::tls::error::TlsError;
use crate::tls::{parse, validity};

/// A fresh sites CA.
#[derive(Debug)]
pub struct MadeCa {
    /// DER.
    pub certificate: Vec<u8>,
    /// PKCS#8.
    pub key: Zeroizing<Vec<u8>>,
    pub not_after: Time,
}

/// The sites CA with its key, ready to sign.
pub struct Authority {
    /// What its leaves say of their issuer.
    params: CertificateParams,
    key: Zeroizing<KeyPair>,
    pub(crate) not_after: Time,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority(until {})", self.not_after)
    }
}

/// Makes the CA of a cluster; `now` is the state's time.
pub fn make(cluster: ClusterId, now: Time) -> Result<MadeCa, TlsError> {
    let key = Zeroizing::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?);
    let (not_before, not_after) = validity::of_ca(now);
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&format!("Ruche sites CA {cluster}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    between(&mut params, not_before, not_after);
    params.serial_number = Some(serial()?);
    let certificate = params.self_signed(&*key)?.der().to_vec();
    let not_after = parse::certificate(&certificate)?.not_after;
    Ok(MadeCa { certificate, key: Zeroizing::new(key.serialize_der()), not_after })
}

impl Authority {
    /// From what the state holds: the certificate says what its leaves call their issuer.
    pub fn new(certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let facts = parse::certificate(certificate)?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(key), &PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&facts.common_name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.key_identifier_method = KeyIdMethod::PreSpecified(facts.key_identifier);
        Ok(Self { params, key: Zeroizing::new(key), not_after: facts.not_after })
    }

    pub(crate) fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &*self.key)
    }
}

pub(crate) fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// Certificates are dated to the day.
pub(crate) fn between(params: &mut CertificateParams, not_before: Time, not_after: Time) {
    let on = |(year, month, day)| date_time_ymd(year, month, day);
    params.not_before = on(validity::date(not_before));
    params.not_after = on(validity::date(not_after));
}

/// 127 random bits: positive and of a length all its life (RFC 5280 section 4.1.2.2).
pub(crate) fn serial() -> Result<rcgen::SerialNumber, TlsError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(rcgen::SerialNumber::from_slice(&bytes))
}
