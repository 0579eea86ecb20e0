//! The options of a site between the API and the model. Passwords are hashed here, off the control runtime, and are in no
//! change, answer or log line.
use crate::admin::Desk;
use crate::admin::error::Failure;
use crate::admin::passwords;
use crate::api::options as api;
use crate::base::limits::PASSWORDS_AT_ONCE_MAX;
use crate::model::options::{AreaChange, AreaSet, Hsts, Options, OptionsSet};

pub(crate) fn shown(options: &Options) -> api::Options {
    let hsts =
        |hsts: Hsts| api::Hsts { max_age: hsts.max_age, include_subdomains: hsts.subdomains, preload: hsts.preload };
    let auth = options.areas.iter().map(|area| {
        let users = area.users.iter().map(|user| user.name.clone()).collect();
        (area.path.clone(), api::Auth { realm: area.realm.clone(), users })
    });
    api::Options {
        hsts: options.hsts.map(hsts),
        headers: options.headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect(),
        strip_headers: options.strip_headers.clone(),
        auth: auth.collect(),
        max_body: options.max_body,
        error_pages: options.error_pages.iter().map(|page| (page.status.to_string(), page.path.clone())).collect(),
        fallback: options.fallback.clone(),
    }
}

/// The change a patch means, its passwords hashed.
pub(crate) async fn asked(desk: &Desk, patch: api::OptionsPatch) -> Result<OptionsSet, Failure> {
    let hsts =
        |hsts: api::Hsts| Hsts { max_age: hsts.max_age, subdomains: hsts.include_subdomains, preload: hsts.preload };
    let pages = patch.error_pages.into_iter().map(|(status, path)| {
        let read = status.parse().map_err(|_| Failure::invalid("options.error_pages", "expected statuses such as 404"));
        read.map(|status| (status, path))
    });
    let changes = patch.auth.values().flatten();
    if changes.map(|change| change.users.len()).sum::<usize>() > PASSWORDS_AT_ONCE_MAX {
        let reason = format!("one change sets {PASSWORDS_AT_ONCE_MAX} users at most");
        return Err(Failure::invalid("options.auth", reason));
    }
    let mut areas = Vec::new();
    for (path, change) in patch.auth {
        let to = match change {
            Some(change) => Some(area(desk, change).await?),
            None => None,
        };
        areas.push(AreaSet { path, to });
    }
    Ok(OptionsSet {
        hsts: patch.hsts.map(|to| to.map(hsts)).into(),
        headers: patch.headers.into_iter().collect(),
        strip_headers: patch.strip_headers.into(),
        areas,
        max_body: patch.max_body.into(),
        error_pages: pages.collect::<Result<_, _>>()?,
        fallback: patch.fallback.into(),
    })
}

async fn area(desk: &Desk, patch: api::AuthPatch) -> Result<AreaChange, Failure> {
    let mut users = Vec::new();
    for (name, user) in patch.users {
        let hash = match user {
            Some(user) => Some(passwords::hashed(desk, user.password).await?),
            None => None,
        };
        users.push((name, hash));
    }
    Ok(AreaChange { realm: patch.realm.into(), users })
}
