//! The home's side of sessions on other nodes: each operation judged by this node's own state, epoch and jail, as if its session were
//! here. What breaks off before its end leaves nothing.
use std::future::Future;
use std::sync::Arc;

use tokio::time::sleep;

use crate::base::limits::peers::PEER_IDLE_WAIT;
use crate::base::limits::{FTP_CARRIED_WAIT, FTP_HOME_BUSY_EVERY, FTP_NAMES_AT_ONCE, FTP_PIECE, FTP_STALL_WAIT};
use crate::cluster::inbound::Carried;
use crate::cluster::peer::accept::Called;
use crate::cluster::peer::error::PeerError;
use crate::ftp::Plane;
use crate::ftp::asks::{Ask, Asked, Part, Said, Who};
use crate::ftp::flows::Sink;
use crate::ftp::guest::{Denied, Guest, LATER, standing, unchanged};
use crate::ftp::link::{pull, push};
use crate::ftp::reply::Reply;
use crate::ops::stop::Stop;

/// A session elsewhere, as its home knows it.
struct Session {
    plane: Arc<Plane>,
    stream: Called,
    guest: Option<Guest>,
}

/// Why an operation did not come to its end.
enum Broken {
    /// It was refused, and the session hears of it.
    Refused(Reply),
    /// The connection is of no more use.
    Cut(PeerError),
}

impl From<Reply> for Broken {
    fn from(reply: Reply) -> Self {
        Self::Refused(reply)
    }
}

impl From<PeerError> for Broken {
    fn from(error: PeerError) -> Self {
        Self::Cut(error)
    }
}

/// Does what is asked, one operation after the other, for as long as who asks is a member.
pub(crate) async fn attend(plane: Arc<Plane>, carried: Carried, stop: Stop) -> Result<(), PeerError> {
    let (stream, caller, _place) = carried.stream().await?;
    let mut session = Session { plane, stream, guest: None };
    loop {
        let asked: Asked = tokio::select! {
            asked = pull(&mut session.stream, PEER_IDLE_WAIT) => asked?,
            () = stop.give_up() => return Ok(()),
        };
        if !caller.is_member() {
            return Ok(());
        }
        let uploads = matches!(asked.ask, Ask::Store { .. });
        match session.serve(asked).await {
            Ok(()) => {}
            Err(Broken::Cut(error)) => return Err(error),
            Err(Broken::Refused(reply)) => {
                session.say(&Said::refused(&reply)).await?;
                if uploads {
                    return session.ignored().await;
                }
            }
        }
    }
}

impl Session {
    async fn say(&mut self, said: &Said) -> Result<(), PeerError> {
        push(&mut self.stream, said, FTP_STALL_WAIT).await
    }

    /// Works, and says now and then that it still does.
    async fn while_busy<T>(stream: &mut Called, work: impl Future<Output = T>) -> Result<T, PeerError> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = sleep(FTP_HOME_BUSY_EVERY) => push(stream, &Said::Busy, FTP_STALL_WAIT).await?,
            }
        }
    }

    /// Waits until the other side has heard why its file is not taken: closing at once could take the word back.
    async fn ignored(&mut self) -> Result<(), PeerError> {
        while let Part::Piece(_) = pull(&mut self.stream, FTP_CARRIED_WAIT).await? {}
        Ok(())
    }

    async fn serve(&mut self, asked: Asked) -> Result<(), Broken> {
        let Asked { who, epoch, revision, ask } = asked;
        if let Some(moved) = self.admit(who, epoch, revision).await? {
            return Ok(self.say(&moved).await?);
        }
        let plane = Arc::clone(&self.plane);
        let Self { stream, guest: Some(guest), .. } = self else { return Err(Reply::new(LATER, "Not now").into()) };
        match ask {
            Ask::Read { path, offset } => {
                let (mut source, length, mut piece) =
                    Self::while_busy(stream, guest.read(&plane, path, offset)).await??;
                push(stream, &Said::File(length), FTP_STALL_WAIT).await?;
                loop {
                    let whole = piece.len() == FTP_PIECE;
                    push(stream, &Said::Piece(piece), FTP_STALL_WAIT).await?;
                    if !whole {
                        return Ok(());
                    }
                    (source, piece) = source.next(&plane).await?;
                }
            }
            Ask::List(path) => {
                let (mut names, mut entries) = Self::while_busy(stream, guest.list(&plane, path)).await??;
                loop {
                    let more = entries.len() == FTP_NAMES_AT_ONCE;
                    push(stream, &Said::Names(entries), FTP_STALL_WAIT).await?;
                    if !more {
                        return Ok(());
                    }
                    (names, entries) = names.next(&plane).await?;
                }
            }
            Ask::Store { path, start } => {
                let sink = Self::while_busy(stream, guest.store(&plane, path, start)).await??;
                push(stream, &Said::Done, FTP_STALL_WAIT).await?;
                stored(&plane, stream, sink).await
            }
            ask => {
                let said = Self::while_busy(stream, guest.ask(&plane, ask)).await??;
                Ok(self.say(&said).await?)
            }
        }
    }

    /// Sees that this node knows what the other one does, and that the files are here under that epoch.
    async fn admit(&mut self, who: Who, epoch: u64, revision: u64) -> Result<Option<Said>, Reply> {
        if !self.plane.catches_up(revision).await {
            return Err(Reply::new(LATER, "The site's home has not caught up yet; try again in a moment"));
        }
        let newest = self.plane.snapshot();
        let user = unchanged(&newest, &who).map_err(Denied::reply)?;
        let standing = standing(&newest, user).map_err(Denied::reply)?;
        if standing.home != self.plane.node || standing.epoch != epoch {
            return Ok(Some(Said::Moved(newest.revision)));
        }
        if self.guest.as_ref().is_none_or(|guest| guest.who != who) {
            self.guest = Some(Guest::new(user, newest.generation, standing, true));
        }
        Ok(None)
    }
}

/// Takes the parts of a file, up to its place.
async fn stored(plane: &Plane, stream: &mut Called, sink: Sink) -> Result<(), Broken> {
    let mut sink = Session::while_busy(stream, sink.copied(plane)).await??;
    push(stream, &Said::Done, FTP_STALL_WAIT).await?;
    loop {
        match pull(stream, FTP_CARRIED_WAIT).await? {
            Part::Piece(piece) => sink = Session::while_busy(stream, sink.write(plane, piece)).await??.0,
            Part::Last(piece) => {
                Session::while_busy(stream, sink.commit(plane, piece)).await??;
                return Ok(push(stream, &Said::Done, FTP_STALL_WAIT).await?);
            }
        }
    }
}
