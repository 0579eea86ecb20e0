//! Addresses of upstreams' names, as this machine resolves them, kept for seconds. A name that means this machine is nobody's but
//! the administrator's.
use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::base::limits::{
    PROXY_ADDRESSES_MAX, PROXY_CONNECT_WAIT, PROXY_LOOKUP_FAILED_KEPT, PROXY_LOOKUP_KEPT, PROXY_LOOKUPS_AT_ONCE,
};
use crate::model::sites::{is_own_address, is_this_machine};
use crate::ops::blocking::Blocking;
use crate::web::proxy::fault::Fault;

#[derive(Debug)]
pub(crate) struct Names {
    blocking: Blocking,
    turns: Semaphore,
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    until: Instant,
    found: Result<Vec<IpAddr>, String>,
}

impl Names {
    pub(crate) fn new(blocking: Blocking) -> Self {
        Self { blocking, turns: Semaphore::new(PROXY_LOOKUPS_AT_ONCE), known: Mutex::default() }
    }

    /// Where to try, in this order. `trusted`: it may mean this machine.
    pub(crate) async fn addresses(&self, host: &str, trusted: bool) -> Result<Vec<IpAddr>, Fault> {
        if let Ok(address) = host.parse() {
            // The model has decided who may write it.
            return Ok(vec![address]);
        }
        let found = timeout(PROXY_CONNECT_WAIT, self.look(host)).await;
        let found = found.map_err(|_| Fault::Resolve("it takes too long".into()))?.map_err(Fault::Resolve)?;
        reachable(found, trusted || is_this_machine(host))
    }

    async fn look(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        if let Some(found) = self.kept(host) {
            return found;
        }
        let _turn = self.turns.acquire().await.map_err(|error| error.to_string())?;
        // Whoever had the turn before may have asked for the same.
        if let Some(found) = self.kept(host) {
            return found;
        }
        let name = host.to_owned();
        let looked =
            self.blocking.run(move || (name.as_str(), 0).to_socket_addrs().map(Iterator::collect::<Vec<_>>)).await;
        let found = match looked {
            Ok(Ok(addresses)) => Ok(addresses.into_iter().map(|address| address.ip()).collect()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(format!("failed to {error}")),
        };
        let kept = if found.is_ok() { PROXY_LOOKUP_KEPT } else { PROXY_LOOKUP_FAILED_KEPT };
        let now = Instant::now();
        let mut known = self.known();
        known.retain(|_, known| known.until > now);
        known.insert(host.to_owned(), Known { until: now + kept, found: found.clone() });
        found
    }

    fn kept(&self, host: &str) -> Option<Result<Vec<IpAddr>, String>> {
        self.known().get(host).filter(|known| known.until > Instant::now()).map(|known| known.found.clone())
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reachable(mut found: Vec<IpAddr>, trusted: bool) -> Result<Vec<IpAddr>, Fault> {
    let some = !found.is_empty();
    found.retain(|address| trusted || !is_own_address(*address));
    found.dedup();
    found.truncate(PROXY_ADDRESSES_MAX);
    if some && found.is_empty() { Err(Fault::Forbidden) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_means_this_machine_is_for_the_administrator() {
        let all = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        for own in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "169.254.169.254", "fe80::1"]
        {
            assert!(matches!(reachable(all(&[own]), false), Err(Fault::Forbidden)), "{own}");
            assert_eq!(reachable(all(&[own]), true).unwrap(), all(&[own]));
        }
        // One bad address among good ones is left out.
        assert_eq!(reachable(all(&["127.0.0.1", "192.0.2.1"]), false).unwrap(), all(&["192.0.2.1"]));
        assert_eq!(reachable(Vec::new(), false).unwrap(), all(&[]));
        assert_eq!(reachable(all(&["192.0.2.1", "192.0.2.2", "::2", "::3", "::4"]), true).unwrap().len(), 4);
    }
}
