//! The one write door. Each holder has a key for its own changes only; all of them end up as envelopes of shared log entries.
use std::collections::HashSet;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
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

impl<C: Into<Change>> Write<C> {
    pub(crate) fn into_envelope(self) -> Envelope {
        let Self { request_id, actor, expect, change } = self;
        Envelope { request_id, actor, seed: Seed(random()), expect, change: change.into() }
    }
}

/// Sixteen bytes nobody has seen before.
pub fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes once it has booted");
    bytes
}

#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
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
    #[error("ask the cluster: this node was removed from it")]
    Removed,
    #[error("learn what became of request {0}")]
    OutcomeUnknown(RequestId),
    #[error("make the change: the home may write to the site for {left} s still")]
    Leased { left: u64 },
    #[error("take the change: the node is stopping")]
    Stopping,
}

impl WriteError {
    /// Whether the same change will never be taken.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::TooLarge)
    }
}

/// The requests handed over and not decided yet; one stays here for good where raft ended with it under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Undecided(Arc<Mutex<HashSet<[u8; 16]>>>);

impl Undecided {
    fn set(&self) -> MutexGuard<'_, HashSet<[u8; 16]>> {
        // A set is whole after each insertion and removal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn decided(&self, request: &RequestId) {
        self.set().remove(&request.key);
    }
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
    undecided: Undecided,
    health: HealthCell,
    only: PhantomData<fn(C)>,
}

impl<C> Clone for Door<C> {
    fn clone(&self) -> Self {
        let (queue, undecided, health) = (self.queue.clone(), self.undecided.clone(), self.health.clone());
        Self { queue, undecided, health, only: PhantomData }
    }
}

impl Door<Change> {
    /// A key for these changes only.
    pub fn only<C: Into<Change>>(&self) -> Door<C> {
        let (queue, undecided, health) = (self.queue.clone(), self.undecided.clone(), self.health.clone());
        Door { queue, undecided, health, only: PhantomData }
    }

    pub(crate) fn new(queue: mpsc::Sender<Proposal>, undecided: Undecided, health: HealthCell) -> Self {
        Self { queue, undecided, health, only: PhantomData }
    }

    /// Whether a request was handed over and nobody knows yet what becomes of it.
    pub fn is_undecided(&self, request: &RequestId) -> bool {
        self.undecided.set().contains(&request.key)
    }
}

impl<C: Into<Change>> Door<C> {
    /// Hands a change over and waits until it is committed and applied here, or refused.
    pub async fn write(&self, write: Write<C>) -> Result<Answer, WriteError> {
        self.is_open()?;
        let request_id = write.request_id;
        let envelope = write.into_envelope();
        let bytes = envelope.encoded_len();
        if bytes > CHANGE_BYTES_MAX {
            return Err(WriteError::TooLarge);
        }
        let answered = self.propose(envelope, bytes)?;
        match timeout(WRITE_WAIT, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(WriteError::OutcomeUnknown(request_id)),
        }
    }
}

impl<C> Door<C> {
    /// Whether anything can be written at all.
    pub(crate) fn is_open(&self) -> Result<(), WriteError> {
        match self.health.now() {
            Health::Good => Ok(()),
            Health::DiskFull { .. } => Err(WriteError::DiskFull),
            Health::Failed { reason } => Err(WriteError::StoreFailed(reason)),
        }
    }

    fn propose(&self, envelope: Envelope, bytes: usize) -> Result<Answered, WriteError> {
        let (answer, answered) = oneshot::channel();
        let request_id = envelope.request_id;
        let first = self.undecided.set().insert(request_id.key);
        self.queue.try_send(Proposal { envelope, bytes, answer }).map_err(|error| {
            if first {
                self.undecided.decided(&request_id);
            }
            match error {
                mpsc::error::TrySendError::Full(_) => WriteError::Busy,
                mpsc::error::TrySendError::Closed(_) => WriteError::Stopping,
            }
        })?;
        Ok(answered)
    }

    /// Changes that came in at another node, which waits for their answers.
    pub(crate) async fn hand_over(&self, envelopes: Vec<Envelope>) -> Vec<Result<Answer, WriteError>> {
        let propose = |envelope: Envelope| {
            let (request, bytes) = (envelope.request_id, envelope.encoded_len());
            (request, self.propose(envelope, bytes))
        };
        let proposed: Vec<_> = envelopes.into_iter().map(propose).collect();
        let mut answers = Vec::with_capacity(proposed.len());
        for (request, answered) in proposed {
            answers.push(match answered {
                Ok(answered) => answered.await.unwrap_or(Err(WriteError::OutcomeUnknown(request))),
                Err(error) => Err(error),
            });
        }
        answers
    }
}

type Answered = oneshot::Receiver<Result<Answer, WriteError>>;
