//! What is planned for names in every situation: pure, so every moment can be tried.
use std::collections::BTreeMap;
use std::time::Duration;

use crate::acme::fault::AcmeError;
use crate::acme::plan::{Check, Item, Known, Step, Trouble, Way, Window, due, plan};
use crate::base::clock::Time;
use crate::base::ids::{CertificateId, OrderId, SiteId};
use crate::base::limits::acme::{ORDERS_OPEN_MAX, ORDERS_PER_ACCOUNT, ORDERS_PER_DOMAIN};
use crate::base::names::{Host, IssuerName};
use crate::model::certificates::Certificate;
use crate::model::effect::Stored;
use crate::model::issuers::Issuer;
use crate::model::orders::{Failed, Method, Order, Purpose, Stage};
use crate::model::row::Row;
use crate::model::sites::Site;
use crate::model::state::State;
use crate::model::tests::world::stored_site;
use crate::seal::Sealed;
use crate::seal::keyring::KeyId;

const NOW: Time = Time(1_795_000_000_000);
const DAY: u64 = 24 * 3600 * 1000;

fn issuer(name: &str) -> IssuerName {
    IssuerName::parse(name).unwrap()
}

fn world(rows: impl IntoIterator<Item = Row>) -> State {
    let mut state = State::default();
    rows.into_iter().for_each(|row| state.put(&Stored::new(row)));
    state
}

fn site(id: u64, hosts: &[&str], named: Option<&str>) -> Row {
    let mut hosts = hosts.iter().map(|host| Host::parse(host).unwrap());
    let first = hosts.next().unwrap();
    let site = Site { aliases: hosts.collect(), issuer: named.map(issuer), ..stored_site(id, first.as_str()) };
    Row::Site(site.into())
}

/// Ninety days long, so many of them left.
fn certificate(id: u64, names: &[&str], by: &str, left: i64) -> Row {
    lasting(id, names, by, left, 90)
}

fn lasting(id: u64, names: &[&str], by: &str, left: i64, days: u64) -> Row {
    let not_after = Time((NOW.0 as i64 + left * DAY as i64) as u64);
    let certificate = Certificate {
        id: CertificateId(id),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        issuer: issuer(by),
        not_before: Time(not_after.0 - days * DAY),
        not_after,
        chain: vec![vec![0x30].into()],
        key: Sealed { key_id: KeyId(1), nonce: [0; 24], bytes: vec![] },
        warned: false,
        suspect: false,
        revision: 1,
    };
    Row::Certificate(certificate.into())
}

fn order(id: u64, of: u64, names: &[&str], domains: &[&str], reserved: Time, stage: Stage) -> Row {
    let order = Order {
        id: OrderId(id),
        purpose: Purpose::Site(SiteId(of)),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        issuer: issuer("letsencrypt"),
        domains: domains.iter().map(|name| (*name).to_owned()).collect(),
        replaces: None,
        attempt: 0,
        reserved,
        stage,
        revision: 1,
    };
    Row::Order(order.into())
}

fn way() -> Way {
    Way { methods: vec![Method::Http01, Method::Dns01], at: None, why: "its addresses are ours".into() }
}

fn knows(names: &[&str]) -> Known {
    let mut known = Known::default();
    for name in names {
        for by in ["letsencrypt", "own"] {
            let domain = name.rsplitn(3, '.').take(2).collect::<Vec<_>>();
            let domain = format!("{}.{}", domain[1], domain[0]);
            let check = Check { at: NOW, domain, found: Ok(way()), again: NOW, failures: 0 };
            known.checks.insert(((*name).to_owned(), issuer(by)), check);
        }
    }
    known
}

fn one(state: &State, known: &Known) -> Item {
    let plan = plan(state, NOW, known);
    assert_eq!(plan.items.len(), 1, "{plan:?}");
    plan.items[0].clone()
}

#[test]
fn names_are_looked_at_then_ordered_together() {
    let state = world([site(1, &["a.net", "www.a.net"], None)]);
    let looked = one(&state, &Known::default());
    assert_eq!(looked.step, Step::Check { names: ["a.net".into(), "www.a.net".into()].into() });
    let Step::Order(intent) = one(&state, &knows(&["a.net", "www.a.net"])).step else { panic!("no order") };
    assert_eq!((intent.names.len(), intent.domains, intent.replaces), (2, vec!["a.net".to_owned()], None));
    assert_eq!(intent.how[0], "a.net by http-01: its addresses are ours");
    // Another way after a failure.
    let failed =
        Failed { at: NOW, reason: "no".into(), remedy: String::new(), names: vec![], retry: NOW, finalized: false };
    let state = world([
        site(1, &["a.net", "www.a.net"], None),
        order(1, 1, &["a.net", "www.a.net"], &["a.net"], NOW, Stage::Failed(failed)),
    ]);
    let Step::Order(intent) = one(&state, &knows(&["a.net", "www.a.net"])).step else { panic!("no order") };
    assert_eq!(intent.how[1], "www.a.net by dns-01: its addresses are ours");
}

#[test]
fn nobody_is_asked_for_names_the_world_does_not_know() {
    for host in ["a.test", "b.example", "intranet", "nas.local", "x.home.arpa", "y.internal"] {
        assert_eq!(plan(&world([site(1, &[host], None)]), NOW, &Known::default()).items, [], "{host}");
    }
    assert_eq!(plan(&world([site(1, &["a.net"], Some("internal"))]), NOW, &Known::default()).items, []);
    // An issuer of one's own is asked for whatever it is named for.
    let own = Issuer { directory: "https://ca.internal/".into(), name: issuer("own"), ..letsencrypt() };
    let state = world([Row::Issuer(own.into()), site(1, &["y.internal"], Some("own"))]);
    assert!(matches!(one(&state, &Known::default()).step, Step::Check { .. }));
}

fn letsencrypt() -> Issuer {
    Issuer::built_in(&issuer("letsencrypt")).unwrap()
}

#[test]
fn a_name_that_cannot_be_proved_keeps_the_others_from_nothing() {
    let state = world([site(1, &["a.net", "b.net"], None)]);
    let mut known = knows(&["a.net", "b.net"]);
    let bad = known.checks.get_mut(&("b.net".to_owned(), issuer("letsencrypt"))).unwrap();
    (bad.found, bad.again) = (Err("it leads elsewhere".into()), NOW.plus(Duration::from_secs(60)));
    let Step::Order(intent) = one(&state, &known).step else { panic!("no order") };
    assert_eq!(intent.names, ["a.net"]);
    assert_eq!(intent.left_out, [("b.net".to_owned(), "it leads elsewhere".to_owned())]);
    // Once the first one has its certificate nothing is left but to wait for the other.
    let state = world([site(1, &["a.net", "b.net"], None), certificate(1, &["a.net"], "letsencrypt", 90)]);
    let Step::Blocked { again, reason } = one(&state, &known).step else { panic!("not blocked") };
    assert_eq!((again, &*reason), (NOW.plus(Duration::from_secs(60)), "it leads elsewhere"));
}

#[test]
fn renewed_with_a_third_left_or_when_the_issuer_says() {
    let at = |row: Row| {
        let Row::Certificate(certificate) = row else { unreachable!() };
        (certificate.not_after.0 - due(&certificate, &Known::default()).0) / DAY
    };
    // With 90, 45 and 6 days of life.
    assert!((30..=33).contains(&at(lasting(63, &["a.net"], "letsencrypt", 90, 90))));
    assert!((15..=16).contains(&at(lasting(63, &["a.net"], "letsencrypt", 45, 45))));
    assert_eq!(at(lasting(63, &["a.net"], "letsencrypt", 6, 6)), 2);
    let good = world([site(1, &["a.net"], None), certificate(7, &["a.net"], "letsencrypt", 40)]);
    assert!(matches!(one(&good, &knows(&["a.net"])).step, Step::Good { .. }));
    // The issuer wants it back at once, such as one that it revokes.
    let mut known = knows(&["a.net"]);
    known.windows.insert(CertificateId(7), Window { renew: Time(NOW.0 - 1), ask: days(1) });
    let Step::Order(intent) = one(&good, &known).step else { panic!("no order") };
    assert_eq!((intent.replaces, intent.domains.len()), (Some(CertificateId(7)), 0));
    let old = world([site(1, &["a.net"], None), certificate(7, &["a.net"], "letsencrypt", 20)]);
    assert!(matches!(one(&old, &knows(&["a.net"])).step, Step::Order(_)));
}

fn days(count: u64) -> Time {
    Time(NOW.0 + count * DAY)
}

#[test]
fn what_another_certificate_covers_is_left_to_it() {
    let wild = certificate(1, &["*.a.net", "a.net"], "imported", 60);
    let state = world([site(1, &["www.a.net"], None), wild]);
    assert!(matches!(one(&state, &Known::default()).step, Step::Good { .. }));
    // Until it runs out: what follows is ordered here, for the names that are needed.
    let wild = certificate(1, &["*.a.net", "a.net"], "imported", 5);
    let state = world([site(1, &["www.a.net"], None), wild]);
    let Step::Order(intent) = one(&state, &knows(&["www.a.net"])).step else { panic!("no order") };
    assert_eq!((intent.names, intent.replaces), (vec!["www.a.net".to_owned()], None));
}

#[test]
fn what_nobody_trusts_is_no_certificate() {
    let staged = certificate(1, &["a.net"], "letsencrypt-staging", 80);
    let state = world([site(1, &["a.net"], None), staged]);
    assert!(matches!(one(&state, &knows(&["a.net"])).step, Step::Order(_)));
    // Both are there: the other one is served, and nothing is ordered again, though it ends sooner.
    let real = certificate(2, &["a.net"], "letsencrypt", 70);
    let state = world([site(1, &["a.net"], None), certificate(1, &["a.net"], "letsencrypt-staging", 80), real]);
    assert!(matches!(one(&state, &knows(&["a.net"])).step, Step::Good { .. }));
    assert_eq!(state.certificate_for("a.net").map(|held| held.id), Some(CertificateId(2)));
}

#[test]
fn the_same_names_again_are_a_renewal_and_others_are_not() {
    let domains = |held: &[&str]| {
        let old = certificate(7, held, "letsencrypt", 5);
        let state = world([site(1, &["a.net", "b.net"], None), old]);
        let Step::Order(intent) = one(&state, &knows(&["a.net", "b.net"])).step else { panic!("no order") };
        intent.domains.len()
    };
    assert_eq!((domains(&["a.net", "b.net"]), domains(&["a.net"])), (0, 2));
}

#[test]
fn an_issuer_in_trouble_is_left_alone_and_the_next_one_asked() {
    let mut own = Issuer { directory: "https://ca.net/".into(), name: issuer("own"), ..letsencrypt() };
    own.rank = Some(1);
    let state = world([Row::Issuer(own.into()), site(1, &["a.net"], None)]);
    let mut known = knows(&["a.net"]);
    assert_eq!(one(&state, &known).issuer, Some(issuer("own")));
    let trouble = |until| Trouble { reason: "failed to reach it".into(), until, count: 1 };
    // What it has not done for an account is no reason to ask it for no certificate.
    known.errands.insert(issuer("own"), trouble(days(1)));
    assert_eq!(one(&state, &known).issuer, Some(issuer("own")));
    assert!(known.has_no_errands(&issuer("own"), NOW) && !known.is_left_alone(&issuer("own"), NOW));
    known.troubles.insert(issuer("own"), trouble(days(1)));
    assert_eq!(one(&state, &known).issuer, Some(issuer("letsencrypt")));
    known.troubles.insert(issuer("letsencrypt"), trouble(days(2)));
    let Step::Wait { until, .. } = one(&state, &known).step else { panic!("nothing to wait for") };
    assert_eq!(until, days(1));
    // A failed order counts for its group alone.
    let failed =
        Failed { at: NOW, reason: "no".into(), remedy: String::new(), names: vec![], retry: days(1), finalized: false };
    let state = world([
        site(1, &["a.net"], None),
        site(2, &["b.net"], None),
        order(1, 1, &["a.net"], &["a.net"], NOW, Stage::Failed(failed)),
    ]);
    let plan = plan(&state, NOW, &knows(&["a.net", "b.net"]));
    assert!(matches!(plan.items[0].step, Step::Wait { .. }) && matches!(plan.items[1].step, Step::Order(_)));
    assert_eq!(plan.next, Some(days(1)));
}

/// Plays the keeper against the state for so long: no limit of an issuer is exceeded at any moment.
#[test]
fn four_hundred_names_stay_within_the_limits_of_the_issuer() {
    let hosts: Vec<(String, String)> = (0..400)
        .map(|at| match at < 120 {
            // Many of one domain, the others each with its own.
            true => (format!("m{at}.big.net"), "big.net".to_owned()),
            false => (format!("www.d{at}.net"), format!("d{at}.net")),
        })
        .collect();
    let sites = hosts.iter().enumerate().map(|(at, (host, _))| site(at as u64 + 1, &[host], None));
    // All were brought along, and are due at one time.
    let brought =
        hosts.iter().enumerate().map(|(at, (host, _))| certificate(at as u64 + 5000, &[host], "imported", 29));
    let mut state = world(sites.chain(brought));
    let mut known = Known::default();
    for (host, domain) in &hosts {
        let check = Check { at: NOW, domain: domain.clone(), found: Ok(way()), again: NOW, failures: 0 };
        known.checks.insert((host.clone(), issuer("letsencrypt")), check);
    }
    let (mut now, mut made, mut number) = (NOW, Vec::new(), 1000);
    let told = |item: &Item| match item.step {
        Step::Wait { until, .. } => until,
        _ => NOW,
    };
    // When each is to be ordered, as it is told at the first moment.
    let first: BTreeMap<Purpose, Time> =
        plan(&state, now, &known).items.iter().map(|item| (item.purpose, told(item))).collect();
    assert!(first.values().filter(|at| **at == NOW).count() <= ORDERS_PER_ACCOUNT.0);
    while made.len() < 400 {
        known.checks.values_mut().for_each(|check| check.at = now);
        let plan = plan(&state, now, &known);
        // Each is told when.
        assert!(plan.items.iter().all(|item| match &item.step {
            Step::Order(_) | Step::Good { .. } => true,
            Step::Wait { until, reason } => *until > now && reason.starts_with("the issuer takes "),
            _ => false,
        }));
        let orders: Vec<&Item> = plan.items.iter().filter(|item| matches!(item.step, Step::Order(_))).collect();
        if orders.is_empty() {
            now = plan.next.expect("something is to come").max(Time(now.0 + 1));
            assert!(now < days(29), "{} of 400 before those end that were brought", made.len());
            continue;
        }
        for item in orders.into_iter().take(ORDERS_OPEN_MAX) {
            let Step::Order(intent) = &item.step else { unreachable!() };
            let Purpose::Site(SiteId(of)) = item.purpose else { unreachable!() };
            let spending = crate::model::budget::Spending {
                issuer: &issuer("letsencrypt"),
                names: &intent.names,
                domains: &intent.domains,
            };
            // Those of one turn see each other only when they are reserved.
            if spending.check(&state, now).is_err() {
                continue;
            }
            number += 1;
            let names: Vec<&str> = intent.names.iter().map(String::as_str).collect();
            let domains: Vec<&str> = intent.domains.iter().map(String::as_str).collect();
            let issued = Stage::Issued { at: now, certificate: CertificateId(number) };
            state.put(&Stored::new(order(number, of, &names, &domains, now, issued)));
            state.put(&Stored::new(lasting(number, &names, "letsencrypt", 3000, 3000)));
            made.push((now, intent.domains[0].clone()));
            let told = first[&item.purpose];
            assert!(told.distance(now) < Duration::from_secs(600), "{item:?} at {now}, and not at {told}");
        }
        now = now.plus(Duration::from_secs(2));
    }
    let most = |(count, window): (usize, Duration), of: &dyn Fn(&str) -> bool| {
        let all: Vec<Time> = made.iter().filter(|(_, domain)| of(domain)).map(|(at, _)| *at).collect();
        let within = |from: &Time| all.iter().filter(|at| **at >= *from && **at < from.plus(window)).count();
        assert!(all.iter().all(|from| within(from) <= count));
    };
    most(ORDERS_PER_ACCOUNT, &|_| true);
    most(ORDERS_PER_DOMAIN, &|domain| domain == "big.net");
    let small = made.iter().filter(|(_, domain)| domain != "big.net").map(|(at, _)| at.0 - NOW.0).max().unwrap();
    assert!(small < DAY, "those of other domains do not wait for the big one: {small} ms");
}

#[test]
fn who_ends_soon_without_another_one_is_told_of() {
    let ending = |left: i64, days: u64| {
        let state = world([site(1, &["a.net"], None), lasting(3, &["a.net"], "letsencrypt", left, days)]);
        plan(&state, NOW, &knows(&["a.net"])).ending == [CertificateId(3)]
    };
    for (left, days, told) in [(16, 90, false), (15, 90, true), (-1, 90, true), (2, 6, false), (1, 6, true)] {
        assert_eq!(ending(left, days), told, "{left} of {days} days left");
    }
    // An issuer that wants it back late has its time.
    let state = world([site(1, &["a.net"], None), lasting(3, &["a.net"], "letsencrypt", 14, 90)]);
    let mut known = knows(&["a.net"]);
    known.windows.insert(CertificateId(3), Window { renew: days(1), ask: days(1) });
    assert_eq!(plan(&state, NOW, &known).ending, []);
    assert_eq!(plan(&state, days(3), &known).ending, [CertificateId(3)]);
    // Not what another one has followed, nor what nobody uses; the first to end comes first.
    let state = world([
        site(1, &["a.net", "b.net"], None),
        certificate(1, &["a.net"], "letsencrypt", 3),
        certificate(2, &["a.net"], "letsencrypt", 80),
        certificate(3, &["b.net"], "letsencrypt", 9),
        certificate(4, &["c.net"], "letsencrypt", 1),
        site(2, &["d.net"], None),
        certificate(5, &["d.net"], "letsencrypt", 4),
    ]);
    assert_eq!(plan(&state, NOW, &Known::default()).ending, [CertificateId(5), CertificateId(3)]);
}

#[test]
fn what_could_not_be_proved_is_looked_at_again_when_it_is_wanted() {
    let state = world([site(1, &["a.net"], None), site(2, &["b.net"], None)]);
    let mut known = knows(&["a.net", "b.net"]);
    for check in known.checks.values_mut() {
        (check.found, check.again) = (Err("it leads elsewhere".into()), days(1));
    }
    let steps = |known: &Known| plan(&state, NOW, known).items.into_iter().map(|item| item.step).collect::<Vec<_>>();
    assert!(steps(&known).iter().all(|step| matches!(step, Step::Blocked { .. })));
    known.try_again(|name| name == "a.net");
    assert!(matches!(&steps(&known)[..], [Step::Check { .. }, Step::Blocked { .. }]));
    // What was found in order is not looked at again for that.
    let mut known = knows(&["a.net", "b.net"]);
    known.try_again(|_| true);
    assert!(steps(&known).iter().all(|step| matches!(step, Step::Order(_))));
}

#[test]
fn trouble_of_an_issuer_is_everybodys_and_that_of_a_name_is_its_own() {
    let problem = |kind: &str| {
        let text = format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"no","status":400}}"#);
        AcmeError::Said { doing: "order", problem: Box::new(serde_json::from_str(&text).unwrap()) }
    };
    let talk = || AcmeError::Talk { doing: "order", reason: "reset".into() };
    for (error, of_the_issuer) in [
        (problem("rateLimited"), true),
        (problem("serverInternal"), true),
        (talk(), true),
        (problem("rejectedIdentifier"), false),
        (problem("unauthorized"), false),
        (AcmeError::Refused { names: vec!["a.net".into()], reason: "no".into() }, false),
        (AcmeError::Late { doing: "order" }, false),
        (AcmeError::NotServed, false),
    ] {
        assert_eq!(error.is_of_the_issuer(), of_the_issuer, "{error}");
    }
    // What an issuer asks for counts, but for a limit that may be of these names alone.
    let hours = Duration::from_secs(30 * 3600);
    assert_eq!(talk().pause_of_issuer(0, Some(hours), true), hours);
    assert_eq!(problem("rateLimited").pause_of_issuer(0, Some(hours), false), hours);
    assert!(problem("rateLimited").pause_of_issuer(0, Some(hours), true) < Duration::from_secs(13));
    assert!(talk().pause_of_issuer(99, None, true) <= Duration::from_secs(3600), "it may be back any time");
    assert!(problem("rateLimited").pause_of_issuer(99, Some(hours), true) > Duration::from_secs(19 * 3600));
    assert_eq!(problem("rateLimited").pause(0, Some(hours)), hours);
    assert!(problem("rateLimited").pause(0, None) >= Duration::from_secs(3600));
}
