//! A copy of the state on its way to a member that lags too far behind the log, or is new: its head, its bytes, the answer. A
//! connection that breaks costs what was under way on it: the next one goes on where it ended. Files are read and written on the
//! blocking pool.
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::pin::pin;

use openraft::Snapshot;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, Notify};
use tokio::time::{sleep, timeout};

use crate::base::ids::NodeId;
use crate::base::limits::peers::{
    PEER_COPY_KEPT, PEER_COPY_MAX, PEER_COPY_PIECE, PEER_COPY_TRIES, PEER_COPY_WAIT, PEER_FRAME_MAX, PEER_PAUSE_MAX,
};
use crate::cluster::founding::random_id;
use crate::cluster::member::Member;
use crate::cluster::peer::accept::Called;
use crate::cluster::peer::dial::Peers;
use crate::cluster::peer::error::PeerError;
use crate::cluster::peer::frames::{receive, send};
use crate::cluster::peer::messages::{Class, CopyHead, CopySaid};
use crate::ops::blocking::Blocking;
use crate::store::copy::Copied;
use crate::store::types::{TypeConfig, Vote};

/// How a copy is to be taken.
pub(crate) struct Way {
    pub(crate) vote: Vote,
    /// In the place of a state that is wrong, and not by raft.
    pub(crate) instead: bool,
}

/// Of a copy on its way here, what has come; a connection that breaks leaves it for the next one.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    begun: Mutex<Option<Begun>>,
    /// Another connection brings the rest.
    newer: Notify,
}

#[derive(Debug)]
struct Begun {
    from: NodeId,
    serial: u64,
    bytes: u64,
    had: u64,
    copied: Box<Copied>,
}

/// Sends a copy, over one connection after the other while each brings it further.
pub(crate) async fn send_copy(
    peers: &Peers,
    blocking: &Blocking,
    to: NodeId,
    Way { vote, instead }: Way,
    snapshot: Snapshot<TypeConfig>,
) -> Result<CopySaid, PeerError> {
    let path = snapshot.snapshot.path().ok_or_else(|| PeerError::Failed("there is no copy to send".into()))?;
    let (bytes, serial) = (File::open(path)?.metadata()?.len(), random_id());
    let head = CopyHead { vote, meta: snapshot.meta.clone(), bytes, instead, serial };
    let (mut furthest, mut tries) = (0, 0);
    loop {
        let mut had = 0;
        let error = match send_rest(peers, blocking, to, (path, &head), &mut had).await {
            Ok(CopySaid::Failed(text)) => return Err(PeerError::Failed(text)),
            Ok(taken) => return Ok(taken),
            Err(error) => error,
        };
        tries = if had > furthest { 0 } else { tries + 1 };
        furthest = furthest.max(had);
        let is_cut = matches!(error, PeerError::Io(_) | PeerError::Late);
        if !is_cut || tries >= PEER_COPY_TRIES {
            return Err(error);
        }
        tracing::warn!(node = %to, "a copy of the state was cut off and goes on: failed to {error}");
        sleep(PEER_PAUSE_MAX).await;
    }
}

/// One connection. `had`: what was there when it was opened.
async fn send_rest(
    peers: &Peers,
    blocking: &Blocking,
    to: NodeId,
    (path, head): (&Path, &CopyHead),
    had: &mut u64,
) -> Result<CopySaid, PeerError> {
    let mut stream = peers.open(to, Class::Bulk).await?;
    send(&mut stream, head).await?;
    *had = match timeout(PEER_COPY_WAIT, receive(&mut stream, PEER_FRAME_MAX)).await.map_err(|_| PeerError::Late)?? {
        CopySaid::Have(had) => had.min(head.bytes),
        other => return Ok(other),
    };
    tracing::info!(node = %to, bytes = head.bytes, from = *had, "sending a copy of the state");
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(*had))?;
    let mut left = head.bytes - *had;
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
    timeout(10 * PEER_COPY_WAIT, receive(&mut stream, PEER_FRAME_MAX)).await.map_err(|_| PeerError::Late)?
}

impl Member {
    /// Takes a copy of the state in the place of this node's own.
    pub(crate) async fn take_copy(&self, stream: &mut Called, from: NodeId) -> Result<(), PeerError> {
        let head: CopyHead = receive(stream, PEER_FRAME_MAX).await?;
        if head.bytes > PEER_COPY_MAX {
            return Err(PeerError::Failed(format!("a copy of {} bytes is too large", head.bytes)));
        }
        let incoming = self.incoming();
        // Whoever waits for more of it on a connection that is dead lets go.
        incoming.newer.notify_waiters();
        let received = {
            let mut begun = timeout(PEER_COPY_WAIT, incoming.begun.lock()).await.map_err(|_| PeerError::Late)?;
            self.receive_rest(stream, from, &head, &mut begun).await
        };
        let copied = match received {
            Ok(copied) => copied,
            Err(error) => {
                self.keep_for(from, head.serial).await;
                return Err(error);
            }
        };
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

    /// Says what is there of a copy, and receives the rest.
    async fn receive_rest(
        &self,
        stream: &mut Called,
        from: NodeId,
        head: &CopyHead,
        slot: &mut Option<Begun>,
    ) -> Result<Box<Copied>, PeerError> {
        let refused = |error: &dyn std::fmt::Display| PeerError::Failed(error.to_string());
        let mut newer = pin!(self.incoming().newer.notified());
        newer.as_mut().enable();
        if !slot.as_ref().is_some_and(|begun| begun.is_of(from, head)) {
            // Not made by raft, which would end where it cannot be made.
            let copied = Box::new(Copied::empty(self.machine().dir())?);
            *slot = Some(Begun { from, serial: head.serial, bytes: head.bytes, had: 0, copied });
        }
        let Some(begun) = slot else { return Err(refused(&"there is no place for a copy")) };
        let path = begun.copied.path().ok_or_else(|| refused(&"there is no place for a copy"))?;
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.seek(SeekFrom::Start(begun.had))?;
        tracing::info!(node = %from, bytes = head.bytes, from = begun.had, "receiving a copy of the state");
        send(stream, &CopySaid::Have(begun.had)).await?;
        let mut piece = vec![0; PEER_COPY_PIECE];
        while begun.had < head.bytes {
            let wanted = (head.bytes - begun.had).min(PEER_COPY_PIECE as u64) as usize;
            tokio::select! {
                received = timeout(PEER_COPY_WAIT, stream.read_exact(&mut piece[..wanted])) => {
                    received.map_err(|_| PeerError::Late)??;
                }
                () = &mut newer => return Err(PeerError::Late),
            }
            let write = move || file.write_all(&piece[..wanted]).map(|()| (file, piece));
            (file, piece) = run(self.blocking(), write).await?;
            begun.had += wanted as u64;
            self.voice().hear_copy(from);
        }
        slot.take().map(|begun| begun.copied).ok_or_else(|| refused(&"it was taken already"))
    }

    /// Keeps the beginning of a copy for its rest, and not for ever.
    async fn keep_for(&self, from: NodeId, serial: u64) {
        sleep(PEER_COPY_KEPT).await;
        if let Ok(mut begun) = self.incoming().begun.try_lock() {
            begun.take_if(|begun| begun.from == from && begun.serial == serial);
        }
    }
}

impl Begun {
    fn is_of(&self, from: NodeId, head: &CopyHead) -> bool {
        self.from == from && self.serial == head.serial && self.bytes == head.bytes
    }
}

async fn run<T: Send + 'static>(
    blocking: &Blocking,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, PeerError> {
    let done = blocking.run(work).await.map_err(|error| PeerError::Failed(error.to_string()))?;
    Ok(done?)
}

#[cfg(test)]
mod tests {
    use openraft::SnapshotMeta;

    use super::*;

    #[test]
    fn what_has_come_of_a_copy_goes_on_with_the_rest_of_that_one_only() {
        let head =
            CopyHead { vote: Vote::default(), meta: SnapshotMeta::default(), bytes: 9, instead: false, serial: 5 };
        let copied = Box::new(Copied::nothing());
        let begun = Begun { from: NodeId(2), serial: 5, bytes: 9, had: 4, copied };
        assert!(begun.is_of(NodeId(2), &head));
        assert!(!begun.is_of(NodeId(3), &head), "of another node");
        // Made anew, at another index: as large it may be.
        assert!(!begun.is_of(NodeId(2), &CopyHead { serial: 6, ..head.clone() }));
        assert!(!begun.is_of(NodeId(2), &CopyHead { bytes: 10, ..head }));
    }
}
