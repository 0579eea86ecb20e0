//! The home's side of a copy: tells what there is and gives it, to a node that the state lets have it. Changes nothing.
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::base::ids::{NodeId, SiteId};
use crate::base::limits::moves::{CALLS_AT_ONCE, COPY_ENTRIES, COPY_PIECE, REST_WAIT, SOURCES_AT_ONCE};
use crate::cluster::bulk::Bulk;
use crate::cluster::inbound::Caller;
use crate::cluster::peer::error::PeerError;
use crate::files::jail::{Jail, JailError};
use crate::files::manifest::{Digest, Source, Walk};
use crate::model::state::State;
use crate::moves::wire::{Ask, Hello, Rested, Stretch, Told, Walked, Wanted, Welcome};
use crate::moves::{Room, survey};
use crate::ops::stop::Stop;
use crate::ops::tasks::TaskResult;

/// Serves those who copy or ask, each on a thread of the pool.
pub(crate) async fn attend(room: Arc<Room>, stop: Stop) -> TaskResult {
    let (calls, places) = (Arc::new(Semaphore::new(CALLS_AT_ONCE)), Arc::new(Semaphore::new(SOURCES_AT_ONCE)));
    loop {
        let call = Arc::clone(&calls).acquire_owned().await?;
        let arrived = tokio::select! {
            arrived = room.moves.arrivals.next() => arrived,
            () = stop.give_up() => return Ok(()),
        };
        let Some(carried) = arrived else { return Ok(()) };
        let (bulk, caller) = match Bulk::called(carried) {
            Ok(called) => called,
            Err(error) => {
                tracing::info!("a copy was not begun: failed to {error}");
                continue;
            }
        };
        let (room, places, stop) = (Arc::clone(&room), Arc::clone(&places), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                served = serve(room, (bulk, caller), (call, places)) => if let Err(error) = served {
                    tracing::info!("a copy ended: failed to {error}");
                },
                // Its thread ends with the connection.
                () = stop.give_up() => {}
            }
        });
    }
}

async fn serve(
    room: Arc<Room>,
    (mut bulk, caller): (Bulk, Caller),
    (call, places): (OwnedSemaphorePermit, Arc<Semaphore>),
) -> Result<(), PeerError> {
    let (cut, blocking) = (bulk.cut()?, room.moves.blocking.clone());
    let heard = blocking.run(move || bulk.receive().map(|hello| (bulk, hello)));
    let (bulk, hello): (Bulk, Hello) = heard.await.map_err(refused)??;
    // A copy may take hours, and what is asked beside it is answered.
    let place = match &hello {
        Hello::Copy { site, .. } if !goes_to(&room.newest(), *site, caller.node) => {
            drop(call);
            Some(places.acquire_owned().await.map_err(refused)?)
        }
        _ => None,
    };
    let answered = blocking.run(move || answer(&room, bulk, &caller, hello)).await;
    cut.spare();
    drop(place);
    answered.map_err(refused)?
}

fn refused(error: impl std::fmt::Display) -> PeerError {
    PeerError::Failed(error.to_string())
}

/// Whether the site moves there.
fn goes_to(state: &State, site: SiteId, node: NodeId) -> bool {
    let moving = state.sites.get(&site).and_then(|site| site.moving.as_ref());
    moving.is_some_and(|moving| moving.to == node)
}

/// Blocks until who called has what it wanted.
fn answer(room: &Room, mut bulk: Bulk, caller: &Caller, hello: Hello) -> Result<(), PeerError> {
    let welcome = match &hello {
        Hello::Copy { site, epoch } => match may(&room.newest(), room.moves.node, caller.node, *site, *epoch) {
            Ok(()) => Welcome::Ready,
            Err(reason) => Welcome::Refused(reason.to_owned()),
        },
        Hello::Touched { sites } => {
            room.touches.add(caller.node, sites);
            Welcome::Ready
        }
        question => survey::answer(&room.moves, question),
    };
    bulk.send(&welcome)?;
    bulk.flush()?;
    let (Hello::Copy { site, .. }, Welcome::Ready) = (hello, welcome) else { return Ok(()) };
    let stands = room.moves.feed.view().now().sites.get(&site).is_some_and(|site| site.standbys.contains(&caller.node));
    let giver = Giver { room, site, stands, buffer: vec![0; COPY_PIECE] };
    giver.answer_all(&mut bulk, &|| caller.is_member())
}

/// Whether a node may copy a site from here.
fn may(state: &State, here: NodeId, caller: NodeId, site: SiteId, epoch: u64) -> Result<(), &'static str> {
    let site = state.sites.get(&site).ok_or("there is no such site here")?;
    if site.home != here || site.epoch != epoch {
        return Err("its home is, or was, another node");
    }
    if goes_to(state, site.id, caller) || site.standbys.contains(&caller) {
        Ok(())
    } else {
        Err("it is not known here that the site moves there")
    }
}

fn unread(path: &[u8], error: &std::io::Error) -> String {
    format!("failed to read {}: {error}", String::from_utf8_lossy(path))
}

struct Giver<'a> {
    room: &'a Room,
    site: SiteId,
    /// Who copies stands by, and is told of what changes from here on.
    stands: bool,
    buffer: Vec<u8>,
}

impl Giver<'_> {
    fn answer_all(mut self, bulk: &mut Bulk, is_member: &dyn Fn() -> bool) -> Result<(), PeerError> {
        loop {
            let ask: Ask = match bulk.receive() {
                Ok(ask) => ask,
                // Who copies has what it wanted, and goes.
                Err(PeerError::Io(error)) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            };
            if !is_member() {
                return Ok(());
            }
            match ask {
                Ask::Walk => self.walk(bulk)?,
                Ask::Files(wanted) => {
                    let jail = self.jail();
                    for wanted in wanted {
                        self.give(bulk, &jail, &wanted)?;
                    }
                }
                Ask::Rest { round } => {
                    let rested = self.room.rests.wait(self.site, round, Instant::now() + 2 * REST_WAIT);
                    let no = || Rested::No("uploads are under way at its home".into());
                    bulk.send(&if rested { Rested::Yes } else { no() })?;
                }
            }
        }
    }

    /// None: the site has no files here.
    fn jail(&self) -> Result<Option<Jail>, JailError> {
        match self.room.moves.dirs.jail(self.site) {
            Err(JailError::NotFound) => Ok(None),
            opened => opened.map(Some),
        }
    }

    fn walk(&self, bulk: &mut Bulk) -> Result<(), PeerError> {
        let jail = match self.jail() {
            Ok(Some(jail)) => jail,
            Ok(None) if self.has_files() => return bulk.send(&Walked::Failed("there are no files at its home".into())),
            Ok(None) => return bulk.send(&Walked::End),
            Err(error) => return bulk.send(&Walked::Failed(error.to_string())),
        };
        let mut walk = match self.stands {
            true => Walk::watched(&jail, &self.room.moves.watch, self.site),
            false => Walk::new(&jail),
        };
        loop {
            match walk.next(COPY_ENTRIES) {
                Ok(Some(piece)) => bulk.send(&Walked::Piece(piece))?,
                Ok(None) => return bulk.send(&Walked::End),
                Err(error) => return bulk.send(&Walked::Failed(error.to_string())),
            }
        }
    }

    fn give(
        &mut self,
        bulk: &mut Bulk,
        jail: &Result<Option<Jail>, JailError>,
        wanted: &Wanted,
    ) -> Result<(), PeerError> {
        let opened = match jail {
            Ok(Some(jail)) => Source::open(jail, &wanted.path),
            Ok(None) => Ok(None),
            Err(error) => return bulk.send(&Told::Failed(error.to_string())),
        };
        let mut source = match opened {
            Ok(Some(source)) => source,
            Ok(None) => return bulk.send(&Told::Gone),
            Err(error) => return bulk.send(&Told::Failed(error.to_string())),
        };
        let (content, traits) = (source.content, source.traits);
        if let Some(have) = wanted.have {
            match source.digest(&mut self.buffer) {
                Ok(digest) if digest == have && source.is_steady() => {
                    return bulk.send(&Told::Same { content, traits });
                }
                Ok(_) => {}
                Err(error) => return bulk.send(&Told::Failed(unread(&wanted.path, &error))),
            }
        }
        bulk.send(&Told::Comes { content, traits })?;
        let mut digest = Digest::default();
        loop {
            let (mut at, mut left) = match source.stretch() {
                Ok(Some(stretch)) => stretch,
                Ok(None) => break,
                Err(errno) => return bulk.send(&Stretch::Failed(unread(&wanted.path, &errno.into()))),
            };
            while left > 0 {
                let piece = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                if let Err(error) = source.read(at, &mut self.buffer[..piece]) {
                    return bulk.send(&Stretch::Failed(unread(&wanted.path, &error)));
                }
                digest.update(at, &self.buffer[..piece]);
                bulk.send(&Stretch::Bytes { at, len: piece as u64 })?;
                bulk.write(&self.buffer[..piece])?;
                (at, left) = (at + piece as u64, left - piece as u64);
            }
        }
        bulk.send(&Stretch::End { digest: digest.value(), steady: source.is_steady() })
    }

    /// Whether the site is served from files: then there have to be some.
    fn has_files(&self) -> bool {
        let mut view = self.room.moves.feed.view();
        let site = view.now().sites.get(&self.site);
        site.is_some_and(|site| site.has_files())
    }
}
