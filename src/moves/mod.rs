//! Sites on their way from one home to another: what is to be done follows from the state, the destination pulls the files while
//! the site is served, its home lets writes rest for the last of them, and one change flips it. Nothing here serves a visitor.
mod copying;
mod drains;
mod fences;
pub mod follow;
mod follower;
mod keeper;
mod mover;
mod plan;
mod pull;
mod rests;
mod source;
mod standing;
mod stations;
pub mod survey;
mod tell;
pub mod wire;

use std::sync::Arc;
use std::time::Instant;

use crate::base::ids::{NodeId, OperationId, SiteId};
use crate::cluster::door::{Door, Write, WriteError};
use crate::cluster::inbound::Arrivals;
use crate::cluster::member::Member;
use crate::cluster::peer::dial::Peers;
use crate::files::gate::Gates;
use crate::files::records::Records;
use crate::files::sites::SiteDirs;
use crate::files::watch::Watch;
use crate::model::change::Change;
use crate::model::drains::DrainStep;
use crate::model::moves::{MoveStep, SiteMove, Step};
use crate::model::operations::{OperationFinish, OperationProgress};
use crate::model::standbys::{SiteFailover, SiteFenced, SiteRecovered};
use crate::model::state::Snapshot;
use crate::model::stations::StandbyStep;
use crate::moves::copying::Copying;
use crate::moves::follow::{Follows, Standings, Touches};
use crate::moves::rests::Rests;
use crate::ops::blocking::Blocking;
use crate::ops::board::Board;
use crate::ops::tasks::{Ends, Tasks};
use crate::store::feed::Feed;

/// What this room may change.
#[derive(Debug, Clone)]
pub enum MovesKey {
    Step(MoveStep),
    Progress(OperationProgress),
    Begin(SiteMove),
    Cancel(OperationFinish),
    Drain(DrainStep),
    Failover(SiteFailover),
    Recovered(SiteRecovered),
    Fenced(SiteFenced),
    Stand(StandbyStep),
}

impl From<MovesKey> for Change {
    fn from(change: MovesKey) -> Self {
        match change {
            MovesKey::Step(change) => Self::MoveStep(change),
            MovesKey::Progress(change) => Self::OperationProgress(change),
            MovesKey::Begin(change) => Self::SiteMove(change),
            MovesKey::Cancel(change) => Self::OperationFinish(change),
            MovesKey::Drain(change) => Self::DrainStep(change),
            MovesKey::Failover(change) => Self::SiteFailover(change),
            MovesKey::Recovered(change) => Self::SiteRecovered(change),
            MovesKey::Fenced(change) => Self::SiteFenced(change),
            MovesKey::Stand(change) => Self::StandbyStep(change),
        }
    }
}

/// What the room stands on.
#[derive(Debug, Clone)]
pub struct Moves {
    pub node: NodeId,
    /// Who leads, and how the others are.
    pub member: Member,
    pub board: Board,
    pub feed: Feed,
    pub peers: Peers,
    pub dirs: Arc<SiteDirs>,
    pub gates: Gates,
    pub blocking: Blocking,
    pub door: Door<MovesKey>,
    pub arrivals: Arrivals,
    /// Tells what changes in the sites at home here that have standbys.
    pub watch: Watch,
    /// What is known of the copies here that stand by.
    pub records: Arc<Records>,
    pub standings: Standings,
    /// Until when uploads may be under way in the process before this one, of which a site's lock tells.
    pub shared_until: Option<Instant>,
}

/// The room at work.
#[derive(Debug)]
pub(crate) struct Room {
    moves: Moves,
    rests: Rests,
    copying: Copying,
    touches: Touches,
}

impl Moves {
    /// Sites that were to rest when the node stopped rest when this returns: nobody has written to them yet.
    pub fn start(self, tasks: &Tasks) {
        let rests = Rests::new(self.gates.clone(), self.shared_until);
        let (copying, touches) = Default::default();
        let room = Arc::new(Room { rests, moves: self, copying, touches });
        room.rests.follow(room.moves.feed.view().now(), room.moves.node);
        let follows = Follows::begin(&room);
        let followed = Arc::clone(&room);
        tasks.spawn_once("standbys", Ends::AtGiveUp, move |stop| follow::keep(followed, follows, stop));
        let told = Arc::clone(&room);
        tasks.spawn("standbys-told", Ends::AtGiveUp, move |stop| tell::keep(Arc::clone(&told), stop));
        let (keeper, drains, fenced) = (Arc::clone(&room), Arc::clone(&room), Arc::clone(&room));
        tasks.spawn("moves", Ends::AtGiveUp, move |stop| keeper::keep(Arc::clone(&keeper), stop));
        tasks.spawn("drains", Ends::AtGiveUp, move |stop| drains::carry_out(Arc::clone(&drains), stop));
        let stationed = Arc::clone(&room);
        tasks.spawn("stations", Ends::AtGiveUp, move |stop| stations::man(Arc::clone(&stationed), stop));
        tasks.spawn("fences", Ends::AtGiveUp, move |stop| fences::confirm(Arc::clone(&fenced), stop));
        tasks.spawn("moves-source", Ends::AtGiveUp, move |stop| source::attend(Arc::clone(&room), stop));
    }
}

impl Room {
    /// Takes a step; what is refused was taken, or is another one's by now.
    async fn step(&self, site: SiteId, operation: OperationId, step: Step) -> Result<(), WriteError> {
        let change = MovesKey::Step(MoveStep { site, operation, step });
        self.moves.door.write(Write::of_system(change)).await.map(drop)
    }

    /// The state with all that was answered here; the feed is up to two milliseconds behind.
    fn newest(&self) -> Arc<Snapshot> {
        Arc::clone(&self.moves.member.snapshot().borrow())
    }
}
