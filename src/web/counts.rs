//! Requests and bytes of each site, for `/metrics`. A thread looks a site's tally up once and keeps it; what it counts survives
//! the thread, and is forgotten with the site.
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;

use crate::base::ids::SiteId;
use crate::model::sites::Site;
use crate::model::state::State;
use crate::store::visits::Visits;

/// One site's counters.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    host: String,
    /// By class of their status, 1xx first.
    answers: [AtomicU64; 5],
    /// Of bodies, as they were handed to the connection.
    bytes: AtomicU64,
    /// What was collected before.
    seen: Mutex<Visits>,
}

impl Tally {
    fn now(&self) -> Visits {
        let answers = self.answers.each_ref().map(|count| count.load(Ordering::Relaxed));
        Visits { answers, bytes: self.bytes.load(Ordering::Relaxed) }
    }

    pub(crate) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).min(self.answers.len()) - 1;
        self.answers[class].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The tallies of all sites that were asked for, over all threads.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Mutex<HashMap<SiteId, Arc<Tally>>>);

impl Tallies {
    fn all(&self) -> MutexGuard<'_, HashMap<SiteId, Arc<Tally>>> {
        // Each change of the map is one insertion or removal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, site: &Site) -> Arc<Tally> {
        let new = || Arc::new(Tally { host: site.host.to_string(), ..Tally::default() });
        Arc::clone(self.all().entry(site.id).or_insert_with(new))
    }

    pub(crate) fn forget(&self, site: SiteId) {
        self.all().remove(&site);
    }

    /// Hands over what was counted since the last time.
    pub(crate) fn collect(&self, mut take: impl FnMut(SiteId, &Visits)) {
        for (site, tally) in self.all().iter() {
            let now = tally.now();
            let before = std::mem::replace(&mut *tally.seen.lock().unwrap_or_else(PoisonError::into_inner), now);
            if now != before {
                take(*site, &now.since(&before));
            }
        }
    }

    /// In the Prometheus text form.
    pub(crate) fn render(&self, out: &mut String) {
        let all = self.all();
        let mut sites: Vec<&Tally> = all.values().map(AsRef::as_ref).collect();
        sites.sort_by(|one, other| one.host.cmp(&other.host));
        column(out, "ruche_site_requests_total", &sites, |tally| tally.now().hits());
        column(out, "ruche_site_bytes_total", &sites, |tally| tally.now().bytes);
    }
}

fn column(out: &mut String, name: &str, sites: &[&Tally], count: impl Fn(&Tally) -> u64) {
    if !sites.is_empty() {
        let _ = writeln!(out, "# TYPE {name} counter");
    }
    for tally in sites {
        let _ = writeln!(out, "{name}{{site=\"{}\"}} {}", tally.host, count(tally));
    }
}

/// The tallies one thread has looked up.
#[derive(Debug, Default)]
pub(crate) struct Counts(HashMap<SiteId, Arc<Tally>>);

impl Counts {
    pub(crate) fn of(&mut self, site: &Site, tallies: &Tallies) -> Arc<Tally> {
        Arc::clone(self.0.entry(site.id).or_insert_with(|| tallies.of(site)))
    }

    /// Lets go of sites that are gone, once there are more tallies than sites.
    pub(crate) fn sweep(&mut self, state: &State) {
        if self.0.len() > state.sites.len() {
            self.0.retain(|id, _| state.sites.contains_key(id));
        }
    }
}
