//! Certificates read: names, validity, who they say they are. Any bytes may come; nothing here trusts or verifies a signature.
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};
use zeroize::Zeroizing;

use crate::base::clock::Time;
use crate::tls::error::TlsError;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The DNS names it is for, as they stand in it.
    pub names: Vec<String>,
    /// Of its subject; empty where there is none.
    pub common_name: String,
    pub not_before: Time,
    pub not_after: Time,
    /// Of its own key; empty where it says none.
    pub key_identifier: Vec<u8>,
    /// Whose it is, and who signed it, DER.
    pub(crate) subject: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
}

/// Reads one DER certificate.
pub fn certificate(der: &[u8]) -> Result<Facts, TlsError> {
    let fault = |reason: &dyn std::fmt::Display| TlsError::Parse(reason.to_string());
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| fault(&error))?;
    if !rest.is_empty() {
        return Err(fault(&"something follows it"));
    }
    let mut facts = Facts {
        names: Vec::new(),
        common_name: String::new(),
        not_before: moment(certificate.validity().not_before.timestamp()),
        not_after: moment(certificate.validity().not_after.timestamp()),
        key_identifier: Vec::new(),
        subject: certificate.subject().as_raw().to_vec(),
        issuer: certificate.issuer().as_raw().to_vec(),
    };
    let common_name = certificate.subject().iter_common_name().next();
    if let Some(Ok(name)) = common_name.map(|name| name.as_str()) {
        facts.common_name = name.to_owned();
    }
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(alternative) => {
                let dns = alternative.general_names.iter().filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some((*name).to_owned()),
                    _ => None,
                });
                facts.names.extend(dns);
            }
            ParsedExtension::SubjectKeyIdentifier(id) => facts.key_identifier = id.0.to_vec(),
            _ => {}
        }
    }
    Ok(facts)
}

/// The certificates of a PEM text, DER, each of which can be read.
pub fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, TlsError> {
    let all: Result<Vec<Vec<u8>>, _> =
        CertificateDer::pem_slice_iter(pem).map(|der| der.map(|der| der.to_vec())).collect();
    let all = all.map_err(|error| TlsError::Parse(error.to_string()))?;
    if all.is_empty() {
        return Err(TlsError::Parse("there is none in it".into()));
    }
    all.iter().try_for_each(|der| certificate(der).map(drop))?;
    Ok(all)
}

/// The private key of a PEM text, DER.
pub fn private_key(pem: &[u8]) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| TlsError::Parse(error.to_string()))?;
    Ok(Zeroizing::new(key.secret_der().to_vec()))
}

/// 0 for what lies before 1970.
fn moment(seconds: i64) -> Time {
    Time(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}

/// A DER certificate as text (RFC 7468).
pub fn pem(der: &[u8]) -> String {
    text("CERTIFICATE", der)
}

pub(crate) fn text(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        text.push_str(&data_encoding::BASE64.encode(line));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
