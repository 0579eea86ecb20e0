//! Leases: while the leader confirms a node, the sites with automatic failover that are at home there may be written there; before a
//! standby becomes the home the lease of the old one has ended. Counted from before a lease is asked for where it is held, from after
//! it was given where it is owed, on a clock that goes on while a machine sleeps.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::base::clock::since_boot;
use crate::base::ids::NodeId;
use crate::base::limits::peers::{
    PEER_RPC_WAIT, SITE_LEASE, SITE_LEASE_EVERY, SITE_LEASE_GRACE, SITE_LEASE_RETRY, SITE_LEASE_WAIT,
};
use crate::cluster::member::Member;
use crate::cluster::peer::messages::{Ask, Said};
use crate::files::gate::Gates;
use crate::model::change::{Change, Envelope};
use crate::ops::board::Board;
use crate::ops::stop::Stop;

/// What a leader knows of the leases it gave.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leases(Arc<Mutex<Given>>);

#[derive(Debug, Default)]
struct Given {
    /// The term this node leads, and when it was first seen to.
    leads: Option<(u64, Duration)>,
    /// When each lease has ended for sure.
    ends: BTreeMap<NodeId, Duration>,
    /// The homes that are being replaced: they get none.
    replaced: BTreeMap<NodeId, usize>,
}

/// A home gets no lease until this is dropped.
#[derive(Debug)]
pub(crate) struct Replaced {
    leases: Leases,
    home: NodeId,
}

impl Drop for Replaced {
    fn drop(&mut self) {
        let mut given = self.leases.lock();
        match given.replaced.get_mut(&self.home) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(given.replaced.remove(&self.home)),
        }
    }
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, Given> {
        // Whole after each step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This node leads. Of the leases its forerunner gave it knows nothing: it waits as long as one lasts.
    pub(crate) fn leads(&self, term: u64, now: Duration) {
        let mut given = self.lock();
        if given.leads.is_none_or(|(known, _)| known != term) {
            given.leads = Some((term, now));
        }
    }

    fn give(&self, home: NodeId, now: Duration) -> bool {
        let mut given = self.lock();
        if given.replaced.contains_key(&home) {
            return false;
        }
        given.ends.insert(home, now + SITE_LEASE + SITE_LEASE_GRACE);
        true
    }

    /// Keeps a home from getting a lease, once the one it had is over; else how long that takes.
    fn replace(&self, home: NodeId, term: u64, now: Duration) -> Result<Replaced, Duration> {
        self.leads(term, now);
        let mut given = self.lock();
        let silence = given.leads.map_or(now, |(_, since)| since + SITE_LEASE + SITE_LEASE_GRACE);
        let end = given.ends.get(&home).copied().unwrap_or_default().max(silence);
        if end > now {
            return Err(end - now);
        }
        *given.replaced.entry(home).or_default() += 1;
        drop(given);
        Ok(Replaced { leases: self.clone(), home })
    }
}

/// Whether a change replaces a home: it goes to the log alone.
pub(crate) fn replaces_a_home(envelope: &Envelope) -> bool {
    matches!(envelope.change, Change::SiteFailover(_))
}

impl Member {
    /// Keeps this node's lease while a site here needs one, and tells the gates how long it lasts.
    pub async fn keep_lease(&self, gates: &Gates, board: &Board, stop: &Stop) {
        let mut snapshot = self.snapshot();
        while !stop.is_given_up() {
            let wanted = snapshot.borrow_and_update().has_fenced(self.node());
            let mut pause = SITE_LEASE_RETRY;
            if wanted {
                let asked = since_boot();
                if timeout(SITE_LEASE_WAIT, self.is_confirmed(board)).await.unwrap_or(false) {
                    gates.lease_until(asked + SITE_LEASE);
                    pause = SITE_LEASE_EVERY;
                }
            }
            tokio::select! {
                () = sleep(pause), if wanted => {}
                changed = snapshot.changed(), if !wanted => if changed.is_err() { return },
                () = stop.give_up() => return,
            }
        }
    }

    /// Whether the leader gives this node a lease, and this node and its planes know all that was decided before.
    async fn is_confirmed(&self, board: &Board) -> bool {
        let index = match self.leader() {
            Some(leader) if leader == self.node() => self.give_lease(leader).await,
            Some(leader) => match self.peers().ask(leader, &Ask::Lease, PEER_RPC_WAIT).await {
                Ok(Said::Index(index)) => Some(index),
                Ok(_) | Err(_) => None,
            },
            None => None,
        };
        let Some(index) = index else { return false };
        let applied = |seen: &openraft::RaftMetrics<u64, _>| seen.last_applied.map(|at| at.index) >= index;
        if self.raft().wait(Some(SITE_LEASE_WAIT)).metrics(applied, "applied").await.is_err() {
            return false;
        }
        self.serves(self.now().revision, board, Instant::now() + SITE_LEASE_WAIT).await
    }

    /// As the leader: up to where a home has to know the log before it may go by its lease; none: it gets none.
    pub(crate) async fn give_lease(&self, home: NodeId) -> Option<Option<u64>> {
        if !self.leases().give(home, since_boot()) {
            return None;
        }
        // A quorum confirms that this node leads still, and so that nobody else has replaced the home.
        let index = self.read_at().await?;
        self.leases().give(home, since_boot()).then_some(index)
    }

    /// Sees to it that a home which is to be replaced has no lease; else how long it has one.
    pub(crate) fn replace_home(&self, envelopes: &[Envelope]) -> Result<Option<Replaced>, Duration> {
        let [Envelope { change: Change::SiteFailover(change), .. }] = envelopes else { return Ok(None) };
        let Some(home) = self.now().sites.get(&change.site).map(|site| site.home) else { return Ok(None) };
        self.leases().replace(home, self.status().term, since_boot()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: NodeId = NodeId(7);

    #[test]
    fn a_home_is_replaced_once_its_lease_is_over_and_gets_none_meanwhile() {
        let leases = Leases::default();
        let at = Duration::from_secs;
        let whole = SITE_LEASE + SITE_LEASE_GRACE;
        leases.leads(3, at(100));
        // What the leader before gave is not known.
        assert_eq!(leases.replace(HOME, 3, at(100)).unwrap_err(), whole);
        assert!(leases.give(HOME, at(105)));
        assert_eq!(leases.replace(HOME, 3, at(105) + whole - at(1)).unwrap_err(), at(1));
        let late = at(105) + whole;
        let (first, second) = (leases.replace(HOME, 3, late).unwrap(), leases.replace(HOME, 3, late).unwrap());
        drop(first);
        assert!(!leases.give(HOME, late) && leases.give(NodeId(8), late));
        drop(second);
        assert!(leases.give(HOME, late));
        // Whoever leads anew begins anew.
        assert_eq!(leases.replace(NodeId(9), 4, at(200)).unwrap_err(), whole);
        assert!(leases.replace(NodeId(9), 4, at(200) + whole).is_ok());
    }
}
