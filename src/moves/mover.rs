//! One move, from the first pass to the flip, at its destination. What it does next follows from the state and from what is here:
//! killed anywhere and begun again, it goes on or ends. Never flips what did not rest all along.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::time::{interval, sleep, timeout};

use crate::base::ids::{OperationId, SiteId};
use crate::base::limits::moves::{
    COPY_PASSES, MOVE_HOLD_MAX, MOVE_PATIENCE, MOVE_PAUSE_FIRST, MOVE_PAUSE_MAX, MOVE_PROGRESS_EVERY, MOVE_UNRESTS,
};
use crate::cluster::door::{Write, WriteError, random};
use crate::files::replica::Replica;
use crate::model::moves::{Moving, Stage, Step};
use crate::model::operations::{OperationProgress, Status};
use crate::model::sites::Site;
use crate::model::state::Snapshot;
use crate::moves::pull::{self, Gauge, Pass, Pull, PullError};
use crate::moves::wire::Hello;
use crate::moves::{MovesKey, Room, plan};
use crate::ops::stop::Stop;

/// One move at its destination.
#[derive(Debug)]
pub(crate) struct Mover {
    room: Arc<Room>,
    site: SiteId,
    operation: OperationId,
    gauge: Arc<Gauge>,
    begun: Instant,
    /// What was said last of how far it is.
    said: Option<(String, u64)>,
    /// What is here, between two connections.
    replica: Option<Replica>,
}

/// Why a try ended before the flip.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Pull(#[from] PullError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("go on: the move was cancelled")]
    Cancelled,
    #[error("go on: the move has ended")]
    Ended,
    #[error("go on: nobody said within {} minutes that the site may rest", MOVE_HOLD_MAX.as_secs() / 60)]
    Unheard,
    #[error("copy: files change though the site rests, {0} among them")]
    Unrest(String),
    #[error("copy: {0}")]
    Work(String),
}

impl Mover {
    pub(crate) fn new(room: Arc<Room>, site: SiteId, operation: OperationId) -> Self {
        let (gauge, begun) = (Arc::default(), Instant::now());
        Self { room, site, operation, gauge, begun, said: None, replica: None }
    }

    /// Works until the site is at home here, or stays where it is, or the node stops.
    pub(crate) async fn run(mut self, stop: Stop) {
        tokio::select! {
            () = self.carry_on() => {}
            () = stop.give_up() => {}
        }
    }

    async fn carry_on(&mut self) {
        let (mut since, mut pause, mut furthest) = (Instant::now(), MOVE_PAUSE_FIRST, 0);
        let mut unrests = 0;
        self.hear().await;
        while let Some((site, moving)) = self.current() {
            let fault = match self.attempt(&site, &moving).await {
                Ok(()) => {
                    since = Instant::now();
                    continue;
                }
                Err(fault) => fault,
            };
            let done = self.gauge.done.load(Ordering::Relaxed);
            if done > furthest {
                (since, pause, furthest) = (Instant::now(), MOVE_PAUSE_FIRST, done);
            }
            unrests += usize::from(matches!(fault, Fault::Unrest(_)));
            match fault {
                Fault::Ended => return,
                Fault::Cancelled => return self.end(Status::Cancelled).await,
                Fault::Unheard => return self.fail(&fault).await,
                fault if unrests >= MOVE_UNRESTS => return self.fail(&fault).await,
                Fault::Pull(error) if error.is_final() => return self.fail(&error).await,
                fault if since.elapsed() > MOVE_PATIENCE => return self.fail(&fault).await,
                fault => {
                    tracing::info!(site = %site.host, "a move failed to {fault}; it is tried again");
                    self.say(format!("waiting: failed to {fault}")).await;
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(MOVE_PAUSE_MAX);
        }
    }

    /// Returns once this node knows all that was decided. After a power cut it may know of a move that has ended: the site is at home
    /// here then, and what was stored since would be taken away as something that its home does not have.
    async fn hear(&self) {
        while let Err(error) = self.room.moves.member.consistent().await {
            tracing::info!("a move is not begun: failed to {error}; it is tried again");
            sleep(MOVE_PAUSE_FIRST).await;
        }
    }

    /// The site, while this move of it is under way.
    fn current(&self) -> Option<(Arc<Site>, Moving)> {
        let state = self.room.newest();
        let site = state.sites.get(&self.site)?;
        let moving = site.moving.as_deref().filter(|moving| moving.operation == self.operation)?;
        Some((Arc::clone(site), moving.clone()))
    }

    /// One connection: passes until little is left, the rest, the last pass, the flip.
    async fn attempt(&mut self, site: &Site, moving: &Moving) -> Result<(), Fault> {
        self.check_cancelled()?;
        if let Stage::Resting { round } = moving.stage {
            // Of a try that this one knows nothing of.
            return Ok(self.step(Step::Wake { round }).await?);
        }
        if moving.stage == Stage::Held {
            return self.held().await;
        }
        let pull = self.open(site, moving).await?;
        let mut pull = self.passes(pull).await?;
        if self.current().is_some_and(|(_, moving)| moving.hold) {
            self.replica = Some(pull.into_replica());
            self.say("copied but for a little; waits for the word to go on".to_owned()).await;
            return Ok(self.step(Step::Hold).await?);
        }
        let round = u64::from_be_bytes(std::array::from_fn(|at| random()[at]));
        let rested = Instant::now();
        if let Err(error) = self.step(Step::Rest { round }).await {
            self.replica = Some(pull.into_replica());
            return Err(error.into());
        }
        pull.hurry();
        match self.last_pass(pull, round).await {
            Ok(pass) => {
                self.step(Step::Flip { round }).await?;
                let odd = pass.odd;
                tracing::info!(site = %site.host, rested = ?rested.elapsed(), odd, "the site is at home here");
                Ok(())
            }
            Err(fault) => {
                // Its home may have woken it before: then this is refused, and the fault is what counts.
                drop(self.step(Step::Wake { round }).await);
                Err(fault)
            }
        }
    }

    /// Waits for somebody's word. Nothing is under way meanwhile, and what changes is copied after it.
    async fn held(&self) -> Result<(), Fault> {
        let mut snapshot = self.room.moves.member.snapshot();
        let is_over = |state: &Arc<Snapshot>| {
            let moving = state.sites.get(&self.site).and_then(|site| site.moving.as_ref());
            let is_held = moving.is_some_and(|moving| moving.stage == Stage::Held);
            let operation = state.operations.get(&self.operation);
            !is_held || operation.is_none_or(|operation| operation.status != Status::Running)
        };
        match timeout(MOVE_HOLD_MAX, snapshot.wait_for(is_over)).await {
            Ok(_) => self.check_cancelled(),
            Err(_) => Err(Fault::Unheard),
        }
    }

    /// Passes while the site is written, until one finds little to do.
    async fn passes(&mut self, mut pull: Pull) -> Result<Pull, Fault> {
        let mut passes = 0;
        while passes < COPY_PASSES {
            let pass;
            (pull, pass) = self.pass(pull, "copying").await?;
            if pass.is_little() {
                break;
            }
            // One that had to leave files to the next is none.
            passes += u32::from(!pass.left);
        }
        self.check_cancelled()?;
        Ok(pull)
    }

    async fn open(&mut self, site: &Site, moving: &Moving) -> Result<Pull, Fault> {
        let moves = self.room.moves.clone();
        let mut bulk = moves.peers.bulk(site.home).await.map_err(PullError::from)?;
        let hello = Hello::Copy { site: self.site, epoch: site.epoch };
        let greeted = move || pull::greet(&mut bulk, &hello).map(|()| bulk);
        let bulk = work(&moves, greeted).await??;
        let replica = match self.replica.take() {
            Some(replica) => replica,
            None => {
                let (dirs, id) = (Arc::clone(&moves.dirs), self.site);
                let mut replica = work(&moves, move || Replica::open(&dirs, id)).await?.map_err(PullError::from)?;
                // A standby may have to be served at any moment.
                replica.set_unseen(!site.standbys.contains(&moves.node));
                replica
            }
        };
        Ok(Pull::new(bulk, replica, Arc::clone(&self.gauge), moving.bandwidth))
    }

    /// One pass, told of as it goes on; cut off where the move is cancelled.
    async fn pass(&mut self, mut pull: Pull, doing: &str) -> Result<(Pull, Pass), Fault> {
        let moves = self.room.moves.clone();
        let cut = pull.cut().map_err(PullError::from)?;
        let dirs = Arc::clone(&moves.dirs);
        let run = move || {
            let room = dirs.room().map_err(|error| PullError::Never(error.to_string()));
            let passed = room.and_then(|room| pull.pass(room));
            (pull, passed)
        };
        let passing = work(&moves, run);
        tokio::pin!(passing);
        let mut every = interval(MOVE_PROGRESS_EVERY);
        let (pull, passed) = loop {
            tokio::select! {
                passed = &mut passing => break passed?,
                _ = every.tick() => {
                    if let Err(fault) = self.check_cancelled() {
                        drop(cut);
                        // Whoever still writes to the copy has to be gone before it is taken away.
                        drop(passing.await?);
                        return Err(fault);
                    }
                    self.say(self.stage(doing)).await;
                }
            }
        };
        cut.spare();
        match passed {
            Ok(pass) => Ok((pull, pass)),
            Err(error) => {
                self.replica = Some(pull.into_replica());
                Err(error.into())
            }
        }
    }

    /// What changed since the pass before, while nobody writes.
    async fn last_pass(&mut self, mut pull: Pull, round: u64) -> Result<Pass, Fault> {
        let resting = move || {
            let rested = pull.rest(round);
            (pull, rested)
        };
        let (pull, rested) = work(&self.room.moves, resting).await?;
        if let Err(error) = rested {
            self.replica = Some(pull.into_replica());
            return Err(error.into());
        }
        let (pull, pass) = self.pass(pull, "the last of it").await?;
        self.replica = Some(pull.into_replica());
        match (&pass.unsteady, pass.left) {
            (None, false) => Ok(pass),
            (Some(path), _) => Err(Fault::Unrest(String::from_utf8_lossy(path).into_owned())),
            (None, true) => Err(Fault::Work("more changed than one pass takes".into())),
        }
    }

    fn check_cancelled(&self) -> Result<(), Fault> {
        match self.room.newest().operations.get(&self.operation) {
            None => Err(Fault::Ended),
            Some(operation) if operation.status == Status::Cancelling => Err(Fault::Cancelled),
            Some(_) => Ok(()),
        }
    }

    fn stage(&self, doing: &str) -> String {
        let (done, total) = (self.gauge.done.load(Ordering::Relaxed), self.gauge.total.load(Ordering::Relaxed));
        let files = self.gauge.files.load(Ordering::Relaxed);
        let took = self.begun.elapsed().as_secs_f64();
        let left = took / (done.max(1) as f64) * (total.saturating_sub(done) as f64);
        match total > done && done > 0 && took >= 1.0 {
            true => format!("{doing}: {files} files so far, {:.0} s left", left.ceil()),
            false => format!("{doing}: {files} files so far"),
        }
    }

    /// Says how far it is, if that is anything new; nothing depends on it.
    async fn say(&mut self, stage: String) {
        let done = self.gauge.done.load(Ordering::Relaxed);
        let news = (stage, done);
        if self.said.as_ref() == Some(&news) {
            return;
        }
        let total = Some(self.gauge.total.load(Ordering::Relaxed)).filter(|total| *total > 0);
        let stage: String = news.0.chars().filter(|c| !c.is_control()).take(150).collect();
        let progress = OperationProgress { id: self.operation, stage, done, total };
        // Without a quorum nobody hears how far it is.
        drop(self.room.moves.door.write(Write::of_system(MovesKey::Progress(progress))).await);
        self.said = Some(news);
    }

    async fn step(&self, step: Step) -> Result<(), WriteError> {
        self.room.step(self.site, self.operation, step).await
    }

    async fn fail(&mut self, fault: &(dyn std::error::Error + Sync)) {
        let reason: String = format!("failed to {fault}").chars().take(500).collect();
        self.end(Status::Failed { reason }).await;
    }

    /// The site stays where it is, and nothing of it here.
    async fn end(&mut self, status: Status) {
        let mut pause = MOVE_PAUSE_FIRST;
        while self.current().is_some() {
            match self.step(Step::End(status.clone())).await {
                Ok(()) => break,
                Err(error) => tracing::info!("failed to {error}; it is tried again"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(MOVE_PAUSE_MAX);
        }
        self.replica = None;
        // It may have flipped after all: an answer can be lost, a change is not.
        let here = self.room.moves.node;
        if self.room.newest().sites.get(&self.site).is_none_or(|site| plan::belongs(site, here)) {
            return;
        }
        let (dirs, site) = (Arc::clone(&self.room.moves.dirs), self.site);
        if let Ok(Err(error)) = work(&self.room.moves, move || dirs.drop_copy(site)).await {
            tracing::warn!("failed to {error}");
        }
    }
}

async fn work<T: Send + 'static>(
    moves: &crate::moves::Moves,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    moves.blocking.run(work).await.map_err(|error| Fault::Work(error.to_string()))
}
