//! A session's connection to the home of its site: operations one after the other, each answered within bounds, given up on any
//! error. Never reads a file, never decides who may.
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::base::ids::NodeId;
use crate::base::limits::{FTP_CARRIED_FRAME_MAX, FTP_HOME_REACH_WAIT, FTP_HOME_SILENCE, FTP_STALL_WAIT};
use crate::cluster::peer::dial::{self, Peers};
use crate::cluster::peer::error::PeerError;
use crate::cluster::peer::frames;
use crate::cluster::peer::messages::Class;
use crate::ftp::asks::{Asked, Part, Said};
use crate::ftp::reply::Reply;
use crate::ops::alive::is_silent;

#[derive(Debug)]
pub(crate) struct Link {
    home: NodeId,
    stream: Box<dial::Stream>,
}

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// Nothing of what was asked was done.
    #[error("reach the node that has the site's files: {0}")]
    Unreached(#[source] PeerError),
    #[error("hear from the node that has the site's files: {0}")]
    Broken(#[source] PeerError),
    #[error("understand the node that has the site's files")]
    Odd,
}

impl From<LinkError> for Reply {
    fn from(error: LinkError) -> Self {
        let code = if matches!(error, LinkError::Unreached(_)) { 450 } else { 451 };
        Self::failed(code, format!("{error}; try again in a moment"))
    }
}

impl Link {
    pub(crate) async fn open(peers: &Peers, home: NodeId) -> Result<Self, LinkError> {
        let opened = timeout(FTP_HOME_REACH_WAIT, peers.open(home, Class::Files)).await;
        let stream = opened.unwrap_or(Err(PeerError::Late)).map_err(LinkError::Unreached)?;
        Ok(Self { home, stream: Box::new(stream) })
    }

    pub(crate) fn home(&self) -> NodeId {
        self.home
    }

    /// Whether nothing was asked on it that is not answered, and the home has not closed it.
    pub(crate) fn is_fit(&self) -> bool {
        is_silent(self.stream.get_ref().0)
    }

    pub(crate) async fn ask(&mut self, asked: &Asked) -> Result<Said, LinkError> {
        push(&mut self.stream, asked, FTP_STALL_WAIT).await.map_err(LinkError::Broken)?;
        self.hear().await
    }

    /// The next word that says something.
    pub(crate) async fn hear(&mut self) -> Result<Said, LinkError> {
        loop {
            match pull(&mut self.stream, FTP_HOME_SILENCE).await.map_err(LinkError::Broken)? {
                Said::Busy => {}
                said => return Ok(said),
            }
        }
    }

    /// Sends a part of a file. What the home says meanwhile is why it takes no more.
    pub(crate) async fn give(&mut self, part: &Part) -> Result<(), Reply> {
        while !self.is_fit() {
            match pull(&mut self.stream, FTP_HOME_SILENCE).await.map_err(LinkError::Broken)? {
                Said::Busy => {}
                Said::Refused { code, text } => return Err(Reply::new(code, text)),
                _ => return Err(LinkError::Odd.into()),
            }
        }
        let given = push(&mut self.stream, part, FTP_STALL_WAIT).await;
        given.map_err(|error| LinkError::Broken(error).into())
    }
}

/// Sends a message, however long that takes, as long as it goes on.
pub(crate) async fn push<T: Serialize>(
    out: &mut (impl AsyncWrite + Unpin),
    message: &T,
    stall: Duration,
) -> Result<(), PeerError> {
    let bytes = frames::encoded(message)?;
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let written = timeout(stall, out.write(rest)).await.map_err(|_| PeerError::Late)??;
        if written == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into());
        }
        rest = &rest[written..];
    }
    timeout(stall, out.flush()).await.map_err(|_| PeerError::Late)??;
    Ok(())
}

/// The next message, all of it within this time.
pub(crate) async fn pull<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    wait: Duration,
) -> Result<T, PeerError> {
    timeout(wait, frames::receive(from, FTP_CARRIED_FRAME_MAX)).await.map_err(|_| PeerError::Late)?
}
