//! A copy of the state on its way to a member that lags too far behind the log, or is new: its head, its bytes, the answer. Files are
//! read and written on the blocking pool.
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};

use openraft::Snapshot;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::base::ids::NodeId;
use crate::base::limits::peers::{PEER_COPY_MAX, PEER_COPY_PIECE, PEER_COPY_WAIT, PEER_FRAME_MAX};
use crate::cluster::member::Member;
use crate::cluster::peer::accept::Called;
use crate::cluster::peer::dial::Peers;
use crate::cluster::peer::error::PeerError;
use crate::cluster::peer::frames::{receive, send};
use crate::cluster::peer::messages::{Class, CopyHead, CopySaid};
use crate::ops::blocking::Blocking;
use crate::store::types::{TypeConfig, Vote};

/// How a copy is to be taken.
pub(crate) struct Way {
    pub(crate) vote: Vote,
    /// In the place of a state that is wrong, and not by raft.
    pub(crate) instead: bool,
}

pub(crate) async fn send_copy(
    peers: &Peers,
    blocking: &Blocking,
    to: NodeId,
    Way { vote, instead }: Way,
    snapshot: Snapshot<TypeConfig>,
) -> Result<CopySaid, PeerError> {
    let path = snapshot.snapshot.path().ok_or_else(|| PeerError::Failed("there is no copy to send".into()))?;
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut stream = peers.open(to, Class::Bulk).await?;
    tracing::info!(node = %to, bytes, "sending a copy of the state");
    send(&mut stream, &CopyHead { vote, meta: snapshot.meta.clone(), bytes, instead }).await?;
    let mut left = bytes;
    let mut piece = vec![0; PEER_COPY_PIECE];
    while left > 0 {
        let wanted = left.min(PEER_COPY_PIECE as u64) as usize;
        let read = move || file.read_exact(&mut piece[..wanted]).map(|()| (file, piece));
        (file, piece) = run(blocking, read).await?;
        timeout(PEER_COPY_WAIT, stream.write_all(&piece[..wanted])).await.map_err(|_| PeerError::Late)??;
        left -= wanted as u64;
    }
    stream.flush().await?;
    // It is verified row by row and taken up before the answer.
    match timeout(10 * PEER_COPY_WAIT, receive(&mut stream, PEER_FRAME_MAX)).await.map_err(|_| PeerError::Late)?? {
        CopySaid::Failed(text) => Err(PeerError::Failed(text)),
        taken => Ok(taken),
    }
}

impl Member {
    /// Takes a copy of the state in the place of this node's own.
    pub(crate) async fn take_copy(&self, stream: &mut Called, from: NodeId) -> Result<(), PeerError> {
        let head: CopyHead = receive(stream, PEER_FRAME_MAX).await?;
        if head.bytes > PEER_COPY_MAX {
            return Err(PeerError::Failed(format!("a copy of {} bytes is too large", head.bytes)));
        }
        tracing::info!(node = %from, bytes = head.bytes, "receiving a copy of the state");
        let refused = |error: &dyn std::fmt::Display| PeerError::Failed(error.to_string());
        let copied = self.raft().begin_receiving_snapshot().await.map_err(|error| refused(&error))?;
        let path = copied.path().ok_or_else(|| refused(&"there is no place for a copy"))?;
        let mut file = OpenOptions::new().write(true).open(path)?;
        let mut left = head.bytes;
        let mut piece = vec![0; PEER_COPY_PIECE];
        while left > 0 {
            let wanted = left.min(PEER_COPY_PIECE as u64) as usize;
            let received = timeout(PEER_COPY_WAIT, stream.read_exact(&mut piece[..wanted]));
            received.await.map_err(|_| PeerError::Late)??;
            let write = move || file.write_all(&piece[..wanted]).map(|()| (file, piece));
            (file, piece) = run(self.blocking(), write).await?;
            left -= wanted as u64;
            self.voice().hear_copy(from);
        }
        drop(file);
        if head.instead {
            let said = self.take_over(head, copied).await;
            return send(stream, &said).await;
        }
        let snapshot = Snapshot { meta: head.meta, snapshot: copied };
        let said = match self.raft().install_full_snapshot(head.vote, snapshot).await {
            Ok(response) => CopySaid::Taken(response),
            Err(error) => CopySaid::Failed(error.to_string()),
        };
        send(stream, &said).await
    }
}

async fn run<T: Send + 'static>(
    blocking: &Blocking,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, PeerError> {
    let done = blocking.run(work).await.map_err(|error| PeerError::Failed(error.to_string()))?;
    Ok(done?)
}
