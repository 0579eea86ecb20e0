//! What is allowed in a zone and does not work: said to who looks at it, refused to nobody. Pure; only the apex is looked at, so that
//! a list of zones costs little.
use crate::model::chunk;
use crate::model::state::State;
use crate::model::zones::Zone;
use crate::rr::{self, Name, RecordType};

/// Sentences for people, with what to do.
pub fn advice(state: &State, zone: &Zone) -> Vec<String> {
    let (mut found, apex) = (Vec::new(), &zone.head.name);
    let servers = zone.nameservers();
    if servers.is_empty() {
        found.push(format!(
            "The zone has no name server: set those that its registrar knows with `ruche record set {apex} @ NS ns1.example.net.`."
        ));
    }
    found.extend(servers.iter().filter_map(|host| unreachable(state, zone, host, "name server")));
    let origin = zone.head.origin();
    let key = chunk::key(&origin, &origin, RecordType::MX);
    let mails = zone.find(&key).into_iter().flat_map(|set| set.values());
    let mails = mails.filter_map(|value| rr::targets(RecordType::MX, value));
    found.extend(mails.filter_map(|host| unreachable(state, zone, &host, "mail server")));
    found
}

/// What is wrong with a host in the zone that others are sent to.
fn unreachable(state: &State, zone: &Zone, host: &Name, what: &str) -> Option<String> {
    let (apex, origin) = (&zone.head.name, zone.head.origin());
    if !host.is_under(&origin) {
        return None;
    }
    let name = host.relative_to(&origin);
    let has = |owner: &Name, rtype| zone.find(&chunk::key(owner, &origin, rtype)).is_some();
    if has(host, RecordType::CNAME) {
        // RFC 2181 section 10.3
        return Some(format!("The {what} {host} is a CNAME, which many do not follow: give it addresses of its own."));
    }
    let site = host.to_string().strip_suffix('.').is_some_and(|host| state.hosts.contains_key(host));
    if site || has(host, RecordType::A) || has(host, RecordType::AAAA) || is_elsewhere(zone, host) {
        return None;
    }
    Some(format!("The {what} {host} has no address: set it with `ruche record set {apex} {name} A 192.0.2.1`."))
}

/// Whether the data of a name may come from a cut, a DNAME or a wildcard above it.
fn is_elsewhere(zone: &Zone, host: &Name) -> bool {
    let origin = zone.head.origin();
    let has = |owner: &Name, rtype| zone.find(&chunk::key(owner, &origin, rtype)).is_some();
    let below_apex = |name: &Name| *name != origin && name.is_under(&origin);
    std::iter::successors(Some(host.clone()), Name::parent).take_while(below_apex).any(|name| {
        let star = name.parent().and_then(|parent| Name::parse("*", Some(&parent)).ok());
        let star = star.is_some_and(|star| zone.sets_at(&chunk::owner_key(&star, &origin)).next().is_some());
        star || has(&name, RecordType::NS) || has(&name, RecordType::DNAME)
    })
}
