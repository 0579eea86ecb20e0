//! What a node has to do about a copy that stands by on it: fetch what it lacks, take the place of a home that is down, or wait. Pure.
use std::time::Instant;

use crate::base::ids::NodeId;
use crate::base::limits::moves::{STANDBY_DOUBT, STANDBY_LOOK_EVERY, STANDBY_RANK_STEP, STANDBY_STALE_MAX};
use crate::files::records::Record;
use crate::model::sites::Site;
use crate::model::standbys::{Failover, UNCONFIRMED};
use crate::model::state::State;

/// What is known of a copy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Copy {
    pub(crate) record: Option<Record>,
    /// Since when it lacks something, or may lack it.
    pub(crate) behind: Option<Instant>,
    /// When it was last seen to have everything, by this process, under this epoch.
    pub(crate) seen_whole: Option<Instant>,
    /// No pass before.
    pub(crate) due: Option<Instant>,
    /// Since when its home is known to be down.
    pub(crate) gone: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Until something changes, or this moment.
    Wait(Option<Instant>),
    /// Fetch what is lacking.
    Fetch,
    TakeOver,
}

pub(crate) fn next(state: &State, site: &Site, here: NodeId, copy: &Copy, now: Instant) -> Next {
    let at = |moment: Instant, then: Next| if now >= moment { then } else { Next::Wait(Some(moment)) };
    if is_down(state, site.home) {
        let Some(gone) = copy.gone.filter(|_| site.failover == Failover::Automatic && unfit(site, copy).is_none())
        else {
            return Next::Wait(None);
        };
        let able = |node: &&NodeId| !is_down(state, **node) && takes_visitors(state, **node);
        let rank = site.standbys.iter().take_while(|node| **node != here).filter(able).count();
        // Who has just started may have a copy of long ago, and its home is starting too.
        let doubt = if site.has_files() && copy.seen_whole.is_none() { STANDBY_DOUBT } else { Default::default() };
        return at(gone + STANDBY_RANK_STEP * rank as u32 + doubt, Next::TakeOver);
    }
    if !site.has_files() || comes(site, here) {
        return Next::Wait(None);
    }
    let look = match (copy.behind, copy.seen_whole) {
        (None, Some(seen)) => seen + STANDBY_LOOK_EVERY,
        _ => now,
    };
    at(copy.due.map_or(look, |due| due.max(look)), Next::Fetch)
}

pub(crate) fn is_down(state: &State, node: NodeId) -> bool {
    state.nodes.get(&node).is_none_or(|node| node.down)
}

fn takes_visitors(state: &State, node: NodeId) -> bool {
    state.nodes.get(&node).is_some_and(|node| node.takes_visitors())
}

/// Whether the site moves here: then the move is who copies.
pub(crate) fn comes(site: &Site, here: NodeId) -> bool {
    site.moving.as_ref().is_some_and(|moving| moving.to == here)
}

/// Why a copy does not take over by itself.
pub(crate) fn unfit(site: &Site, copy: &Copy) -> Option<&'static str> {
    if !site.has_files() {
        return None;
    }
    if site.unconfirmed.is_some() {
        return Some(UNCONFIRMED);
    }
    if !copy.record.is_some_and(|record| record.whole && record.epoch == site.epoch) {
        return Some("it has never had all that its present home has");
    }
    let stale = copy
        .behind
        .zip(copy.gone)
        .is_some_and(|(behind, gone)| gone.saturating_duration_since(behind) > STANDBY_STALE_MAX);
    (stale && copy.seen_whole.is_some()).then_some("it had lacked something for long when the home went down")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock::Time;
    use crate::base::names::NodeName;
    use crate::model::effect::Stored;
    use crate::model::nodes::Node;
    use crate::model::row::Row;
    use crate::model::sites::Handler;
    use crate::model::tests::world::stored_site;

    const HERE: NodeId = NodeId(2);

    /// Three nodes, of which these are down.
    fn state(down: &[u64]) -> State {
        let mut state = State::default();
        for id in 1..=3 {
            let name = NodeName::parse(&format!("pi-{id}")).unwrap();
            let node = Node { down: down.contains(&id), ..Node::new(NodeId(id), name, Time(1), 1) };
            state.put(&Stored::new(Row::Node(node)));
        }
        state
    }

    fn site(standbys: &[u64]) -> Site {
        let standbys = standbys.iter().copied().map(NodeId).collect();
        Site { home: NodeId(1), epoch: 3, standbys, ..stored_site(1, "a.example") }
    }

    fn copy(now: Instant) -> Copy {
        let record = Some(Record { epoch: 3, whole: true, as_of: Time(1) });
        Copy { record, seen_whole: Some(now), gone: Some(now), ..Copy::default() }
    }

    #[test]
    fn what_is_lacking_is_fetched_from_a_home_that_is_up_when_it_is_due() {
        let (now, site) = (Instant::now(), site(&[2]));
        let up = state(&[]);
        let next = |site: &Site, copy: &Copy| next(&up, site, HERE, copy, now);
        assert_eq!(next(&site, &Copy::default()), Next::Fetch);
        assert_eq!(next(&site, &copy(now)), Next::Wait(Some(now + STANDBY_LOOK_EVERY)));
        let later = now + Duration::from_secs(5);
        let behind = Copy { behind: Some(now), due: Some(later), ..copy(now) };
        assert_eq!(next(&site, &behind), Next::Wait(Some(later)));
        assert_eq!(next(&site, &Copy { due: Some(now), ..behind }), Next::Fetch);
        let redirect = Handler::Redirect { to: "https://b.example".into(), status: 308 };
        assert_eq!(next(&Site { handler: redirect, ..site.clone() }, &Copy::default()), Next::Wait(None));
    }

    #[test]
    fn the_first_standby_that_is_up_and_has_everything_takes_over() {
        let now = Instant::now();
        let next = |site: &Site, copy: &Copy, down: &[u64]| next(&state(down), site, HERE, copy, now);
        assert_eq!(next(&site(&[2]), &copy(now), &[1]), Next::TakeOver);
        assert_eq!(next(&site(&[3, 2]), &copy(now), &[1]), Next::Wait(Some(now + STANDBY_RANK_STEP)));
        assert_eq!(next(&site(&[3, 2]), &copy(now), &[1, 3]), Next::TakeOver);
        let manual = Site { failover: Failover::Manual, ..site(&[2]) };
        assert_eq!(next(&manual, &copy(now), &[1]), Next::Wait(None));
        let unconfirmed = Site { unconfirmed: Some(7), ..site(&[2]) };
        assert_eq!(next(&unconfirmed, &copy(now), &[1]), Next::Wait(None));
        for record in [None, Some(Record { epoch: 2, whole: true, as_of: Time(1) })] {
            assert_eq!(next(&site(&[2]), &Copy { record, ..copy(now) }, &[1]), Next::Wait(None));
        }
        let started = Copy { seen_whole: None, ..copy(now) };
        assert_eq!(next(&site(&[2]), &started, &[1]), Next::Wait(Some(now + STANDBY_DOUBT)));
        let at = |ago: Duration| Copy { behind: Some(now), gone: Some(now + ago), ..copy(now) };
        let later = |copy: &Copy| super::next(&state(&[1]), &site(&[2]), HERE, copy, copy.gone.unwrap());
        assert_eq!(later(&at(STANDBY_STALE_MAX)), Next::TakeOver);
        assert_eq!(later(&at(STANDBY_STALE_MAX + Duration::from_secs(1))), Next::Wait(None));
    }
}
