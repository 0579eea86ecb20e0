//! Looks at a name before it is ordered: does it lead here, may the issuer issue for it, and by which methods can it be proved? What
//! an issuer would find wrong is found here first, and costs nothing.
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::Request;
use http::header::HOST;

use crate::acme::Ground;
use crate::acme::plan::Way;
use crate::base::limits::acme::{PROBE_MAX, PROBE_WAIT};
use crate::base::names::ZoneName;
use crate::cluster::door::random;
use crate::fetch::client::{Bounds, Client};
use crate::fetch::target::Target;
use crate::model::orders::Method;
use crate::model::state::State;
use crate::resolve::caa::Issuance;
use crate::resolve::error::ResolveError;
use crate::rr::Name;

/// Who is to issue, as CAA records name it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Candidate {
    /// Domains it knows itself by.
    pub(crate) identities: Vec<String>,
    pub(crate) account: Option<String>,
}

const CHALLENGE: &str = "_acme-challenge";
/// Aliases of a challenge's name that are followed.
const ALIASES_MAX: usize = 4;

/// How a name can be proved to this issuer, or why it cannot.
pub(crate) async fn look(ground: &Ground, name: &str, issuer: &Candidate) -> Result<Way, String> {
    let bare = name.strip_prefix("*.").unwrap_or(name);
    let wildcard = bare.len() != name.len();
    let mut way = Way::default();
    let mut reason = match wildcard {
        true => None,
        false => match leads_here(ground, bare).await {
            Ok((methods, why)) => {
                (way.methods, way.why) = (methods, why.to_owned());
                None
            }
            Err(reason) => Some(reason),
        },
    };
    match zone_here(ground, bare).await {
        Ok(at) => {
            let comma = if way.why.is_empty() { "" } else { ", " };
            way.why = format!("{}{comma}the zone {} is here", way.why, at.0);
            way.methods.push(Method::Dns01);
            way.at = Some(at);
        }
        Err(other) if wildcard => reason = Some(other),
        Err(_) => {}
    }
    if way.methods.is_empty() {
        return Err(reason.unwrap_or_else(|| format!("{name} does not lead here")));
    }
    allowed(ground, name, wildcard, issuer, &mut way).await?;
    Ok(way)
}

/// Drops the methods that CAA records forbid.
async fn allowed(ground: &Ground, name: &str, wildcard: bool, issuer: &Candidate, way: &mut Way) -> Result<(), String> {
    if issuer.identities.is_empty() {
        return Ok(());
    }
    let bare = name.strip_prefix("*.").unwrap_or(name);
    let set = ground.resolver.caa(bare).await.map_err(unanswered)?;
    let issuers: Vec<&str> = issuer.identities.iter().map(String::as_str).collect();
    let mut refused = None;
    way.methods.retain(|method| {
        let (account, method) = (issuer.account.as_deref(), method.name());
        let wish = Issuance { issuers: &issuers, wildcard, account, method };
        set.allows(&wish).map_err(|reason| refused = Some(reason)).is_ok()
    });
    match refused {
        Some(reason) if way.methods.is_empty() => Err(reason),
        _ => Ok(()),
    }
}

/// Whether who asks for a name comes to us: all its addresses are ours, or who answers there answers as we do.
async fn leads_here(ground: &Ground, name: &str) -> Result<(Vec<Method>, &'static str), String> {
    let found = ground.resolver.addresses(name).await.map_err(unanswered)?;
    if found.is_empty() {
        return Err(format!("{name} has no address: give it the one of this node, with A or AAAA"));
    }
    let snapshot = ground.now();
    let ours: Vec<IpAddr> = snapshot.nodes.values().flat_map(|node| node.addresses.iter().copied()).collect();
    if found.iter().all(|address| ours.contains(address)) {
        let methods = [Method::Http01, Method::TlsAlpn01];
        let methods = methods.into_iter().filter(|method| ground.http || *method != Method::Http01).collect();
        return Ok((methods, "its addresses are ours"));
    }
    for address in &found {
        probe(&snapshot, name, *address).await.map_err(|reason| {
            format!(
                "{name} leads to {address}, which is not this node or does not pass challenges on: {reason}. Have it lead to a node of this cluster, or that machine pass on what is below /.well-known/acme-challenge/"
            )
        })?;
    }
    // Behind another address only what is asked for on port 80 is known to come through.
    Ok((vec![Method::Http01], "who answers at its addresses passes challenges on"))
}

/// What the world does not say of a name.
fn unanswered(error: ResolveError) -> String {
    format!("failed to {error}: see that the servers of its zone answer for it")
}

/// Asks an address as an issuer would. The path is fixed and the answer is shown to nobody.
async fn probe(state: &State, name: &str, address: IpAddr) -> Result<(), String> {
    if address.is_unspecified() || address.is_multicast() {
        return Err("nothing is reached there".into());
    }
    let token = data_encoding::BASE64URL_NOPAD.encode(&[random(), random()].concat());
    let wanted = state.http_answer(&token).ok_or("there is no account key yet")?;
    let bounds = Bounds { connect: PROBE_WAIT, head: PROBE_WAIT, body: PROBE_WAIT, body_max: PROBE_MAX };
    let target = Target::Tcp { host: SocketAddr::new(address, 80).ip().to_string(), port: 80 };
    let request = Request::get(format!("/.well-known/acme-challenge/{token}")).header(HOST, name).body(Bytes::new());
    let request = request.map_err(|error| error.to_string())?;
    let answer = (Client { target, bounds }).send(request).await.map_err(|error| format!("failed to {error}"))?;
    match answer.status.is_success() && answer.body.trim_ascii() == wanted.as_bytes() {
        true => Ok(()),
        false => Err(format!("it answers {} to a challenge", answer.status.as_u16())),
    }
}

/// The zone of ours where the world looks for the challenge of a name, and the name there.
async fn zone_here(ground: &Ground, name: &str) -> Result<(ZoneName, Name), String> {
    let snapshot = ground.now();
    let mut at = format!("{CHALLENGE}.{name}");
    for _ in 0..ALIASES_MAX {
        let alias = ground.resolver.canonical(&at).await.map_err(unanswered)?;
        match alias {
            Some(target) => at = target,
            None => break,
        }
    }
    let zone = snapshot.zone_above(&at).ok_or_else(|| {
        format!("the zone of {at} is not here: bring it, or make that name an alias (CNAME) of one in a zone that is")
    })?;
    let zone_name = zone.head.name.clone();
    // Whose alias it is may write there, or what is meant for challenges.
    let site = snapshot.hosts.get(name).and_then(|id| snapshot.sites.get(id)).map(|site| site.account.as_ref());
    let account = site.or_else(|| snapshot.zone_above(name).map(|zone| zone.head.account.as_ref())).flatten();
    if zone.head.account.as_ref() != account && !at.starts_with(CHALLENGE) {
        return Err(format!("{at}, where the alias of {name} leads, is somebody else's"));
    }
    let seen = ground.resolver.soa(zone_name.as_str()).await.map_err(unanswered)?;
    let ours = zone.soa();
    let primary = ours.primary.to_string();
    match seen {
        Some(seen) if seen.mname.eq_ignore_ascii_case(primary.trim_end_matches('.')) => {}
        Some(seen) => {
            return Err(format!(
                "the world is answered for {zone_name} by {}, not by us: its registrar names other servers",
                seen.mname
            ));
        }
        None => return Err(format!("the world knows no zone {zone_name}: its registrar names no server of ours")),
    }
    let owner = Name::parse(&format!("{at}."), None).map_err(|error| format!("failed to {error}"))?;
    Ok((zone_name, owner))
}
