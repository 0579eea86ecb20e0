//! What is asked about names. Names go in and come out as A-labels without a final dot.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::AtomicUsize;

use hickory_proto::rr::{RData, RecordType};
use tokio::time::timeout;

use crate::base::limits::{RESOLVE_ALIASES_MAX, RESOLVE_SERVERS_MAX, RESOLVE_WAIT};
use crate::resolve::answer::Found;
use crate::resolve::caa::{CaaSet, Property};
use crate::resolve::error::ResolveError;
use crate::resolve::exchange::ask;
use crate::resolve::question::{Question, text};
use crate::resolve::servers::of_this_machine;

/// Asks name servers. Holds no socket and no answer; a lookup that is dropped leaves nothing behind.
#[derive(Debug, Default)]
pub struct Resolver {
    /// Those of the machine where none are given.
    servers: Option<Vec<SocketAddr>>,
    /// The one that answered last is asked first: while another one is down, nobody waits for it each time.
    first: AtomicUsize,
}

/// What a zone says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Soa {
    /// Its primary name server.
    pub mname: String,
    pub serial: u32,
}

impl Resolver {
    /// Asks the servers of `/etc/resolv.conf`, as it is at that moment.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks these servers, three at most.
    pub fn asking(mut servers: Vec<SocketAddr>) -> Self {
        servers.truncate(RESOLVE_SERVERS_MAX);
        Self { servers: Some(servers), first: AtomicUsize::new(0) }
    }

    /// The addresses of a name, IPv4 ones first; none if it has none. An address stands for itself, `localhost` for this machine.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        let lower = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        // RFC 6761 section 6.3.
        if lower == "localhost" || lower.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        bounded(name, async {
            let (v4, v6) = tokio::join!(self.values(name, RecordType::A), self.values(name, RecordType::AAAA));
            let (mut found, mut missing, mut failed) = (Vec::new(), 0, None);
            for said in [v4, v6] {
                match said {
                    Ok(Some(values)) => found.extend(values.iter().filter_map(RData::ip_addr)),
                    Ok(None) => missing += 1,
                    Err(error) => failed = Some(error),
                }
            }
            match failed {
                // Who has addresses of one family is reached, whatever becomes of the other.
                _ if !found.is_empty() => Ok(found),
                Some(error) => Err(error),
                None if missing == 2 => Err(ResolveError::NoSuchName(name.to_owned())),
                None => Ok(found),
            }
        })
        .await
    }

    /// Who may issue certificates for a name, without its `*.` if it has one: the records of the nearest name towards the root that
    /// has some (RFC 8659 section 3). One that cannot be asked is an error: it may forbid.
    pub async fn caa(&self, name: &str) -> Result<CaaSet, ResolveError> {
        bounded(name, async {
            let mut at = name.strip_prefix("*.").unwrap_or(name);
            at = at.strip_suffix('.').unwrap_or(at);
            loop {
                let found = self.ask(at, RecordType::CAA).await?;
                let property = |value| match value {
                    RData::CAA(caa) => Some(Property { flags: caa.flags(), tag: caa.tag, value: caa.value }),
                    _ => None,
                };
                if let Some(found) = found.filter(|found| !found.values.is_empty()) {
                    let properties = found.values.into_iter().filter_map(property).collect();
                    return Ok(CaaSet::new(&text(&found.at), properties));
                }
                let Some((_, parent)) = at.split_once('.') else { return Ok(CaaSet::default()) };
                at = parent;
            }
        })
        .await
    }

    /// Where the aliases of a name end; none if it is no alias, or does not exist.
    pub async fn canonical(&self, name: &str) -> Result<Option<String>, ResolveError> {
        bounded(name, async {
            let mut end: Option<String> = None;
            for _ in 0..=RESOLVE_ALIASES_MAX {
                let said = self.values(end.as_deref().unwrap_or(name), RecordType::CNAME).await?;
                match said.unwrap_or_default().first() {
                    Some(RData::CNAME(target)) => end = Some(text(&target.0)),
                    _ => return Ok(end),
                }
            }
            Err(ResolveError::Endless(name.to_owned()))
        })
        .await
    }

    /// The SOA of a zone; none where no zone begins.
    pub async fn soa(&self, zone: &str) -> Result<Option<Soa>, ResolveError> {
        let said = bounded(zone, self.values(zone, RecordType::SOA)).await?;
        Ok(said.unwrap_or_default().into_iter().find_map(|value| match value {
            RData::SOA(soa) => Some(Soa { mname: text(&soa.mname), serial: soa.serial }),
            _ => None,
        }))
    }

    /// What a name has of a type; none if there is no such name.
    pub(super) async fn values(&self, name: &str, rtype: RecordType) -> Result<Option<Vec<RData>>, ResolveError> {
        Ok(self.ask(name, rtype).await?.map(|found| found.values))
    }

    async fn ask(&self, name: &str, rtype: RecordType) -> Result<Option<Found>, ResolveError> {
        let question = Question::new(name, rtype)?;
        match &self.servers {
            Some(servers) => ask(servers, &self.first, &question).await,
            None => ask(&of_this_machine(), &self.first, &question).await,
        }
    }
}

async fn bounded<T>(name: &str, lookup: impl Future<Output = Result<T, ResolveError>>) -> Result<T, ResolveError> {
    timeout(RESOLVE_WAIT, lookup).await.unwrap_or_else(|_| Err(ResolveError::Slow { name: name.to_owned() }))
}
