//! Requests and bytes of each site, for `/metrics`. A thread looks a site's counters up once and keeps them; what it counts
//! survives the thread.
use std::collections::HashMap;

use metrics::Counter;

use crate::base::ids::SiteId;
use crate::model::sites::Site;
use crate::model::state::State;

/// One site's counters; a copy counts to the same.
#[derive(Debug, Clone)]
pub(crate) struct Count {
    pub(crate) requests: Counter,
    /// Of bodies, as they were handed to the connection.
    pub(crate) bytes: Counter,
}

/// The counters of one thread's sites.
#[derive(Debug, Default)]
pub(crate) struct Counts(HashMap<SiteId, Count>);

impl Counts {
    pub(crate) fn of(&mut self, site: &Site) -> Count {
        let count = self.0.entry(site.id).or_insert_with(|| Count {
            requests: metrics::counter!("ruche_site_requests_total", "site" => site.host.to_string()),
            bytes: metrics::counter!("ruche_site_bytes_total", "site" => site.host.to_string()),
        });
        count.clone()
    }

    /// Lets go of sites that are gone, once there are more counters than sites.
    pub(crate) fn sweep(&mut self, state: &State) {
        if self.0.len() > state.sites.len() {
            self.0.retain(|id, _| state.sites.contains_key(id));
        }
    }
}
