//! Where a proxied site's answers come from: the upstreams of all sites, each known once for all threads, with their health, and
//! the ways to reach them. Never speaks HTTP.
use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::base::ids::NodeId;
use crate::base::limits::{PROXY_CONNECT_WAIT, PROXY_HANDSHAKE_WAIT, PROXY_NODE_PAUSE};
use crate::cluster::peer::dial::Peers;
use crate::cluster::peer::messages::Class;
use crate::fetch::target::Wire;
use crate::fetch::trust::Trust;
use crate::model::cluster::Cluster;
use crate::model::sites::Site;
use crate::ops::blocking::Blocking;
use crate::web::proxy::fault::Fault;
use crate::web::proxy::health::Health;
use crate::web::proxy::names::Names;

#[derive(Debug)]
pub(crate) struct Upstream {
    /// As it was written.
    pub(crate) name: String,
    address: Option<Address>,
    /// Whether its name may mean this machine.
    trusted: bool,
    pub(crate) health: Health,
}

#[derive(Debug, PartialEq, Eq)]
enum Address {
    Tcp {
        host: String,
        port: u16,
        tls: bool,
    },
    Unix(PathBuf),
    /// The home of the site.
    Node(NodeId),
}

impl Address {
    /// What the model let pass; nothing else comes here.
    fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Some(Self::Unix(path.into()));
        }
        let uri: http::Uri = text.parse().ok()?;
        let tls = uri.scheme_str()? == "https";
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Self::Tcp { host, port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }), tls })
    }
}

/// What all threads of the plane share.
#[derive(Debug)]
pub(crate) struct Upstreams {
    known: Mutex<Known>,
    names: Names,
    blocking: Blocking,
    here: NodeId,
    peers: Peers,
    places: Arc<Semaphore>,
    trust: Mutex<Option<(Option<Vec<u8>>, Trust)>>,
    pub(crate) counts: Counts,
}

/// By what is written in a site, and whether it may mean this machine.
#[derive(Debug, Default)]
struct Known {
    all: HashMap<(String, bool), Weak<Upstream>>,
    /// How many there may be before those that no site has any more are looked for.
    sweep_at: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) opened: AtomicU64,
    pub(crate) reused: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) idle: AtomicU64,
}

impl Upstreams {
    /// `most`: connections at one time.
    pub(crate) fn new(blocking: Blocking, most: usize, here: NodeId, peers: Peers) -> Arc<Self> {
        Arc::new(Self {
            known: Mutex::default(),
            names: Names::new(blocking.clone()),
            blocking,
            here,
            peers,
            places: Arc::new(Semaphore::new(most)),
            trust: Mutex::default(),
            counts: Counts::default(),
        })
    }

    pub(crate) fn of(&self, site: &Site) -> Vec<Arc<Upstream>> {
        if site.home != self.here {
            let name = format!("node {}", site.home);
            return vec![self.one(&name, true, |_| Some(Address::Node(site.home)))];
        }
        let crate::model::sites::Handler::Proxy { upstreams } = &site.handler else { return Vec::new() };
        let trusted = site.account.is_none();
        upstreams.iter().map(|name| self.one(name, trusted, Address::parse)).collect()
    }

    fn one(&self, name: &str, trusted: bool, address: impl Fn(&str) -> Option<Address>) -> Arc<Upstream> {
        let mut known = lock(&self.known);
        let key = (name.to_owned(), trusted);
        if let Some(upstream) = known.all.get(&key).and_then(Weak::upgrade) {
            return upstream;
        }
        if known.all.len() >= known.sweep_at {
            known.all.retain(|_, upstream| upstream.strong_count() > 0);
            known.sweep_at = 2 * known.all.len() + 16;
        }
        let (name, health) = (name.to_owned(), Health::new(Instant::now()));
        let upstream = Arc::new(Upstream { address: address(&name), name, trusted, health });
        known.all.insert(key, Arc::downgrade(&upstream));
        upstream
    }

    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// A connection, ready to speak HTTP/1.1 on.
    pub(crate) async fn reach(&self, upstream: &Upstream, cluster: Option<&Cluster>) -> Result<Box<dyn Wire>, Fault> {
        self.counts.opened.fetch_add(1, Ordering::Relaxed);
        match upstream.address.as_ref().ok_or(Fault::Address)? {
            Address::Unix(path) => {
                let stream = timeout(PROXY_CONNECT_WAIT, UnixStream::connect(path)).await;
                Ok(Box::new(stream.map_err(|_| Fault::ConnectLate)?.map_err(Fault::Connect)?))
            }
            Address::Node(node) => {
                let begun = Instant::now();
                let mut stream = self.peers.open(*node, Class::Forward).await;
                if stream.is_err() && begun.elapsed() < PROXY_NODE_PAUSE {
                    // It hands over to its next process, or starts again.
                    sleep(PROXY_NODE_PAUSE).await;
                    stream = self.peers.open(*node, Class::Forward).await;
                }
                Ok(Box::new(stream.map_err(|error| Fault::Connect(std::io::Error::other(error)))?))
            }
            Address::Tcp { host, port, tls } => {
                let stream = dial(self.names.addresses(host, upstream.trusted).await?, *port).await?;
                if !tls {
                    return Ok(Box::new(stream));
                }
                let trust = self.trust(cluster).await?;
                let stream = timeout(PROXY_HANDSHAKE_WAIT, trust.connect(host, stream)).await;
                Ok(Box::new(stream.map_err(|_| Fault::TlsLate)?.map_err(Fault::Tls)?))
            }
        }
    }

    /// Whom to believe: the machine's authorities and the one of our own sites, read when the first upstream needs them.
    async fn trust(&self, cluster: Option<&Cluster>) -> Result<Trust, Fault> {
        let ours = cluster.and_then(|cluster| cluster.sites_ca.as_ref()).map(|ca| ca.certificate.clone());
        if let Some((of, trust)) = &*lock(&self.trust)
            && *of == ours
        {
            return Ok(trust.clone());
        }
        let certificate = ours.clone();
        let made = self.blocking.run(move || Trust::system_and(certificate.as_deref())).await;
        let trust = made.map_err(|_| Fault::Busy)?.map_err(|error| Fault::Tls(std::io::Error::other(error)))?;
        *lock(&self.trust) = Some((ours, trust.clone()));
        Ok(trust)
    }

    /// In the Prometheus text form.
    pub(crate) fn render(&self, out: &mut String) {
        let (mut all, mut down, now) = (0_u64, 0_u64, Instant::now());
        for upstream in lock(&self.known).all.values().filter_map(Weak::upgrade) {
            all += 1;
            down += u64::from(upstream.health.is_down(now));
        }
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        for (name, kind, value) in [
            ("ruche_proxy_upstreams", "gauge", all),
            ("ruche_proxy_upstreams_down", "gauge", down),
            ("ruche_proxy_connections_idle", "gauge", count(&self.counts.idle)),
            ("ruche_proxy_connections_opened_total", "counter", count(&self.counts.opened)),
            ("ruche_proxy_connections_reused_total", "counter", count(&self.counts.reused)),
            ("ruche_proxy_retries_total", "counter", count(&self.counts.retried)),
        ] {
            let _ = writeln!(out, "# TYPE {name} {kind}\n{name} {value}");
        }
    }
}

async fn dial(addresses: Vec<IpAddr>, port: u16) -> Result<TcpStream, Fault> {
    let mut fault = Fault::Resolve("it has no address".into());
    for address in addresses {
        match timeout(PROXY_CONNECT_WAIT, TcpStream::connect(SocketAddr::new(address, port))).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(Fault::Connect)?;
                return Ok(stream);
            }
            Ok(Err(error)) => fault = Fault::Connect(error),
            Err(_) => fault = Fault::ConnectLate,
        }
    }
    Err(fault)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change under it is one assignment or insertion.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_they_are_written() {
        let tcp = |host: &str, port, tls| Some(Address::Tcp { host: host.into(), port, tls });
        assert_eq!(Address::parse("http://app.example:8080"), tcp("app.example", 8080, false));
        assert_eq!(Address::parse("http://app.example"), tcp("app.example", 80, false));
        assert_eq!(Address::parse("https://app.example/"), tcp("app.example", 443, true));
        assert_eq!(Address::parse("http://[2001:db8::1]:81"), tcp("2001:db8::1", 81, false));
        assert_eq!(Address::parse("unix:/run/app.sock"), Some(Address::Unix("/run/app.sock".into())));
        assert_eq!(Address::parse("app.example"), None);
    }
}
