//! Keeps certificates as the plan says: looks at names, makes orders, goes on with those that were left, asks issuers when they want
//! a certificate renewed, and sleeps until something changes or is due. One of these runs in a cluster.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::acme::account::Unopened;
use crate::acme::checks::{self, Candidate};
use crate::acme::fault::{AcmeError, jitter};
use crate::acme::order::{self, Ways};
use crate::acme::plan::{Check, Intent, Item, Known, Plan, Step, plan};
use crate::acme::suffixes::Suffixes;
use crate::acme::troubles::{put_off, trouble};
use crate::acme::windows;
use crate::acme::{Ground, Obtaining, account, revoke};
use crate::base::clock::Time;
use crate::base::ids::{CertificateId, OrderId};
use crate::base::limits::acme::{
    CHECK_PAUSES, CHECKS_AT_ONCE, IDENTITIES_KEPT, ISSUER_JOBS_MAX, ORDER_WAIT, ORDERS_OPEN_MAX, PLAN_EVERY, PLAN_IDLE,
    UNWRITTEN_PAUSE, WARNED_AT_ONCE,
};
use crate::base::names::IssuerName;
use crate::model::certificates::CertificateWarn;
use crate::model::issuers::{Issuer, LETS_ENCRYPT, LETS_ENCRYPT_STAGING};
use crate::model::orders::{Order, OrderReserve, Purpose};
use crate::model::state::{Snapshot, State};
use crate::ops::stop::Stop;

/// What others see of the keeper, and may ask of it.
#[derive(Debug, Clone)]
pub struct Handle {
    plan: watch::Receiver<Arc<Plan>>,
    wishes: Arc<Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    renew: Mutex<BTreeSet<Purpose>>,
    woken: Notify,
}

impl Handle {
    /// What is planned, as of the last look.
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.borrow())
    }

    /// Renews what these have, due or not.
    pub fn renew(&self, purposes: impl IntoIterator<Item = Purpose>) {
        lock(&self.wishes.renew).extend(purposes);
        self.wishes.woken.notify_one();
    }
}

#[derive(Debug)]
pub struct Keeper {
    ground: Ground,
    known: Arc<Mutex<Known>>,
    plan: watch::Sender<Arc<Plan>>,
    asked: Arc<Asked>,
    /// Orders and accounts somebody works on.
    working: BTreeSet<OrderId>,
    tending: BTreeSet<IssuerName>,
    /// Somebody says which certificates end soon.
    warning: bool,
    /// Where names lead if they lead to us, as of the last turn.
    addresses: Vec<IpAddr>,
    jobs: JoinSet<Done>,
}

/// What a job was about.
#[derive(Debug)]
enum Done {
    Order(OrderId),
    Group(Purpose),
    Tended(IssuerName),
    Warned,
}

impl Keeper {
    pub fn new(ground: Ground) -> (Self, Handle) {
        let (sender, receiver) = watch::channel(Arc::default());
        let asked = Arc::new(Asked::default());
        let handle = Handle { plan: receiver, wishes: Arc::clone(&asked) };
        let keeper = Self {
            ground,
            known: Arc::default(),
            plan: sender,
            asked,
            working: BTreeSet::new(),
            tending: BTreeSet::new(),
            warning: false,
            addresses: Vec::new(),
            jobs: JoinSet::new(),
        };
        (keeper, handle)
    }

    /// Plans and does what is planned until the node stops. What is under way then is gone on with by the next one.
    pub async fn run(&mut self, stop: &Stop) {
        let mut snapshots = self.ground.snapshots.clone();
        let mut seen = Arc::clone(&snapshots.borrow_and_update());
        loop {
            let before = std::mem::replace(&mut seen, Arc::clone(&snapshots.borrow_and_update()));
            let planned = Instant::now();
            let next = self.turn(&before, &seen);
            drop(before);
            let asked = Arc::clone(&self.asked);
            let (known, seen) = (Arc::clone(&self.known), &seen);
            let changed = async {
                while snapshots.changed().await.is_ok() {
                    let is_blocked = lock(&known).checks.values().any(|check| check.found.is_err());
                    if concerns(seen, &snapshots.borrow_and_update(), is_blocked) {
                        return;
                    }
                }
                // The state is no more: the node stops.
                std::future::pending().await
            };
            tokio::select! {
                () = stop.give_up() => break,
                () = changed => {}
                () = asked.woken.notified() => {}
                Some(done) = self.jobs.join_next(), if !self.jobs.is_empty() => self.ended(done),
                () = sleep_until(planned + next) => {}
            }
            tokio::select! {
                () = stop.give_up() => break,
                () = sleep_until(planned + PLAN_EVERY) => {}
            }
            while let Some(done) = self.jobs.try_join_next() {
                self.ended(done);
            }
        }
        self.jobs.shutdown().await;
    }

    /// Leaves all work to another node. What was under way stands in the state.
    pub async fn rest(&mut self) {
        self.jobs.shutdown().await;
        self.working.clear();
        self.tending.clear();
        self.warning = false;
        let mut known = lock(&self.known);
        known.busy.clear();
        // Done by now by whoever leads, or to be asked for there.
        known.wanted.clear();
    }

    /// Plans, begins what is to be begun, and says when to look again.
    fn turn(&mut self, before: &State, state: &Arc<Snapshot>) -> Duration {
        let now = Time::now();
        self.take_up(before, state);
        self.go_on(state);
        self.tend(state, now);
        self.revoke(state, now);
        self.ask(state, now);
        let plan = Arc::new(plan(state, now, &lock(&self.known)));
        lock(&self.known).forget(state, &plan);
        for item in &plan.items {
            self.begin(state, item);
        }
        self.warn(state, &plan.ending);
        let asks = lock(&self.known).windows.values().map(|window| window.ask).filter(|ask| *ask > now).min();
        let again = |issuer: &Arc<Issuer>| {
            let known = lock(&self.known);
            let left = [known.troubles.get(&issuer.name), known.errands.get(&issuer.name)];
            left.into_iter().flatten().map(|trouble| trouble.until).filter(|until| *until > now).max()
        };
        let again = untended(state).filter_map(again).min();
        let next = plan.next.into_iter().chain(asks).chain(again).min();
        let next = next.map_or(PLAN_IDLE, |next| Duration::from_millis(next.0.saturating_sub(now.0)));
        self.plan.send_replace(plan);
        next.clamp(PLAN_EVERY, PLAN_IDLE)
    }

    /// What somebody asked for, and what may have made names lead here, ends the pauses of names that could not be proved.
    fn take_up(&mut self, before: &State, state: &State) {
        let renew = std::mem::take(&mut *lock(&self.asked.renew));
        let mut known = lock(&self.known);
        let planned = self.plan.borrow();
        let asked =
            planned.items.iter().filter(|item| renew.contains(&item.purpose)).flat_map(|item| item.names.iter());
        let asked: BTreeSet<&str> = asked.map(String::as_str).collect();
        known.try_again(|name| asked.contains(name));
        known.wanted.extend(renew);
        let addresses = addresses(state);
        if addresses != self.addresses {
            known.try_again(|_| true);
            self.addresses = addresses;
        }
        if !before.zones.ptr_eq(&state.zones) {
            known.try_again(|name| {
                let zone = state.zone_above(name);
                zone.is_some_and(|zone| before.zones.get(&zone.head.name).is_none_or(|old| !Arc::ptr_eq(old, zone)))
            });
        }
    }

    /// Says on the board which certificates end soon, and once for each to who watches events.
    fn warn(&mut self, state: &State, ending: &[CertificateId]) {
        const ENTRY: &str = "certificates";
        let ending: Vec<_> = ending.iter().filter_map(|id| state.certificates.get(id)).collect();
        metrics::gauge!("ruche_certificates_ending").set(ending.len() as f64);
        let ends = state.certificates.values().filter(|held| !held.is_internal()).map(|held| held.not_after).min();
        metrics::gauge!("ruche_certificates_first_end_seconds").set(ends.map_or(0.0, |end| end.seconds() as f64));
        match ending.first() {
            Some(first) => {
                let (count, names) = (ending.len(), first.names.join(" "));
                let text =
                    format!("{count} end soon without another one, first that of {names} at {}", first.not_after);
                self.ground.board.yellow(ENTRY, format!("{text}; `ruche cert ls` says why"));
            }
            None => self.ground.board.clear(ENTRY),
        }
        let unsaid = ending.into_iter().filter(|held| !held.warned).map(|held| held.id);
        let unsaid: Vec<_> = unsaid.take(WARNED_AT_ONCE).collect();
        if unsaid.is_empty() || std::mem::replace(&mut self.warning, true) {
            return;
        }
        let ground = self.ground.clone();
        self.jobs.spawn(async move {
            for id in unsaid {
                if let Err(error) = ground.write(Obtaining::Warn(CertificateWarn { id })).await {
                    tracing::warn!(%id, "it is not said that a certificate ends soon: failed to {error}");
                    sleep(jitter(UNWRITTEN_PAUSE)).await;
                    break;
                }
            }
            Done::Warned
        });
    }

    /// Orders that were reserved and that nobody here works on: this node was restarted, or leads since then.
    fn go_on(&mut self, state: &State) {
        for order in state.open_orders() {
            let Some(issuer) = state.issuer(&order.issuer) else { continue };
            if lock(&self.known).busy.contains_key(&order.purpose) {
                continue;
            }
            if self.jobs.len() < ORDERS_OPEN_MAX + CHECKS_AT_ONCE && self.working.insert(order.id) {
                let (ground, known, order) = (self.ground.clone(), Arc::clone(&self.known), Arc::clone(order));
                self.jobs.spawn(async move {
                    finish(&ground, &known, &order, &issuer, Ways::new()).await;
                    Done::Order(order.id)
                });
            }
        }
    }

    /// Accounts that an administrator wants something done to.
    fn tend(&mut self, state: &State, now: Time) {
        let untended: Vec<_> = untended(state).map(Arc::clone).collect();
        for issuer in untended {
            if lock(&self.known).has_no_errands(&issuer.name, now) || !self.tending.insert(issuer.name.clone()) {
                continue;
            }
            let (ground, known) = (self.ground.clone(), Arc::clone(&self.known));
            self.jobs.spawn(async move {
                let name = issuer.name.clone();
                guarded(async move { attend(&ground, &known, &issuer).await }).await;
                Done::Tended(name)
            });
        }
    }

    /// Certificates whose issuers have not said lately when they want them renewed.
    fn ask(&mut self, state: &State, now: Time) {
        let unasked = windows::unasked(state, &lock(&self.known), now);
        for (issuer, held) in unasked {
            if !self.tending.insert(issuer.name.clone()) {
                continue;
            }
            let (ground, known) = (self.ground.clone(), Arc::clone(&self.known));
            self.jobs.spawn(async move {
                let name = issuer.name.clone();
                guarded(async move { timeout(ORDER_WAIT, windows::ask(&ground, &known, &issuer, &held)).await }).await;
                Done::Tended(name)
            });
        }
    }

    /// Certificates that were followed by others because somebody else may have their keys.
    fn revoke(&mut self, state: &State, now: Time) {
        for (issuer, held) in revoke::due(state) {
            if lock(&self.known).has_no_errands(&issuer.name, now) || !self.tending.insert(issuer.name.clone()) {
                continue;
            }
            let (ground, known) = (self.ground.clone(), Arc::clone(&self.known));
            self.jobs.spawn(async move {
                let name = issuer.name.clone();
                guarded(async move {
                    match revoke::revoke(&ground, &issuer, &held).await {
                        Ok(()) => {
                            lock(&known).errands.remove(&issuer.name);
                            tracing::info!(certificate = %held.id, names = held.names.join(" "), "revoked");
                        }
                        Err(error) => put_off(&mut lock(&known), &issuer, &error),
                    }
                })
                .await;
                Done::Tended(name)
            });
        }
    }

    fn begin(&mut self, state: &Arc<Snapshot>, item: &Item) {
        let Some(issuer) = item.issuer.as_ref().and_then(|name| state.issuer(name)) else { return };
        if !matches!(item.step, Step::Check { .. } | Step::Order(_)) || self.jobs.len() >= ORDERS_OPEN_MAX {
            return;
        }
        let (ground, known, purpose) = (self.ground.clone(), Arc::clone(&self.known), item.purpose);
        {
            let mut known = lock(&known);
            let left = state.open_orders().filter(|order| order.issuer == issuer.name);
            let left = left.filter(|order| !known.busy.contains_key(&order.purpose)).count();
            let begun = known.busy.values().filter(|at| **at == issuer.name).count();
            if known.busy.contains_key(&purpose) || left + begun >= ISSUER_JOBS_MAX {
                return;
            }
            known.busy.insert(purpose, issuer.name.clone());
        }
        match item.step.clone() {
            Step::Check { names } => {
                self.jobs.spawn(async move {
                    guarded(async move { look(&ground, &known, &issuer, &names).await }).await;
                    Done::Group(purpose)
                });
            }
            Step::Order(intent) => {
                self.jobs.spawn(async move {
                    make(&ground, &known, &issuer, purpose, *intent).await;
                    Done::Group(purpose)
                });
            }
            Step::Good { .. } | Step::UnderWay { .. } | Step::Wait { .. } | Step::Blocked { .. } => {}
        }
    }

    fn ended(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Order(id)) => drop(self.working.remove(&id)),
            Ok(Done::Group(purpose)) => drop(lock(&self.known).busy.remove(&purpose)),
            Ok(Done::Tended(issuer)) => drop(self.tending.remove(&issuer)),
            Ok(Done::Warned) => self.warning = false,
            // Whose it was is not known any more: everything is looked at anew.
            Err(error) => {
                tracing::error!(%error, "work on a certificate broke off");
                self.working.clear();
                self.tending.clear();
                self.warning = false;
                lock(&self.known).busy.clear();
            }
        }
    }
}

/// Whether what differs between two states can change the plan. Records do where names could not be proved.
fn concerns(before: &State, after: &State, is_blocked: bool) -> bool {
    !(before.sites.ptr_eq(&after.sites)
        && before.certificates.ptr_eq(&after.certificates)
        && before.issuers.ptr_eq(&after.issuers)
        && before.wishes.ptr_eq(&after.wishes)
        && before.orders.ptr_eq(&after.orders)
        && (before.zones.ptr_eq(&after.zones) || (!is_blocked && before.zones.len() == after.zones.len()))
        && (before.nodes.ptr_eq(&after.nodes) || addresses(before) == addresses(after)))
}

/// Where the nodes are reached.
fn addresses(state: &State) -> Vec<IpAddr> {
    state.nodes.values().flat_map(|node| node.addresses.iter().copied()).collect()
}

/// Looks at names for an issuer and remembers what was found.
async fn look(ground: &Ground, known: &Mutex<Known>, issuer: &Issuer, names: &[String]) {
    let Some(candidate) = candidate(ground, known, issuer).await else { return };
    let key = |name: &String| (name.clone(), issuer.name.clone());
    let mut domains: BTreeMap<&String, String> = {
        let known = lock(known);
        names.iter().filter_map(|name| Some((name, known.checks.get(&key(name))?.domain.clone()))).collect()
    };
    if domains.len() < names.len() {
        // Not kept in memory, and not read again for a name that was looked at before.
        let suffixes = ground.blocking.run(Suffixes::read).await.unwrap_or_default();
        domains.extend(names.iter().map(|name| (name, suffixes.domain(name))));
    }
    for names in names.chunks(CHECKS_AT_ONCE) {
        let found = names.iter().map(|name| checks::look(ground, name, &candidate));
        for (name, found) in names.iter().zip(all(found).await) {
            let key = key(name);
            let mut known = lock(known);
            let before = known.checks.get(&key).map_or(0, |check| check.failures);
            let failures = if found.is_ok() { 0 } else { before.saturating_add(1) };
            let pause = CHECK_PAUSES[(before as usize).min(CHECK_PAUSES.len() - 1)];
            let now = Time::now();
            let domain = domains.get(name).cloned().unwrap_or_default();
            known.checks.insert(key, Check { at: now, domain, found, again: now.plus(pause), failures });
        }
    }
}

/// All of them at one time, in their order.
async fn all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        let mut pending = false;
        for (future, done) in &mut running {
            if done.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(out) => *done = Some(out),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    running.into_iter().filter_map(|(_, done)| done).collect()
}

/// By which domains an issuer knows itself in CAA records, as its directory says; who names none looks at no records. None where it
/// does not answer: nothing need be looked at for it then.
async fn candidate(ground: &Ground, known: &Mutex<Known>, issuer: &Issuer) -> Option<Candidate> {
    let account = issuer.account().map(|account| account.url.clone());
    if [LETS_ENCRYPT, LETS_ENCRYPT_STAGING].contains(&issuer.name.as_str()) {
        return Some(Candidate { identities: vec!["letsencrypt.org".to_owned()], account });
    }
    let now = Time::now();
    let held = lock(known).identities.get(&issuer.name).filter(|(_, until)| *until > now).cloned();
    if let Some((identities, _)) = held {
        return Some(Candidate { identities, account });
    }
    match account::identities(ground, issuer).await {
        Ok(identities) => {
            lock(known).identities.insert(issuer.name.clone(), (identities.clone(), now.plus(IDENTITIES_KEPT)));
            Some(Candidate { identities, account })
        }
        Err(Unopened { error, retry }) => {
            trouble(&mut lock(known), issuer, &error, retry, false);
            None
        }
    }
}

/// Makes an order: the issuer is there, it is reserved, and then it is worked on.
async fn make(ground: &Ground, known: &Mutex<Known>, issuer: &Arc<Issuer>, purpose: Purpose, intent: Intent) {
    // Nothing is reserved with an issuer that does not answer.
    let (ground_, issuer_) = (ground.clone(), Arc::clone(issuer));
    let opened = guarded(async move { account::open(&ground_, &issuer_).await.map(drop) }).await;
    let broken = || AcmeError::Unusable("the issuer's answer broke the work on it".into());
    if let Err(Unopened { error, retry }) = opened.unwrap_or_else(|| Err(Unopened { error: broken(), retry: None })) {
        return trouble(&mut lock(known), issuer, &error, retry, false);
    }
    let ways: Ways = {
        let known = lock(known);
        let of = |name: &String| known.checks.get(&(name.clone(), issuer.name.clone()))?.found.clone().ok();
        intent.names.iter().filter_map(|name| Some((name.clone(), of(name)?))).collect()
    };
    let Intent { names, domains, replaces, .. } = intent;
    let issuer_name = issuer.name.clone();
    let reserve = OrderReserve { purpose, names, issuer: issuer_name, domains, replaces, at: Some(Time::now()) };
    match ground.write(Obtaining::Reserve(reserve)).await {
        Ok(_) => {}
        // Somebody else was first, or the limits were spent between: the next plan sees it.
        Err(error) => {
            tracing::debug!(issuer = %issuer.name, "no order is made: failed to {error}");
            return sleep(jitter(UNWRITTEN_PAUSE)).await;
        }
    }
    let order = ground.now().open_orders().find(|order| order.purpose == purpose).cloned();
    lock(known).wanted.remove(&purpose);
    if let Some(order) = order {
        finish(ground, known, &order, issuer, ways).await;
    }
}

/// Works on an order to its end, whatever the issuer says.
async fn finish(ground: &Ground, known: &Mutex<Known>, order: &Arc<Order>, issuer: &Arc<Issuer>, ways: Ways) {
    let (ground_, order_, issuer_) = (ground.clone(), Arc::clone(order), Arc::clone(issuer));
    match guarded(async move { order::work(&ground_, &order_, &issuer_, ways).await }).await {
        Some(Some((error, retry))) => trouble(&mut lock(known), issuer, &error, retry, true),
        Some(None) => drop(lock(known).troubles.remove(&issuer.name)),
        None => order::give_up(ground, order, issuer).await,
    }
}

/// A panic of it is its own: nothing is known of what it was about. It ends with whoever waits for it.
async fn guarded<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let mut alone = JoinSet::new();
    alone.spawn(work);
    alone.join_next().await?.inspect_err(|error| tracing::error!(%error, "work on a certificate broke off")).ok()
}

/// Issuers whose account an administrator wants something done to.
fn untended(state: &State) -> impl Iterator<Item = &Arc<Issuer>> {
    state.issuers.values().filter(|issuer| issuer.task.is_some() || issuer.is_to_be_told())
}

async fn attend(ground: &Ground, known: &Mutex<Known>, issuer: &Issuer) {
    let done = match issuer.task {
        Some(task) => account::attend(ground, issuer, task).await,
        None => account::tell(ground, issuer).await,
    };
    match done {
        Ok(()) => {
            lock(known).errands.remove(&issuer.name);
            if let Some(task) = issuer.task {
                tracing::info!(issuer = %issuer.name, ?task, "the account was changed");
            }
        }
        Err(error) => put_off(&mut lock(known), issuer, &error),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a job found out is a cache: whatever a panic left of it is looked at again.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
