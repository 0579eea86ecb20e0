//! Keeps certificates as the plan says: looks at names, makes orders, goes on with those that were left, asks issuers when they want
//! a certificate renewed, and sleeps until something changes or is due. One of these runs in a cluster.
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::acme::checks::{self, Candidate};
use crate::acme::fault::{AcmeError, jitter};
use crate::acme::order::{self, Ways};
use crate::acme::plan::{Check, Intent, Item, Known, Plan, Step, Trouble, plan};
use crate::acme::suffixes::Suffixes;
use crate::acme::windows;
use crate::acme::{Ground, Obtaining, account};
use crate::base::clock::Time;
use crate::base::ids::OrderId;
use crate::base::limits::acme::{
    CHECK_PAUSES, CHECKS_AT_ONCE, ORDER_WAIT, ORDERS_OPEN_MAX, PLAN_EVERY, PLAN_IDLE, UNWRITTEN_PAUSE,
};
use crate::base::names::IssuerName;
use crate::model::issuers::{Issuer, LETS_ENCRYPT, LETS_ENCRYPT_STAGING, Task};
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

impl Default for Handle {
    /// Of no keeper: nothing is planned.
    fn default() -> Self {
        Self { plan: watch::channel(Arc::default()).1, wishes: Arc::default() }
    }
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
    jobs: JoinSet<Done>,
}

/// What a job was about.
#[derive(Debug)]
enum Done {
    Order(OrderId),
    Group(Purpose),
    Tended(IssuerName),
}

impl Keeper {
    pub fn new(ground: Ground) -> (Self, Handle) {
        let (sender, receiver) = watch::channel(Arc::default());
        let asked = Arc::new(Asked::default());
        let handle = Handle { plan: receiver, wishes: Arc::clone(&asked) };
        let (working, tending) = (BTreeSet::new(), BTreeSet::new());
        let known = Arc::default();
        (Self { ground, known, plan: sender, asked, working, tending, jobs: JoinSet::new() }, handle)
    }

    /// Plans and does what is planned until the node stops. What is under way then is gone on with by the next one.
    pub async fn run(&mut self, stop: &Stop) {
        let mut snapshots = self.ground.snapshots.clone();
        loop {
            let seen = Arc::clone(&snapshots.borrow_and_update());
            let planned = Instant::now();
            let next = self.turn(&seen);
            let asked = Arc::clone(&self.asked);
            let changed = async {
                while snapshots.changed().await.is_ok() {
                    if concerns(&seen, &snapshots.borrow_and_update()) {
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

    /// Plans, begins what is to be begun, and says when to look again.
    fn turn(&mut self, state: &Arc<Snapshot>) -> Duration {
        let now = Time::now();
        lock(&self.known).wanted.extend(std::mem::take(&mut *lock(&self.asked.renew)));
        self.go_on(state);
        self.tend(state, now);
        self.ask(state, now);
        let plan = Arc::new(plan(state, now, &lock(&self.known)));
        lock(&self.known).forget(state, &plan);
        for item in &plan.items {
            self.begin(state, item);
        }
        let next = plan.next.map_or(PLAN_IDLE, |next| Duration::from_millis(next.0.saturating_sub(now.0)));
        self.plan.send_replace(plan);
        next.clamp(PLAN_EVERY, PLAN_IDLE)
    }

    /// Orders that were reserved and that nobody here works on: this node was restarted, or leads since then.
    fn go_on(&mut self, state: &State) {
        for order in state.open_orders() {
            let Some(issuer) = state.issuer(&order.issuer) else { continue };
            if lock(&self.known).busy.contains(&order.purpose) {
                continue;
            }
            if self.jobs.len() < ORDERS_OPEN_MAX + CHECKS_AT_ONCE && self.working.insert(order.id) {
                let (ground, order) = (self.ground.clone(), Arc::clone(order));
                self.jobs.spawn(async move {
                    finish(&ground, &order, &issuer, Ways::new()).await;
                    Done::Order(order.id)
                });
            }
        }
    }

    /// Accounts that an administrator wants something done to.
    fn tend(&mut self, state: &State, now: Time) {
        let tasks: Vec<_> =
            state.issuers.values().filter_map(|issuer| Some((Arc::clone(issuer), issuer.task?))).collect();
        for (issuer, task) in tasks {
            if lock(&self.known).is_left_alone(&issuer.name, now) || !self.tending.insert(issuer.name.clone()) {
                continue;
            }
            let (ground, known) = (self.ground.clone(), Arc::clone(&self.known));
            self.jobs.spawn(async move {
                let name = issuer.name.clone();
                guarded(async move { attend(&ground, &known, &issuer, task).await }).await;
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

    fn begin(&mut self, state: &Arc<Snapshot>, item: &Item) {
        let Some(issuer) = item.issuer.as_ref().and_then(|name| state.issuer(name)) else { return };
        if self.jobs.len() >= ORDERS_OPEN_MAX || !lock(&self.known).busy.insert(item.purpose) {
            return;
        }
        let (ground, known, purpose) = (self.ground.clone(), Arc::clone(&self.known), item.purpose);
        match item.step.clone() {
            Step::Check { names } => {
                self.jobs.spawn(async move {
                    guarded(async move { look(&ground, &known, &issuer, names).await }).await;
                    Done::Group(purpose)
                });
            }
            Step::Order(intent) => {
                self.jobs.spawn(async move {
                    make(&ground, &known, &issuer, purpose, intent).await;
                    Done::Group(purpose)
                });
            }
            Step::Good { .. } | Step::UnderWay | Step::Wait { .. } | Step::Blocked { .. } => {
                lock(&self.known).busy.remove(&purpose);
            }
        }
    }

    fn ended(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Order(id)) => drop(self.working.remove(&id)),
            Ok(Done::Group(purpose)) => drop(lock(&self.known).busy.remove(&purpose)),
            Ok(Done::Tended(issuer)) => drop(self.tending.remove(&issuer)),
            // Whose it was is not known any more: everything is looked at anew.
            Err(error) => {
                tracing::error!(%error, "work on a certificate broke off");
                self.working.clear();
                self.tending.clear();
                lock(&self.known).busy.clear();
            }
        }
    }
}

/// Whether what differs between two states can change the plan.
fn concerns(before: &State, after: &State) -> bool {
    !(before.sites.ptr_eq(&after.sites)
        && before.certificates.ptr_eq(&after.certificates)
        && before.issuers.ptr_eq(&after.issuers)
        && before.wishes.ptr_eq(&after.wishes)
        && before.orders.ptr_eq(&after.orders)
        && before.zones.len() == after.zones.len())
}

/// Looks at names for an issuer and remembers what was found.
async fn look(ground: &Ground, known: &Mutex<Known>, issuer: &Issuer, names: Vec<String>) {
    let candidate = candidate(issuer);
    let suffixes = ground.blocking.run(Suffixes::read).await.unwrap_or_default();
    for names in names.chunks(CHECKS_AT_ONCE) {
        let found = names.iter().map(|name| checks::look(ground, name, &candidate));
        for (name, found) in names.iter().zip(all(found).await) {
            let key = (name.clone(), issuer.name.clone());
            let mut known = lock(known);
            let before = known.checks.get(&key).map_or(0, |check| check.failures);
            let failures = if found.is_ok() { 0 } else { before.saturating_add(1) };
            let pause = CHECK_PAUSES[(before as usize).min(CHECK_PAUSES.len() - 1)];
            let now = Time::now();
            let domain = suffixes.domain(name);
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

/// By which domains an issuer knows itself in CAA records. The others are not asked: private ones look at none.
fn candidate(issuer: &Issuer) -> Candidate {
    let public = [LETS_ENCRYPT, LETS_ENCRYPT_STAGING].contains(&issuer.name.as_str());
    let identities = if public { vec!["letsencrypt.org".to_owned()] } else { Vec::new() };
    Candidate { identities, account: issuer.account().map(|account| account.url.clone()) }
}

/// Makes an order: the issuer is there, it is reserved, and then it is worked on.
async fn make(ground: &Ground, known: &Mutex<Known>, issuer: &Arc<Issuer>, purpose: Purpose, intent: Intent) {
    // Nothing is reserved with an issuer that does not answer.
    let (ground_, issuer_) = (ground.clone(), Arc::clone(issuer));
    let opened = guarded(async move { account::open(&ground_, &issuer_).await.map(drop) }).await;
    let broken = || AcmeError::Unusable("the issuer's answer broke the work on it".into());
    if let Err(error) = opened.unwrap_or_else(|| Err(broken())) {
        return trouble(known, issuer, &error);
    }
    lock(known).troubles.remove(&issuer.name);
    let ways: Ways = {
        let known = lock(known);
        let of = |name: &String| known.checks.get(&(name.clone(), issuer.name.clone()))?.found.clone().ok();
        intent.names.iter().filter_map(|name| Some((name.clone(), of(name)?))).collect()
    };
    let Intent { names, domains, replaces, .. } = intent;
    let reserve = OrderReserve { purpose, names, issuer: issuer.name.clone(), domains, replaces };
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
        finish(ground, &order, issuer, ways).await;
    }
}

/// Works on an order to its end, whatever the issuer says.
async fn finish(ground: &Ground, order: &Arc<Order>, issuer: &Arc<Issuer>, ways: Ways) {
    let (ground_, order_, issuer_) = (ground.clone(), Arc::clone(order), Arc::clone(issuer));
    if guarded(async move { order::work(&ground_, &order_, &issuer_, ways).await }).await.is_none() {
        order::give_up(ground, order, issuer).await;
    }
}

/// A panic of it is its own: nothing is known of what it was about. It ends with whoever waits for it.
async fn guarded<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let mut alone = JoinSet::new();
    alone.spawn(work);
    alone.join_next().await?.inspect_err(|error| tracing::error!(%error, "work on a certificate broke off")).ok()
}

async fn attend(ground: &Ground, known: &Mutex<Known>, issuer: &Issuer, task: Task) {
    match account::attend(ground, issuer, task).await {
        Ok(()) => tracing::info!(issuer = %issuer.name, ?task, "the account was changed"),
        Err(error) => trouble(known, issuer, &error),
    }
}

/// Leaves an issuer alone for a while.
fn trouble(known: &Mutex<Known>, issuer: &Issuer, error: &AcmeError) {
    let mut known = lock(known);
    let count = known.troubles.get(&issuer.name).map_or(0, |before| before.count.saturating_add(1));
    let until = Time::now().plus(error.pause(count, None));
    if count == 0 {
        tracing::warn!(issuer = %issuer.name, "no order is made: failed to {error}");
    }
    let reason = format!("failed to {error}. {}", error.remedy());
    known.troubles.insert(issuer.name.clone(), Trouble { reason, until, count });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a job found out is a cache: whatever a panic left of it is looked at again.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
