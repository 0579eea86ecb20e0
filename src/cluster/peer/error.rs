//! What can go wrong between two nodes.
use std::io;

use crate::base::ids::NodeId;
use crate::cluster::peer::messages::Why;
use crate::tls::error::TlsError;

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    #[error("reach node {0}: it has said nowhere where it is")]
    NoAddress(NodeId),
    #[error("reach node {0}: it is no member of this cluster")]
    NoMember(NodeId),
    #[error("reach the other node: {0}")]
    Io(#[from] io::Error),
    #[error("reach the other node: it did not answer in time")]
    Late,
    /// Nothing was said to it.
    #[error(transparent)]
    Unreached(Box<PeerError>),
    #[error("understand the other node: a message of {0} bytes is too large")]
    TooLarge(usize),
    #[error("understand the other node: {0}")]
    Unreadable(#[from] rmp_serde::decode::Error),
    #[error(
        "trust the other node: its key is not the one that is expected there; maybe another machine has its address now"
    )]
    OtherKey,
    #[error("speak to the other node: {0}")]
    Refused(Why),
    #[error("get an answer: {0}")]
    Failed(String),
    #[error(transparent)]
    Tls(#[from] TlsError),
}
