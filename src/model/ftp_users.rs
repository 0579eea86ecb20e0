//! FTP users: a login, the site and directory it sees, and the hash of its password.
use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::ids::SiteId;
use crate::base::names::{Host, Login};
use crate::model::answer::{Object, Outcome};
use crate::model::apply::Apply;
use crate::model::change::Set;
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FtpUser {
    pub login: Login,
    pub site: SiteId,
    /// Relative to the site's root; empty: the root itself.
    pub dir: String,
    pub quota: Option<u64>,
    /// A PHC string (argon2id) or an imported crypt hash.
    pub password: String,
    pub disabled: bool,
    /// It may log in without TLS, its password and files for everybody on the way to read.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_plain: bool,
    pub created: Time,
    pub revision: u64,
}

impl FtpUserSet {
    /// A change of nothing, to be filled in.
    pub fn of(login: Login) -> Self {
        let (dir, quota, password) = (Set::Keep, Set::Keep, Set::Keep);
        Self { login, dir, quota, password, disabled: Set::Keep, allow_plain: Set::Keep }
    }
}

impl std::fmt::Debug for FtpUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FtpUser({} of {}, revision {})", self.login, self.site, self.revision)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FtpUserCreate {
    pub login: Login,
    pub site: Host,
    pub dir: String,
    pub quota: Option<u64>,
    pub password: String,
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_plain: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FtpUserSet {
    pub login: Login,
    pub dir: Set<String>,
    pub quota: Set<Option<u64>>,
    pub password: Set<String>,
    pub disabled: Set<bool>,
    #[serde(default, skip_serializing_if = "Set::is_keep")]
    pub allow_plain: Set<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FtpUserRemove {
    pub login: Login,
}

pub(crate) fn create(cx: &mut Apply<'_>, change: &FtpUserCreate) -> Result<Outcome, Refusal> {
    let site = cx.state.site(&change.site)?;
    cx.may(Kind::Site, &change.site, site.account.as_ref())?;
    let old = cx.state.ftp_users.get(&change.login);
    cx.expect(Kind::FtpUser, &change.login, old.map(|user| user.revision))?;
    if old.is_some() {
        return Err(Refusal::exists(Kind::FtpUser, &change.login));
    }
    check_dir(&change.dir)?;
    check_hash(&change.password)?;
    if let Some(account) = &site.account {
        let limits = cx.growing(account)?;
        cx.within(account, "FTP users", limits.ftp_users, cx.state.ftp_users_count(account) + 1)?;
    }
    let user = FtpUser {
        login: change.login.clone(),
        site: site.id,
        dir: change.dir.clone(),
        quota: change.quota,
        password: change.password.clone(),
        disabled: false,
        allow_plain: change.allow_plain,
        created: cx.time,
        revision: cx.revision,
    };
    store(cx, "ftp-user.create", user)
}

pub(crate) fn set(cx: &mut Apply<'_>, change: &FtpUserSet) -> Result<Outcome, Refusal> {
    let mut user = existing(cx, &change.login)?;
    change.dir.apply_to(&mut user.dir);
    change.quota.apply_to(&mut user.quota);
    change.password.apply_to(&mut user.password);
    change.disabled.apply_to(&mut user.disabled);
    change.allow_plain.apply_to(&mut user.allow_plain);
    user.revision = cx.revision;
    check_dir(&user.dir)?;
    check_hash(&user.password)?;
    store(cx, "ftp-user.set", user)
}

pub(crate) fn remove(cx: &mut Apply<'_>, change: &FtpUserRemove) -> Result<Outcome, Refusal> {
    let user = existing(cx, &change.login)?;
    let account = cx.state.sites.get(&user.site).and_then(|site| site.account.clone());
    let outcome = Outcome::new("ftp-user.remove", &user.login).account(account.as_ref());
    cx.delete(Row::FtpUser(user));
    Ok(outcome)
}

fn existing(cx: &Apply<'_>, login: &Login) -> Result<FtpUser, Refusal> {
    let user = cx.state.ftp_users.get(login).ok_or_else(|| Refusal::not_found(Kind::FtpUser, login))?;
    let account = cx.state.sites.get(&user.site).and_then(|site| site.account.as_ref());
    cx.may(Kind::FtpUser, login, account)?;
    cx.expect(Kind::FtpUser, login, Some(user.revision))?;
    Ok(FtpUser::clone(user))
}

fn store(cx: &mut Apply<'_>, action: &'static str, user: FtpUser) -> Result<Outcome, Refusal> {
    let account = cx.state.sites.get(&user.site).and_then(|site| site.account.clone());
    cx.put(Row::FtpUser(user.clone()));
    let shown = FtpUser { password: String::new(), ..user };
    Ok(Outcome::new(action, &shown.login).account(account.as_ref()).object(Object::FtpUser(shown)))
}

fn check_dir(dir: &str) -> Result<(), Refusal> {
    let odd = dir.len() > 1024 || dir.contains(|c: char| c.is_control());
    let climbs = dir.split('/').any(|part| matches!(part, "." | ".."));
    if odd || climbs || dir.starts_with('/') || dir.ends_with('/') || dir.contains("//") {
        return Err(Refusal::invalid("dir", "expected a path below the site's root, such as `uploads/2026`"));
    }
    Ok(())
}

fn check_hash(hash: &str) -> Result<(), Refusal> {
    let known = hash.starts_with('$') && hash.len() <= 512 && hash.bytes().all(|b| b.is_ascii_graphic());
    if known { Ok(()) } else { Err(Refusal::invalid("password", "expected a password hash")) }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
