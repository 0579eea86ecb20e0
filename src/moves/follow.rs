//! The copies that stand by here: each is kept in step with its home, and takes its place when the home is down. While one stands by,
//! the gate of its site is closed here: a site becomes writable once its copy is no copy any more, on the disk too.
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::base::clock::Time;
use crate::base::ids::{NodeId, SiteId};
use crate::base::limits::moves::{
    STANDBY_CLOSE_EVERY, STANDBY_HASH_EVERY, STANDBY_PAUSE_FIRST, STANDBY_PAUSE_MAX, STANDBY_PAUSE_TIMES,
    STANDBY_TAKE_EVERY,
};
use crate::cluster::door::{Write, WriteError};
use crate::files::gate::Frozen;
use crate::files::replica::Replica;
use crate::model::sites::Site;
use crate::model::standbys::SiteFailover;
use crate::model::state::State;
use crate::moves::copying::Alone;
use crate::moves::follower::{self, Look, Looked};
use crate::moves::pull::Gauge;
use crate::moves::standing::{self, Copy, Next};
use crate::moves::wire::Standing;
use crate::moves::{Moves, MovesKey, Room, plan};
use crate::ops::stop::Stop;
use crate::ops::tasks::TaskResult;

/// What homes said that changed, until it is looked at.
#[derive(Debug, Default)]
pub(crate) struct Touches {
    told: Mutex<BTreeMap<SiteId, NodeId>>,
    news: Notify,
}

impl Touches {
    pub(crate) fn add(&self, by: NodeId, sites: &[SiteId]) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.extend(sites.iter().map(|site| (*site, by)));
        drop(told);
        self.news.notify_one();
    }

    fn take(&self) -> BTreeMap<SiteId, NodeId> {
        std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How the copies are, for those who ask.
#[derive(Debug, Clone, Default)]
pub struct Standings(Arc<Mutex<BTreeMap<SiteId, Known>>>);

/// A copy, how far it is, and what went wrong last.
type Known = (Copy, Arc<Gauge>, Option<String>);

impl Standings {
    /// Blocks.
    pub(crate) fn of(&self, moves: &Moves, site: SiteId) -> Standing {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recovered = moves.dirs.recovered(site);
        let recovered = recovered.exists().then(|| recovered.display().to_string());
        let Some((copy, gauge, fault)) = all.get(&site) else { return Standing { recovered, ..Standing::default() } };
        let total = gauge.total.load(Ordering::Relaxed);
        Standing {
            whole: copy.record.is_some_and(|record| record.whole),
            as_of: copy.record.map(|record| record.as_of),
            behind: copy.behind.map(|since| since.elapsed().as_secs()),
            fetched: (total > 0).then(|| (gauge.done.load(Ordering::Relaxed), total)),
            fault: fault.clone(),
            recovered,
        }
    }
}

/// A site that stands by here.
#[derive(Debug)]
struct Follow {
    site: Arc<Site>,
    copy: Copy,
    /// Nobody writes to it here.
    held: Option<Frozen>,
    /// It stands by here no more.
    over: bool,
    /// What is done about it now; dropped, a look ends.
    busy: Option<oneshot::Sender<()>>,
    replica: Option<Replica>,
    /// When the content of all files was compared last.
    hashed: Instant,
    pause: Duration,
    gauge: Arc<Gauge>,
    fault: Option<String>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Follows(BTreeMap<SiteId, Follow>);

/// What was done about one.
enum Done {
    Looked(Box<Looked>, Duration),
    TookOver(Result<(), WriteError>),
    Closed(Result<(), String>),
}

type Deeds = JoinSet<(SiteId, Done)>;

impl Follows {
    /// Closes the gates of all sites of which a copy is or was here, before anybody can write to them. Blocks.
    pub(crate) fn begin(room: &Room) -> Self {
        let records = room.moves.records.all().unwrap_or_else(|error| {
            tracing::error!("no copy here is known to be one: failed to {error}");
            BTreeMap::new()
        });
        let mut view = room.moves.feed.view();
        let newest = view.now();
        let mut all = Self::default();
        for (id, record) in &records {
            if let Some(site) = newest.sites.get(id) {
                let copy = Copy { record: Some(*record), behind: Some(Instant::now()), ..Copy::default() };
                all.0.insert(*id, Follow::new(room, site, copy));
            } else if let Err(error) = room.moves.records.remove(*id) {
                tracing::warn!("failed to {error}");
            }
        }
        all
    }

    /// Follows the state.
    fn follow<'s>(
        &mut self,
        room: &Room,
        changes: impl Iterator<Item = (Option<&'s Arc<Site>>, Option<&'s Arc<Site>>)>,
    ) {
        let here = room.moves.node;
        for (before, after) in changes {
            let Some(id) = before.or(after).map(|site| site.id) else { continue };
            let stands = after.filter(|site| site.standbys.contains(&here) && site.home != here);
            match (self.0.entry(id), stands) {
                (Entry::Occupied(mut there), Some(site)) => there.get_mut().change(site, here),
                (Entry::Occupied(mut there), None) => {
                    let follow = there.get_mut();
                    (follow.over, follow.busy, follow.replica, follow.copy.due) = (true, None, None, None);
                    if let Some(site) = after {
                        follow.site = Arc::clone(site);
                    }
                }
                (Entry::Vacant(place), Some(site)) => {
                    let copy = Copy { behind: Some(Instant::now()), ..Copy::default() };
                    place.insert(Follow::new(room, site, copy));
                }
                (Entry::Vacant(_), None) => {}
            }
        }
    }

    /// Begins what is to be done; gives when to look again.
    fn act(
        &mut self,
        room: &Arc<Room>,
        newest: &State,
        (deeds, working): (&mut Deeds, &mut BTreeMap<SiteId, bool>),
    ) -> Option<Instant> {
        let (here, now) = (room.moves.node, Instant::now());
        let mut again: Option<Instant> = None;
        let mut looking = working.values().filter(|looks| **looks).count();
        let places = plan::looks(newest, here);
        // A move goes first: what was begun before it goes on after it.
        for follow in self.0.values_mut().filter(|follow| follow.busy.is_some()).skip(places) {
            follow.busy = None;
        }
        for (id, follow) in &mut self.0 {
            let mut wait = |moment: Instant| again = Some(again.map_or(moment, |again| again.min(moment)));
            follow.held = follow.held.take().or_else(|| room.moves.gates.occupy(*id));
            let down = standing::is_down(newest, follow.site.home);
            follow.copy.gone = down.then(|| follow.copy.gone.unwrap_or(now));
            if down {
                // Whoever is down says nothing more.
                follow.busy = None;
            }
            if working.contains_key(id) {
                continue;
            }
            if follow.over {
                match (follow.copy.due.filter(|due| *due > now), room.copying.enter(*id)) {
                    (Some(due), _) => wait(due),
                    // A move that came to nothing writes there still.
                    (None, None) => wait(now + STANDBY_CLOSE_EVERY),
                    (None, Some(alone)) => {
                        working.insert(*id, false);
                        let gone = (!newest.sites.contains_key(id)).then_some(newest.time);
                        deeds.spawn(close(Arc::clone(room), *id, gone, alone));
                    }
                }
                continue;
            }
            if follow.held.is_none() {
                wait(now + STANDBY_PAUSE_FIRST);
                continue;
            }
            match standing::next(newest, &follow.site, here, &follow.copy, now) {
                Next::Wait(moment) => moment.into_iter().for_each(wait),
                Next::Fetch if looking >= places => {}
                Next::Fetch => match room.copying.enter(*id) {
                    None => wait(now + STANDBY_PAUSE_FIRST),
                    Some(alone) => {
                        looking += 1;
                        working.insert(*id, true);
                        let (busy, cut) = oneshot::channel();
                        follow.busy = Some(busy);
                        let look = follow.look(alone, now);
                        let (room, id) = (Arc::clone(room), *id);
                        deeds.spawn(async move {
                            let looked = follower::look(room, look, cut).await;
                            (id, Done::Looked(looked.into(), now.elapsed()))
                        });
                    }
                },
                Next::TakeOver if follow.copy.due.is_some_and(|due| due > now) => {
                    follow.copy.due.into_iter().for_each(wait)
                }
                Next::TakeOver => {
                    working.insert(*id, false);
                    deeds.spawn(take_over(Arc::clone(room), Arc::clone(&follow.site)));
                }
            }
        }
        again
    }

    /// Takes up what was done.
    fn done(&mut self, id: SiteId, done: Done) {
        let Some(follow) = self.0.get_mut(&id) else { return };
        let now = Instant::now();
        follow.busy = None;
        match done {
            Done::Looked(looked, took) => follow.looked(*looked, took),
            Done::TookOver(Ok(())) => {}
            Done::TookOver(Err(error)) => {
                let pause = if error.is_final() { STANDBY_PAUSE_MAX } else { STANDBY_TAKE_EVERY };
                follow.copy.due = Some(now + pause);
                if error.is_final() {
                    tracing::warn!(site = %follow.site.host, "it is not taken over: failed to {error}");
                }
            }
            // It stands by again.
            Done::Closed(Ok(())) if !follow.over => follow.copy = Copy { behind: Some(now), ..Copy::default() },
            // The gate opens.
            Done::Closed(Ok(())) => drop(self.0.remove(&id)),
            Done::Closed(Err(reason)) => {
                tracing::error!(site = %follow.site.host, "it is not written here until this is mended: {reason}");
                follow.copy.due = Some(now + STANDBY_PAUSE_FIRST);
            }
        }
    }
}

impl Follow {
    fn new(room: &Room, site: &Arc<Site>, copy: Copy) -> Self {
        let here = room.moves.node;
        Self {
            site: Arc::clone(site),
            copy,
            held: room.moves.gates.occupy(site.id),
            over: !site.standbys.contains(&here) || site.home == here,
            busy: None,
            replica: None,
            hashed: Instant::now(),
            pause: STANDBY_PAUSE_FIRST,
            gauge: Arc::default(),
            fault: None,
        }
    }

    /// The site is another one by now: at home elsewhere, or on its way.
    fn change(&mut self, site: &Arc<Site>, here: NodeId) {
        let old = std::mem::replace(&mut self.site, Arc::clone(site));
        self.over = false;
        if (old.home, old.epoch) != (site.home, site.epoch) {
            self.copy = Copy { record: self.copy.record, behind: Some(Instant::now()), ..Copy::default() };
            (self.busy, self.replica) = (None, None);
        }
        if standing::comes(site, here) || standing::comes(&old, here) {
            (self.busy, self.replica) = (None, None);
            self.copy.behind = self.copy.behind.or(Some(Instant::now()));
        }
    }

    fn look(&mut self, alone: Alone, now: Instant) -> Look {
        if self.hashed.elapsed() > STANDBY_HASH_EVERY {
            // Made anew it knows of no file, and compares all of them.
            (self.replica, self.hashed) = (None, now);
        }
        // What is told from here on is not in this look for sure.
        self.copy.behind = None;
        let (site, record, gauge) = (Arc::clone(&self.site), self.copy.record, Arc::clone(&self.gauge));
        Look { site, record, replica: self.replica.take(), gauge, alone }
    }

    fn looked(&mut self, looked: Looked, took: Duration) {
        let now = Instant::now();
        if self.over {
            return;
        }
        (self.copy.record, self.replica) = (looked.record, looked.replica);
        self.fault = looked.outcome.as_ref().err().cloned();
        match looked.outcome {
            Ok(()) => {
                self.copy.seen_whole = Some(now);
                self.pause = STANDBY_PAUSE_FIRST;
                self.copy.due = Some(now + (took * STANDBY_PAUSE_TIMES).clamp(STANDBY_PAUSE_FIRST, STANDBY_PAUSE_MAX));
            }
            Err(reason) => {
                tracing::info!(site = %self.site.host, "a copy that stands by lacks something: {reason}");
                self.copy.behind = self.copy.behind.or(Some(now - took));
                self.copy.due = Some(now + self.pause);
                self.pause = (self.pause * 2).min(STANDBY_PAUSE_MAX);
            }
        }
    }
}

pub(crate) async fn keep(room: Arc<Room>, mut follows: Follows, stop: Stop) -> TaskResult {
    let mut view = room.moves.feed.view();
    let mut known = State::default().sites;
    let (mut deeds, mut working) = (Deeds::new(), BTreeMap::new());
    while !stop.is_given_up() {
        let newest = Arc::clone(view.now());
        follows.follow(&room, newest.sites_since(&known));
        known = newest.sites.clone();
        for (id, by) in room.touches.take() {
            if let Some(follow) = follows.0.get_mut(&id).filter(|follow| follow.site.home == by) {
                follow.copy.behind = follow.copy.behind.or(Some(Instant::now()));
            }
        }
        let again = follows.act(&room, &newest, (&mut deeds, &mut working));
        let shown = follows.0.iter().filter(|(_, follow)| !follow.over);
        let shown =
            shown.map(|(id, follow)| (*id, (follow.copy.clone(), Arc::clone(&follow.gauge), follow.fault.clone())));
        *room.moves.standings.0.lock().unwrap_or_else(PoisonError::into_inner) = shown.collect();
        tokio::select! {
            changed = view.changed() => if !changed { stop.give_up().await },
            () = room.touches.news.notified() => {}
            Some(done) = deeds.join_next() => {
                let (id, done) = done?;
                working.remove(&id);
                follows.done(id, done);
            }
            () = sleep_until(again.unwrap_or_else(Instant::now).into()), if again.is_some() => {}
            () = stop.give_up() => {}
        }
    }
    // Uploads may go on in the next process, which closes these gates itself.
    follows.0.into_values().filter_map(|follow| follow.held).for_each(std::mem::forget);
    deeds.shutdown().await;
    Ok(())
}

/// A copy is no copy any more: what is known of it goes, and the files where the site is gone.
async fn close(room: Arc<Room>, id: SiteId, gone: Option<Time>, alone: Alone) -> (SiteId, Done) {
    let (records, dirs) = (Arc::clone(&room.moves.records), Arc::clone(&room.moves.dirs));
    let closed = room.moves.blocking.run(move || {
        records.remove(id).map_err(|error| format!("failed to {error}"))?;
        let _alone = alone;
        gone.map_or(Ok(()), |now| dirs.discard(id, now)).map_err(|error| format!("failed to {error}"))
    });
    (id, Done::Closed(closed.await.unwrap_or_else(|error| Err(format!("failed to {error}")))))
}

async fn take_over(room: Arc<Room>, site: Arc<Site>) -> (SiteId, Done) {
    let Site { id, epoch, .. } = *site;
    let change = MovesKey::Failover(SiteFailover { site: id, to: room.moves.node, epoch });
    let written = room.moves.door.write(Write::of_system(change)).await;
    if written.is_ok() {
        tracing::warn!(site = %site.host, epoch = epoch + 1, "its home is down: it is at home here now");
    }
    (id, Done::TookOver(written.map(drop)))
}
