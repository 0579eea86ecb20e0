//! The time of a batch: the leader's clock, and where that is far ahead of the last batch's time only what a majority of the voters'
//! clocks agrees to. One clock that is wrong moves the state's time, which never goes back, by an hour at most. Sets no clock.
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::task::JoinSet;

use crate::base::clock::Time;
use crate::base::limits::peers::{CLOCK_ASK_EVERY, CLOCK_JUMP_MAX, PEER_CANVASS_WAIT};
use crate::cluster::member::Member;
use crate::cluster::peer::messages::{Ask, Said};

/// What the others' clocks said when this node's was alone with what it says.
#[derive(Debug, Default)]
pub(crate) struct Clocks(Mutex<Option<(Instant, Time)>>);

impl Clocks {
    /// The time by what they said last, while that counts.
    fn by_others(&self) -> Option<Time> {
        let said = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.filter(|(at, _)| at.elapsed() < CLOCK_ASK_EVERY).map(|(at, time)| time.plus(at.elapsed()))
    }

    fn keep(&self, said: Time) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), said));
    }
}

impl Member {
    /// The time of a batch that is made now.
    pub(crate) async fn stamp(&self) -> Time {
        let (own, last) = (Time::now(), self.now().time);
        if own <= last.plus(CLOCK_JUMP_MAX) {
            return own;
        }
        if let Some(time) = self.clocks().by_others() {
            return time.min(own);
        }
        let voters = self.status().voters;
        let mut asked = JoinSet::new();
        for voter in voters.iter().copied().filter(|voter| *voter != self.node()) {
            let peers = self.peers().clone();
            asked.spawn(async move {
                match peers.ask(voter, &Ask::Look, PEER_CANVASS_WAIT).await {
                    Ok(Said::Look(look)) => Some(Time(look.clock)),
                    Ok(_) | Err(_) => None,
                }
            });
        }
        let mut clocks = vec![own];
        while !agree(own, &clocks, voters.len()) {
            match asked.join_next().await {
                Some(said) => clocks.extend(said.ok().flatten()),
                None => {
                    let time = reached(&mut clocks, voters.len()).unwrap_or(last).max(last);
                    tracing::warn!(clock = %own, %time, "most voters do not have the time of this node's clock: set it");
                    self.clocks().keep(time);
                    return time;
                }
            }
        }
        own
    }
}

/// Whether a majority of the voters' clocks is near this one, or past it.
fn agree(own: Time, clocks: &[Time], voters: usize) -> bool {
    clocks.iter().filter(|clock| clock.plus(CLOCK_JUMP_MAX) >= own).count() > voters / 2
}

/// The latest moment that a majority of the voters' clocks has reached; none where too few are known.
fn reached(clocks: &mut [Time], voters: usize) -> Option<Time> {
    clocks.sort_unstable_by(|a, b| b.cmp(a));
    clocks.get(voters / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn a_jump_needs_a_majority() {
        let ahead = Time(100 * HOUR);
        for (clocks, voters, agreed, time) in [
            // A lone voter is its own majority.
            (&[100][..], 1, true, Some(100)),
            (&[100, 2], 2, false, Some(2)),
            (&[100, 2, 3], 3, false, Some(3)),
            (&[100, 99, 3], 3, true, Some(99)),
            (&[100, 900, 3], 3, true, Some(100)),
            (&[100, 98, 3], 3, false, Some(98)),
            (&[100], 3, false, None),
            (&[100, 100, 3, 4], 5, false, Some(4)),
            (&[100, 100, 3, 4, 100], 5, true, Some(100)),
        ] {
            let mut clocks: Vec<Time> = clocks.iter().map(|hour| Time(hour * HOUR)).collect();
            assert_eq!(agree(ahead, &clocks, voters), agreed, "{clocks:?} of {voters}");
            assert_eq!(reached(&mut clocks, voters), time.map(|hour| Time(hour * HOUR)), "{clocks:?} of {voters}");
        }
    }

    #[test]
    fn what_the_others_said_goes_on_for_a_while() {
        let clocks = Clocks::default();
        assert_eq!(clocks.by_others(), None);
        clocks.keep(Time(5));
        assert!(clocks.by_others().unwrap() >= Time(5));
    }
}
