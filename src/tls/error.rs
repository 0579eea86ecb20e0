//! What can go wrong with keys and certificates.
use crate::seal::SealError;

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("mint a certificate: the cluster has no sites CA yet")]
    NoCa,
    #[error("mint a certificate: {0} names are more than a site can have")]
    TooManyNames(usize),
    #[error("make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error("read a certificate: {0}")]
    Parse(String),
    #[error("read a PFX file: {0}")]
    Pfx(String),
    #[error("use a private key: {0}")]
    Key(rustls::Error),
    #[error("use the key of an account: {0}")]
    AccountKey(&'static str),
    #[error(transparent)]
    Open(#[from] SealError),
    #[error("draw random bytes: {0}")]
    Random(#[from] getrandom::Error),
    #[error("use the key of this node: {0}")]
    PeerKey(&'static str),
    #[error("configure TLS: {0}")]
    Config(rustls::Error),
}
