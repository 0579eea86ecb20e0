//! Certificates from issuers: what is wanted follows from the state, one pure plan says what to do about it and when, and one
//! keeper does it. Nothing here serves a visitor: the answers to challenges stand in the state, where the planes find them.
mod account;
mod checks;
mod fault;
mod groups;
pub mod keeper;
mod order;
pub mod plan;
mod revoke;
pub(crate) mod suffixes;
mod troubles;
mod windows;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{RwLock, watch};

use crate::base::names::IssuerName;
use crate::cluster::door::{Door, Write, WriteError};
use crate::cluster::member::Member;
use crate::model::answer::Answer;
use crate::model::certificates::{CertificateRemove, CertificateWarn};
use crate::model::challenges::{ChallengePut, ChallengeRemove};
use crate::model::change::Change;
use crate::model::issuers::{IssuerAccountPut, IssuerTold};
use crate::model::orders::{OrderFinish, OrderPlace, OrderReserve};
use crate::model::state::Snapshot;
use crate::ops::blocking::Blocking;
use crate::ops::board::Board;
use crate::resolve::resolver::Resolver;
use crate::seal::keyring::Keyring;

/// What this room may change.
#[derive(Debug, Clone)]
pub enum Obtaining {
    Account(IssuerAccountPut),
    Told(IssuerTold),
    Reserve(OrderReserve),
    Place(Box<OrderPlace>),
    Finish(Box<OrderFinish>),
    Challenge(ChallengePut),
    Done(ChallengeRemove),
    Warn(CertificateWarn),
    Revoked(CertificateRemove),
}

impl From<Obtaining> for Change {
    fn from(change: Obtaining) -> Self {
        match change {
            Obtaining::Account(change) => Self::IssuerAccountPut(change),
            Obtaining::Told(change) => Self::IssuerTold(change),
            Obtaining::Reserve(change) => Self::OrderReserve(change),
            Obtaining::Place(change) => Self::OrderPlace(*change),
            Obtaining::Finish(change) => Self::OrderFinish(*change),
            Obtaining::Challenge(change) => Self::ChallengePut(change),
            Obtaining::Done(change) => Self::ChallengeRemove(change),
            Obtaining::Warn(change) => Self::CertificateWarn(change),
            Obtaining::Revoked(change) => Self::CertificateRemove(change),
        }
    }
}

/// What the room stands on.
#[derive(Debug, Clone)]
pub struct Ground {
    pub door: Door<Obtaining>,
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    pub keyring: Arc<Keyring>,
    pub board: Board,
    /// Asks the other nodes what they serve.
    pub member: Member,
    pub blocking: Blocking,
    pub resolver: Arc<Resolver>,
    /// Held while an account is made or changed, and shared by the orders that are under way with it; one for each issuer.
    pub accounts: Arc<Mutex<BTreeMap<IssuerName, Arc<RwLock<()>>>>>,
    /// Whether the node listens where HTTP-01 is asked for; what is behind another address is looked at from outside.
    pub http: bool,
}

impl Ground {
    fn now(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    async fn write(&self, change: Obtaining) -> Result<Answer, WriteError> {
        let answer = self.door.write(Write::of_system(change)).await?;
        // What is decided next is decided on a state that has it; none comes any more where the node stops.
        let _ = self.snapshots.clone().wait_for(|snapshot| snapshot.revision >= answer.revision).await;
        Ok(answer)
    }
}
