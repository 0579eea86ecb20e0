//! Plans: what an account may have. A limit refuses growth; lowering it below what is there removes nothing.
use serde::{Deserialize, Serialize};

use crate::base::names::PlanName;
use crate::model::answer::{Object, Outcome};
use crate::model::apply::Apply;
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;

/// Most of each that an account may have; absent: no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub sites: Option<u64>,
    pub zones: Option<u64>,
    /// Record sets of one zone.
    pub records: Option<u64>,
    pub ftp_users: Option<u64>,
    /// Sum of the quotas of all sites, in bytes.
    pub disk: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub name: PlanName,
    pub limits: Limits,
    pub revision: u64,
}

/// Creates or replaces a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanPut {
    pub name: PlanName,
    pub limits: Limits,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRemove {
    pub name: PlanName,
}

pub(crate) fn put(cx: &mut Apply<'_>, change: &PlanPut) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let old = cx.state.plans.get(&change.name);
    cx.expect(Kind::Plan, &change.name, old.map(|plan| plan.revision))?;
    let plan = Plan { name: change.name.clone(), limits: change.limits.clone(), revision: cx.revision };
    let action = if old.is_some() { "plan.set" } else { "plan.create" };
    cx.put(Row::Plan(plan.clone()));
    Ok(Outcome::new(action, &change.name).object(Object::Plan(plan)))
}

pub(crate) fn remove(cx: &mut Apply<'_>, change: &PlanRemove) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let plan = cx.state.plans.get(&change.name).ok_or_else(|| Refusal::not_found(Kind::Plan, &change.name))?;
    cx.expect(Kind::Plan, &change.name, Some(plan.revision))?;
    let users = cx.state.accounts.values().filter(|account| account.plan.as_ref() == Some(&change.name));
    let by: Vec<_> = users.map(|account| format!("account {}", account.name)).collect();
    if !by.is_empty() {
        return Err(Refusal::InUse { kind: Kind::Plan, name: change.name.to_string(), by });
    }
    cx.delete(Row::Plan(Plan::clone(plan)));
    Ok(Outcome::new("plan.remove", &change.name))
}
