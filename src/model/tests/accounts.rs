//! Accounts, plans, FTP users and nodes.
use crate::base::ids::NodeId;
use crate::base::limits::NODE_ADDRESSES_MAX;
use crate::base::names::PlanName;
use crate::model::accounts::{AccountCreate, AccountRemove, AccountSet};
use crate::model::answer::Object;
use crate::model::change::{Change, Set};
use crate::model::ftp_users::{FtpUserCreate, FtpUserRemove, FtpUserSet};
use crate::model::nodes::NodeSet;
use crate::model::operations::OperationStart;
use crate::model::plans::{Limits, PlanPut, PlanRemove};
use crate::model::refusal::Refusal;
use crate::model::sites::SiteRemove;
use crate::model::tests::world::{NODE, World, account, host, login, new_zone, site};
use crate::model::tokens::Access;
use crate::model::zones::ZoneRemove;

fn plan(name: &str) -> PlanName {
    PlanName::parse(name).unwrap()
}

fn create(name: &str, plan: Option<&str>, contact: Option<&str>) -> Change {
    let plan = plan.map(self::plan);
    Change::AccountCreate(AccountCreate { name: account(name), plan, contact: contact.map(str::to_owned) })
}

fn user(name: &str, site: &str, dir: &str, password: &str) -> Change {
    let (login, site) = (login(name), host(site));
    let (dir, password) = (dir.to_owned(), password.to_owned());
    Change::FtpUserCreate(FtpUserCreate { login, site, dir, quota: None, password, allow_plain: false })
}

#[test]
fn accounts_and_plans() {
    let mut world = World::new();
    assert_eq!(world.refused_as("not-found", create("ada", Some("small"), None)), "there is no plan small");
    let limits = Limits { zones: Some(1), ..Limits::default() };
    let put = Change::PlanPut(PlanPut { name: plan("small"), limits });
    assert_eq!(world.event(put.clone()).action, "plan.create");
    assert_eq!(world.event(put).action, "plan.set");
    world.ok(create("ada", Some("small"), Some("ada@a.test")));
    world.refused_as("exists", create("ada", None, None));
    world.refused_as("invalid", create("bob", None, Some("two\nlines")));
    world.refused_as("invalid", create("bob", None, Some("")));
    let remove = Change::PlanRemove(PlanRemove { name: plan("small") });
    assert_eq!(world.refused_as("in-use", remove.clone()), "the plan small is still used by account ada");
    world.ok(new_zone("a.test", Some("ada")));
    let said = world.refused_as("limit-reached", new_zone("b.test", Some("ada")));
    assert_eq!(said, "the account ada may have 1 zones; this would make 2");
    let (contact, suspended) = (Set::Keep, Set::Keep);
    let name = account("ada");
    world.ok(Change::AccountSet(AccountSet { name, plan: Set::To(None), contact, suspended }));
    world.ok(new_zone("b.test", Some("ada")));
    world.ok(remove.clone());
    world.refused_as("not-found", remove);
}

#[test]
fn an_account_leaves_when_nothing_is_left_of_it() {
    let mut world = World::new().with_account("ada", None);
    world.ok(site("a.test", Some("ada")));
    world.ok(new_zone("a.test", Some("ada")));
    world.become_token(Access::Read, Some("ada"), None);
    world.actor = crate::model::change::Actor::System;
    let (subject, account_of) = ("a.test".to_owned(), Some(account("ada")));
    let start = OperationStart { action: "site.move".into(), subject, account: account_of, total: None };
    let Some(Object::Operation(operation)) = world.ok(Change::OperationStart(start)).object else { panic!() };
    let remove = Change::AccountRemove(AccountRemove { name: account("ada") });
    let refusal = world.refused(remove.clone());
    let Refusal::InUse { by, .. } = refusal else { panic!("{refusal}") };
    let token = world.state.tokens.values().next().unwrap().name.to_string();
    let expected =
        ["site a.test".into(), "zone a.test".into(), format!("token {token}"), format!("operation {}", operation.id)];
    assert_eq!(by, expected);
    let status = crate::model::operations::Status::Cancelled;
    let finish = crate::model::operations::OperationFinish { id: operation.id, status };
    world.ok(Change::OperationFinish(finish));
    world.ok(Change::SiteRemove(SiteRemove { host: host("a.test") }));
    world.ok(Change::ZoneRemove(ZoneRemove { name: crate::model::tests::world::zone("a.test") }));
    let name = crate::base::names::TokenName::parse(&token).unwrap();
    world.ok(Change::TokenRemove(crate::model::tokens::TokenRemove { name }));
    world.ok(remove);
    assert!(world.state.accounts.is_empty());
}

#[test]
fn ftp_users() {
    let limits = Limits { ftp_users: Some(1), ..Limits::default() };
    let mut world = World::new().with_account("ada", Some(limits));
    world.refused_as("not-found", user("one", "a.test", "", "$6$a"));
    world.ok(site("a.test", Some("ada")));
    for dir in ["/", "/up", "up/", "a//b", "..", "a/../b", ".", "a\nb", &"d/".repeat(600)] {
        world.refused_as("invalid", user("one", "a.test", dir, "$6$a"));
    }
    for hash in ["", "plain", "$6$ä", "$6$a b", &format!("${}", "a".repeat(512))] {
        world.refused_as("invalid", user("one", "a.test", "", hash));
    }
    let answer = world.ok(user("one", "a.test", "up/2026", "$argon2id$v=19$secret"));
    assert!(!format!("{answer:?}").contains("secret"), "no answer shows a hash");
    let Some(Object::FtpUser(shown)) = answer.object else { panic!() };
    assert_eq!(shown.password, "");
    assert_eq!(world.state.ftp_users[&login("one")].password, "$argon2id$v=19$secret");
    world.refused_as("exists", user("one", "a.test", "", "$6$a"));
    let said = world.refused_as("limit-reached", user("two", "a.test", "", "$6$a"));
    assert!(said.contains("1 FTP users"), "{said}");
    let (dir, quota) = (Set::To("..".to_owned()), Set::Keep);
    let set = FtpUserSet { dir, quota, disabled: Set::To(true), ..FtpUserSet::of(login("one")) };
    world.refused_as("invalid", Change::FtpUserSet(set.clone()));
    world.ok(Change::FtpUserSet(FtpUserSet { dir: Set::Keep, ..set }));
    assert!(world.state.ftp_users[&login("one")].disabled && !world.state.ftp_users[&login("one")].allow_plain);
    world.ok(Change::FtpUserSet(FtpUserSet { allow_plain: Set::To(true), ..FtpUserSet::of(login("one")) }));
    assert!(world.state.ftp_users[&login("one")].allow_plain);
    let remove = Change::FtpUserRemove(FtpUserRemove { login: login("one") });
    assert_eq!(world.event(remove.clone()).account, Some(account("ada")));
    world.refused_as("not-found", remove);
}

#[test]
fn nodes() {
    let mut world = World::new();
    let set = |addresses: Vec<&str>, label: &str| {
        let addresses = Set::To(addresses.into_iter().map(|text| text.parse().unwrap()).collect());
        let labels = Set::To([("room".to_owned(), label.to_owned())].into());
        NodeSet { node: NODE, roles: Set::Keep, addresses, labels, cordoned: Set::Keep }
    };
    for odd in ["0.0.0.0", "::", "224.0.0.1", "ff02::1"] {
        world.refused_as("invalid", Change::NodeSet(set(vec![odd], "cellar")));
    }
    world.refused_as("invalid", Change::NodeSet(set(vec!["192.0.2.1"; NODE_ADDRESSES_MAX + 1], "cellar")));
    world.refused_as("invalid", Change::NodeSet(set(Vec::new(), "")));
    let unknown = NodeSet { node: NodeId(2), ..set(Vec::new(), "cellar") };
    world.refused_as("not-found", Change::NodeSet(unknown));
    assert_eq!(world.event(Change::NodeSet(set(vec!["192.0.2.1", "2001:db8::1"], "cellar"))).action, "node.set");
    let cordon = NodeSet { cordoned: Set::To(true), ..set(Vec::new(), "cellar") };
    assert_eq!(world.event(Change::NodeSet(cordon)).action, "node.cordon");
}
