//! Group commit: whatever waits while a log entry is being synced goes together into the next one, so that one fsync serves
//! many writers. Two entries are under way at a time: one being synced, one being applied. Where another node leads, it is asked, in
//! more batches at a time: there they wait together with all others.
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use openraft::error::{ClientWriteError, Fatal};
use openraft::raft::ClientWriteResult;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use crate::base::ids::{NodeId, RequestId};
use crate::base::limits::peers::{LEADER_WAIT, QUORUM_SILENCE};
use crate::base::limits::{BATCH_BYTES_MAX, BATCH_ENVELOPES_MAX, BATCHES_FORWARDED, BATCHES_IN_FLIGHT, WRITE_WAIT};
use crate::cluster::door::{Proposal, Undecided, Write, WriteError};
use crate::cluster::lease::replaces_a_home;
use crate::cluster::member::Member;
use crate::cluster::peer::error::PeerError;
use crate::cluster::peer::messages::{Ask, Said};
use crate::model::answer::Answer;
use crate::model::change::{BATCH_VERSION, Batch, Change, Envelope};
use crate::ops::stop::Stop;
use crate::store::types::{Payload, TypeConfig};

/// How often a leader is looked for again while there is none, or while it cannot be asked.
const LEADER_LOOK: Duration = Duration::from_millis(100);

type Asker = (RequestId, oneshot::Sender<Result<Answer, WriteError>>);
type Committing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes proposals until the queue is closed or the node stops; what was taken is brought to its end.
pub(crate) async fn run(member: &Member, undecided: Undecided, queue: &mut mpsc::Receiver<Proposal>, stop: &Stop) {
    let mut waiting = VecDeque::new();
    let mut in_flight: Vec<Committing> = Vec::new();
    loop {
        // Another leader makes its own entries of what it is asked.
        let most = if member.leads() { BATCHES_IN_FLIGHT } else { BATCHES_FORWARDED };
        while in_flight.len() < most && !waiting.is_empty() {
            let batch = next_batch(&mut waiting);
            in_flight.push(Box::pin(commit(member.clone(), undecided.clone(), stop.clone(), batch)));
        }
        let room = waiting.is_empty();
        let mut taken = Vec::new();
        tokio::select! {
            () = any(&mut in_flight), if !in_flight.is_empty() => {}
            count = queue.recv_many(&mut taken, BATCH_ENVELOPES_MAX), if room && in_flight.len() < most => {
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
    if waiting.front().is_some_and(|first| replaces_a_home(&first.envelope)) {
        return waiting.drain(..1).collect();
    }
    let mut bytes = 0;
    let fits = |proposal: &Proposal| {
        bytes += proposal.bytes;
        bytes <= BATCH_BYTES_MAX && !replaces_a_home(&proposal.envelope)
    };
    let count = waiting.iter().take(BATCH_ENVELOPES_MAX).map(fits).take_while(|fits| *fits).count().max(1);
    waiting.drain(..count.min(waiting.len())).collect()
}

async fn commit(member: Member, undecided: Undecided, stop: Stop, proposals: Vec<Proposal>) {
    let (envelopes, askers): (Vec<Envelope>, Vec<Asker>) = proposals.into_iter().map(Proposal::split).unzip();
    let decisions = bring(&member, &stop, envelopes, &askers).await;
    for ((request, asker), decision) in askers.into_iter().zip(decisions) {
        if !matches!(decision, Err(WriteError::OutcomeUnknown(_))) {
            undecided.decided(&request);
        }
        // Who asked may have stopped waiting; what was decided stands.
        let _ = asker.send(decision);
    }
}

type Decisions = Vec<Result<Answer, WriteError>>;

/// What came of one attempt.
enum Attempt {
    Decided(Decisions),
    /// It may be in somebody's log; the request ids keep it from happening twice.
    Perhaps,
    NotTaken,
}

/// Brings changes to the log through whoever leads, and again through the next one where that one is gone.
async fn bring(member: &Member, stop: &Stop, mut envelopes: Vec<Envelope>, askers: &[Asker]) -> Decisions {
    let deadline = Instant::now() + LEADER_WAIT;
    let mut perhaps = false;
    loop {
        let mut seen = member.raft().server_metrics();
        let leader = seen.borrow_and_update().current_leader.map(NodeId);
        let attempt = match leader {
            Some(leader) if leader == member.node() => here(member, &mut envelopes).await,
            Some(leader) => elsewhere(member, stop, leader, &envelopes).await,
            None => Attempt::NotTaken,
        };
        match attempt {
            Attempt::Decided(decisions) => return decisions,
            Attempt::Perhaps => perhaps = true,
            Attempt::NotTaken => {}
        }
        let end = tokio::select! {
            changed = seen.changed() => changed.is_err(),
            () = sleep(LEADER_LOOK) => false,
            () = stop.give_up() => true,
        };
        if end || Instant::now() >= deadline {
            let undecided = |request: &RequestId| match perhaps {
                true => WriteError::OutcomeUnknown(*request),
                false if stop.is_given_up() => WriteError::Stopping,
                false => member.no_quorum(),
            };
            return askers.iter().map(|(request, _)| Err(undecided(request))).collect();
        }
    }
}

/// Says what only a leader can know. It is an entry of this leader or none: whoever leads next sees for itself, and is not told what was
/// true before.
pub(crate) async fn as_leader(member: &Member, change: Change) -> Result<(), WriteError> {
    member.door().is_open()?;
    let write = Write::of_system(change);
    let request = write.request_id;
    let mut envelopes = vec![write.into_envelope()];
    if !member.leads() {
        return Err(WriteError::NoQuorum);
    }
    match here(member, &mut envelopes).await {
        Attempt::Decided(decisions) => decisions.into_iter().try_for_each(|decision| decision.map(drop)),
        Attempt::Perhaps => Err(WriteError::OutcomeUnknown(request)),
        Attempt::NotTaken => Err(WriteError::NoQuorum),
    }
}

/// This node leads: one entry of its log.
async fn here(member: &Member, envelopes: &mut Vec<Envelope>) -> Attempt {
    // What cannot be replicated is better refused than left to whoever leads next.
    if member.retiring().load(Ordering::Relaxed) || !member.has_quorum() {
        return Attempt::NotTaken;
    }
    // Held until the change is decided, or at least in the log, up to whose end a lease makes its holder read.
    let _replaced = match member.replace_home(envelopes) {
        Ok(replaced) => replaced,
        Err(left) => {
            let left = left.as_secs() + 1;
            return Attempt::Decided(envelopes.iter().map(|_| Err(WriteError::Leased { left })).collect());
        }
    };
    let batch = Batch { version: BATCH_VERSION, time: member.stamp().await, envelopes: std::mem::take(envelopes) };
    let payload = Payload(batch.encode().into());
    *envelopes = batch.envelopes;
    match member.raft().client_write_ff(payload).await {
        Ok(answered) => {
            let (mut answered, mut seen) = (pin!(answered), member.raft().server_metrics());
            let mut followed =
                pin!(seen.wait_for(|seen| seen.current_leader.is_some_and(|other| other != member.node().0)));
            loop {
                tokio::select! {
                    written = &mut answered => return match written {
                        Ok(written) => decisions(written),
                        // raft ended with the entry under way: it may be on disk.
                        Err(_) => Attempt::Decided(unknown(envelopes)),
                    },
                    // Whoever leads now has the entry or never gets it; asked again it says which.
                    _ = &mut followed => return Attempt::Perhaps,
                    () = sleep(QUORUM_SILENCE) => if !member.has_quorum() {
                        return Attempt::Perhaps;
                    },
                }
            }
        }
        Err(fatal) => Attempt::Decided(envelopes.iter().map(|_| Err(not_taken(&fatal))).collect()),
    }
}

fn unknown(envelopes: &[Envelope]) -> Decisions {
    envelopes.iter().map(|envelope| Err(WriteError::OutcomeUnknown(envelope.request_id))).collect()
}

fn decisions(written: ClientWriteResult<TypeConfig>) -> Attempt {
    match written {
        Ok(response) => {
            Attempt::Decided(response.data.0.into_iter().map(|decided| decided.map_err(WriteError::Refused)).collect())
        }
        // It led when it took the entry, and leads no more.
        Err(ClientWriteError::ForwardToLeader(_) | ClientWriteError::ChangeMembershipError(_)) => Attempt::Perhaps,
    }
}

/// Another node leads: it is asked, and left as soon as it leads no more. The answer counts when this node has applied it as well.
async fn elsewhere(member: &Member, stop: &Stop, leader: NodeId, envelopes: &[Envelope]) -> Attempt {
    let ask = Ask::Write(envelopes.to_vec());
    let mut seen = member.raft().server_metrics();
    let said = tokio::select! {
        said = member.peers().ask(leader, &ask, WRITE_WAIT) => said,
        _ = seen.wait_for(|seen| seen.current_leader != Some(leader.0)) => return Attempt::Perhaps,
    };
    match said {
        Ok(Said::Written(answers)) if answers.len() == envelopes.len() => {
            // It leads no more; what it says of itself is nothing to who asked here.
            if answers.iter().all(|answer| matches!(answer, Err(WriteError::Stopping | WriteError::Removed))) {
                return Attempt::NotTaken;
            }
            let revision = answers.iter().flatten().map(|answer| answer.revision).max().unwrap_or_default();
            let mut snapshot = member.snapshot();
            let applied = snapshot.wait_for(|snapshot| snapshot.revision >= revision);
            // A node that lags far behind, or that stops, answers all the same: the change is made.
            tokio::select! {
                _ = timeout(LEADER_WAIT, applied) => {}
                () = stop.give_up() => {}
            }
            Attempt::Decided(answers)
        }
        Ok(Said::NotLeader) | Err(PeerError::Unreached(_)) => Attempt::NotTaken,
        Ok(_) | Err(_) => Attempt::Perhaps,
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
