//! `/v1/accounts`: who owns sites, zones and logins.
use axum::response::Response;

use crate::admin::ask::{Ask, AskWith};
use crate::admin::error::Failure;
use crate::admin::fields;
use crate::admin::look::{At, Look};
use crate::admin::resource::{Resource, View, path};
use crate::api::accounts as api;
use crate::api::page::{Page, PageQuery};
use crate::api::written::{ReadQuery, Removed, WriteQuery, Written};
use crate::base::names::{AccountName, PlanName};
use crate::model::accounts::{Account, AccountCreate, AccountRemove, AccountSet};
use crate::model::answer::Object;
use crate::model::change::Change;
use crate::model::refusal::Kind;

impl Resource for Account {
    type View = api::Account;

    fn of(object: Object) -> Option<Self> {
        if let Object::Account(account) = object { Some(account) } else { None }
    }

    fn view(&self, cx: &View<'_>) -> api::Account {
        api::Account {
            name: self.name.to_string(),
            plan: self.plan.as_ref().map(PlanName::to_string),
            contact: self.contact.clone().filter(|_| !cx.limited),
            suspended: self.suspended,
            created: self.created.to_string(),
            revision: self.revision,
        }
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn path(&self) -> String {
        path(&["accounts", self.name.as_str()])
    }
}

/// Lists the accounts by name.
#[utoipa::path(get, path = "/v1/accounts", tag = "accounts", params(PageQuery),
    responses((status = 200, body = Page<api::Account>)))]
pub(crate) async fn list(look: Look) -> Result<Response, Failure> {
    let accounts = look.snapshot.accounts.range(look.range::<AccountName>()?).map(|(_, account)| account);
    let accounts = accounts.filter(|account| look.wants(Some(&account.name)));
    Ok(look.page(accounts, |account| account.name.to_string(), |account| account.view(&look.view())))
}

/// Creates an account.
#[utoipa::path(post, path = "/v1/accounts", tag = "accounts", params(WriteQuery), request_body = api::AccountCreate,
    responses((status = 201, body = Written<api::Account>)))]
pub(crate) async fn create(AskWith(ask, body): AskWith<api::AccountCreate>) -> Result<Response, Failure> {
    let plan = fields::optional("plan", body.plan.as_deref())?;
    let create = AccountCreate { name: fields::name("name", &body.name)?, plan, contact: body.contact };
    ask.create::<Account>(Change::AccountCreate(create)).await
}

/// Shows one account.
#[utoipa::path(get, path = "/v1/accounts/{account}", tag = "accounts", params(("account" = String, Path), ReadQuery),
    responses((status = 200, body = api::Account)))]
pub(crate) async fn show(At(name): At<AccountName>, look: Look) -> Result<Response, Failure> {
    let account = look.snapshot.accounts.get(&name).filter(|account| look.caller.sees(Some(&account.name)));
    account.map(|account| look.one(&**account)).ok_or_else(|| Failure::not_found(Kind::Account, name))
}

/// Changes an account, or suspends or resumes it.
#[utoipa::path(patch, path = "/v1/accounts/{account}", tag = "accounts", params(("account" = String, Path), WriteQuery),
    request_body = api::AccountPatch, responses((status = 200, body = Written<api::Account>)))]
pub(crate) async fn set(
    At(name): At<AccountName>,
    AskWith(ask, body): AskWith<api::AccountPatch>,
) -> Result<Response, Failure> {
    let current = ask.snapshot.accounts.get(&name).map(|account| account.revision);
    let plan = fields::patched("plan", body.plan)?;
    let set = AccountSet { name, plan: plan.into(), contact: body.contact.into(), suspended: body.suspended.into() };
    ask.change::<Account>(Change::AccountSet(set), current).await
}

/// Removes an account that owns nothing.
#[utoipa::path(delete, path = "/v1/accounts/{account}", tag = "accounts", params(("account" = String, Path), WriteQuery),
    responses((status = 200, body = Removed)))]
pub(crate) async fn remove(At(name): At<AccountName>, ask: Ask) -> Result<Response, Failure> {
    let current = ask.snapshot.accounts.get(&name).map(|account| account.revision);
    ask.remove(Change::AccountRemove(AccountRemove { name }), current).await
}
