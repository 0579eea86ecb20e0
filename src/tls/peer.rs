//! How nodes know each other: each has a key of its own, and the key is all there is (raw public keys, RFC 7250). No certificate,
//! no authority, no date. Who may speak is decided by whoever hands in the pin.
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group, sign::any_eddsa_type};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, ServerConfig,
    SignatureScheme,
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::tls::error::TlsError;

/// The key of this node.
#[derive(Clone)]
pub struct PeerKey {
    certified: Arc<CertifiedKey>,
    public: Arc<[u8]>,
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerKey")
    }
}

/// A fresh key, PKCS#8.
pub fn generate() -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let pair = Ed25519KeyPair::generate().map_err(|_| TlsError::PeerKey("the system gave no key"))?;
    // Its public half is left out by nobody who reads it: rustls and we derive it anyway.
    debug_assert!(!pair.public_key().as_ref().is_empty());
    let document = pair.to_pkcs8().map_err(|_| TlsError::PeerKey("it cannot be written"))?;
    Ok(Zeroizing::new(document.as_ref().to_vec()))
}

impl PeerKey {
    /// Reads what `generate` made.
    pub fn read(pkcs8: &[u8]) -> Result<Self, TlsError> {
        let key = any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8)).map_err(|_| TlsError::PeerKey("it is damaged"))?;
        let public = key.public_key().ok_or(TlsError::PeerKey("it is damaged"))?;
        let public: Arc<[u8]> = public.as_ref().into();
        // A raw public key travels where a certificate would.
        let certified = CertifiedKey::new(vec![CertificateDer::from(public.to_vec())], key);
        Ok(Self { certified: Arc::new(certified), public })
    }

    /// What other nodes know it by (SubjectPublicKeyInfo, DER).
    pub fn public(&self) -> &[u8] {
        &self.public
    }
}

/// What a person or a token compares instead of a key.
pub fn fingerprint(public: &[u8]) -> [u8; 32] {
    Sha256::digest(public).into()
}

/// Whether a key is the right one.
type Accepts = dyn Fn(&[u8]) -> bool + Send + Sync;

/// Says whether whoever proved to hold a key may speak.
#[derive(Clone)]
pub struct Pin {
    accepts: Arc<Accepts>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin")
    }
}

impl Pin {
    pub fn new(accepts: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        Self { accepts: Arc::new(accepts), provider: provider() }
    }

    fn look(&self, key: &[u8]) -> Result<(), Error> {
        let unknown = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        if (self.accepts)(key) { Ok(()) } else { Err(unknown) }
    }

    fn signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.provider.signature_verification_algorithms)
    }
}

/// The side that was called.
pub fn server(key: &PeerKey, pin: Pin) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13]);
    let builder = builder.map_err(TlsError::Config)?.with_client_cert_verifier(Arc::new(pin));
    let mut config =
        builder.with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::clone(&key.certified))));
    // Each connection proves the key anew: a node that was removed has nothing to resume.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// The side that calls.
pub fn client(key: &PeerKey, pin: Pin) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13]);
    let builder = builder.map_err(TlsError::Config)?.dangerous().with_custom_certificate_verifier(Arc::new(pin));
    let resolver = AlwaysResolvesClientRawPublicKeys::new(Arc::clone(&key.certified));
    let mut config = builder.with_client_cert_resolver(Arc::new(resolver));
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// What is recorded on the way today cannot be read by a quantum computer later.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = default_provider();
    provider.kx_groups = vec![kx_group::X25519MLKEM768];
    Arc::new(provider)
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.look(key).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, key, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Pin {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.look(key).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, key, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use rustls::{ClientConnection, ServerConnection, Stream};

    use super::*;

    fn key() -> PeerKey {
        PeerKey::read(&generate().unwrap()).unwrap()
    }

    /// What the side that was called read, and what the side that calls did.
    fn speak(caller: &PeerKey, callee: &PeerKey, callee_pins: &[u8], caller_pins: &[u8]) -> (Option<u8>, bool) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let (wanted, key) = (callee_pins.to_vec(), callee.clone());
        let called = std::thread::spawn(move || {
            let config = server(&key, Pin::new(move |seen| seen == wanted)).unwrap();
            let mut tls = ServerConnection::new(config).unwrap();
            let mut socket = listener.accept().unwrap().0;
            let mut stream = Stream::new(&mut tls, &mut socket);
            let mut byte = [0];
            let read = stream.read_exact(&mut byte).is_ok();
            let _ = stream.write_all(b"!");
            read.then_some(byte[0])
        });
        let wanted = caller_pins.to_vec();
        let config = client(caller, Pin::new(move |seen| seen == wanted)).unwrap();
        let mut tls = ClientConnection::new(config, ServerName::IpAddress(at.ip().into())).unwrap();
        let mut socket = TcpStream::connect(at).unwrap();
        let mut stream = Stream::new(&mut tls, &mut socket);
        let mut byte = [0];
        let heard = stream.write_all(b"?").is_ok() && stream.read_exact(&mut byte).is_ok();
        drop(socket);
        (called.join().unwrap(), heard)
    }

    #[test]
    fn each_side_proves_its_key_and_a_stranger_is_not_heard() {
        let (one, other, third) = (key(), key(), key());
        assert_eq!(speak(&one, &other, one.public(), other.public()), (Some(b'?'), true));
        assert_eq!(speak(&third, &other, one.public(), other.public()), (None, false), "who calls is unknown");
        assert_eq!(speak(&one, &third, one.public(), other.public()), (None, false), "who is called is unknown");
        assert_ne!(fingerprint(one.public()), fingerprint(other.public()));
        assert!(PeerKey::read(b"no key").is_err());
    }
}
