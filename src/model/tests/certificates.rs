//! Internal certificates: they come with their site, in the same envelope, and go with it.
use crate::base::clock::Time;
use crate::base::ids::CertificateId;
use crate::base::names::IssuerName;
use crate::model::certificates::{CertificateRemove, CertificateStore, INTERNAL, Minted};
use crate::model::change::{Actor, Change, Set};
use crate::model::cluster::{CookieKeyPut, KeyExported, SitesCa, SitesCaPut, TicketKey, TicketKeysPut};
use crate::model::sites::{Handler, Site, SiteCreate, SiteRemove, SiteSet, Www};
use crate::model::tests::world::{START, World, host, login, site, site_of};
use crate::model::tokens::Access;
use crate::seal::Sealed;
use crate::seal::keyring::KeyId;

fn sealed() -> Sealed {
    Sealed { key_id: KeyId(1), nonce: [3; 24], bytes: vec![1; 40] }
}

fn minted(id: u64, names: &[&str]) -> Minted {
    let names = names.iter().map(|name| host(name)).collect();
    let (chain, key) = (vec![vec![0x30; 9].into()], sealed());
    Minted { id: CertificateId(id), names, not_before: START, not_after: Time(START.0 + 1), chain, key }
}

fn create(name: &str, certificate: Minted) -> Change {
    Change::SiteCreate(Box::new(SiteCreate { certificate: Some(certificate), ..site_of(name, None) }))
}

fn set(name: &str, change: impl FnOnce(&mut SiteSet)) -> Change {
    let mut set = SiteSet::of(host(name));
    change(&mut set);
    Change::SiteSet(Box::new(set))
}

fn held(world: &World, name: &str) -> Option<u64> {
    world.state.site(&host(name)).unwrap().certificate.map(|id| id.0)
}

fn ids(world: &World) -> Vec<u64> {
    world.state.certificates.keys().map(|id| id.0).collect()
}

#[test]
fn one_comes_with_its_site_and_goes_with_it() {
    let mut world = World::new();
    let event = world.event(create("a.test", minted(7, &["a.test"])));
    assert_eq!(event.action, "site.create");
    assert_eq!((held(&world, "a.test"), ids(&world)), (Some(7), vec![7]));
    let certificate = &world.state.certificates[&CertificateId(7)];
    assert!(certificate.is_internal() && certificate.fits(world.state.site(&host("a.test")).unwrap()));
    assert_eq!((certificate.issuer.as_str(), certificate.revision), (INTERNAL, event.revision));
    world.ok(Change::SiteRemove(SiteRemove { host: host("a.test") }));
    assert!(ids(&world).is_empty());
}

#[test]
fn a_refused_site_leaves_none() {
    let mut world = World::new();
    world.ok(create("a.test", minted(7, &["a.test"])));
    world.refused_as("exists", create("a.test", minted(8, &["a.test"])));
    for names in [&["b.test", "c.test"][..], &["c.test"], &[]] {
        assert!(world.refused_as("invalid", create("b.test", minted(8, names))).starts_with("certificate"));
    }
    let odd = Minted { chain: Vec::new(), ..minted(8, &["b.test"]) };
    world.refused_as("invalid", create("b.test", odd));
    let odd = Minted { not_after: START, ..minted(8, &["b.test"]) };
    world.refused_as("invalid", create("b.test", odd));
    world.refused_as("exists", create("b.test", minted(7, &["b.test"])));
    assert_eq!(ids(&world), [7]);
}

#[test]
fn other_hosts_bring_another_one_or_keep_the_old() {
    let mut world = World::new();
    world.ok(create("a.test", minted(7, &["a.test"])));
    let aliases = || Set::To(vec![host("b.test")]);
    world.ok(set("a.test", |set| set.aliases = aliases()));
    assert_eq!(held(&world, "a.test"), Some(7), "the old one goes on for the old hosts");
    let site: &Site = world.state.site(&host("b.test")).unwrap();
    assert!(!world.state.certificates[&CertificateId(7)].fits(site));
    // The hosts after the change count, in their order.
    for names in [&["a.test", "b.test"][..], &["a.test", "b.test", "www.a.test"], &["www.a.test", "a.test", "b.test"]] {
        let change = set("a.test", |set| (set.www, set.certificate) = (Set::To(Www::Serve), Some(minted(8, names))));
        world.refused_as("invalid", change);
    }
    let whole = minted(8, &["a.test", "www.a.test", "b.test"]);
    world.ok(set("a.test", |set| (set.www, set.certificate) = (Set::To(Www::Serve), Some(whole))));
    assert_eq!((held(&world, "a.test"), ids(&world)), (Some(8), vec![8]));
    let event =
        world.event(set("b.test", |set| set.certificate = Some(minted(9, &["a.test", "www.a.test", "b.test"]))));
    assert_eq!((event.action.as_str(), ids(&world)), ("site.certificate", vec![9]));
    // Anything else leaves it alone.
    world.ok(set("a.test", |set| set.handler = Set::To(Handler::Php { version: "8.2".into() })));
    assert_eq!(ids(&world), [9]);
}

#[test]
fn nobody_takes_one_from_its_site() {
    let mut world = World::new();
    world.ok(create("a.test", minted(7, &["a.test"])));
    let remove = Change::CertificateRemove(CertificateRemove { id: CertificateId(7) });
    assert!(world.refused_as("in-use", remove).ends_with("site a.test"));
    let store = |id: u64, issuer: &str| {
        Change::CertificateStore(CertificateStore {
            id: CertificateId(id),
            names: vec!["a.test".into()],
            issuer: IssuerName::parse(issuer).unwrap(),
            not_before: START,
            not_after: Time(START.0 + 1),
            chain: vec![vec![0x30].into()],
            key: sealed(),
        })
    };
    world.refused_as("invalid", store(7, "letsencrypt"));
    world.refused_as("invalid", store(8, INTERNAL));
    world.ok(store(8, "letsencrypt"));
    world.refused_as("exists", create("b.test", minted(8, &["b.test"])));
    let ftp = crate::model::ftp_users::FtpUserCreate {
        login: login("web"),
        site: host("a.test"),
        dir: String::new(),
        quota: None,
        password: "$argon2id$a".into(),
        allow_plain: false,
    };
    world.ok(Change::FtpUserCreate(ftp));
    world.refused_as("in-use", Change::SiteRemove(SiteRemove { host: host("a.test") }));
    assert_eq!(ids(&world), [7, 8], "a refused removal takes nothing");
}

fn ca(certificate: &[u8]) -> Change {
    next_ca(certificate, START, None)
}

fn next_ca(certificate: &[u8], not_after: Time, after: Option<Time>) -> Change {
    let ca = SitesCa { certificate: certificate.into(), key: sealed(), not_after, since: 0 };
    Change::SitesCaPut(SitesCaPut { ca, after })
}

fn tickets(after: Option<u8>, ids: &[u8]) -> Change {
    let keys = ids.iter().map(|id| TicketKey { id: [*id; 16], made: START, key: sealed() }).collect();
    Change::TicketKeysPut(TicketKeysPut { after: after.map(|id| [id; 16]), keys })
}

fn cookie_key(byte: u8) -> Change {
    Change::CookieKeyPut(CookieKeyPut { key: Sealed { bytes: vec![byte], ..sealed() } })
}

#[test]
fn the_first_sites_ca_stays() {
    let mut world = World::new();
    world.refused_as("invalid", ca(&[]));
    world.ok(ca(&[1]));
    world.refused_as("exists", ca(&[2]));
    let held = |world: &World| world.state.cluster.as_ref().unwrap().sites_ca.clone().unwrap();
    assert_eq!((held(&world).certificate, held(&world).since), (vec![1], 0));
    // The next one is for who saw the one that is there, and tells what is older than itself.
    let later = START.plus(std::time::Duration::from_secs(1));
    world.refused_as("exists", next_ca(&[2], later, Some(later)));
    let before = world.state.revision;
    world.ok(next_ca(&[2], later, Some(START)));
    world.refused_as("exists", next_ca(&[3], later, Some(START)));
    assert!(held(&world).certificate == [2] && held(&world).since > before, "{:?}", held(&world));
}

#[test]
fn ticket_keys_follow_the_ones_that_were_seen() {
    let mut world = World::new();
    world.refused_as("invalid", tickets(Some(1), &[1]));
    world.ok(tickets(None, &[1]));
    world.refused_as("invalid", tickets(None, &[2]));
    world.ok(tickets(Some(1), &[2, 1]));
    world.refused_as("invalid", tickets(Some(1), &[3, 1]));
    for bad in [&[][..], &[4, 4], &[4, 3, 2, 1]] {
        world.refused_as("invalid", tickets(Some(2), bad));
    }
    world.ok(tickets(Some(2), &[3, 2, 1]));
    let keys = &world.state.cluster.as_ref().unwrap().ticket_keys;
    assert_eq!(keys.iter().map(|key| key.id[0]).collect::<Vec<_>>(), [3, 2, 1]);
    // What else changes the cluster leaves them alone.
    world.ok(Change::KeyExported(KeyExported {}));
    assert_eq!(world.state.cluster.as_ref().unwrap().ticket_keys.len(), 3);
}

#[test]
fn the_first_cookie_key_stays() {
    let mut world = World::new();
    world.ok(cookie_key(1));
    world.refused_as("exists", cookie_key(2));
    world.ok(Change::KeyExported(KeyExported {}));
    assert_eq!(world.state.cluster.as_ref().unwrap().cookie_key.as_ref().unwrap().bytes, [1]);
}

#[test]
fn only_the_cluster_brings_its_own_secrets() {
    let mut world = World::new();
    world.actor = Actor::Local { uid: 0 };
    world.refused_as("forbidden", ca(&[1]));
    world.refused_as("forbidden", tickets(None, &[1]));
    world.refused_as("forbidden", cookie_key(1));
    world.become_token(Access::Write, None, None);
    world.refused_as("forbidden", ca(&[1]));
    world.refused_as("forbidden", tickets(None, &[1]));
    world.refused_as("forbidden", cookie_key(1));
    world.ok(site("a.test", None));
}
