//! Orders: who may reserve one and how many, what comes of their end, the records of their challenges, and which certificate a host
//! is then served with.
use std::time::Duration;

use crate::base::clock::Time;
use crate::base::ids::{CertificateId, OrderId, WishId};
use crate::base::limits::acme::{
    FAILURES_PER_NAME, ORDER_KEPT, ORDERS_OPEN_MAX, ORDERS_PER_DOMAIN, ORDERS_PER_NAMES, PAUSE_MAX,
};
use crate::base::names::IssuerName;
use crate::model::certificates::{CertificateStore, CertificateWarn, IMPORTED, INTERNAL, Minted};
use crate::model::challenges::{ChallengePut, ChallengeRemove};
use crate::model::change::{Actor, Change, Set};
use crate::model::chunk;
use crate::model::issuers::{IssuerAccount, IssuerAccountPut, IssuerCreate, IssuerSet, LETS_ENCRYPT, Standing, Task};
use crate::model::orders::{End, Failed, OrderFinish, OrderPlace, OrderReserve, Placed, Purpose, Stage};
use crate::model::refusal::Refusal;
use crate::model::sites::{SiteCreate, SiteSet};
use crate::model::tests::generator::{origin, sealed};
use crate::model::tests::world::{START, World, host, new_zone, put, site_of, zone};
use crate::model::tokens::Access;
use crate::rr::{Name, RecordType};

fn issuer(name: &str) -> IssuerName {
    IssuerName::parse(name).unwrap()
}

fn reserve(of: u64, names: &[&str], domains: &[&str]) -> Change {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    Change::OrderReserve(OrderReserve {
        purpose: Purpose::Wish(WishId(of)),
        names: owned(names),
        issuer: issuer(LETS_ENCRYPT),
        domains: owned(domains),
        replaces: None,
        at: None,
    })
}

fn failed(names: &[&str], retry: Time, finalized: bool) -> End {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    End::Failed(Failed { at: Time(1), reason: "no".into(), remedy: "wait".into(), names, retry, finalized })
}

fn certificate(id: u64, names: &[&str], by: &str, days: u64) -> CertificateStore {
    CertificateStore {
        id: CertificateId(id),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        issuer: issuer(by),
        not_before: START,
        not_after: START.plus(Duration::from_secs(days * 24 * 3600)),
        chain: vec![vec![0x30].into()],
        key: sealed(),
    }
}

fn store(id: u64, names: &[&str], by: &str, days: u64) -> Change {
    Change::CertificateStore(certificate(id, names, by, days))
}

impl World {
    /// Reserves an order and gives its id.
    fn reserved(&mut self, of: u64, names: &[&str], domains: &[&str]) -> OrderId {
        self.ok(reserve(of, names, domains));
        self.state.open_orders().find(|order| order.purpose == Purpose::Wish(WishId(of))).unwrap().id
    }

    fn ended(&mut self, of: u64, names: &[&str], domains: &[&str], end: End) {
        let id = self.reserved(of, names, domains);
        self.ok(Change::OrderFinish(OrderFinish { id, end }));
    }

    /// When the budget allows what it refuses now.
    fn spent_until(&mut self, change: Change) -> Time {
        match self.refused(change) {
            Refusal::Budget { until, .. } => until,
            other => panic!("{other}"),
        }
    }

    fn held(&self) -> Vec<u64> {
        self.state.certificates.keys().map(|id| id.0).collect()
    }

    fn texts(&self, owner: &str) -> Option<(u32, Vec<String>)> {
        let origin = origin("a.test");
        let key = chunk::key(&Name::parse(owner, Some(&origin)).unwrap(), &origin, RecordType::TXT);
        let zone = self.state.zone(&zone("a.test")).unwrap();
        let set = zone.find(&key)?;
        Some((set.ttl, set.values().map(|value| String::from_utf8(value[1..].to_vec()).unwrap()).collect()))
    }
}

#[test]
fn only_the_cluster_orders() {
    let mut world = World::new();
    let id = world.reserved(1, &["a.net"], &["a.net"]);
    let place = || OrderPlace { id, placed: Placed { url: "u".into(), key: sealed(), challenges: Vec::new() } };
    let changes = || {
        let owner = Name::parse("_acme-challenge", Some(&origin("a.test"))).unwrap();
        [
            reserve(2, &["b.net"], &[]),
            Change::OrderPlace(place()),
            Change::OrderFinish(OrderFinish { id, end: failed(&[], START, false) }),
            Change::ChallengePut(ChallengePut { zone: zone("a.test"), owner: owner.clone(), text: "x".into() }),
            Change::ChallengeRemove(ChallengeRemove { zone: zone("a.test"), owner, text: "x".into() }),
        ]
    };
    world.ok(new_zone("a.test", None));
    world.actor = Actor::Local { uid: 0 };
    for change in changes() {
        world.refused_as("forbidden", change);
    }
    world.become_token(Access::Write, None, None);
    for change in changes() {
        world.refused_as("forbidden", change);
    }
    world.actor = Actor::System;
    for change in changes() {
        world.ok(change);
    }
    world.refused_as("invalid", Change::OrderPlace(place()));
    world.refused_as("not-found", Change::OrderPlace(OrderPlace { id: OrderId(1), ..place() }));
}

#[test]
fn a_purpose_has_one_order_at_a_time_and_all_have_a_few() {
    let mut world = World::new();
    world.ok(reserve(1, &["a.net"], &[]));
    world.refused_as("exists", reserve(1, &["b.net"], &[]));
    for of in 2..=ORDERS_OPEN_MAX as u64 {
        world.ok(reserve(of, &[&format!("n{of}.net")], &[]));
    }
    assert!(world.refused_as("invalid", reserve(99, &["last.net"], &[])).contains("under way"));
    let open = world.state.open_orders().next().unwrap().id;
    world.ok(Change::OrderFinish(OrderFinish { id: open, end: failed(&[], START, false) }));
    world.ok(reserve(99, &["last.net"], &[]));
    for wrong in [&["*.*.a.net"][..], &["a"], &["A.net"], &["a.net", "a.net"], &[]] {
        world.refused_as("invalid", reserve(100, wrong, &[]));
    }
}

#[test]
fn what_was_reserved_is_what_was_spent() {
    let (per_domain, window) = ORDERS_PER_DOMAIN;
    let mut world = World::new();
    for of in 0..per_domain as u64 {
        let issued = certificate(1000 + of, &[&format!("n{of}.big.net")], LETS_ENCRYPT, 90);
        world.ended(of, &[&format!("n{of}.big.net")], &["big.net"], End::Issued(issued));
    }
    let last = || reserve(900, &["last.big.net"], &["big.net"]);
    assert_eq!(world.spent_until(last()), START.plus(window));
    // A renewal brings no new name, and other domains have their own.
    world.ended(901, &["n0.big.net"], &[], failed(&[], START, false));
    world.ended(902, &["a.net"], &["a.net"], failed(&[], START, false));
    world.clock = Time(START.plus(window).0 - 1);
    world.spent_until(last());
    world.clock = START.plus(window);
    world.ok(last());
}

#[test]
fn the_same_names_and_failed_names_have_their_own_limits() {
    let (same, window) = ORDERS_PER_NAMES;
    let mut world = World::new();
    // What certainly brought no certificate does not count, what may have does.
    for _ in 0..same {
        world.ended(1, &["a.net", "b.net"], &[], failed(&[], START, false));
    }
    for _ in 0..same {
        world.ended(1, &["a.net", "b.net"], &[], failed(&[], START, true));
    }
    assert_eq!(world.spent_until(reserve(1, &["b.net", "a.net"], &[])), START.plus(window));
    world.ended(1, &["a.net"], &[], failed(&[], START, false));
    let (failures, window) = FAILURES_PER_NAME;
    for _ in 0..failures {
        // A name that was not ordered is not blamed.
        world.ended(2, &["c.net", "d.net"], &[], failed(&["c.net", "e.net"], START, false));
    }
    assert_eq!(world.spent_until(reserve(2, &["c.net"], &[])), START.plus(window));
    world.ok(reserve(3, &["d.net", "e.net"], &[]));
    world.clock = START.plus(window);
    world.ok(reserve(2, &["c.net"], &[]));
}

#[test]
fn limits_are_counted_by_a_clock_that_the_issuer_shares() {
    let (same, window) = ORDERS_PER_NAMES;
    let mut world = World::new();
    let at = |time: Time| {
        let Change::OrderReserve(change) = reserve(1, &["a.net"], &[]) else { unreachable!() };
        Change::OrderReserve(OrderReserve { at: Some(time), ..change })
    };
    // The state's time was sent a year ahead once and stands there.
    world.clock = START.plus(Duration::from_secs(365 * 24 * 3600));
    let day = |count: u64| START.plus(Duration::from_secs(count * 24 * 3600));
    for count in 0..same as u64 {
        world.ok(at(day(count)));
        let id = world.state.open_orders().next().unwrap().id;
        world.ok(Change::OrderFinish(OrderFinish { id, end: failed(&["a.net"], Time(u64::MAX), true) }));
        let Stage::Failed(failed) = &world.state.orders[&id].stage else { panic!("it has not failed") };
        assert_eq!((failed.at, failed.retry), (day(count), day(count).plus(PAUSE_MAX)));
    }
    assert_eq!(world.spent_until(at(day(6))), START.plus(window));
    world.ok(at(START.plus(window)));
    assert_eq!(world.state.orders.len(), same + 1);
}

#[test]
fn failures_are_counted_in_a_row_and_old_orders_go() {
    let mut world = World::new();
    let attempt = |world: &World| {
        let purpose = Purpose::Wish(WishId(1));
        world.state.last_order(purpose, &issuer(LETS_ENCRYPT)).unwrap().attempt
    };
    for expected in 0..3 {
        world.clock = world.clock.plus(Duration::from_secs(1));
        world.ended(1, &["a.net"], &[], failed(&[], Time(u64::MAX), false));
        assert_eq!(attempt(&world), expected);
    }
    let retry = world.state.orders.values().filter_map(|order| match &order.stage {
        Stage::Failed(failed) => Some((failed.at, failed.retry)),
        _ => None,
    });
    assert!(retry.into_iter().all(|(at, retry)| retry == at.plus(PAUSE_MAX)), "no clock says when");
    world.clock = world.clock.plus(Duration::from_secs(1));
    world.ended(1, &["a.net"], &[], End::Issued(certificate(9, &["a.net"], LETS_ENCRYPT, 90)));
    world.clock = world.clock.plus(Duration::from_secs(1));
    world.reserved(1, &["a.net"], &[]);
    assert_eq!(attempt(&world), 0, "a certificate ends the row");
    world.clock = world.clock.plus(ORDER_KEPT + Duration::from_secs(1));
    world.ok(reserve(2, &["b.net"], &[]));
    assert_eq!(world.state.orders.len(), 2, "what no limit counts any more is gone");
}

#[test]
fn a_challenge_stands_beside_what_a_customer_wrote() {
    let mut world = World::new();
    world.ok(new_zone("a.test", None));
    world.ok(put("a.test", "_acme-challenge", RecordType::TXT, &["\"mine\""]));
    let owner = |owner: &str| Name::parse(owner, Some(&origin("a.test"))).unwrap();
    let lay = |at: &str, text: &str| {
        Change::ChallengePut(ChallengePut { zone: zone("a.test"), owner: owner(at), text: text.into() })
    };
    let lift = |at: &str, text: &str| {
        Change::ChallengeRemove(ChallengeRemove { zone: zone("a.test"), owner: owner(at), text: text.into() })
    };
    let texts = |all: &[&str], ttl| Some((ttl, all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()));
    let before = world.serial("a.test");
    world.ok(lay("_acme-challenge", "two"));
    world.ok(lay("_acme-challenge", "one"));
    assert_eq!(world.texts("_acme-challenge"), texts(&["one", "two", "mine"], 300));
    assert_ne!(world.serial("a.test"), before);
    // Twice is once, and takes no serial.
    let serial = world.serial("a.test");
    world.ok(lay("_acme-challenge", "one"));
    world.ok(lift("_acme-challenge", "three"));
    assert_eq!(world.serial("a.test"), serial);
    world.ok(lift("_acme-challenge", "two"));
    world.ok(lift("_acme-challenge", "one"));
    assert_eq!(world.texts("_acme-challenge"), texts(&["mine"], 300));
    // Alone it comes and goes whole; nobody is to remember it.
    let records = |world: &World| world.state.zone(&zone("a.test")).unwrap().head.records;
    let count = records(&world);
    world.ok(lay("_acme-challenge.www", "x"));
    assert_eq!((world.texts("_acme-challenge.www"), records(&world)), (texts(&["x"], 60), count + 1));
    world.ok(lift("_acme-challenge.www", "x"));
    assert_eq!((world.texts("_acme-challenge.www"), records(&world)), (None, count));
    world.ok(put("a.test", "alias", RecordType::CNAME, &["www"]));
    world.refused_as("invalid", lay("alias", "x"));
    world.refused_as("invalid", lay("long", &"x".repeat(256)));
    let outside = Name::parse("b.test.", None).unwrap();
    let outside = ChallengePut { zone: zone("a.test"), owner: outside, text: "x".into() };
    world.refused_as("not-found", Change::ChallengePut(outside));
}

#[test]
fn what_nobody_is_served_with_any_more_goes() {
    let mut world = World::new();
    world.ok(store(1, &["a.net"], LETS_ENCRYPT, 30));
    world.ok(store(2, &["a.net", "b.net"], LETS_ENCRYPT, 30));
    assert_eq!(world.held(), [2], "what it is for is for others too");
    // Fewer names, another issuer, a longer life: each keeps the old one.
    world.ok(store(3, &["a.net"], LETS_ENCRYPT, 90));
    world.ok(store(4, &["a.net", "b.net"], "letsencrypt-staging", 90));
    world.ok(store(5, &["a.net", "b.net"], LETS_ENCRYPT, 20));
    assert_eq!(world.held(), [2, 3, 4, 5]);
    world.ok(store(6, &["a.net", "b.net"], LETS_ENCRYPT, 60));
    assert_eq!(world.held(), [3, 4, 6]);
    // What was brought along gives way to whoever lasts longer, and not the other way round.
    world.ok(store(7, &["c.net"], IMPORTED, 30));
    world.ok(store(8, &["c.net"], LETS_ENCRYPT, 60));
    world.ok(store(9, &["c.net"], IMPORTED, 90));
    assert_eq!(world.held(), [3, 4, 6, 8, 9]);
    // An order's end does the same.
    world.ended(1, &["a.net", "b.net"], &[], End::Issued(certificate(10, &["a.net", "b.net"], LETS_ENCRYPT, 90)));
    assert_eq!(world.held(), [4, 8, 9, 10]);
}

#[test]
fn a_host_is_served_with_the_best_there_is() {
    let mut world = World::new();
    let create = |name: &str, of: Option<&str>| IssuerCreate {
        name: issuer(name),
        directory: format!("https://{name}.test/"),
        roots: of.map(|_| vec![0x30].into()).into_iter().collect(),
        contacts: Vec::new(),
        binding: None,
        standing: if of.is_some() { Standing::ByName } else { Standing::Last },
    };
    world.ok(Change::IssuerCreate(create("private", Some("root"))));
    let minted = Minted {
        id: CertificateId(1),
        names: vec![host("www.a.net")],
        not_before: START,
        not_after: Time(START.0 + 1),
        chain: vec![vec![0x30].into()],
        key: sealed(),
    };
    world.ok(Change::SiteCreate(Box::new(SiteCreate { certificate: Some(minted), ..site_of("www.a.net", None) })));
    let served = |world: &World| world.state.certificate_for("www.a.net").map(|held| held.id.0);
    assert_eq!(served(&world), Some(1));
    // Whom few trust is better than nobody, and worse than everybody else.
    world.ok(store(2, &["www.a.net"], "private", 300));
    assert_eq!(served(&world), Some(2));
    world.ok(store(3, &["*.a.net"], LETS_ENCRYPT, 30));
    assert_eq!(served(&world), Some(3));
    world.ok(store(4, &["www.a.net"], IMPORTED, 60));
    assert_eq!(served(&world), Some(4), "the one that lasts longest");
    world.ok(store(5, &["*.net", "a.net", "b.www.a.net"], LETS_ENCRYPT, 90));
    assert_eq!(served(&world), Some(4), "a wildcard stands for one label");
    let name = |world: &mut World, by: &str| {
        let mut set = SiteSet::of(host("www.a.net"));
        set.issuer = Set::To(Some(issuer(by)));
        world.ok(Change::SiteSet(Box::new(set)));
    };
    name(&mut world, "private");
    assert_eq!(served(&world), Some(2));
    name(&mut world, INTERNAL);
    assert_eq!(served(&world), Some(1));
    assert_eq!(world.state.certificate_for("nobody.org").map(|held| held.id.0), None);
}

#[test]
fn it_is_said_once_that_a_certificate_ends() {
    let mut world = World::new();
    world.ok(store(1, &["a.net"], LETS_ENCRYPT, 30));
    let warn = |id| Change::CertificateWarn(CertificateWarn { id: CertificateId(id) });
    let event = world.event(warn(1));
    assert_eq!((event.action.as_str(), &event.subject[..12]), ("certificate.ending", "a.net until "));
    world.refused_as("invalid", warn(1));
    world.refused_as("not-found", warn(2));
    world.actor = Actor::Local { uid: 0 };
    world.refused_as("forbidden", warn(1));
}

#[test]
fn an_account_that_is_brought_along_gets_another_key_first() {
    let mut world = World::new();
    let account = IssuerAccount {
        url: "https://ca.test/1".into(),
        key: Some(sealed()),
        thumbprint: "t".repeat(43),
        directory: String::new(),
        next: None,
        told: Vec::new(),
    };
    let name = issuer(LETS_ENCRYPT);
    let set = |account: IssuerAccount| {
        Change::IssuerSet(IssuerSet { account: Some(account), ..IssuerSet::of(issuer(LETS_ENCRYPT)) })
    };
    let put = |account| Change::IssuerAccountPut(IssuerAccountPut { name: issuer(LETS_ENCRYPT), account });
    world.refused_as("invalid", set(IssuerAccount { url: "http://ca.test/1".into(), ..account.clone() }));
    world.ok(set(account.clone()));
    let held = world.state.issuers[&name].clone();
    let brought = held.account().unwrap();
    assert_eq!(
        (held.task, brought.directory == held.directory, &brought.url),
        (Some(Task::Rollover), true, &account.url)
    );
    world.refused_as("invalid", set(account));
    // The task lasts until the key that follows is the account's.
    world.ok(put(Some(IssuerAccount { next: Some(sealed()), ..brought.clone() })));
    assert_eq!(world.state.issuers[&name].task, Some(Task::Rollover));
    world.ok(put(Some(brought.clone())));
    assert_eq!(world.state.issuers[&name].task, None);
}
