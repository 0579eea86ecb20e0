//! Sites on their way from one home to another: what is to be done follows from the state, the destination pulls the files while
//! the site is served, its home lets writes rest for the last of them, and one change flips it. Nothing here serves a visitor.
mod keeper;
mod mover;
mod plan;
mod pull;
mod rests;
mod source;
pub mod survey;
mod wire;

use std::sync::Arc;
use std::time::Instant;

use crate::base::ids::{NodeId, OperationId, SiteId};
use crate::cluster::door::{Door, Write, WriteError};
use crate::cluster::inbound::Arrivals;
use crate::cluster::peer::dial::Peers;
use crate::files::gate::Gates;
use crate::files::sites::SiteDirs;
use crate::model::change::Change;
use crate::model::moves::{MoveStep, Step};
use crate::model::operations::OperationProgress;
use crate::moves::rests::Rests;
use crate::ops::blocking::Blocking;
use crate::ops::tasks::{Ends, Tasks};
use crate::store::feed::Feed;

/// What this room may change.
#[derive(Debug, Clone)]
pub enum MovesKey {
    Step(MoveStep),
    Progress(OperationProgress),
}

impl From<MovesKey> for Change {
    fn from(change: MovesKey) -> Self {
        match change {
            MovesKey::Step(change) => Self::MoveStep(change),
            MovesKey::Progress(change) => Self::OperationProgress(change),
        }
    }
}

/// What the room stands on.
#[derive(Debug, Clone)]
pub struct Moves {
    pub node: NodeId,
    pub feed: Feed,
    pub peers: Peers,
    pub dirs: Arc<SiteDirs>,
    pub gates: Gates,
    pub blocking: Blocking,
    pub door: Door<MovesKey>,
    pub arrivals: Arrivals,
    /// Until when uploads may be under way in the process before this one, which no gate of this one knows of.
    pub shared_until: Option<Instant>,
}

/// The room at work.
#[derive(Debug)]
struct Room {
    moves: Moves,
    rests: Rests,
}

impl Moves {
    /// Sites that were to rest when the node stopped rest when this returns: nobody has written to them yet.
    pub fn start(self, tasks: &Tasks) {
        let room = Arc::new(Room { rests: Rests::new(self.gates.clone()), moves: self });
        room.rests.follow(room.moves.feed.view().now(), room.moves.node);
        let keeper = Arc::clone(&room);
        tasks.spawn("moves", Ends::AtGiveUp, move |stop| keeper::keep(Arc::clone(&keeper), stop));
        tasks.spawn("moves-source", Ends::AtGiveUp, move |stop| source::attend(Arc::clone(&room), stop));
    }
}

impl Room {
    /// Takes a step; what is refused was taken, or is another one's by now.
    async fn step(&self, site: SiteId, operation: OperationId, step: Step) -> Result<(), WriteError> {
        let change = MovesKey::Step(MoveStep { site, operation, step });
        self.moves.door.write(Write::of_system(change)).await.map(drop)
    }
}
