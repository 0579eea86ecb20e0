//! The sites at home here whose writes rest: their gates stay closed from the change that says so until a later one says otherwise,
//! whatever becomes of who copies.
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::base::ids::{NodeId, SiteId};
use crate::base::limits::moves::REST_MAX;
use crate::files::gate::{Frozen, Gates};
use crate::files::hold::Hold;
use crate::model::state::State;
use crate::moves::plan;

#[derive(Debug)]
pub(crate) struct Rests {
    gates: Gates,
    /// As the moves are told.
    shared_until: Option<Instant>,
    held: Mutex<BTreeMap<SiteId, Held>>,
    /// Of sites that moved away: the process before this one must not find them free.
    kept: Mutex<Vec<Hold>>,
    stilled: Condvar,
}

#[derive(Debug)]
struct Held {
    round: u64,
    since: Instant,
    /// Nobody writes any more.
    still: bool,
    /// Against the process before this one.
    hold: Option<Hold>,
    _closed: Frozen,
}

impl Rests {
    pub(crate) fn new(gates: Gates, shared_until: Option<Instant>) -> Self {
        Self { gates, shared_until, held: Mutex::default(), kept: Mutex::default(), stilled: Condvar::new() }
    }

    /// Closes and opens gates as the state says; gives the sites whose writes are to be waited for, each with its round.
    pub(crate) fn follow(&self, state: &State, here: NodeId) -> Vec<(SiteId, u64)> {
        let mut held = self.lock();
        let mut waits = Vec::new();
        for (site, epoch, round) in plan::rests(state, here) {
            let fenced = state.sites.get(&site).is_some_and(|site| site.is_fenced());
            if let Some(held) = held.get_mut(&site) {
                // It woke and rests again in one look: nobody wrote in between, but this rest is not known yet after a power cut.
                if held.round != round {
                    (held.round, held.since, held.still) = (round, Instant::now(), false);
                    waits.push((site, round));
                }
                continue;
            }
            self.gates.set_home(site, epoch, fenced);
            let Ok(closed) = self.gates.close(site) else { continue };
            held.insert(site, Held { round, since: Instant::now(), still: false, hold: None, _closed: closed });
            waits.push((site, round));
        }
        held.retain(|site, held| {
            let rests = plan::rests(state, here).any(|(resting, _, round)| resting == *site && round == held.round);
            if !rests && state.sites.get(site).is_none_or(|site| site.home != here) {
                // Before it opens: a writer that has not seen yet where the home is now finds nobody here.
                self.gates.remove(*site);
                self.kept().extend(held.hold.take());
            }
            rests
        });
        drop(held);
        if self.shared_until.is_none_or(|until| Instant::now() > until) {
            self.kept().clear();
        }
        self.stilled.notify_all();
        waits
    }

    /// All writes of this rest are back, and it is known after a power cut too.
    pub(crate) fn still(&self, site: SiteId, round: u64, hold: Option<Hold>) {
        if let Some(held) = self.lock().get_mut(&site).filter(|held| held.round == round) {
            held.still = true;
            held.hold = hold.or(held.hold.take());
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

    fn kept(&self) -> MutexGuard<'_, Vec<Hold>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
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
        let moving = stage.map(|stage| {
            Box::new(Moving {
                operation: OperationId(9),
                to: NodeId(2),
                stage,
                bandwidth: None,
                reason: None,
                hold: false,
            })
        });
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
        gates.set_home(SITE, 3, false);
        let rests = Rests::new(gates.clone(), None);
        let resting = |round| state(HERE, 3, Some(Stage::Resting { round }));
        assert!(rests.follow(&state(HERE, 3, Some(Stage::Copying)), HERE).is_empty());
        let writer = gates.enter(SITE, 3).unwrap();
        assert_eq!(rests.follow(&resting(5), HERE), [(SITE, 5)]);
        assert_eq!(gates.enter(SITE, 3).unwrap_err(), Refused::Frozen);
        assert!(!rests.wait(SITE, 5, soon()), "one writes still");
        drop(writer);
        rests.still(SITE, 5, None);
        assert!(rests.wait(SITE, 5, soon()) && !rests.wait(SITE, 6, soon()));
        // Woken and laid to rest in one look: closed all the while, and what is known of the one rest is not known of the other.
        assert_eq!(rests.follow(&resting(6), HERE), [(SITE, 6)]);
        assert_eq!(gates.enter(SITE, 3).unwrap_err(), Refused::Frozen);
        rests.still(SITE, 5, None);
        assert!(!rests.wait(SITE, 6, soon()));
        rests.still(SITE, 6, None);
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
        let rests = Rests::new(gates.clone(), None);
        assert_eq!(rests.follow(&state(HERE, 3, Some(Stage::Resting { round: 5 })), HERE), [(SITE, 5)]);
        // As the keeper of the gates does when it has seen the state.
        gates.set_home(SITE, 3, false);
        assert_eq!(gates.enter(SITE, 3).unwrap_err(), Refused::Frozen);
        assert!(rests.overdue().is_empty());
    }
}
