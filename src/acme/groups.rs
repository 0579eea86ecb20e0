//! Which names want a certificate together: those of a site, and those that were asked for. Pure.
use std::sync::Arc;

use crate::base::names::IssuerName;
use crate::model::certificates::INTERNAL;
use crate::model::issuers::Issuer;
use crate::model::orders::Purpose;
use crate::model::sites::Site;
use crate::model::state::State;
use crate::model::wishes::Wish;

/// Names nobody outside can reach (RFC 2606, 6761, 6762, 7686, 8375, 9476, and ICANN's `internal`): no public issuer knows them.
const PRIVATE: [&str; 10] =
    ["test", "example", "invalid", "localhost", "local", "internal", "onion", "alt", "home.arpa", "lan"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) purpose: Purpose,
    pub(crate) names: Arc<[String]>,
    /// The first one is asked first.
    pub(crate) issuers: Vec<IssuerName>,
}

/// All of them. A site that names no issuer asks the preferred ones, for what the world can reach.
pub(crate) fn groups(state: &State) -> Vec<Group> {
    let preferred: Vec<IssuerName> = state.preferred_issuers().iter().map(|issuer| issuer.name.clone()).collect();
    let sites = state.sites.values().filter_map(|site| of_site(site, &preferred));
    let wishes = state.wishes.values().filter_map(|wish| of_wish(wish, &preferred));
    sites.chain(wishes).collect()
}

fn of_site(site: &Site, preferred: &[IssuerName]) -> Option<Group> {
    let names = site.hosts().map(|host| host.to_string()).filter(|name| name.contains('.'));
    group(Purpose::Site(site.id), names.collect(), site.issuer.as_ref(), preferred)
}

fn of_wish(wish: &Wish, preferred: &[IssuerName]) -> Option<Group> {
    group(Purpose::Wish(wish.id), wish.names.clone(), wish.issuer.as_ref(), preferred)
}

fn group(
    purpose: Purpose,
    mut names: Vec<String>,
    named: Option<&IssuerName>,
    preferred: &[IssuerName],
) -> Option<Group> {
    let issuers = match named {
        Some(name) if name.as_str() == INTERNAL => return None,
        Some(name) => vec![name.clone()],
        None => preferred.to_vec(),
    };
    // Who names an issuer knows what it takes; the public ones are asked for what they can see.
    if named.is_none_or(|name| Issuer::built_in(name).is_some()) {
        names.retain(|name| is_public(name));
    }
    (!names.is_empty() && !issuers.is_empty()).then(|| Group { purpose, names: names.into(), issuers })
}

fn is_public(name: &str) -> bool {
    let private = |suffix: &&str| name.strip_suffix(*suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !PRIVATE.iter().any(private)
}
