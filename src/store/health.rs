//! What became of the databases: good, waiting for space, or out of use until a restart. Read by the door and by the board.
use tokio::sync::watch;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    Good,
    /// A write waits for space and is tried again each second.
    DiskFull {
        database: &'static str,
    },
    /// Nothing is written any more until a restart.
    Failed {
        reason: String,
    },
}

/// Shared by the threads of both databases.
#[derive(Debug, Clone)]
pub struct HealthCell(watch::Sender<Health>);

impl HealthCell {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Health::Good))
    }

    pub fn now(&self) -> Health {
        self.0.borrow().clone()
    }

    pub fn watch(&self) -> watch::Receiver<Health> {
        self.0.subscribe()
    }

    pub(crate) fn failed(&self) -> Option<String> {
        match &*self.0.borrow() {
            Health::Failed { reason } => Some(reason.clone()),
            _ => None,
        }
    }

    pub(crate) fn fail(&self, reason: &str) {
        self.0.send_if_modified(|health| {
            let first = !matches!(health, Health::Failed { .. });
            if first {
                tracing::error!(reason, "the store takes no more changes until a restart");
                *health = Health::Failed { reason: reason.to_owned() };
            }
            first
        });
    }

    pub(crate) fn full(&self, database: &'static str) {
        self.0.send_if_modified(|health| {
            let first = matches!(health, Health::Good);
            if first {
                tracing::error!(database, "the disk is full; changes wait, everything committed is served");
                *health = Health::DiskFull { database };
            }
            first
        });
    }

    /// The database that found the disk full could write again.
    pub(crate) fn space(&self, database: &'static str) {
        self.0.send_if_modified(|health| {
            let ended = *health == Health::DiskFull { database };
            if ended {
                tracing::info!(database, "there is space on the disk again");
                *health = Health::Good;
            }
            ended
        });
    }
}
