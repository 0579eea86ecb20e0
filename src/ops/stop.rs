//! The two-phase stop as a task sees it: first listeners and databases are given up, then what is under way is drained
//! until a deadline. Never ends anything itself.
use tokio::sync::watch;
use tokio::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    GiveUp,
    Drain(Instant),
}

/// Tells one task to stop.
#[derive(Debug)]
pub(crate) struct Stopper(watch::Sender<Phase>);

impl Stopper {
    pub(crate) fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(Phase::Running);
        (Self(sender), Stop(receiver))
    }

    pub(crate) fn give_up(&self) {
        self.0.send_replace(Phase::GiveUp);
    }

    pub(crate) fn drain(&self, deadline: Instant) {
        self.0.send_replace(Phase::Drain(deadline));
    }
}

/// What a task waits on beside its work. Cheap to clone; a dropped stopper counts as a stop.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<Phase>);

impl Stop {
    /// Returns when listeners and databases are to be given up.
    pub async fn give_up(&self) {
        let _ = self.0.clone().wait_for(|phase| *phase != Phase::Running).await;
    }

    pub fn is_given_up(&self) -> bool {
        *self.0.borrow() != Phase::Running
    }

    /// Returns when what is under way is to be finished, with the moment by which it must be.
    pub async fn drain(&self) -> Instant {
        let mut phase = self.0.clone();
        match phase.wait_for(|phase| matches!(phase, Phase::Drain(_))).await.as_deref() {
            Ok(Phase::Drain(deadline)) => *deadline,
            _ => Instant::now(),
        }
    }
}
