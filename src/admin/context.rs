//! What the desk stands on: the handles that the daemon gives it. Holds no state of its own but the counts of what is bounded.
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Notify, Semaphore, watch};

use crate::api::status::Listener;
use crate::base::ids::NodeId;
use crate::base::limits::{EVENT_STREAMS_MAX, MINTS_AT_ONCE, PASSWORD_HASHES_AT_ONCE};
use crate::base::names::NodeName;
use crate::cluster::door::Door;
use crate::cluster::member::Member;
use crate::files::logs::Logs;
use crate::model::change::Change;
use crate::model::state::Snapshot;
use crate::moves::Moves;
use crate::ops::blocking::Blocking;
use crate::ops::board::Board;
use crate::ops::metrics::Metrics;
use crate::seal::keyring::Keyring;
use crate::store::history::History;
use crate::store::local::Local;
use crate::web::log::writer::Flush;

/// Everything the admin API asks and tells.
#[derive(Debug, Clone)]
pub struct Context {
    pub door: Door<Change>,
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    pub history: History,
    pub member: Member,
    pub board: Board,
    pub blocking: Blocking,
    pub keyring: Arc<Keyring>,
    pub metrics: Metrics,
    pub local: Local,
    pub logs: Logs,
    /// Has what waits for the logs and the counters written.
    pub flush: Flush,
    pub moves: Moves,
    pub info: NodeInfo,
    /// Has the node start again, as another one than it was.
    pub again: Arc<Notify>,
}

/// What does not change while the node runs, and where it listens.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    pub id: NodeId,
    /// The name in `ruche.toml`; the state's own counts where there is one.
    pub name: NodeName,
    pub version: &'static str,
    pub data_dir: PathBuf,
    pub listeners: watch::Receiver<Vec<Listener>>,
}

/// The context as the handlers hold it.
#[derive(Debug)]
pub(crate) struct Desk {
    context: Context,
    pub(crate) hashes: Semaphore,
    pub(crate) mints: Semaphore,
    pub(crate) streams: Arc<Semaphore>,
}

impl Desk {
    pub(crate) fn new(context: Context) -> Self {
        let (hashes, mints) = (Semaphore::new(PASSWORD_HASHES_AT_ONCE), Semaphore::new(MINTS_AT_ONCE));
        Self { context, hashes, mints, streams: Arc::new(Semaphore::new(EVENT_STREAMS_MAX)) }
    }

    /// The state as it is now: taken once per request.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.context.snapshot.borrow())
    }
}

impl std::ops::Deref for Desk {
    type Target = Context;
    fn deref(&self) -> &Context {
        &self.context
    }
}
