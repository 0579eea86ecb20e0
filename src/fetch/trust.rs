//! Whom a TLS server must be certified by. Never the machine's own list of authorities by default: who asks says whom to trust.
use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A set of certificate authorities.
#[derive(Clone)]
pub(crate) struct Trust(Arc<ClientConfig>);

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
#[error("read the certificates to trust: {0}")]
pub(crate) struct TrustError(String);

impl Trust {
    /// The certificates of a PEM text, and nobody else.
    pub(crate) fn only(pem: &[u8]) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            roots.add(certificate).map_err(|error| unreadable(&error))?;
        }
        Self::of(roots, &[])
    }

    /// Whom this machine trusts, and one more authority (DER); for servers that speak HTTP/1.1. Reads files: it may take a while.
    pub(crate) fn system_and(certificate: Option<&[u8]>) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        for error in system.errors {
            tracing::warn!(%error, "an authority of this machine cannot be read");
        }
        // Those that are no use to rustls are no loss.
        roots.add_parsable_certificates(system.certs);
        if let Some(certificate) = certificate {
            roots.add(certificate.to_vec().into()).map_err(|error| unreadable(&error))?;
        }
        Self::of(roots, &[b"http/1.1"])
    }

    fn of(roots: RootCertStore, protocols: &[&[u8]]) -> Result<Self, TrustError> {
        if roots.is_empty() {
            return Err(TrustError("there is none".into()));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| unreadable(&error))?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self(Arc::new(config)))
    }

    pub(crate) async fn connect(&self, name: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await
    }
}

fn unreadable(error: &dyn fmt::Display) -> TrustError {
    TrustError(error.to_string())
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Trust {}
