//! A request to read something: one object with its ETag, or a page of many. Reads the snapshot taken when the request came and
//! never waits for the cluster unless asked to.
use std::ops::Bound;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64URL_NOPAD;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admin::Desk;
use crate::admin::ask;
use crate::admin::auth::Caller;
use crate::admin::error::Failure;
use crate::admin::etag;
use crate::admin::fields;
use crate::admin::resource::{Resource, View};
use crate::api::headers;
use crate::api::page::{Page, PageQuery};
use crate::base::limits::{PAGE_DEFAULT, PAGE_MAX};
use crate::base::names::{AccountName, Host};
use crate::model::refusal::Kind;
use crate::model::state::Snapshot;

#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) desk: Arc<Desk>,
    pub(crate) caller: Caller,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) headers: HeaderMap,
    pub(crate) limit: usize,
    /// Only what belongs to this account: the one asked for, or the one the caller is limited to.
    pub(crate) account: Option<AccountName>,
    /// Only what is for this host, where one is asked for.
    pub(crate) host: Option<Host>,
    cursor: Option<String>,
}

/// What the placeholders of a path stand for.
#[derive(Debug)]
pub(crate) struct At<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Desk>> for At<T> {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, desk: &Arc<Desk>) -> Result<Self, Failure> {
        let read = Path::<T>::from_request_parts(parts, desk).await;
        read.map(|Path(path)| Self(path)).map_err(|error| Failure::invalid("path", error.body_text()))
    }
}

impl FromRequestParts<Arc<Desk>> for Look {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, desk: &Arc<Desk>) -> Result<Self, Failure> {
        let caller = parts.extensions.get::<Caller>().cloned().ok_or_else(Failure::unauthenticated)?;
        let query: PageQuery = ask::query(parts)?;
        let limit = query.limit.unwrap_or(PAGE_DEFAULT);
        if limit == 0 || limit > PAGE_MAX {
            return Err(Failure::invalid("limit", format!("expected 1 to {PAGE_MAX}")));
        }
        let account: Option<AccountName> = fields::optional("account", query.account.as_deref())?;
        if account.is_some() && !caller.sees(account.as_ref()) {
            return Err(Failure::not_found(Kind::Account, query.account.unwrap_or_default()));
        }
        let account = account.or_else(|| caller.account().cloned());
        let host = fields::optional("host", query.host.as_deref())?;
        let cursor = query.cursor.map(|cursor| decode(&cursor).ok_or_else(bad_cursor)).transpose()?;
        if query.consistent == Some(true) {
            desk.member.consistent().await?;
        }
        let snapshot = desk.snapshot();
        Ok(Self {
            desk: Arc::clone(desk),
            caller,
            snapshot,
            headers: parts.headers.clone(),
            limit,
            account,
            host,
            cursor,
        })
    }
}

impl Look {
    pub(crate) fn view(&self) -> View<'_> {
        View::new(&self.desk, &self.snapshot, &self.caller)
    }

    /// Whether the page is to have what belongs to this owner.
    pub(crate) fn wants(&self, owner: Option<&AccountName>) -> bool {
        self.account.as_ref().is_none_or(|account| owner == Some(account))
    }

    /// One object, or 304 where the reader has it already.
    pub(crate) fn one<R: Resource>(&self, object: &R) -> Response {
        let mut response = match etag::is_held(&self.headers, object.revision()) {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => axum::Json(object.view(&self.view())).into_response(),
        };
        if let Ok(tag) = HeaderValue::try_from(etag::of(object.revision())) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        self.stamped(response)
    }

    /// What the page begins with, as it was given out by `page`.
    pub(crate) fn cursor<K: FromStr>(&self) -> Result<Option<K>, Failure> {
        self.cursor.as_deref().map(|cursor| cursor.parse().map_err(|_| bad_cursor())).transpose()
    }

    /// The range of keys from where the page begins.
    pub(crate) fn range<K: FromStr>(&self) -> Result<(Bound<K>, Bound<K>), Failure> {
        Ok((self.cursor()?.map_or(Bound::Unbounded, Bound::Included), Bound::Unbounded))
    }

    /// One page of items that begin where the page does; `key` is what the next page will begin with.
    pub(crate) fn page<T, V: Serialize>(
        &self,
        items: impl Iterator<Item = T>,
        key: impl Fn(&T) -> String,
        view: impl Fn(&T) -> V,
    ) -> Response {
        let mut items = items.take(self.limit + 1).collect::<Vec<_>>();
        let next = (items.len() > self.limit).then(|| items.pop()).flatten().map(|item| encode(&key(&item)));
        let page = Page { items: items.iter().map(view).collect::<Vec<_>>(), next };
        self.stamped(axum::Json(page).into_response())
    }

    /// A page of the few objects that are kept by id but listed by name.
    pub(crate) fn page_by_name<T, V: Serialize>(
        &self,
        items: impl Iterator<Item = T>,
        name: impl Fn(&T) -> String,
        view: impl Fn(&T) -> V,
    ) -> Result<Response, Failure> {
        let from = self.cursor::<String>()?.unwrap_or_default();
        let mut items: Vec<_> = items.filter(|item| name(item) >= from).collect();
        items.sort_by_key(&name);
        Ok(self.page(items.into_iter(), name, view))
    }

    /// With the revision that was read, not a later one.
    pub(crate) fn stamped(&self, mut response: Response) -> Response {
        response.headers_mut().insert(headers::REVISION, HeaderValue::from(self.snapshot.revision));
        response
    }
}

fn encode(key: &str) -> String {
    BASE64URL_NOPAD.encode(key.as_bytes())
}

fn decode(cursor: &str) -> Option<String> {
    String::from_utf8(BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?).ok()
}

fn bad_cursor() -> Failure {
    Failure::invalid("cursor", "it is not the `next` of a page of this list")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_the_key_it_was_made_of() {
        for key in ["", "a.example", "web@example.org", "é"] {
            assert_eq!(decode(&encode(key)).as_deref(), Some(key));
        }
        assert!(encode("a/b?").bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
        assert!(decode("!").is_none() && decode("_w").is_none());
    }
}
