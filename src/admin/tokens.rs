//! `/v1/tokens`: keys to this API for programs. The secret leaves once, in the answer to its creation; only its hash is kept.
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use crate::admin::ask::{Ask, AskWith};
use crate::admin::auth;
use crate::admin::error::Failure;
use crate::admin::fields;
use crate::admin::look::{At, Look};
use crate::admin::resource::{Resource, View, path};
use crate::api::page::{Page, PageQuery};
use crate::api::tokens as api;
use crate::api::written::{ReadQuery, Removed, WriteQuery, Written};
use crate::base::clock::Time;
use crate::base::names::{AccountName, TokenName};
use crate::model::answer::Object;
use crate::model::change::Change;
use crate::model::refusal::Kind;
use crate::model::tokens::{Access, Scope, Token, TokenCreate, TokenRemove};

impl Resource for Token {
    type View = api::Token;

    fn of(object: Object) -> Option<Self> {
        if let Object::Token(token) = object { Some(token) } else { None }
    }

    fn view(&self, _: &View<'_>) -> api::Token {
        api::Token {
            id: self.id.to_string(),
            name: self.name.to_string(),
            access: match self.scope.access {
                Access::Read => api::Access::Read,
                Access::Write => api::Access::Write,
            },
            account: self.scope.account.as_ref().map(AccountName::to_string),
            created: self.created.to_string(),
            expires: self.expires.map(|expires| expires.to_string()),
            revision: self.revision,
        }
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn path(&self) -> String {
        path(&["tokens", self.name.as_str()])
    }
}

/// A token that was just made, with the secret that only its maker knows.
struct Fresh {
    token: Token,
    secret: Option<String>,
}

impl Resource for Fresh {
    type View = api::TokenCreated;

    fn of(object: Object) -> Option<Self> {
        Token::of(object).map(|token| Self { token, secret: None })
    }

    fn view(&self, cx: &View<'_>) -> api::TokenCreated {
        let secret = self.secret.as_deref().map(|secret| auth::token_text(self.token.id, secret));
        api::TokenCreated { token: self.token.view(cx), secret }
    }

    fn revision(&self) -> u64 {
        self.token.revision
    }

    fn path(&self) -> String {
        self.token.path()
    }
}

/// Lists the tokens by name.
#[utoipa::path(get, path = "/v1/tokens", tag = "tokens", params(PageQuery), responses((status = 200, body = Page<api::Token>)))]
pub(crate) async fn list(look: Look) -> Result<Response, Failure> {
    look.caller.sees_all()?;
    let tokens = look.snapshot.tokens.values().filter(|token| look.wants(token.scope.account.as_ref()));
    look.page_by_name(tokens, |token| token.name.to_string(), |token| token.view(&look.view()))
}

/// Creates a token. This answer is the only one that has its secret.
#[utoipa::path(post, path = "/v1/tokens", tag = "tokens", params(WriteQuery), request_body = api::TokenCreate,
    responses((status = 201, body = Written<api::TokenCreated>)))]
pub(crate) async fn create(AskWith(ask, body): AskWith<api::TokenCreate>) -> Result<Response, Failure> {
    let expires = body.expires.as_deref().map(Time::parse).transpose();
    let access = match body.access {
        api::Access::Read => Access::Read,
        api::Access::Write => Access::Write,
    };
    let account = fields::optional("account", body.account.as_deref())?;
    let (secret, hash) = auth::new_secret();
    let create = TokenCreate {
        name: fields::name("name", &body.name)?,
        hash,
        scope: Scope { access, account },
        expires: expires.map_err(|error| Failure::invalid("expires", error))?,
    };
    let mut done = ask.write::<Fresh>(Change::TokenCreate(create), None).await?;
    let location = done.object.as_ref().map(Resource::path);
    if let Some(fresh) = done.object.as_mut().filter(|_| !done.repeated) {
        fresh.secret = Some(secret);
    }
    let mut response = ask.answer(StatusCode::CREATED, done);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(location) = location.and_then(|path| HeaderValue::try_from(path).ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Shows one token, without its secret.
#[utoipa::path(get, path = "/v1/tokens/{token}", tag = "tokens", params(("token" = String, Path), ReadQuery),
    responses((status = 200, body = api::Token)))]
pub(crate) async fn show(At(name): At<TokenName>, look: Look) -> Result<Response, Failure> {
    look.caller.sees_all()?;
    let token = look.snapshot.token_named(&name);
    token.map(|token| look.one(&**token)).ok_or_else(|| Failure::not_found(Kind::Token, name))
}

/// Removes a token: from now on it opens nothing.
#[utoipa::path(delete, path = "/v1/tokens/{token}", tag = "tokens", params(("token" = String, Path), WriteQuery),
    responses((status = 200, body = Removed)))]
pub(crate) async fn remove(At(name): At<TokenName>, ask: Ask) -> Result<Response, Failure> {
    ask.caller.sees_all()?;
    let current = ask.snapshot.token_named(&name).map(|token| token.revision);
    ask.remove(Change::TokenRemove(TokenRemove { name }), current).await
}
