//! Sites: whose a host is, what a plan allows, what a handler accepts.
use crate::base::ids::NodeId;
use crate::base::limits::{SITE_ALIASES_MAX, UPSTREAMS_MAX, URL_MAX};
use crate::base::names::Host;
use crate::model::answer::Object;
use crate::model::change::{Change, Set};
use crate::model::ftp_users::FtpUserCreate;
use crate::model::nodes::{NodeSet, Role};
use crate::model::plans::Limits;
use crate::model::refusal::Refusal;
use crate::model::sites::{Handler, SiteCreate, SiteRemove, SiteSet, Www};
use crate::model::tests::world::{NODE, World, account, host, login, new_zone, site, site_of};
use crate::model::tokens::Access;

fn create(with: impl FnOnce(&mut SiteCreate)) -> Change {
    let mut change = site_of("a.test", None);
    with(&mut change);
    Change::SiteCreate(Box::new(change))
}

fn set(name: &str, with: impl FnOnce(&mut SiteSet)) -> Change {
    let mut change = SiteSet::of(host(name));
    with(&mut change);
    Change::SiteSet(Box::new(change))
}

#[test]
fn a_host_has_one_site_under_every_name() {
    let mut world = World::new();
    world.ok(create(|site| (site.aliases, site.www) = (vec![host("c.test")], Www::Serve)));
    for taken in ["c.test", "www.a.test"] {
        let said = world.refused_as("host-taken", site(taken, None));
        assert_eq!(said, format!("the host {taken} belongs to the site a.test"));
    }
    assert_eq!(world.refused_as("exists", site("a.test", None)), "the site a.test exists already");
    let alias = |name: &str| vec![host(name)];
    let mut other = site_of("b.test", None);
    other.aliases = alias("a.test");
    world.refused_as("host-taken", Change::SiteCreate(Box::new(other)));
    world.ok(site("b.test", None));
    world.refused_as("host-taken", set("b.test", |site| site.aliases = Set::To(alias("c.test"))));
    // `www.` of a host is taken through the alias of another site, too.
    world.ok(set("b.test", |site| site.aliases = Set::To(alias("www.d.test"))));
    let mut d = site_of("d.test", None);
    d.www = Www::Redirect;
    world.refused_as("host-taken", Change::SiteCreate(Box::new(d)));
    // A name that was given up is free again, any name of the site stands for it.
    world.ok(set("www.a.test", |site| (site.aliases, site.www) = (Set::To(Vec::new()), Set::To(Www::Off))));
    world.ok(site("c.test", None));
    world.ok(site("www.a.test", None));
    world.ok(Change::SiteRemove(SiteRemove { host: host("a.test") }));
    assert_eq!(world.refused_as("not-found", set("a.test", |_| ())), "there is no site a.test");
}

#[test]
fn a_name_stands_once_in_a_site() {
    let mut world = World::new();
    let twice = [
        create(|site| site.aliases = vec![host("a.test")]),
        create(|site| site.aliases = vec![host("b.test"), host("b.test")]),
        create(|site| (site.aliases, site.www) = (vec![host("www.a.test")], Www::Serve)),
    ];
    twice.into_iter().for_each(|change| assert!(world.refused_as("invalid", change).contains("twice")));
    let many = |count: usize| (0..count).map(|n| host(&format!("n{n}.test"))).collect::<Vec<_>>();
    world.refused_as("invalid", create(|site| site.aliases = many(SITE_ALIASES_MAX + 1)));
    world.ok(create(|site| site.aliases = many(SITE_ALIASES_MAX)));
    // `www.www.` is nobody's wish: a site that begins with `www.` has no second one.
    let mut www = site_of("www.b.test", None);
    www.www = Www::Serve;
    world.ok(Change::SiteCreate(Box::new(www)));
    assert!(!world.state.hosts.contains_key(&host("www.www.b.test")));
}

#[test]
fn unicode_and_a_labels_are_one_name() {
    let mut world = World::new();
    world.ok(site("bücher.test", None));
    world.refused_as("exists", site("xn--bcher-kva.test", None));
    world.refused_as("exists", site("BÜCHER.test.", None));
    assert_eq!(world.state.site(&host("bücher.test")).unwrap().host.as_str(), "xn--bcher-kva.test");
    assert!(Host::parse("xn--a").is_err());
}

#[test]
fn handlers_refuse_bad_values() {
    let mut world = World::new();
    let proxy = |upstream: &str| Handler::Proxy { upstreams: vec![upstream.to_owned()] };
    let redirect = |to: &str, status| Handler::Redirect { to: to.to_owned(), status };
    let php = |version: &str| Handler::Php { version: version.to_owned() };
    let long = format!("http://a.test/{}", "a".repeat(URL_MAX));
    let many = vec!["http://a.test:1".to_owned(); UPSTREAMS_MAX + 1];
    let bad = [
        Handler::Proxy { upstreams: Vec::new() },
        Handler::Proxy { upstreams: many },
        proxy("a.test:80"),
        proxy("ftp://a.test"),
        proxy("http://"),
        proxy("http://a.test/path"),
        proxy("http://user@a.test"),
        proxy("http://a.test:99999"),
        proxy("http://a.test:0"),
        proxy("http://a.test:"),
        proxy("http://a.test:+80"),
        proxy("http://a.test:80 "),
        proxy("unix:relative"),
        proxy("unix:/with\nnewline"),
        proxy(&format!("unix:/{}", "a".repeat(107))),
        proxy(&long),
        redirect("a.test", 301),
        redirect("/path", 301),
        redirect("javascript:alert(1)", 301),
        redirect("https://good.test@evil.test/", 301),
        redirect("https://a.test/\r\nSet-Cookie: a", 301),
        redirect(&long, 301),
        redirect("https://a.test/", 200),
        redirect("https://a.test/", 303),
        php("8"),
        php("8."),
        php("8.2/../x"),
        php("8.222"),
        php(""),
    ];
    for handler in bad {
        let shown = format!("{handler:?}");
        let refusal = world.refused(create(|site| site.handler = handler));
        assert_eq!(refusal.code(), "invalid", "{shown}");
        assert!(refusal.to_string().len() < 300, "{refusal}");
    }
    let good = [
        Handler::Static,
        php("8.2"),
        php("10.12"),
        proxy("http://127.0.0.1:3000"),
        proxy("https://[2001:db8::1]:8443/"),
        proxy("unix:/run/app/http.sock"),
        redirect("https://b.test/path?query", 308),
    ];
    world.ok(site("a.test", None));
    for handler in good {
        world.ok(set("a.test", |site| site.handler = Set::To(handler.clone())));
        assert_eq!(world.state.site(&host("a.test")).unwrap().handler, handler);
    }
}

#[test]
fn an_account_reaches_no_socket_of_the_machine() {
    let mut world = World::new().with_account("ada", None);
    world.become_token(Access::Write, Some("ada"), None);
    world.ok(site("a.test", None));
    let unix = Handler::Proxy { upstreams: vec!["unix:/run/docker.sock".into()] };
    world.refused_as("forbidden", set("a.test", |site| site.handler = Set::To(unix)));
}

#[test]
fn plans_limit_sites_and_the_sum_of_quotas() {
    let limits = Limits { sites: Some(2), disk: Some(100), ftp_users: Some(1), ..Limits::default() };
    let mut world = World::new().with_account("ada", Some(limits)).with_account("bob", None);
    let with = |name: &str, owner: &str, quota| {
        Change::SiteCreate(Box::new(SiteCreate { quota, ..site_of(name, Some(owner)) }))
    };
    world.ok(with("a.test", "ada", Some(60)));
    let said = world.refused_as("limit-reached", with("b.test", "ada", Some(41)));
    assert_eq!(said, "the account ada may have 100 bytes of disk; this would make 101");
    world.refused_as("limit-reached", with("b.test", "ada", Some(u64::MAX)));
    world.ok(with("b.test", "ada", Some(40)));
    let said = world.refused_as("limit-reached", with("c.test", "ada", None));
    assert_eq!(said, "the account ada may have 2 sites; this would make 3");
    world.refused_as("limit-reached", set("a.test", |site| site.quota = Set::To(Some(61))));
    world.ok(set("a.test", |site| site.quota = Set::To(Some(10))));
    world.ok(set("b.test", |site| site.quota = Set::To(Some(90))));
    // A site does not slip past the plan by changing hands.
    world.ok(with("d.test", "bob", Some(1)));
    world.refused_as("limit-reached", set("d.test", |site| site.account = Set::To(Some(account("ada")))));
    world.ok(Change::SiteRemove(SiteRemove { host: host("b.test") }));
    world.refused_as(
        "limit-reached",
        set("d.test", |site| {
            (site.account, site.quota) = (Set::To(Some(account("ada"))), Set::To(Some(91)));
        }),
    );
    // Its logins count too.
    for name in ["one", "two"] {
        let (site, password) = (host("d.test"), "$6$a".to_owned());
        let change =
            FtpUserCreate { login: login(name), site, dir: String::new(), quota: None, password, allow_plain: false };
        world.ok(Change::FtpUserCreate(change));
    }
    let said = world.refused_as("limit-reached", set("d.test", |site| site.account = Set::To(Some(account("ada")))));
    assert!(said.contains("FTP users"), "{said}");
    // Less is always allowed, also above a limit that was lowered.
    world.ok(set("d.test", |site| site.account = Set::To(None)));
}

#[test]
fn a_suspended_account_gets_nothing_new() {
    let mut world = World::new().with_account("ada", None).with_account("bob", None);
    world.ok(site("a.test", Some("ada")));
    world.suspend("ada");
    assert_eq!(world.refused_as("account-suspended", site("b.test", Some("ada"))), "the account ada is suspended");
    world.refused_as("account-suspended", new_zone("a.test", Some("ada")));
    world.refused_as("account-suspended", set("a.test", |site| site.quota = Set::To(Some(1))));
    world.ok(site("b.test", Some("bob")));
    world.refused_as("account-suspended", set("b.test", |site| site.account = Set::To(Some(account("ada")))));
    // What is there stays and can be switched off.
    world.ok(set("a.test", |site| site.maintenance = Set::To(true)));
    world.refused_as("not-found", site("c.test", Some("nobody")));
}

#[test]
fn names_in_the_zone_of_another_account_are_refused() {
    let mut world = World::new().with_account("ada", None).with_account("bob", None);
    world.ok(new_zone("test", None));
    world.ok(new_zone("a.test", Some("ada")));
    let said = world.refused_as("foreign-zone", site("www.a.test", Some("bob")));
    assert_eq!(said, "www.a.test lies in the zone a.test of another account");
    world.refused_as("foreign-zone", new_zone("sub.a.test", Some("bob")));
    world.ok(site("b.test", Some("bob")));
    world.refused_as("foreign-zone", set("b.test", |site| site.aliases = Set::To(vec![host("x.y.a.test")])));
    world.ok(site("www.a.test", Some("ada")));
    world.refused_as("foreign-zone", set("www.a.test", |site| site.account = Set::To(Some(account("bob")))));
    world.ok(new_zone("sub.a.test", Some("ada")));
    // Administrators may: the site belongs to no account.
    world.ok(site("mail.a.test", None));
    // Alike endings are not below.
    world.ok(site("bada.test", Some("bob")));
}

#[test]
fn the_home_is_the_node_with_the_fewest_sites() {
    let mut world = World::new();
    world.refused_as("not-found", create(|site| site.node = Some(NodeId(5))));
    world.refused_as("not-found", create(|site| site.standbys = vec![NodeId(5)]));
    world.refused_as("invalid", create(|site| site.standbys = vec![NODE]));
    world.refused_as("invalid", create(|site| (site.node, site.standbys) = (Some(NODE), vec![NODE])));
    let node = |with: &dyn Fn(&mut NodeSet)| {
        let (roles, addresses, labels) = (Set::Keep, Set::Keep, Set::Keep);
        let mut change = NodeSet { node: NODE, roles, addresses, labels, cordoned: Set::Keep };
        with(&mut change);
        Change::NodeSet(change)
    };
    world.ok(node(&|change| change.cordoned = Set::To(true)));
    world.refused_as("invalid", site("a.test", None));
    // Also where somebody names it.
    world.refused_as("invalid", create(|site| site.node = Some(NODE)));
    world.ok(node(&|change| (change.cordoned, change.roles) = (Set::To(false), Set::To([Role::Dns].into()))));
    world.refused_as("invalid", site("b.test", None));
    world.ok(node(&|change| change.roles = Set::To([Role::Web].into())));
    world.ok(create(|site| site.node = Some(NODE)));
}

#[test]
fn switches_have_names_of_their_own_in_the_history() {
    let mut world = World::new().with_account("ada", None);
    world.ok(site("a.test", Some("ada")));
    type Switch<'a> = (&'a str, &'a dyn Fn(&mut SiteSet));
    let switches: [Switch<'_>; 6] = [
        ("site.suspend", &|site| site.suspended = Set::To(true)),
        ("site.resume", &|site| site.suspended = Set::To(false)),
        ("site.maintenance-on", &|site| site.maintenance = Set::To(true)),
        ("site.maintenance-off", &|site| site.maintenance = Set::To(false)),
        ("site.set", &|site| (site.suspended, site.maintenance) = (Set::To(true), Set::To(true))),
        ("site.set", &|site| (site.suspended, site.quota) = (Set::To(false), Set::To(Some(1)))),
    ];
    for (action, with) in switches {
        let event = world.event(set("a.test", with));
        assert_eq!((event.action.as_str(), event.subject.as_str()), (action, "a.test"));
        assert_eq!(event.account, Some(account("ada")));
        let Some(Object::Site(left)) = event.object else { panic!("no site") };
        assert_eq!(left, *world.state.site(&host("a.test")).unwrap());
    }
}

#[test]
fn removal_names_what_hangs_on_it() {
    let mut world = World::new().with_account("ada", None);
    world.ok(site("a.test", Some("ada")));
    for n in 0..12 {
        let (site, password) = (host("a.test"), "$6$a".to_owned());
        let login = login(&format!("ftp{n:02}"));
        world.ok(Change::FtpUserCreate(FtpUserCreate {
            login,
            site,
            dir: String::new(),
            quota: None,
            password,
            allow_plain: false,
        }));
    }
    let refusal = world.refused(Change::SiteRemove(SiteRemove { host: host("a.test") }));
    let Refusal::InUse { by, .. } = &refusal else { panic!("{refusal}") };
    assert_eq!((by.len(), by[0].as_str()), (12, "ftp-user ftp00"));
    assert!(refusal.to_string().ends_with("ftp-user ftp09 and 2 more"), "{refusal}");
}
