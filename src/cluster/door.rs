//! The one write door. Each holder has a key for its own changes only; all of them end up as envelopes of shared log entries.
use std::marker::PhantomData;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::base::ids::{RequestId, Seed};
use crate::base::limits::{CHANGE_BYTES_MAX, WRITE_WAIT};
use crate::model::answer::Answer;
use crate::model::change::{Actor, Change, Envelope};
use crate::model::refusal::Refusal;
use crate::store::health::{Health, HealthCell};

/// One change, and who wants it.
#[derive(Debug, Clone)]
pub struct Write<C> {
    pub request_id: RequestId,
    pub actor: Actor,
    /// The revision the object must have (If-Match); 0: it must not exist.
    pub expect: Option<u64>,
    pub change: C,
}

impl<C> Write<C> {
    /// A change the cluster makes by itself.
    pub fn of_system(change: C) -> Self {
        Self { request_id: RequestId { key: random(), digest: [0; 16] }, actor: Actor::System, expect: None, change }
    }
}

/// Sixteen bytes nobody has seen before.
pub fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes once it has booted");
    bytes
}

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("make the change: {0}")]
    Refused(#[from] Refusal),
    #[error("take the change: too many are waiting")]
    Busy,
    #[error("take the change: it is larger than {CHANGE_BYTES_MAX} bytes")]
    TooLarge,
    #[error("write: the disk is full")]
    DiskFull,
    #[error("write: {0}; no change is taken until a restart")]
    StoreFailed(String),
    #[error("write: too few nodes of the cluster answer")]
    NoQuorum,
    #[error("learn what became of request {0}")]
    OutcomeUnknown(RequestId),
    #[error("take the change: the node is stopping")]
    Stopping,
}

/// A change on its way to the log.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub(crate) envelope: Envelope,
    pub(crate) bytes: usize,
    pub(crate) answer: oneshot::Sender<Result<Answer, WriteError>>,
}

/// `C`: the changes its holder may make.
#[derive(Debug)]
pub struct Door<C> {
    queue: mpsc::Sender<Proposal>,
    health: HealthCell,
    only: PhantomData<fn(C)>,
}

impl<C> Clone for Door<C> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), health: self.health.clone(), only: PhantomData }
    }
}

impl Door<Change> {
    pub(crate) fn new(queue: mpsc::Sender<Proposal>, health: HealthCell) -> Self {
        Self { queue, health, only: PhantomData }
    }
}

impl<C: Into<Change>> Door<C> {
    /// Hands a change over and waits until it is committed and applied here, or refused.
    pub async fn write(&self, write: Write<C>) -> Result<Answer, WriteError> {
        match self.health.now() {
            Health::Good => {}
            Health::DiskFull { .. } => return Err(WriteError::DiskFull),
            Health::Failed { reason } => return Err(WriteError::StoreFailed(reason)),
        }
        let Write { request_id, actor, expect, change } = write;
        let envelope = Envelope { request_id, actor, seed: Seed(random()), expect, change: change.into() };
        let bytes = envelope.encoded_len();
        if bytes > CHANGE_BYTES_MAX {
            return Err(WriteError::TooLarge);
        }
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Proposal { envelope, bytes, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => WriteError::Busy,
            mpsc::error::TrySendError::Closed(_) => WriteError::Stopping,
        })?;
        match timeout(WRITE_WAIT, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(WriteError::OutcomeUnknown(request_id)),
        }
    }
}
