//! The sites at home here whose writes rest: their gates stay closed from the change that says so until a later one says otherwise,
//! whatever becomes of who copies.
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::base::ids::{NodeId, SiteId};
use crate::base::limits::moves::REST_MAX;
use crate::files::gate::{Frozen, Gates};
use crate::model::state::State;
use crate::moves::plan;

#[derive(Debug)]
pub(crate) struct Rests {
    gates: Gates,
    held: Mutex<BTreeMap<SiteId, Held>>,
    stilled: Condvar,
}

#[derive(Debug)]
struct Held {
    round: u64,
    since: Instant,
    /// Nobody writes any more.
    still: bool,
    _closed: Frozen,
}

impl Rests {
    pub(crate) fn new(gates: Gates) -> Self {
        Self { gates, held: Mutex::default(), stilled: Condvar::new() }
    }

    /// Closes and opens gates as the state says; gives the sites whose writes are to be waited for, each with its round.
    pub(crate) fn follow(&self, state: &State, here: NodeId) -> Vec<(SiteId, u64)> {
        let mut held = self.lock();
        let mut waits = Vec::new();
        for (site, epoch, round) in plan::rests(state, here) {
            if let Some(held) = held.get_mut(&site) {
                // It woke and rests again in one look: nobody wrote in between.
                held.round = round;
                continue;
            }
            self.gates.set_epoch(site, epoch);
            let Ok(closed) = self.gates.close(site) else { continue };
            held.insert(site, Held { round, since: Instant::now(), still: false, _closed: closed });
            waits.push((site, round));
        }
        held.retain(|site, held| {
            let rests = plan::rests(state, here).any(|(resting, _, round)| resting == *site && round == held.round);
            if !rests && state.sites.get(site).is_none_or(|site| site.home != here) {
                // Before it opens: a writer that has not seen yet where the home is now finds nobody here.
                self.gates.remove(*site);
            }
            rests
        });
        waits
    }

    /// All writes of this rest are back.
    pub(crate) fn still(&self, site: SiteId) {
        if let Some(held) = self.lock().get_mut(&site) {
            held.still = true;
        }
        self.stilled.notify_all();
    }

    /// Waits until nobody writes in this rest. Blocks.
    pub(crate) fn wait(&self, site: SiteId, round: u64, deadline: Instant) -> bool {
        let mut held = self.lock();
        loop {
            if held.get(&site).is_some_and(|held| held.round == round && held.still) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            held = self.stilled.wait_timeout(held, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Those that have rested for too long.
    pub(crate) fn overdue(&self) -> Vec<(SiteId, u64)> {
        let held = self.lock();
        let late = held.iter().filter(|(_, held)| held.since.elapsed() > REST_MAX);
        late.map(|(site, held)| (*site, held.round)).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SiteId, Held>> {
        // Whole after each step.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
