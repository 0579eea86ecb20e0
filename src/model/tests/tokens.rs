//! Tokens: what their scope lets them see and do, until when.
use std::time::Duration;

use crate::base::limits::TOKEN_KEPT;
use crate::base::names::TokenName;
use crate::model::accounts::{AccountCreate, AccountRemove};
use crate::model::change::{Actor, Change, Set};
use crate::model::cluster::KeyExported;
use crate::model::ftp_users::FtpUserRemove;
use crate::model::nodes::NodeSet;
use crate::model::plans::{Limits, PlanPut};
use crate::model::records::RecordRemove;
use crate::model::refusal::Refusal;
use crate::model::sites::{Handler, SiteRemove, SiteSet};
use crate::model::tests::world::{NODE, START, World, account, found, host, login, new_zone, put, record, site, zone};
use crate::model::tokens::{Access, Scope, TokenCreate, TokenRemove};
use crate::model::zones::{ZoneRemove, ZoneSet};
use crate::rr::RecordType;

#[test]
fn a_token_counts_until_it_expires_or_is_removed() {
    let mut world = World::new();
    let past = Change::TokenCreate(TokenCreate {
        name: TokenName::parse("late").unwrap(),
        hash: [0; 32],
        scope: Scope { access: Access::Write, account: None },
        expires: Some(START),
    });
    world.refused_as("invalid", past);
    world.become_token(Access::Write, None, Some(START.plus(Duration::from_secs(60))));
    world.clock = START.plus(Duration::from_millis(59_999));
    world.ok(new_zone("a.test", None));
    world.clock = START.plus(Duration::from_secs(60));
    assert_eq!(world.refused(new_zone("b.test", None)), Refusal::TokenInvalid);
    let id = world.become_token(Access::Write, None, None);
    world.ok(new_zone("b.test", None));
    let name = world.state.tokens[&id].name.clone();
    let again =
        TokenCreate { name: name.clone(), hash: [1; 32], scope: world.state.tokens[&id].scope.clone(), expires: None };
    world.refused_as("exists", Change::TokenCreate(again));
    world.ok(Change::TokenRemove(TokenRemove { name: name.clone() }));
    assert_eq!(world.refused(new_zone("c.test", None)), Refusal::TokenInvalid);
    world.actor = Actor::System;
    world.refused_as("not-found", Change::TokenRemove(TokenRemove { name }));
}

#[test]
fn tokens_that_expired_long_ago_go_with_new_ones() {
    let mut world = World::new();
    let lasting = world.become_token(Access::Write, None, None);
    let short: Vec<_> =
        (1..=6).map(|at| world.become_token(Access::Read, None, Some(START.plus(Duration::from_secs(at))))).collect();
    world.clock = START.plus(TOKEN_KEPT);
    world.become_token(Access::Read, None, None);
    assert!(short.iter().all(|id| world.state.tokens.contains_key(id)), "somebody may look for them yet");
    world.clock = START.plus(TOKEN_KEPT + Duration::from_secs(10));
    for left in [2, 0] {
        world.become_token(Access::Read, None, None);
        assert_eq!(short.iter().filter(|id| world.state.tokens.contains_key(*id)).count(), left);
    }
    assert!(world.state.tokens.contains_key(&lasting) && world.state.tokens.len() == 4);
}

#[test]
fn a_token_for_reading_changes_nothing() {
    let mut world = World::new();
    world.become_token(Access::Read, None, None);
    let said = world.refused_as("forbidden", new_zone("a.test", None));
    assert_eq!(said, "the token may not do this: it is for reading only");
}

#[test]
fn an_accounts_token_may_not_run_the_cluster() {
    let mut world = World::new().with_account("ada", None);
    world.ok(site("a.test", Some("ada")));
    world.become_token(Access::Write, Some("ada"), None);
    let ada = account("ada");
    let scope = Scope { access: Access::Write, account: None };
    let keep = Set::Keep;
    let forbidden = [
        found(NODE),
        Change::KeyExported(KeyExported {}),
        Change::AccountCreate(AccountCreate { name: account("eve"), plan: None, contact: None }),
        Change::AccountRemove(AccountRemove { name: ada }),
        Change::PlanPut(PlanPut { name: "big".parse().unwrap(), limits: Limits::default() }),
        Change::TokenCreate(TokenCreate { name: "more".parse().unwrap(), hash: [0; 32], scope, expires: None }),
        Change::TokenRemove(TokenRemove { name: "t2".parse().unwrap() }),
        Change::NodeSet(NodeSet {
            node: NODE,
            roles: Set::Keep,
            addresses: Set::Keep,
            labels: Set::Keep,
            cordoned: Set::To(true),
        }),
        Change::SiteSet(Box::new(SiteSet { account: Set::To(None), ..SiteSet::of(host("a.test")) })),
        site("b.test", Some("bob")),
    ];
    for change in forbidden {
        let shown = format!("{change:?}");
        assert_eq!(world.refused(change).code(), "forbidden", "{shown}");
    }
    world.ok(new_zone("c.test", None));
    assert_eq!(world.state.zone(&zone("c.test")).unwrap().head.account, Some(account("ada")));
    let set = ZoneSet { name: zone("c.test"), account: Set::To(None), ttl: keep };
    world.refused_as("forbidden", Change::ZoneSet(set));
}

#[test]
fn what_is_not_its_own_does_not_exist_for_a_token() {
    let mut world = World::new().with_account("ada", None).with_account("bob", None);
    world.ok(site("b.test", Some("bob")));
    world.ok(new_zone("b.test", Some("bob")));
    world.ok(put("b.test", "www", RecordType::A, &["192.0.2.1"]));
    world.ok(site("nobodys.test", None));
    let user = crate::model::ftp_users::FtpUserCreate {
        login: login("bobs"),
        site: host("b.test"),
        dir: String::new(),
        quota: None,
        password: "$6$a".into(),
        allow_plain: false,
    };
    world.ok(Change::FtpUserCreate(user.clone()));
    world.become_token(Access::Write, Some("ada"), None);
    let www = record("b.test", "www", RecordType::A, &["192.0.2.1"]);
    let remove = RecordRemove { zone: www.zone.clone(), owner: www.owner.clone(), rtype: www.rtype };
    let hidden = [
        Change::SiteSet(Box::new(SiteSet::of(host("b.test")))),
        Change::SiteSet(Box::new(SiteSet::of(host("nobodys.test")))),
        Change::SiteRemove(SiteRemove { host: host("b.test") }),
        Change::ZoneSet(ZoneSet { name: zone("b.test"), account: Set::Keep, ttl: Set::To(1) }),
        Change::ZoneRemove(ZoneRemove { name: zone("b.test") }),
        Change::RecordPut(www),
        Change::RecordRemove(remove),
        Change::FtpUserCreate(user),
        Change::FtpUserRemove(FtpUserRemove { login: login("bobs") }),
    ];
    for change in hidden {
        let (shown, right) = (format!("{change:?}"), 1);
        // Whatever revision it guesses, the answer is the same: it learns nothing by trying.
        for expect in [None, Some(0), Some(right)] {
            world.expect = expect;
            assert_eq!(world.refused(change.clone()).code(), "not-found", "{shown}");
        }
    }
}

#[test]
fn an_accounts_token_takes_no_ground_of_others() {
    let mut world = World::new().with_account("ada", None).with_account("bob", None);
    world.ok(site("www.bob.test", Some("bob")));
    world.ok(site("provider.test", None));
    world.ok(new_zone("zone.bob2.test", Some("bob")));
    world.ok(new_zone("house.test", None));
    world.become_token(Access::Write, Some("ada"), None);
    for name in ["test", "bob.test", "www.bob.test", "provider.test", "bob2.test"] {
        world.refused_as("forbidden", new_zone(name, None));
    }
    for name in ["house.test", "www.house.test"] {
        world.refused_as("foreign-zone", site(name, None));
    }
    world.refused_as("foreign-zone", new_zone("mail.house.test", None));
    world.ok(new_zone("ada.test", None));
    world.ok(site("www.ada.test", None));
    world.ok(new_zone("www.ada.test", None));
}

#[test]
fn an_accounts_token_does_not_resume_what_was_suspended() {
    let mut world = World::new().with_account("ada", None);
    let unix = Handler::Proxy { upstreams: vec!["unix:/run/app".into()] };
    let set = |with: &dyn Fn(&mut SiteSet)| {
        let mut change = SiteSet::of(host("a.test"));
        with(&mut change);
        Change::SiteSet(Box::new(change))
    };
    world.ok(site("a.test", Some("ada")));
    world.ok(set(&|site| (site.suspended, site.handler) = (Set::To(true), Set::To(unix.clone()))));
    world.become_token(Access::Write, Some("ada"), None);
    world.refused_as("forbidden", set(&|site| site.suspended = Set::To(false)));
    world.refused_as("forbidden", Change::SiteRemove(SiteRemove { host: host("a.test") }));
    world.refused_as("forbidden", set(&|site| site.handler = Set::To(unix.clone())));
    world.ok(set(&|site| site.maintenance = Set::To(true)));
}
