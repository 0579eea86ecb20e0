//! The destination's side of a copy: pass after pass over all names, each of which fetches what differs. Works on a thread of the
//! pool; decides nothing about the move.
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::base::limits::moves::{
    COPY_LITTLE_BYTES, COPY_LITTLE_TIME, COPY_PASS_FILES, COPY_PAUSE_MAX, COPY_PIECE, COPY_ROOM, COPY_WANTED,
};
use crate::cluster::bulk::{Bulk, Cut};
use crate::cluster::peer::error::PeerError;
use crate::files::manifest::{Piece, Sum};
use crate::files::replica::{Missing, Replica, ReplicaError};
use crate::moves::wire::{Ask, Hello, Rested, Stretch, Told, Walked, Wanted, Welcome};

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub(crate) enum PullError {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("copy: {0}")]
    Later(String),
    /// Trying again would not help.
    #[error("copy: {0}")]
    Never(String),
    #[error(transparent)]
    Replica(#[from] ReplicaError),
}

impl PullError {
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Never(_) | Self::Replica(_))
    }
}

/// How far a copy is, for others to read.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    pub(crate) done: AtomicU64,
    pub(crate) total: AtomicU64,
    pub(crate) files: AtomicU64,
}

/// What one pass did.
#[derive(Debug, Clone)]
pub(crate) struct Pass {
    fetched: u64,
    took: Duration,
    /// One that went, or changed while it was read.
    pub(crate) unsteady: Option<Vec<u8>>,
    /// It was too much for one pass.
    pub(crate) left: bool,
    pub(crate) odd: u64,
}

impl Pass {
    /// Bytes of content that came.
    pub(crate) fn fetched(&self) -> u64 {
        self.fetched
    }

    /// Everything that was there is here.
    pub(crate) fn is_whole(&self) -> bool {
        !self.left && self.unsteady.is_none()
    }

    /// Another one would find little to do.
    pub(crate) fn is_little(&self) -> bool {
        !self.left && (self.fetched <= COPY_LITTLE_BYTES || self.took <= COPY_LITTLE_TIME)
    }
}

/// Asks the home for a site's files.
pub(crate) fn greet(bulk: &mut Bulk, hello: &Hello) -> Result<(), PullError> {
    bulk.send(hello)?;
    match bulk.receive()? {
        Welcome::Ready => Ok(()),
        Welcome::Refused(reason) => Err(PullError::Later(reason)),
        _ => Err(PullError::Later("its home said something odd".into())),
    }
}

/// A copy under way.
#[derive(Debug)]
pub(crate) struct Pull {
    bulk: Bulk,
    replica: Replica,
    gauge: Arc<Gauge>,
    /// Bytes a second.
    bandwidth: Option<u64>,
    /// Bytes of content that came in this pass.
    fetched: u64,
    buffer: Vec<u8>,
}

/// Batches of questions, so that answers come without a pause; small enough that nobody waits for room to ask.
const BATCH_BYTES: usize = 16 << 10;

impl Pull {
    pub(crate) fn new(bulk: Bulk, replica: Replica, gauge: Arc<Gauge>, bandwidth: Option<u64>) -> Self {
        Self { bulk, replica, gauge, bandwidth, fetched: 0, buffer: vec![0; COPY_PIECE] }
    }

    /// From here on somebody waits: no limit holds.
    pub(crate) fn hurry(&mut self) {
        self.bandwidth = None;
    }

    /// What cuts it off when dropped.
    pub(crate) fn cut(&self) -> Result<Cut, PeerError> {
        self.bulk.cut()
    }

    /// What is here so far, for another connection.
    pub(crate) fn into_replica(self) -> Replica {
        self.replica
    }

    /// Waits until the site rests.
    pub(crate) fn rest(&mut self, round: u64) -> Result<(), PullError> {
        self.bulk.send(&Ask::Rest { round })?;
        match self.bulk.receive()? {
            Rested::Yes => Ok(()),
            Rested::No(reason) => Err(PullError::Later(reason)),
        }
    }

    /// Makes what is here what is there. What it fetched is on the disk when this returns.
    pub(crate) fn pass(&mut self, room: u64) -> Result<Pass, PullError> {
        let begun = Instant::now();
        let (sum, missing, left) = self.walk()?;
        let lacking: u64 = missing.iter().map(Missing::bytes).sum();
        if lacking.saturating_add(COPY_ROOM) > room {
            let reason = format!("the disk has room for {room} bytes, and {lacking} are to come");
            return Err(PullError::Never(reason));
        }
        self.gauge.total.store(sum.bytes, Ordering::Relaxed);
        self.gauge.done.store(sum.bytes.saturating_sub(lacking), Ordering::Relaxed);
        let (files, names): (Vec<_>, Vec<_>) =
            missing.into_iter().partition(|missing| matches!(missing, Missing::Content { .. }));
        self.fetched = 0;
        let unsteady = self.fetch_all(files, begun)?;
        for name in names {
            if let Missing::Name { path, of } = name {
                self.replica.name_too(&path, &of)?;
            }
        }
        self.replica.settle()?;
        self.replica.sync()?;
        Ok(Pass { fetched: self.fetched, took: begun.elapsed(), unsteady, left, odd: sum.odd })
    }

    /// Compares all names; also says whether some are left to the next pass.
    fn walk(&mut self) -> Result<(Sum, Vec<Missing>, bool), PullError> {
        let (mut sum, mut missing, mut left) = (Sum::default(), Vec::new(), false);
        let mut names = HashSet::new();
        self.bulk.send(&Ask::Walk)?;
        loop {
            let piece = match self.bulk.receive()? {
                Walked::Piece(piece) => piece,
                Walked::End => return Ok((sum, missing, left)),
                Walked::Failed(reason) => return Err(PullError::Never(reason)),
            };
            if !is_sound(&piece) {
                return Err(PullError::Never("its home told of a name that no file has".into()));
            }
            sum.add(&piece);
            let found = self.replica.compare(&piece)?;
            let places = COPY_PASS_FILES.saturating_sub(missing.len());
            left |= found.len() > places;
            missing.extend(found.into_iter().take(places));
            names.extend(piece.entries.into_iter().map(|entry| entry.name));
            if piece.whole {
                self.replica.prune(&piece.dir, &names)?;
                names.clear();
            }
        }
    }

    /// Asks for files a batch ahead of those that come; names one that did not come as it was told.
    fn fetch_all(&mut self, files: Vec<Missing>, begun: Instant) -> Result<Option<Vec<u8>>, PullError> {
        let mut batches = batches(files).into_iter();
        let (mut unsteady, mut asked) = (None, self.ask(batches.next())?);
        while !asked.is_empty() {
            let ahead = self.ask(batches.next())?;
            for path in asked {
                if !self.take(&path, begun)? {
                    unsteady = Some(path);
                }
            }
            asked = ahead;
        }
        Ok(unsteady)
    }

    fn ask(&mut self, batch: Option<Vec<(Vec<u8>, bool)>>) -> Result<Vec<Vec<u8>>, PullError> {
        let batch = batch.unwrap_or_default();
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let (replica, buffer) = (&self.replica, &mut self.buffer);
        let mut wanted = |(path, alike): &(Vec<u8>, bool)| {
            let have = if *alike { replica.digest(path, buffer) } else { None };
            Wanted { path: path.clone(), have }
        };
        let wanted: Vec<_> = batch.iter().map(&mut wanted).collect();
        self.bulk.send(&Ask::Files(wanted))?;
        self.bulk.flush()?;
        Ok(batch.into_iter().map(|(path, _)| path).collect())
    }

    /// Takes one file; says whether it is here as it was told.
    fn take(&mut self, path: &[u8], begun: Instant) -> Result<bool, PullError> {
        let (content, traits) = match self.bulk.receive()? {
            Told::Gone => return Ok(false),
            Told::Failed(reason) => return Err(PullError::Never(reason)),
            Told::Same { content, traits } => {
                self.replica.keep(path, &content, &traits)?;
                self.gauge.done.fetch_add(content.len, Ordering::Relaxed);
                return Ok(true);
            }
            Told::Comes { content, traits } => (content, traits),
        };
        let mut growing = self.replica.begin(path)?;
        loop {
            let (mut at, mut left) = match self.bulk.receive()? {
                Stretch::Bytes { at, len } => (at, len),
                Stretch::Failed(reason) => return Err(PullError::Never(reason)),
                Stretch::End { digest, .. } if digest != growing.digest() => {
                    return Err(PullError::Later("what came is not what was sent".into()));
                }
                Stretch::End { steady: false, .. } => return Ok(false),
                Stretch::End { .. } => break,
            };
            if at.saturating_add(left) > content.len {
                return Err(PullError::Later("more came of a file than it has".into()));
            }
            while left > 0 {
                let piece = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                self.bulk.read(&mut self.buffer[..piece])?;
                growing.write(at, &self.buffer[..piece])?;
                (at, left) = (at + piece as u64, left - piece as u64);
                self.gauge.done.fetch_add(piece as u64, Ordering::Relaxed);
                self.fetched += piece as u64;
                self.slow_down(begun);
            }
        }
        self.replica.finish(path, growing, (&content, &traits))?;
        self.gauge.files.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    /// Waits until what came so far was due. What is told without content goes free.
    fn slow_down(&self, begun: Instant) {
        let Some(bandwidth) = self.bandwidth.filter(|bandwidth| *bandwidth > 0) else { return };
        let due = Duration::from_secs_f64(self.fetched as f64 / bandwidth as f64);
        std::thread::sleep(due.saturating_sub(begun.elapsed()).min(COPY_PAUSE_MAX));
    }
}

/// Nothing in it leads elsewhere: names of one part, none of them a way up.
fn is_sound(piece: &Piece) -> bool {
    let is_name = |name: &[u8]| {
        !name.is_empty()
            && name.len() <= 255
            && !name.contains(&b'/')
            && !name.contains(&0)
            && name != b"."
            && name != b".."
    };
    let is_dir = piece.dir.is_empty() || piece.dir.split(|byte| *byte == b'/').all(is_name);
    is_dir && piece.entries.iter().all(|entry| is_name(&entry.name))
}

/// Cuts what is missing into questions.
fn batches(files: Vec<Missing>) -> Vec<Vec<(Vec<u8>, bool)>> {
    let (mut batches, mut bytes) = (vec![Vec::new()], 0);
    for missing in files {
        let Missing::Content { path, alike, .. } = missing else { continue };
        let Some(last) = batches.last_mut() else { break };
        bytes += path.len() + 32;
        if last.is_empty() || (bytes <= BATCH_BYTES && last.len() < COPY_WANTED) {
            last.push((path, alike));
        } else {
            bytes = path.len() + 32;
            batches.push(vec![(path, alike)]);
        }
    }
    batches
}
