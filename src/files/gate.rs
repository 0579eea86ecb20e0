//! The gates of the sites at home here: every write holds a permit of the site's current epoch, and a freeze waits until all
//! of them are back. Where a node goes on in another process, what is written in this one is known there by a lock. Never decides
//! where a site is at home: it is told the epoch.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::base::clock::since_boot;
use crate::base::ids::SiteId;
use crate::files::hold::Hold;
use crate::files::sites::SiteDirs;

/// Completes "failed to …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("write to the site: it is not at home here")]
    NotHere,
    #[error("write to the site: its home changed, this is epoch {current}")]
    Epoch { current: u64 },
    #[error("write to the site: its files are being taken over; try again in a moment")]
    Frozen,
    #[error("write to the site: the cluster has not confirmed lately that it is at home here; try again in a moment")]
    Unleased,
    #[error("freeze the site: {permits} writes did not end in time")]
    Busy { permits: usize },
}

/// One for each node. A site has a place in it while it is at home here or a write of it is under way.
#[derive(Debug, Clone, Default)]
pub struct Gates {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    gates: Mutex<Inside>,
    returned: Notify,
    /// Until when sites that are fenced may be written, in milliseconds since the machine booted.
    leased: AtomicU64,
}

#[derive(Debug, Default)]
struct Inside {
    sites: BTreeMap<SiteId, Gate>,
    /// Another process serves, which lets sites rest or not: the directories by which it knows of the writes of this one.
    handed_over: Option<Arc<SiteDirs>>,
}

#[derive(Debug, Default)]
struct Gate {
    /// None: no longer at home here.
    epoch: Option<u64>,
    /// Written under the lease of this node only.
    fenced: bool,
    frozen: bool,
    permits: usize,
    /// While there are permits in a process that has handed over.
    hold: Option<Hold>,
}

/// The right to write to a site, until dropped.
#[derive(Debug)]
pub struct Permit {
    gates: Gates,
    site: SiteId,
    epoch: u64,
}

/// Nobody writes to the site until this is dropped.
#[derive(Debug)]
pub struct Frozen {
    gates: Gates,
    site: SiteId,
}

impl Gates {
    /// The site is at home here, under this epoch; `fenced`: written only under this node's lease. Permits of an earlier epoch stay
    /// counted until they are back.
    pub fn set_home(&self, site: SiteId, epoch: u64, fenced: bool) {
        let mut gates = self.lock();
        let gate = gates.sites.entry(site).or_default();
        (gate.epoch, gate.fenced) = (Some(epoch), fenced);
    }

    /// Until when this node has its lease, counted since the machine booted.
    pub fn lease_until(&self, end: Duration) {
        self.shared.leased.store(u64::try_from(end.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn is_leased(&self) -> bool {
        since_boot().as_millis() < u128::from(self.shared.leased.load(Ordering::Relaxed))
    }

    /// The site is gone from here: new writes are refused, and its place goes with the last permit.
    pub fn remove(&self, site: SiteId) {
        self.change(site, |gate| gate.epoch = None);
    }

    /// `epoch` is what the caller believes: it decided by it that the site is written here.
    pub fn enter(&self, site: SiteId, epoch: u64) -> Result<Permit, Refused> {
        let mut inside = self.lock();
        let Inside { sites, handed_over } = &mut *inside;
        let gate = sites.get_mut(&site).ok_or(Refused::NotHere)?;
        match gate.epoch {
            None => return Err(Refused::NotHere),
            Some(current) if current != epoch => return Err(Refused::Epoch { current }),
            Some(_) if gate.frozen => return Err(Refused::Frozen),
            // Who has handed over finishes what it has: the process that serves has the lease of this node.
            Some(_) if gate.fenced && handed_over.is_none() && !self.is_leased() => return Err(Refused::Unleased),
            Some(_) => {}
        }
        if let Some(dirs) = handed_over
            && gate.hold.is_none()
        {
            gate.hold = Some(dirs.hold_together(site).ok().flatten().ok_or(Refused::Frozen)?);
        }
        gate.permits += 1;
        Ok(Permit { gates: self.clone(), site, epoch })
    }

    /// From now on nobody enters, until what this gives is dropped.
    pub fn close(&self, site: SiteId) -> Result<Frozen, Refused> {
        let mut inside = self.lock();
        let gate = inside.sites.get_mut(&site).filter(|gate| gate.epoch.is_some()).ok_or(Refused::NotHere)?;
        if gate.frozen {
            return Err(Refused::Frozen);
        }
        gate.frozen = true;
        Ok(Frozen { gates: self.clone(), site })
    }

    /// Another process is to decide which sites rest. Sites written here are held until the last of their permits is back, also
    /// those that are entered later: a command that was begun before finds its files.
    pub fn hand_over(&self, dirs: &Arc<SiteDirs>) {
        let mut inside = self.lock();
        inside.handed_over = Some(Arc::clone(dirs));
        for (site, gate) in inside.sites.iter_mut().filter(|(_, gate)| gate.permits > 0) {
            match dirs.hold_together(*site) {
                Ok(Some(hold)) => gate.hold = Some(hold),
                Ok(None) => tracing::error!("another process has the site {site} to itself while it is written here"),
                Err(error) => {
                    tracing::error!("the next process does not know that a site is written here: failed to {error}")
                }
            }
        }
    }

    /// The same of a site that may not be at home here yet; none where somebody else keeps it closed.
    pub fn occupy(&self, site: SiteId) -> Option<Frozen> {
        let mut gates = self.lock();
        let gate = gates.sites.entry(site).or_default();
        (!std::mem::replace(&mut gate.frozen, true)).then(|| Frozen { gates: self.clone(), site })
    }

    /// Waits until all permits are back.
    pub async fn emptied(&self, site: SiteId, deadline: Instant) -> Result<(), Refused> {
        let all_back = async {
            loop {
                // Made before the look: it hears of a permit returned between the look and the wait.
                let returned = self.shared.returned.notified();
                if self.permits(site) == 0 {
                    return;
                }
                returned.await;
            }
        };
        let emptied = tokio::time::timeout_at(deadline.into(), all_back).await;
        emptied.map_err(|_| Refused::Busy { permits: self.permits(site) })
    }

    fn permits(&self, site: SiteId) -> usize {
        self.lock().sites.get(&site).map_or(0, |gate| gate.permits)
    }

    /// Changes a gate, and gives its place back when nothing needs it any more.
    fn change(&self, site: SiteId, by: impl FnOnce(&mut Gate)) {
        let mut inside = self.lock();
        let Some(gate) = inside.sites.get_mut(&site) else { return };
        by(gate);
        let last_is_back = gate.permits == 0;
        if last_is_back {
            gate.hold = None;
        }
        if gate.epoch.is_none() && !gate.frozen && last_is_back {
            inside.sites.remove(&site);
        }
        drop(inside);
        if last_is_back {
            self.shared.returned.notify_waiters();
        }
    }

    /// Nothing is left half changed by a panic.
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.shared.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    pub fn site(&self) -> SiteId {
        self.site
    }

    /// Whether what was done under it may be acknowledged: nobody else can have become the home meanwhile.
    pub fn holds(&self) -> Result<(), Refused> {
        let inside = self.gates.lock();
        let fenced = inside.handed_over.is_none() && inside.sites.get(&self.site).is_some_and(|gate| gate.fenced);
        if fenced && !self.gates.is_leased() { Err(Refused::Unleased) } else { Ok(()) }
    }

    /// The epoch under which it was given.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gates.change(self.site, |gate| gate.permits -= 1);
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.gates.change(self.site, |gate| gate.frozen = false);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    const SITE: SiteId = SiteId(7);

    async fn freeze(gates: &Gates, site: SiteId, deadline: Instant) -> Result<Frozen, Refused> {
        let frozen = gates.close(site)?;
        gates.emptied(site, deadline).await?;
        Ok(frozen)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    fn late() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    #[test]
    fn only_the_current_epoch_enters() {
        let gates = Gates::default();
        assert_eq!(gates.enter(SITE, 1).unwrap_err(), Refused::NotHere);
        gates.set_home(SITE, 2, false);
        for other in [0, 1, 3] {
            assert_eq!(gates.enter(SITE, other).unwrap_err(), Refused::Epoch { current: 2 });
        }
        let permit = gates.enter(SITE, 2).unwrap();
        gates.set_home(SITE, 3, false);
        assert_eq!(gates.enter(SITE, 2).unwrap_err(), Refused::Epoch { current: 3 });
        assert_eq!((permit.epoch(), gates.enter(SITE, 3).unwrap().epoch()), (2, 3));
        assert_eq!(gates.enter(SiteId(8), 3).unwrap_err(), Refused::NotHere);
    }

    #[test]
    fn a_freeze_waits_for_every_permit_also_of_an_epoch_before() {
        let gates = Gates::default();
        gates.set_home(SITE, 1, false);
        let old = gates.enter(SITE, 1).unwrap();
        gates.set_home(SITE, 2, false);
        let new = gates.enter(SITE, 2).unwrap();
        runtime().block_on(async {
            assert_eq!(freeze(&gates, SITE, soon()).await.unwrap_err(), Refused::Busy { permits: 2 });
            drop(new);
            assert_eq!(freeze(&gates, SITE, soon()).await.unwrap_err(), Refused::Busy { permits: 1 });
            let freezing = freeze(&gates, SITE, late());
            let others = async {
                tokio::task::yield_now().await;
                assert_eq!(gates.enter(SITE, 2).unwrap_err(), Refused::Frozen, "while it waits");
                assert_eq!(freeze(&gates, SITE, late()).await.unwrap_err(), Refused::Frozen);
                drop(old);
            };
            let (frozen, ()) = tokio::join!(freezing, others);
            let frozen = frozen.unwrap();
            assert_eq!(gates.enter(SITE, 2).unwrap_err(), Refused::Frozen);
            gates.set_home(SITE, 3, false);
            assert_eq!(gates.enter(SITE, 3).unwrap_err(), Refused::Frozen, "a new epoch does not thaw");
            drop(frozen);
            assert_eq!(gates.enter(SITE, 3).unwrap().epoch(), 3);
        });
    }

    #[test]
    fn a_freeze_that_fails_or_is_given_up_leaves_the_gate_open() {
        let gates = Gates::default();
        gates.set_home(SITE, 1, false);
        let permit = gates.enter(SITE, 1).unwrap();
        runtime().block_on(async {
            assert!(freeze(&gates, SITE, soon()).await.is_err());
            drop(gates.enter(SITE, 1).unwrap());
            let given_up = tokio::time::timeout(Duration::from_millis(5), freeze(&gates, SITE, late())).await;
            assert!(given_up.is_err());
            drop(gates.enter(SITE, 1).unwrap());
            drop(permit);
            // Even a deadline that has passed is enough where nothing is waited for.
            drop(freeze(&gates, SITE, Instant::now()).await.unwrap());
            assert_eq!(freeze(&gates, SiteId(8), late()).await.unwrap_err(), Refused::NotHere);
        });
    }

    #[test]
    fn a_site_that_is_gone_leaves_nothing_once_its_writes_ended() {
        let gates = Gates::default();
        for site in (0..1000).map(SiteId) {
            gates.set_home(site, 1, false);
            let permit = gates.enter(site, 1).unwrap();
            gates.remove(site);
            assert_eq!(gates.enter(site, 1).unwrap_err(), Refused::NotHere);
            // It comes back while a write of before is under way: that one still counts.
            gates.set_home(site, 3, false);
            assert_eq!(gates.permits(site), 1);
            gates.remove(site);
            gates.remove(site);
            assert_eq!(gates.lock().sites.len(), 1);
            drop(permit);
            assert_eq!(gates.lock().sites.len(), 0);
        }
        gates.set_home(SITE, 1, false);
        let frozen = runtime().block_on(freeze(&gates, SITE, soon())).unwrap();
        gates.remove(SITE);
        assert_eq!(runtime().block_on(freeze(&gates, SITE, soon())).unwrap_err(), Refused::NotHere);
        drop(frozen);
        assert_eq!(gates.lock().sites.len(), 0);
    }

    #[test]
    fn a_process_that_handed_over_holds_what_it_writes_and_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        // Each process opens its own.
        let open = || Arc::new(SiteDirs::open(dir.path()).unwrap());
        let (gates, next) = (Gates::default(), open());
        let other = SiteId(8);
        for site in [SITE, other] {
            next.make(site).unwrap();
            gates.set_home(site, 1, false);
        }
        let fenced = SiteId(10);
        next.make(fenced).unwrap();
        gates.set_home(fenced, 1, true);
        assert_eq!(gates.enter(fenced, 1).unwrap_err(), Refused::Unleased);
        let (one, two) = (gates.enter(SITE, 1).unwrap(), gates.enter(SITE, 1).unwrap());
        assert!(next.hold_alone(SITE).unwrap().is_some(), "nothing is held while one process serves");
        gates.hand_over(&open());
        assert!(next.hold_alone(SITE).unwrap().is_none());
        drop(one);
        assert!(next.hold_alone(SITE).unwrap().is_none(), "one of two is back");
        drop(two);
        let alone = next.hold_alone(SITE).unwrap().expect("nobody writes any more");
        assert_eq!(gates.enter(SITE, 1).unwrap_err(), Refused::Frozen, "it rests in the next process");
        // The next process has the lease of this node.
        gates.enter(fenced, 1).unwrap().holds().unwrap();
        // Who comes late is known there too, and two of them do not disturb each other.
        let late = [gates.enter(other, 1).unwrap(), gates.enter(other, 1).unwrap()];
        assert!(next.hold_alone(other).unwrap().is_none());
        drop(late);
        assert!(next.hold_alone(other).unwrap().is_some());
        drop(alone);
        drop(gates.enter(SITE, 1).unwrap());
        assert!(next.hold_alone(SiteId(9)).unwrap().is_some(), "where nothing is nobody writes");
    }

    #[test]
    fn a_fenced_site_is_written_under_a_lease_only() {
        let gates = Gates::default();
        gates.set_home(SITE, 1, true);
        assert_eq!(gates.enter(SITE, 1).unwrap_err(), Refused::Unleased);
        gates.lease_until(since_boot() + Duration::from_secs(60));
        let permit = gates.enter(SITE, 1).unwrap();
        permit.holds().unwrap();
        gates.lease_until(since_boot());
        assert_eq!(permit.holds().unwrap_err(), Refused::Unleased);
        assert_eq!(gates.enter(SITE, 1).unwrap_err(), Refused::Unleased);
        gates.set_home(SITE, 1, false);
        permit.holds().unwrap();
        drop(gates.enter(SITE, 1).unwrap());
    }

    #[test]
    fn who_occupies_a_site_keeps_everybody_out_before_and_after_it_comes() {
        let gates = Gates::default();
        let occupied = gates.occupy(SITE).unwrap();
        assert!(gates.occupy(SITE).is_none());
        assert_eq!(gates.enter(SITE, 1).unwrap_err(), Refused::NotHere);
        gates.set_home(SITE, 1, false);
        assert_eq!(gates.enter(SITE, 1).unwrap_err(), Refused::Frozen);
        drop(occupied);
        drop(gates.enter(SITE, 1).unwrap());
        gates.remove(SITE);
        drop(gates.occupy(SITE).unwrap());
        assert_eq!(gates.lock().sites.len(), 0);
    }

    /// Four writers come and go; whoever holds the site frozen never finds one of them inside.
    #[test]
    fn nobody_writes_while_frozen() {
        let gates = Gates::default();
        gates.set_home(SITE, 1, false);
        let (inside, entered, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while done.load(Ordering::SeqCst) == 0 {
                        let Ok(_permit) = gates.enter(SITE, 1) else { continue };
                        inside.fetch_add(1, Ordering::SeqCst);
                        entered.fetch_add(1, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
            let met = runtime().block_on(async {
                for _ in 0..100 {
                    let before = entered.load(Ordering::SeqCst);
                    let frozen = freeze(&gates, SITE, late()).await.map_err(|refused| refused.to_string())?;
                    for _ in 0..100 {
                        if inside.load(Ordering::SeqCst) != 0 {
                            return Err("somebody writes".to_owned());
                        }
                    }
                    drop(frozen);
                    while entered.load(Ordering::SeqCst) == before {
                        std::thread::yield_now();
                    }
                }
                Ok(())
            });
            done.store(1, Ordering::SeqCst);
            met.unwrap();
        });
    }
}
