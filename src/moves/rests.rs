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
        drop(held);
        self.stilled.notify_all();
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
        let (mut held, mut seen) = (self.lock(), false);
        loop {
            match held.get(&site).filter(|held| held.round == round) {
                Some(held) if held.still => return true,
                Some(_) => seen = true,
                // It woke; before, the state that says so may not have come yet.
                None if seen => return false,
                None => {}
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

    /// Nothing opens any more, whatever becomes of this: another process decides from here on.
    pub(crate) fn keep_closed(&self) {
        std::mem::take(&mut *self.lock()).into_values().for_each(std::mem::forget);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SiteId, Held>> {
        // Whole after each step.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::OperationId;
    use crate::files::gate::Refused;
    use crate::model::effect::Stored;
    use crate::model::moves::{Moving, Stage};
    use crate::model::row::Row;
    use crate::model::sites::Site;
    use crate::model::tests::world::stored_site;

    const HERE: NodeId = NodeId(1);
    const SITE: SiteId = SiteId(1);

    fn state(home: NodeId, epoch: u64, stage: Option<Stage>) -> State {
        let moving = stage.map(|stage| Moving { operation: OperationId(9), to: NodeId(2), stage, bandwidth: None });
        let mut state = State::default();
        state.put(&Stored::new(Row::Site(Site { home, epoch, moving, ..stored_site(1, "a.example") }.into())));
        state
    }

    fn soon() -> Instant {
        Instant::now() + std::time::Duration::from_millis(5)
    }

    #[test]
    fn a_site_rests_from_one_change_to_the_other_and_nobody_writes_to_the_old_home() {
        let gates = Gates::default();
        gates.set_epoch(SITE, 3);
        let rests = Rests::new(gates.clone());
        let resting = |round| state(HERE, 3, Some(Stage::Resting { round }));
        assert!(rests.follow(&state(HERE, 3, Some(Stage::Copying)), HERE).is_empty());
        let writer = gates.enter(SITE, 3).unwrap();
        assert_eq!(rests.follow(&resting(5), HERE), [(SITE, 5)]);
        assert_eq!(gates.enter(SITE, 3).unwrap_err(), Refused::Frozen);
        assert!(!rests.wait(SITE, 5, soon()), "one writes still");
        drop(writer);
        rests.still(SITE);
        assert!(rests.wait(SITE, 5, soon()) && !rests.wait(SITE, 6, soon()));
        // Woken and laid to rest in one look: still closed, for the new round.
        assert!(rests.follow(&resting(6), HERE).is_empty());
        assert!(rests.wait(SITE, 6, soon()) && !rests.wait(SITE, 5, soon()));
        assert!(rests.follow(&state(HERE, 3, Some(Stage::Copying)), HERE).is_empty() && rests.is_empty());
        drop(gates.enter(SITE, 3).unwrap());
        // Flipped: who has not heard of it finds nobody here, whatever the other keepers have seen.
        rests.follow(&resting(7), HERE);
        rests.follow(&state(NodeId(2), 4, None), HERE);
        assert_eq!(gates.enter(SITE, 3).unwrap_err(), Refused::NotHere);
        assert_eq!(gates.enter(SITE, 4).unwrap_err(), Refused::NotHere);
    }

    #[test]
    fn a_node_that_starts_while_a_site_rests_takes_no_write_of_it() {
        let gates = Gates::default();
        let rests = Rests::new(gates.clone());
        assert_eq!(rests.follow(&state(HERE, 3, Some(Stage::Resting { round: 5 })), HERE), [(SITE, 5)]);
        // As the keeper of the gates does when it has seen the state.
        gates.set_epoch(SITE, 3);
        assert_eq!(gates.enter(SITE, 3).unwrap_err(), Refused::Frozen);
        assert!(rests.overdue().is_empty());
    }
}
