//! What is true of every state: indexes agree with rows, the hash with their sum, nothing refers to what is not there.
use std::collections::{BTreeMap, BTreeSet};

use crate::base::limits::{ANSWERS_KEPT, ZONE_CHUNK_BYTES};
use crate::base::names::AccountName;
use crate::model::effect::Stored;
use crate::model::records::RecordSet;
use crate::model::row::Row;
use crate::model::state::State;
use crate::model::zones::Zone;
use crate::rr::RecordType;

/// All rows, in the order in which a database loads them.
pub(crate) fn rows(state: &State) -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(state.cluster.iter().map(|row| Row::Cluster((**row).clone())));
    rows.extend(state.nodes.values().map(|row| Row::Node((**row).clone())));
    rows.extend(state.plans.values().map(|row| Row::Plan((**row).clone())));
    rows.extend(state.accounts.values().map(|row| Row::Account((**row).clone())));
    rows.extend(state.tokens.values().map(|row| Row::Token((**row).clone())));
    rows.extend(state.sites.values().map(|row| Row::Site(row.clone())));
    rows.extend(state.ftp_users.values().map(|row| Row::FtpUser((**row).clone())));
    rows.extend(state.zones.values().map(|zone| Row::Zone(zone.head.clone())));
    rows.extend(state.zones.values().flat_map(|zone| zone.chunks.iter().cloned().map(Row::ZoneChunk)));
    rows.extend(state.certificates.values().map(|row| Row::Certificate(row.clone())));
    rows.extend(state.operations.values().map(|row| Row::Operation((**row).clone())));
    rows.extend(state.issuers.values().cloned().map(Row::Issuer));
    rows.extend(state.wishes.values().cloned().map(Row::Wish));
    rows.extend(state.orders.values().cloned().map(Row::Order));
    rows
}

/// Everything of two states is the same, also what is remembered.
pub(crate) fn assert_same(left: &State, right: &State) {
    assert_eq!((left.revision, left.time), (right.revision, right.time));
    assert_eq!(rows(left), rows(right));
    assert_eq!(left.hash, right.hash);
    assert_eq!(left.answered, right.answered);
    assert_eq!(left.answers, right.answers);
}

pub(crate) fn check_invariants(state: &State) {
    let rows = rows(state);
    let mut again = State::default();
    let mut sum = 0u128;
    for row in rows {
        assert!(row.revision() <= state.revision, "{row:?} is of the future");
        let stored = Stored::new(row);
        let decoded = Row::decode(stored.row.table(), &stored.value).unwrap();
        assert_eq!(decoded, stored.row, "the stored form loses something");
        sum = sum.wrapping_add(stored.hash);
        again.put(&stored);
    }
    assert_eq!(state.hash, sum, "the hash is not the sum over the rows");
    assert_eq!(again.hash, sum);
    assert_eq!(state.hosts, again.hosts);
    assert_eq!(state.sites_of, again.sites_of);
    assert_eq!(state.sites_at, again.sites_at);
    assert_eq!(state.moving, again.moving);
    for (operation, to) in state.moving.values() {
        assert!(state.operations.contains_key(operation) && state.nodes.contains_key(to));
    }
    assert_eq!(state.zones_of, again.zones_of);
    assert_eq!(state.logins_of, again.logins_of);
    assert_eq!(state.certified, again.certified);
    assert_eq!(state.open_orders, again.open_orders);
    assert_eq!(state.fenced, again.fenced);
    references(state);
    hosts(state);
    state.zones.values().for_each(|zone| check_zone(zone));
    assert!(state.answered.len() <= ANSWERS_KEPT && state.answers.len() == state.answered.len());
}

fn references(state: &State) {
    let account = |name: &Option<AccountName>, of: &dyn std::fmt::Debug| {
        assert!(name.as_ref().is_none_or(|name| state.accounts.contains_key(name)), "{of:?} has no such account");
    };
    for site in state.sites.values() {
        account(&site.account, site);
        assert!(state.nodes.contains_key(&site.home), "{site:?} has no home");
        assert!(site.standbys.iter().all(|node| state.nodes.contains_key(node)), "{site:?} has an unknown standby");
        assert!(!site.standbys.contains(&site.home), "{site:?} is its own standby");
        assert!(site.unconfirmed.is_none() || site.is_fenced(), "{site:?} has nothing to confirm");
        let chosen = site.stationed.iter().flat_map(|one| std::iter::once(one.node).chain(one.instead));
        assert!(chosen.into_iter().all(|node| site.standbys.contains(&node)), "{site:?} knows why nobody stands by");
        let held = site.certificate.map(|id| &state.certificates[&id]);
        assert!(held.is_none_or(|held| held.names[0] == site.host.as_str()), "{site:?} has the certificate of another");
    }
    let held: BTreeSet<_> = state.sites.values().filter_map(|site| site.certificate).collect();
    let internal = state.certificates.values().filter(|certificate| certificate.is_internal());
    assert!(internal.map(|certificate| certificate.id).eq(held), "an internal certificate is nobody's");
    state.zones.values().for_each(|zone| account(&zone.head.account, &zone.head));
    state.tokens.values().for_each(|token| account(&token.scope.account, token));
    state.operations.values().for_each(|operation| account(&operation.account, operation));
    for owner in state.accounts.values() {
        assert!(owner.plan.as_ref().is_none_or(|plan| state.plans.contains_key(plan)), "{owner:?} has no plan");
        let zones = state.zones.values().filter(|zone| zone.head.account.as_ref() == Some(&owner.name)).count();
        assert_eq!(state.zones_count(&owner.name), zones as u64);
        assert_eq!(state.zones_of(&owner.name).count(), zones);
        let sites: Vec<_> = state.sites.values().filter(|site| site.account.as_ref() == Some(&owner.name)).collect();
        assert_eq!(state.sites_of(&owner.name).collect::<Vec<_>>(), sites);
        let of = |site: &crate::base::ids::SiteId| sites.iter().any(|own| own.id == *site);
        let logins = state.ftp_users.values().filter(|user| of(&user.site)).count();
        assert_eq!(state.ftp_users_count(&owner.name), logins as u64);
    }
    let logins = state.ftp_users.values();
    logins.for_each(|user| assert!(state.sites.contains_key(&user.site), "{user:?} has no site"));
    assert!(state.operations.values().all(|operation| !operation.status.is_over()));
    let names: BTreeSet<_> = state.tokens.values().map(|token| &token.name).collect();
    assert_eq!(names.len(), state.tokens.len(), "two tokens have one name");
}

fn hosts(state: &State) {
    let mut owners = BTreeMap::new();
    for site in state.sites.values() {
        for host in site.hosts() {
            assert_eq!(owners.insert(host.clone(), site.id), None, "{host} stands twice");
        }
    }
    assert!(state.hosts.iter().eq(owners.iter()), "the hosts are not those of the sites");
}

pub(crate) fn check_zone(zone: &Zone) {
    assert!(zone.chunks[0].low.is_empty(), "a zone has a first chunk");
    assert!(zone.chunks.windows(2).all(|pair| pair[0].low < pair[1].low));
    let keys: Vec<_> = zone.sets().map(|set| set.key.to_vec()).collect();
    assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "sets are out of order");
    assert_eq!(zone.head.records, keys.len() as u64);
    for (at, chunk) in zone.chunks.iter().enumerate() {
        let next = zone.chunks.get(at + 1).map(|next| &next.low);
        let sets = chunk.sets().count();
        assert!(sets > 0 || at == 0, "an empty chunk stays");
        assert!(chunk.packed.len() <= ZONE_CHUNK_BYTES || sets == 1, "a chunk is too large");
        assert!(chunk.sets().all(|set| set.key >= &*chunk.low && next.is_none_or(|next| set.key < &**next)));
    }
    let mut types: BTreeMap<String, Vec<RecordType>> = BTreeMap::new();
    for set in zone.sets() {
        let set = RecordSet::unpack(&zone.head, &set).expect("a set that can be shown");
        assert!(!set.values.is_empty() && set.values.windows(2).all(|pair| pair[0] < pair[1]));
        types.entry(set.owner.to_string()).or_default().push(set.rtype);
    }
    for (owner, types) in types {
        assert!(!types.contains(&RecordType::SOA));
        assert!(types.len() == 1 || !types.contains(&RecordType::CNAME), "{owner}: a CNAME beside other data");
    }
}
