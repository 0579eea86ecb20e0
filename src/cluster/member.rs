//! This node as a member: raft started on the opened store, its tasks, its status, its end.
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openraft::storage::RaftLogStorage;
use openraft::{Config, SnapshotPolicy};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::timeout;

use crate::base::ids::NodeId;
use crate::base::limits::peers::{LEADER_LEASE, PEER_RPC_WAIT, QUORUM_SILENCE};
use crate::base::limits::{
    DOOR_WAITING_MAX, LOG_KEEP_ENTRIES, LOG_PURGE_BYTES, LOG_PURGE_ENTRIES, LOG_READ_ENTRIES_MAX, WRITE_WAIT,
};
use crate::cluster::clock::Clocks;
use crate::cluster::copies::Incoming;
use crate::cluster::door::{Door, Proposal, Undecided, WriteError};
use crate::cluster::errands::Errands;
use crate::cluster::lease::Leases;
use crate::cluster::network::Network;
use crate::cluster::peer::book::Book;
use crate::cluster::peer::dial::Peers;
use crate::cluster::peer::messages::{Ask, Said};
use crate::cluster::propose;
use crate::cluster::voice::Voice;
use crate::model::change::Change;
use crate::model::state::Snapshot;
use crate::ops::blocking::Blocking;
use crate::ops::board::Board;
use crate::ops::stop::Stop;
use crate::ops::tasks::{Ends, Tasks};
use crate::seal::keyring::Keyring;
use crate::store::health::{Health, HealthCell};
use crate::store::history::History;
use crate::store::log::Log;
use crate::store::machine::Machine;
use crate::store::node::Store;
use crate::store::types::{LogId, Peer, StorageError, TypeConfig};

pub(crate) type Raft = openraft::Raft<TypeConfig>;

/// raft's own clock moves nothing here: heartbeats and elections are `watchdog`'s, so that a lone node is not woken. It cannot be
/// stopped altogether; it ticks every other hour.
const CLOCK: Duration = Duration::from_secs(3600);
/// How long there may be no leader before the board says so: an election that fails once is no news.
const ELECTION_WAIT: Duration = Duration::from_millis(2 * LEADER_LEASE.as_millis() as u64);
/// Said by a node that its cluster does not know any more.
const REMOVED: &str = "this node was removed from its cluster; what it has is served, and nothing is changed any more; \
    `ruche cluster join TOKEN --discard-state` lets it in again, `ruche cluster leave` leaves it alone";
/// How long raft may take to end.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(5);

/// Failed to start as a member.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("start raft: {0}")]
    Raft(Box<openraft::error::Fatal<u64>>),
    #[error("catch up with the log: {0}")]
    CatchUp(Box<StorageError>),
}

/// What the cluster says of itself, as this node sees it.
#[derive(Debug, Clone)]
pub struct Status {
    pub node: NodeId,
    pub leader: Option<NodeId>,
    pub term: u64,
    /// The last entry of the log, and the last one applied here.
    pub log_index: Option<u64>,
    pub applied_index: Option<u64>,
    pub voters: Vec<NodeId>,
    pub learners: Vec<NodeId>,
}

/// The changes that come through the door, for the task that brings them to the log.
#[derive(Debug)]
pub struct Proposals {
    queue: mpsc::Receiver<Proposal>,
    undecided: Undecided,
}

/// A handle on this node's membership.
#[derive(Clone)]
pub struct Member {
    raft: Raft,
    node: NodeId,
    door: Door<Change>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    history: History,
    health: HealthCell,
    log: Log,
    machine: Machine,
    peers: Peers,
    voice: Arc<Voice>,
    /// Hands over: another node is to lead.
    retiring: Arc<AtomicBool>,
    /// Where this node's state goes, which is wrong, when the copy comes that was asked for.
    retaking: Arc<Mutex<Option<PathBuf>>>,
    clocks: Arc<Clocks>,
    incoming: Arc<Incoming>,
    keyring: Arc<OnceLock<Arc<Keyring>>>,
    /// That this node gave as the leader.
    leases: Leases,
    errands: Errands,
    blocking: Blocking,
    /// Of the databases.
    dir: Arc<Path>,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Member({})", self.node)
    }
}

impl Member {
    /// Starts raft on an opened store. Nothing can be changed until `run` opens the door.
    pub async fn start(store: Store, book: Book, blocking: Blocking) -> Result<(Self, Proposals), StartError> {
        let Store { log, machine, history, health, dir } = store;
        let (snapshot, node) = (machine.snapshot(), book.own());
        machine.catch_up(&mut log.clone()).await.map_err(|error| StartError::CatchUp(Box::new(error)))?;
        machine.copy_later();
        let peers = Peers::new(book);
        let network = Network { peers: peers.clone(), blocking: blocking.clone(), machine: machine.clone() };
        let raft = Raft::new(node.0, Arc::new(config()), network, log.clone(), machine.clone()).await;
        let raft = raft.map_err(|error| StartError::Raft(Box::new(error)))?;
        peers.book().ask_raft(raft.server_metrics());
        let (queue, proposals) = mpsc::channel(DOOR_WAITING_MAX);
        let undecided = Undecided::default();
        let door = Door::new(queue, undecided.clone(), health.clone());
        let (voice, retiring, retaking, clocks, incoming, keyring, leases, errands) = Default::default();
        let member = Self {
            raft,
            node,
            door,
            snapshot,
            history,
            health,
            log,
            machine,
            peers,
            voice,
            retiring,
            retaking,
            clocks,
            incoming,
            keyring,
            leases,
            errands,
            blocking,
            dir: dir.into(),
        };
        Ok((member, Proposals { queue: proposals, undecided }))
    }

    /// Starts the tasks that belong to a member. They give up before whatever was started earlier, such as the databases.
    pub fn run(&self, tasks: &Tasks, board: &Board, proposals: Proposals) {
        let (raft, health, shown) = (self.raft.clone(), self.health.clone(), board.clone());
        tasks.spawn("store", Ends::AtGiveUp, move |stop| {
            let (health, board) = (health.clone(), shown.clone());
            async move {
                watch_health(&health, &board, &stop).await;
                Ok(())
            }
        });
        let (led, shown) = (self.clone(), board.clone());
        tasks.spawn("raft", Ends::AtGiveUp, move |stop| {
            let (member, board) = (led.clone(), shown.clone());
            async move {
                member.watch_leader(&board, &stop).await;
                Ok(())
            }
        });
        let voter = self.clone();
        tasks.spawn("elections", Ends::AtGiveUp, move |stop| {
            let member = voter.clone();
            async move {
                member.keep_a_leader(&stop).await;
                Ok(())
            }
        });
        let leader = self.clone();
        tasks.spawn("membership", Ends::AtGiveUp, move |stop| {
            let member = leader.clone();
            async move {
                member.tend_members(&stop).await;
                Ok(())
            }
        });
        let (compared, shown) = (self.clone(), board.clone());
        tasks.spawn("agreement", Ends::AtGiveUp, move |stop| {
            let (member, board) = (compared.clone(), shown.clone());
            async move {
                member.keep_agreed(&board, &stop).await;
                Ok(())
            }
        });
        let machine = self.machine.clone();
        tasks.spawn("state", Ends::AtGiveUp, move |stop| {
            let machine = machine.clone();
            async move {
                machine.follow(&stop).await;
                Ok(())
            }
        });
        let (purger, purged) = (raft.clone(), self.log.clone());
        tasks.spawn("log", Ends::AtGiveUp, move |stop| {
            let (raft, log) = (purger.clone(), purged.clone());
            async move {
                bound_log(&raft, &log, &stop).await;
                Ok(())
            }
        });
        // Only the running door holds the lock; it is there so that a door that panicked leaves its queue to the next one.
        let Proposals { queue, undecided } = proposals;
        let proposals = Arc::new(Mutex::new(queue));
        let member = self.clone();
        tasks.spawn("door", Ends::AtGiveUp, move |stop| {
            let (member, undecided, proposals) = (member.clone(), undecided.clone(), Arc::clone(&proposals));
            async move {
                let mut proposals = proposals.lock().await;
                let run = propose::run(&member, undecided, &mut proposals, &stop);
                tokio::join!(run, member.cease_waiting(&stop));
                Ok(())
            }
        });
    }

    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The key to every change. Narrower ones are made from it.
    pub fn door(&self) -> Door<Change> {
        self.door.clone()
    }

    pub fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.clone()
    }

    pub fn history(&self) -> History {
        self.history.clone()
    }

    /// Whether raft and the threads of both databases still answer; a full disk or an I/O error is no reason to die.
    pub async fn is_alive(&self) -> bool {
        match self.health.now() {
            Health::Good => self.machine.answers().await && self.log.answers().await,
            Health::DiskFull { .. } | Health::Failed { .. } => true,
        }
    }

    /// What this node knows by now it knows when it starts again, before it hears of anybody, also after a power cut.
    pub async fn settle(&self) -> Result<(), String> {
        self.machine.settle().await.map_err(|error| error.to_string())
    }

    pub fn health(&self) -> Health {
        self.health.now()
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.raft
    }

    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    pub(crate) fn voice(&self) -> &Voice {
        &self.voice
    }

    pub(crate) fn retiring(&self) -> &AtomicBool {
        &self.retiring
    }

    /// What other members are given that lack a key of it.
    pub fn hold(&self, keyring: &Arc<Keyring>) {
        // There is one in the life of a process; what it holds may change.
        let _ = self.keyring.set(Arc::clone(keyring));
    }

    pub(crate) fn keyring(&self) -> Option<&Arc<Keyring>> {
        self.keyring.get()
    }

    pub(crate) fn errands(&self) -> &Errands {
        &self.errands
    }

    pub(crate) fn leases(&self) -> &Leases {
        &self.leases
    }

    pub(crate) fn retaking(&self) -> &Mutex<Option<PathBuf>> {
        &self.retaking
    }

    pub(crate) fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    pub(crate) fn incoming(&self) -> &Incoming {
        &self.incoming
    }

    pub(crate) fn machine(&self) -> Machine {
        self.machine.clone()
    }

    pub(crate) fn log(&self) -> Log {
        self.log.clone()
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn blocking(&self) -> &Blocking {
        &self.blocking
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.raft.metrics().borrow().current_leader.map(NodeId)
    }

    /// Whether changes are decided here.
    pub fn leads(&self) -> bool {
        self.leader() == Some(self.node)
    }

    /// Waits until this node leads, or leads no more.
    pub async fn until_leading(&self, wanted: bool) {
        let mut seen = self.raft.server_metrics();
        let is_so = seen.wait_for(|seen| (seen.current_leader == Some(self.node.0)) == wanted);
        if is_so.await.is_err() {
            // raft has ended: nobody leads here again.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until raft has ended here.
    pub async fn has_ended(&self) {
        let mut seen = self.raft.server_metrics();
        while seen.changed().await.is_ok() {}
    }

    /// The end of this node's log.
    pub(crate) async fn last_log(&self) -> Option<LogId> {
        self.log.clone().get_log_state().await.ok().and_then(|state| state.last_log_id)
    }

    /// Whether a majority of the voters was heard lately.
    pub(crate) fn has_quorum(&self) -> bool {
        let voters = self.status().voters;
        let lately =
            |node: &NodeId| self.peers.book().last_heard(*node).is_some_and(|at| at.elapsed() < QUORUM_SILENCE);
        let heard = voters.iter().filter(|voter| **voter == self.node || lately(voter)).count();
        heard > voters.len() / 2
    }

    pub fn status(&self) -> Status {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        Status {
            node: self.node,
            leader: metrics.current_leader.map(NodeId),
            term: metrics.current_term,
            log_index: metrics.last_log_index,
            applied_index: metrics.last_applied.map(|at| at.index),
            voters: metrics.membership_config.voter_ids().map(NodeId).collect(),
            learners: metrics.membership_config.membership().learner_ids().map(NodeId).collect(),
        }
    }

    /// Returns once this node's state holds everything acknowledged before the call, confirmed by the quorum.
    pub async fn consistent(&self) -> Result<(), WriteError> {
        let read = timeout(WRITE_WAIT, self.read_index()).await.unwrap_or(Err(WriteError::NoQuorum));
        read.map_err(|error| if matches!(error, WriteError::NoQuorum) { self.no_quorum() } else { error })
    }

    /// Why nobody takes what is asked for here.
    pub(crate) fn no_quorum(&self) -> WriteError {
        if self.is_removed() { WriteError::Removed } else { WriteError::NoQuorum }
    }

    /// Up to where somebody must have applied to have everything acknowledged before the call, if this node leads still. A leader that
    /// was killed and leads on does not know how far the end of its log was acknowledged (openraft goes by the first entry of its
    /// term): all of it counts.
    pub(crate) async fn read_at(&self) -> Option<Option<u64>> {
        let last = self.last_log().await;
        let confirmed = self.raft.ensure_linearizable().await.ok()?;
        Some(confirmed.max(last).map(|at| at.index))
    }

    async fn read_index(&self) -> Result<(), WriteError> {
        let index = match self.leader() {
            Some(leader) if leader == self.node => self.read_at().await.ok_or(WriteError::NoQuorum)?,
            Some(leader) => match self.peers.ask(leader, &Ask::ReadIndex, PEER_RPC_WAIT).await {
                Ok(Said::Index(index)) => index,
                _ => return Err(WriteError::NoQuorum),
            },
            None => return Err(WriteError::NoQuorum),
        };
        let applied = |seen: &openraft::RaftMetrics<u64, Peer>| seen.last_applied.map(|at| at.index) >= index;
        self.raft.wait(Some(WRITE_WAIT)).metrics(applied, "applied").await.map(drop).map_err(|_| WriteError::NoQuorum)
    }

    /// Whether no leader speaks to this node. Who does not vote never hears of it in another way.
    fn hears_no_leader(&self) -> bool {
        self.voice.heard().at.elapsed() >= ELECTION_WAIT && !self.leads()
    }

    /// Whether this node is a member no more, as far as it can know: it is told so, and no leader speaks to it.
    pub(crate) fn is_removed(&self) -> bool {
        self.hears_no_leader() && self.peers.book().is_removed()
    }

    /// Says on the board who leads, as it changes: at the start, or when a full disk has space again.
    async fn watch_leader(&self, board: &Board, stop: &Stop) {
        let mut seen = self.raft.server_metrics();
        let (mut patient, mut removed) = (true, false);
        loop {
            if !patient && self.status().voters == [self.node] {
                // A lone voter has nobody to wait for: it was the disk that kept it from leading.
                let _ = self.raft.trigger().elect().await;
            }
            let leader = seen.borrow_and_update().current_leader.map(NodeId);
            match leader {
                Some(leader) if leader == self.node => board.green("raft", "leading"),
                _ if self.is_removed() => {
                    if !std::mem::replace(&mut removed, true) {
                        tracing::error!("{REMOVED}");
                    }
                    board.red("raft", REMOVED);
                }
                Some(_) if self.hears_no_leader() => {
                    board
                        .yellow("raft", "the leader is silent: nothing can be changed; everything committed is served");
                }
                Some(leader) => board.green("raft", format!("led by {leader}")),
                None if patient => {}
                None => board.yellow("raft", "no leader: nothing can be changed; everything committed is served"),
            }
            patient = tokio::select! {
                changed = seen.changed() => if changed.is_err() { return } else { true },
                () = tokio::time::sleep(ELECTION_WAIT), if leader != Some(self.node) => leader.is_some(),
                () = self.peers.book().until_denied() => {
                    // Somebody may be about to become a member; who leads this node speaks meanwhile.
                    tokio::select! {
                        () = tokio::time::sleep(ELECTION_WAIT) => true,
                        () = stop.give_up() => return,
                    }
                }
                () = stop.give_up() => return,
            }
        }
    }

    /// At the stop nobody waits for space on a full disk any more: what is under way there ends with its outcome unknown.
    async fn cease_waiting(&self, stop: &Stop) {
        stop.give_up().await;
        self.machine.cease_waiting();
        self.log.cease_waiting();
    }

    /// Ends raft and closes the databases; the last snapshot goes on being served.
    pub async fn stop(&self, blocking: &Blocking) {
        if tokio::time::timeout(SHUTDOWN_WAIT, self.raft.shutdown()).await.is_err() {
            tracing::warn!("raft did not end in time");
        }
        let (log, machine) = (self.log.clone(), self.machine.clone());
        let closed = blocking.run(move || {
            machine.close();
            log.close();
        });
        if let Err(error) = closed.await {
            tracing::warn!(%error, "the databases were not closed; the next start recovers them");
        }
    }
}

/// Not validated: openraft wants its heartbeats to be shorter than its elections, and makes neither here.
fn config() -> Config {
    let lease = LEADER_LEASE.as_millis() as u64;
    Config {
        cluster_name: "ruche".into(),
        heartbeat_interval: CLOCK.as_millis() as u64,
        election_timeout_min: lease - 1,
        election_timeout_max: lease,
        enable_tick: false,
        enable_heartbeat: false,
        enable_elect: false,
        max_payload_entries: LOG_READ_ENTRIES_MAX,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(LOG_PURGE_ENTRIES),
        max_in_snapshot_log_to_keep: LOG_KEEP_ENTRIES,
        purge_batch_size: 256,
        replication_lag_threshold: 4 * LOG_PURGE_ENTRIES,
        ..Config::default()
    }
}

/// Says on the board how the databases are.
async fn watch_health(health: &HealthCell, board: &Board, stop: &Stop) {
    let mut watch = health.watch();
    loop {
        match &*watch.borrow_and_update() {
            Health::Good => board.green("store", "writing"),
            Health::DiskFull { database } => {
                board.red(
                    "store",
                    format!("the disk is full ({database}.db); free some space, changes go on by themselves"),
                );
            }
            Health::Failed { reason } => {
                board.red("store", format!("{reason}; look at the disk, then restart; everything committed is served"));
            }
        }
        tokio::select! {
            changed = watch.changed() => if changed.is_err() { return },
            () = stop.give_up() => return,
        }
    }
}

/// Purges by bytes what raft purges by number: large entries must not fill a small disk.
async fn bound_log(raft: &Raft, log: &Log, stop: &Stop) {
    let mut metrics = raft.metrics();
    // What raft took for a snapshot at its start was not made durable by this process: nothing is purged for it.
    let announced = metrics.borrow().snapshot;
    loop {
        tokio::select! {
            () = log.grown() => {}
            () = stop.give_up() => return,
        }
        while log.bytes() >= LOG_PURGE_BYTES {
            let (applied, durable) = {
                let seen = metrics.borrow_and_update();
                (seen.last_applied, seen.snapshot)
            };
            let asked = match (applied, durable) {
                (Some(applied), Some(durable)) if durable.index == applied.index && Some(durable) != announced => {
                    raft.trigger().purge_log(durable.index).await
                }
                (Some(_), _) => raft.trigger().snapshot().await,
                (None, _) => Ok(()),
            };
            if asked.is_err() {
                return;
            }
            tokio::select! {
                changed = metrics.changed() => if changed.is_err() { return },
                () = stop.give_up() => return,
            }
        }
    }
}
