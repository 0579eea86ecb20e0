//! `/v1/ftp-users`: logins of the FTP server. A password is hashed as soon as it is read, off the control runtime, and is in no
//! change, answer or log line.
use axum::response::Response;

use crate::admin::ask::{Ask, AskWith};
use crate::admin::error::Failure;
use crate::admin::fields;
use crate::admin::look::{At, Look};
use crate::admin::passwords;
use crate::admin::resource::{Resource, View, path};
use crate::api::ftp_users as api;
use crate::api::page::{Page, PageQuery};
use crate::api::written::{ReadQuery, Removed, WriteQuery, Written};
use crate::base::names::{AccountName, Login};
use crate::model::answer::Object;
use crate::model::change::Change;
use crate::model::ftp_users::{FtpUser, FtpUserCreate, FtpUserRemove, FtpUserSet};
use crate::model::refusal::Kind;
use crate::model::state::State;

impl Resource for FtpUser {
    type View = api::FtpUser;

    fn of(object: Object) -> Option<Self> {
        if let Object::FtpUser(user) = object { Some(user) } else { None }
    }

    fn view(&self, cx: &View<'_>) -> api::FtpUser {
        let site = cx.snapshot.sites.get(&self.site);
        api::FtpUser {
            login: self.login.to_string(),
            site: site.map_or_else(|| self.site.to_string(), |site| site.host.to_string()),
            dir: self.dir.clone(),
            quota: self.quota,
            disabled: self.disabled,
            allow_plain: self.allow_plain,
            created: self.created.to_string(),
            revision: self.revision,
        }
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn path(&self) -> String {
        path(&["ftp-users", self.login.as_str()])
    }
}

/// A login belongs to the account of its site.
fn account<'a>(state: &'a State, user: &FtpUser) -> Option<&'a AccountName> {
    state.sites.get(&user.site).and_then(|site| site.account.as_ref())
}

fn current(state: &State, login: &Login) -> Option<u64> {
    state.ftp_users.get(login).map(|user| user.revision)
}

/// Lists the FTP users by login.
#[utoipa::path(get, path = "/v1/ftp-users", tag = "ftp-users", params(PageQuery),
    responses((status = 200, body = Page<api::FtpUser>)))]
pub(crate) async fn list(look: Look) -> Result<Response, Failure> {
    let users = look.snapshot.ftp_users.range(look.range::<Login>()?).map(|(_, user)| user);
    let users = users.filter(|user| look.wants(account(&look.snapshot, user)));
    Ok(look.page(users, |user| user.login.to_string(), |user| user.view(&look.view())))
}

/// Creates an FTP user that sees one directory of one site.
#[utoipa::path(post, path = "/v1/ftp-users", tag = "ftp-users", params(WriteQuery), request_body = api::FtpUserCreate,
    responses((status = 201, body = Written<api::FtpUser>)))]
pub(crate) async fn create(AskWith(ask, body): AskWith<api::FtpUserCreate>) -> Result<Response, Failure> {
    let create = FtpUserCreate {
        login: fields::name("login", &body.login)?,
        site: fields::name("site", &body.site)?,
        dir: body.dir,
        quota: body.quota,
        password: passwords::hashed(&ask.desk, body.password).await?,
        allow_plain: body.allow_plain,
    };
    ask.create::<FtpUser>(Change::FtpUserCreate(create)).await
}

/// Shows one FTP user.
#[utoipa::path(get, path = "/v1/ftp-users/{login}", tag = "ftp-users", params(("login" = String, Path), ReadQuery),
    responses((status = 200, body = api::FtpUser)))]
pub(crate) async fn show(At(login): At<Login>, look: Look) -> Result<Response, Failure> {
    let user = look.snapshot.ftp_users.get(&login).filter(|user| look.caller.sees(account(&look.snapshot, user)));
    user.map(|user| look.one(&**user)).ok_or_else(|| Failure::not_found(Kind::FtpUser, login))
}

/// Changes an FTP user: directory, quota, password, or whether and how it may log in.
#[utoipa::path(patch, path = "/v1/ftp-users/{login}", tag = "ftp-users", params(("login" = String, Path), WriteQuery),
    request_body = api::FtpUserPatch, responses((status = 200, body = Written<api::FtpUser>)))]
pub(crate) async fn set(
    At(login): At<Login>,
    AskWith(ask, body): AskWith<api::FtpUserPatch>,
) -> Result<Response, Failure> {
    let current = current(&ask.snapshot, &login);
    let password = match body.password {
        Some(password) => Some(passwords::hashed(&ask.desk, password).await?),
        None => None,
    };
    let set = FtpUserSet {
        login,
        dir: body.dir.into(),
        quota: body.quota.into(),
        password: password.into(),
        disabled: body.disabled.into(),
        allow_plain: body.allow_plain.into(),
    };
    ask.change::<FtpUser>(Change::FtpUserSet(set), current).await
}

/// Removes an FTP user; its files stay.
#[utoipa::path(delete, path = "/v1/ftp-users/{login}", tag = "ftp-users", params(("login" = String, Path), WriteQuery),
    responses((status = 200, body = Removed)))]
pub(crate) async fn remove(At(login): At<Login>, ask: Ask) -> Result<Response, Failure> {
    let current = current(&ask.snapshot, &login);
    ask.remove(Change::FtpUserRemove(FtpUserRemove { login }), current).await
}
