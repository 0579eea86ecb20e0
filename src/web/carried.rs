//! What a node says of a visitor when it carries a request to the home of a site, and what the home takes it for: the visitor's own.
//! Said on connections of members only, and dropped wherever a visitor says it.
use std::fmt;
use std::net::IpAddr;

use http::HeaderMap;

use crate::base::names::Host;

/// The header it is said in.
pub(crate) const CARRIED: &str = "ruche-carried";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) peer: IpAddr,
    /// Where the visitor reaches HTTPS.
    pub(crate) https_port: u16,
    /// What the node that carries it knows of the site, at least.
    pub(crate) revision: u64,
    /// The name the connection was made for.
    pub(crate) host: Host,
}

impl fmt::Display for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.peer, self.https_port, self.revision, self.host)
    }
}

impl Visit {
    /// Takes it out of a request.
    pub(crate) fn take(headers: &mut HeaderMap) -> Option<Self> {
        let said = headers.remove(CARRIED)?;
        let mut parts = said.to_str().ok()?.split(' ');
        let mut next = || parts.next();
        let visit = Self {
            peer: next()?.parse().ok()?,
            https_port: next()?.parse().ok()?,
            revision: next()?.parse().ok()?,
            host: Host::parse(next()?).ok()?,
        };
        parts.next().is_none().then_some(visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood_and_nothing_else() {
        let visit = Visit {
            peer: "2001:db8::1".parse().unwrap(),
            https_port: 8443,
            revision: 7,
            host: Host::parse("a.example").unwrap(),
        };
        let take =
            |said: &str| Visit::take(&mut HeaderMap::from_iter([(CARRIED.parse().unwrap(), said.parse().unwrap())]));
        assert_eq!(take(&visit.to_string()), Some(visit));
        for odd in [
            "",
            "192.0.2.1",
            "192.0.2.1 443 7",
            "192.0.2.1 443 7 a.example x",
            "a 443 7 a.example",
            "192.0.2.1 443 7 -",
        ] {
            assert_eq!(take(odd), None, "{odd}");
        }
        assert_eq!(Visit::take(&mut HeaderMap::new()), None);
    }
}
