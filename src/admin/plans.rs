//! `/v1/plans`: what an account may have.
use axum::response::Response;

use crate::admin::ask::{Ask, AskWith};
use crate::admin::error::Failure;
use crate::admin::look::{At, Look};
use crate::admin::resource::{Resource, View, path};
use crate::api::page::{Page, PageQuery};
use crate::api::plans as api;
use crate::api::written::{ReadQuery, Removed, WriteQuery, Written};
use crate::base::names::PlanName;
use crate::model::answer::Object;
use crate::model::change::Change;
use crate::model::plans::{Limits, Plan, PlanPut, PlanRemove};
use crate::model::refusal::Kind;

impl Resource for Plan {
    type View = api::Plan;

    fn of(object: Object) -> Option<Self> {
        if let Object::Plan(plan) = object { Some(plan) } else { None }
    }

    fn view(&self, _: &View<'_>) -> api::Plan {
        let Limits { sites, zones, records, ftp_users, disk } = self.limits.clone();
        let limits = api::Limits { sites, zones, records, ftp_users, disk };
        api::Plan { name: self.name.to_string(), limits, revision: self.revision }
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn path(&self) -> String {
        path(&["plans", self.name.as_str()])
    }
}

/// The plan that a caller limited to an account may see is its own.
fn is_seen(look: &Look, name: &PlanName) -> bool {
    look.caller.account().is_none_or(|account| {
        look.snapshot.accounts.get(account).is_some_and(|account| account.plan.as_ref() == Some(name))
    })
}

/// Lists the plans by name.
#[utoipa::path(get, path = "/v1/plans", tag = "plans", params(PageQuery), responses((status = 200, body = Page<api::Plan>)))]
pub(crate) async fn list(look: Look) -> Result<Response, Failure> {
    let plans = look.snapshot.plans.range(look.range::<PlanName>()?).map(|(_, plan)| plan);
    let plans = plans.filter(|plan| is_seen(&look, &plan.name));
    Ok(look.page(plans, |plan| plan.name.to_string(), |plan| plan.view(&look.view())))
}

/// Shows one plan.
#[utoipa::path(get, path = "/v1/plans/{plan}", tag = "plans", params(("plan" = String, Path), ReadQuery),
    responses((status = 200, body = api::Plan)))]
pub(crate) async fn show(At(name): At<PlanName>, look: Look) -> Result<Response, Failure> {
    let plan = look.snapshot.plans.get(&name).filter(|plan| is_seen(&look, &plan.name));
    plan.map(|plan| look.one(&**plan)).ok_or_else(|| Failure::not_found(Kind::Plan, name))
}

/// Creates or replaces a plan. Lowering a limit removes nothing; it refuses growth.
#[utoipa::path(put, path = "/v1/plans/{plan}", tag = "plans", params(("plan" = String, Path), WriteQuery),
    request_body = api::PlanPut, responses((status = 200, body = Written<api::Plan>)))]
pub(crate) async fn put(
    At(name): At<PlanName>,
    AskWith(ask, body): AskWith<api::PlanPut>,
) -> Result<Response, Failure> {
    let current = ask.snapshot.plans.get(&name).map(|plan| plan.revision);
    let api::Limits { sites, zones, records, ftp_users, disk } = body.limits;
    let limits = Limits { sites, zones, records, ftp_users, disk };
    ask.change::<Plan>(Change::PlanPut(PlanPut { name, limits }), current).await
}

/// Removes a plan that no account has.
#[utoipa::path(delete, path = "/v1/plans/{plan}", tag = "plans", params(("plan" = String, Path), WriteQuery),
    responses((status = 200, body = Removed)))]
pub(crate) async fn remove(At(name): At<PlanName>, ask: Ask) -> Result<Response, Failure> {
    let current = ask.snapshot.plans.get(&name).map(|plan| plan.revision);
    ask.remove(Change::PlanRemove(PlanRemove { name }), current).await
}
