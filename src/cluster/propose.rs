//! Group commit: whatever waits while a log entry is being synced goes together into the next one, so that one fsync serves
//! many writers. Two entries are under way at a time: one being synced, one being applied.
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use openraft::error::{ClientWriteError, Fatal};
use openraft::raft::ClientWriteResult;
use tokio::sync::{mpsc, oneshot};

use crate::base::clock::Time;
use crate::base::ids::RequestId;
use crate::base::limits::{BATCH_BYTES_MAX, BATCH_ENVELOPES_MAX, BATCHES_IN_FLIGHT};
use crate::cluster::door::{Proposal, Undecided, WriteError};
use crate::model::answer::Answer;
use crate::model::change::{BATCH_VERSION, Batch, Envelope};
use crate::ops::stop::Stop;
use crate::store::types::{Payload, TypeConfig};

type Raft = openraft::Raft<TypeConfig>;
type Asker = (RequestId, oneshot::Sender<Result<Answer, WriteError>>);
type Committing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes proposals until the queue is closed or the node stops; what was taken is brought to its end.
pub(crate) async fn run(raft: Raft, undecided: Undecided, queue: &mut mpsc::Receiver<Proposal>, stop: &Stop) {
    let mut waiting = VecDeque::new();
    let mut in_flight: Vec<Committing> = Vec::new();
    loop {
        while in_flight.len() < BATCHES_IN_FLIGHT && !waiting.is_empty() {
            in_flight.push(Box::pin(commit(raft.clone(), undecided.clone(), next_batch(&mut waiting))));
        }
        let room = waiting.is_empty();
        let mut taken = Vec::new();
        tokio::select! {
            () = any(&mut in_flight), if !in_flight.is_empty() => {}
            count = queue.recv_many(&mut taken, BATCH_ENVELOPES_MAX), if room && in_flight.len() < BATCHES_IN_FLIGHT => {
                if count == 0 {
                    return;
                }
                waiting.extend(taken);
            }
            () = stop.give_up(), if room && in_flight.is_empty() => return,
        }
    }
}

/// Ends when one of the futures has; it is taken out.
async fn any(in_flight: &mut Vec<Committing>) {
    std::future::poll_fn(|cx| {
        let done = in_flight.iter_mut().position(|commit| commit.as_mut().poll(cx).is_ready());
        done.map_or(Poll::Pending, |at| {
            drop(in_flight.swap_remove(at));
            Poll::Ready(())
        })
    })
    .await;
}

/// As many envelopes as fit in one entry; at least one.
fn next_batch(waiting: &mut VecDeque<Proposal>) -> Vec<Proposal> {
    let mut bytes = 0;
    let fits = |proposal: &Proposal| {
        bytes += proposal.bytes;
        bytes <= BATCH_BYTES_MAX
    };
    let count = waiting.iter().take(BATCH_ENVELOPES_MAX).map(fits).take_while(|fits| *fits).count().max(1);
    waiting.drain(..count.min(waiting.len())).collect()
}

async fn commit(raft: Raft, undecided: Undecided, proposals: Vec<Proposal>) {
    let (envelopes, askers): (Vec<Envelope>, Vec<Asker>) = proposals.into_iter().map(Proposal::split).unzip();
    let batch = Batch { version: BATCH_VERSION, time: Time::now(), envelopes };
    let payload = Payload(batch.encode().into());
    let decisions: Vec<Result<Answer, WriteError>> = match raft.client_write_ff(payload).await {
        Ok(answered) => match answered.await {
            Ok(written) => decisions(written, askers.len()),
            // raft ended with the entry under way: it may be on disk.
            Err(_) => askers.iter().map(|(request, _)| Err(WriteError::OutcomeUnknown(*request))).collect(),
        },
        Err(fatal) => askers.iter().map(|_| Err(not_taken(&fatal))).collect(),
    };
    for ((request, asker), decision) in askers.into_iter().zip(decisions) {
        if !matches!(decision, Err(WriteError::OutcomeUnknown(_))) {
            undecided.decided(&request);
        }
        // Who asked may have stopped waiting; what was decided stands.
        let _ = asker.send(decision);
    }
}

fn decisions(written: ClientWriteResult<TypeConfig>, count: usize) -> Vec<Result<Answer, WriteError>> {
    match written {
        Ok(response) => response.data.0.into_iter().map(|decided| decided.map_err(WriteError::Refused)).collect(),
        Err(ClientWriteError::ForwardToLeader(_) | ClientWriteError::ChangeMembershipError(_)) => {
            (0..count).map(|_| Err(WriteError::NoQuorum)).collect()
        }
    }
}

/// raft had ended before it took the entry.
fn not_taken(fatal: &Fatal<u64>) -> WriteError {
    match fatal {
        Fatal::Stopped => WriteError::Stopping,
        fatal => WriteError::StoreFailed(fatal.to_string()),
    }
}

impl Proposal {
    fn split(self) -> (Envelope, Asker) {
        let asker = (self.envelope.request_id, self.answer);
        (self.envelope, asker)
    }
}
