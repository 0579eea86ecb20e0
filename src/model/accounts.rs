//! Accounts: who owns sites, zones and logins. A suspended account keeps everything and may add nothing.
use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::names::{AccountName, PlanName};
use crate::model::answer::{Object, Outcome};
use crate::model::apply::Apply;
use crate::model::change::Set;
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;
use crate::model::sites::check_text;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub name: AccountName,
    pub plan: Option<PlanName>,
    /// How to reach the owner; free text, shown to admins only.
    pub contact: Option<String>,
    pub suspended: bool,
    pub created: Time,
    pub revision: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountCreate {
    pub name: AccountName,
    pub plan: Option<PlanName>,
    pub contact: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSet {
    pub name: AccountName,
    pub plan: Set<Option<PlanName>>,
    pub contact: Set<Option<String>>,
    pub suspended: Set<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRemove {
    pub name: AccountName,
}

pub(crate) fn create(cx: &mut Apply<'_>, change: &AccountCreate) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let old = cx.state.accounts.get(&change.name);
    cx.expect(Kind::Account, &change.name, old.map(|account| account.revision))?;
    if old.is_some() {
        return Err(Refusal::exists(Kind::Account, &change.name));
    }
    check_plan(cx, change.plan.as_ref())?;
    check_contact(change.contact.as_deref())?;
    let account = Account {
        name: change.name.clone(),
        plan: change.plan.clone(),
        contact: change.contact.clone(),
        suspended: false,
        created: cx.time,
        revision: cx.revision,
    };
    cx.put(Row::Account(account.clone()));
    Ok(Outcome::new("account.create", &account.name).account(Some(&change.name)).object(Object::Account(account)))
}

pub(crate) fn set(cx: &mut Apply<'_>, change: &AccountSet) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let mut account = Account::clone(cx.state.account(&change.name)?);
    cx.expect(Kind::Account, &change.name, Some(account.revision))?;
    if let Set::To(plan) = &change.plan {
        check_plan(cx, plan.as_ref())?;
    }
    if let Set::To(contact) = &change.contact {
        check_contact(contact.as_deref())?;
    }
    change.plan.apply_to(&mut account.plan);
    change.contact.apply_to(&mut account.contact);
    change.suspended.apply_to(&mut account.suspended);
    account.revision = cx.revision;
    let action = match change.suspended {
        Set::To(true) => "account.suspend",
        Set::To(false) => "account.resume",
        Set::Keep => "account.set",
    };
    cx.put(Row::Account(account.clone()));
    Ok(Outcome::new(action, &account.name).account(Some(&change.name)).object(Object::Account(account)))
}

pub(crate) fn remove(cx: &mut Apply<'_>, change: &AccountRemove) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let name = &change.name;
    let account = cx.state.account(name)?;
    cx.expect(Kind::Account, name, Some(account.revision))?;
    let owned = |owner: &Option<AccountName>| owner.as_ref() == Some(name);
    let sites = cx.state.sites.values().filter(|site| owned(&site.account)).map(|site| format!("site {}", site.host));
    let zones = cx.state.zones.values().filter(|z| owned(&z.head.account)).map(|z| format!("zone {}", z.head.name));
    let tokens = cx.state.tokens.values().filter(|t| owned(&t.scope.account)).map(|t| format!("token {}", t.name));
    let operations = cx.state.operations.values().filter(|operation| owned(&operation.account));
    let operations = operations.map(|operation| format!("operation {}", operation.id));
    let by: Vec<_> = sites.chain(zones).chain(tokens).chain(operations).collect();
    if !by.is_empty() {
        return Err(Refusal::InUse { kind: Kind::Account, name: name.to_string(), by });
    }
    cx.delete(Row::Account(Account::clone(account)));
    Ok(Outcome::new("account.remove", name).account(Some(name)))
}

fn check_plan(cx: &Apply<'_>, plan: Option<&PlanName>) -> Result<(), Refusal> {
    match plan {
        Some(name) if !cx.state.plans.contains_key(name) => Err(Refusal::not_found(Kind::Plan, name)),
        _ => Ok(()),
    }
}

fn check_contact(contact: Option<&str>) -> Result<(), Refusal> {
    contact.map_or(Ok(()), |text| check_text("contact", text))
}
