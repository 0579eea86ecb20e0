//! Who may ask what: every request passes here first. A local user of the node's group may do everything, a token what its scope
//! says. Writes are judged again by the rules when they are applied.
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

use crate::admin::Desk;
use crate::admin::error::Failure;
use crate::admin::peers::{self, Peer};
use crate::api::headers;
use crate::base::clock::Time;
use crate::base::ids::TokenId;
use crate::base::names::AccountName;
use crate::model::change::Actor;
use crate::model::refusal::Refusal;
use crate::model::state::State as ModelState;
use crate::model::tokens::{Access, Scope};

/// What stands before the id in the text of a token.
const TOKEN_PREFIX: &str = "ruche_";

/// Who makes a request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) actor: Actor,
    scope: Option<Scope>,
}

impl Caller {
    /// The account the caller is limited to.
    pub(crate) fn account(&self) -> Option<&AccountName> {
        self.scope.as_ref().and_then(|scope| scope.account.as_ref())
    }

    /// What is not the caller's does not exist for it.
    pub(crate) fn sees(&self, owner: Option<&AccountName>) -> bool {
        self.account().is_none_or(|account| owner == Some(account))
    }

    /// Only for who is not limited to an account.
    pub(crate) fn sees_all(&self) -> Result<(), Failure> {
        match self.account() {
            Some(account) => Err(Failure::forbidden(&format!("the token is limited to the account {account}"))),
            None => Ok(()),
        }
    }

    /// A courtesy: the rules decide it again.
    pub(crate) fn may_write(&self) -> Result<(), Failure> {
        match &self.scope {
            Some(Scope { access: Access::Read, .. }) => Err(Failure::forbidden("the token is for reading only")),
            _ => Ok(()),
        }
    }

    /// Whether the caller's token, if it has one, is still good: streams live long.
    pub(crate) fn is_valid(&self, state: &ModelState) -> bool {
        match self.actor {
            Actor::Token { id } => state.tokens.get(&id).is_some_and(|token| token.valid_at(now(state))),
            Actor::System | Actor::Local { .. } => true,
        }
    }
}

/// The middleware before every route: finds out who asks and puts a `Caller` beside the request, or answers why not.
pub(crate) async fn admit(State(desk): State<Arc<Desk>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let (parts, body) = request.into_parts();
    let admitted = match peer {
        Some(Peer::Tcp) if !peers::calls_loopback(&parts) => Err(misdirected()),
        _ if matches!(parts.uri.path(), "/healthz" | "/readyz") => Ok(None),
        Some(Peer::Local { .. }) if parts.uri.path() == "/metrics" => Ok(None),
        Some(Peer::Local { uid, gid }) => local(&desk, uid, gid).await.map(Some),
        Some(Peer::Tcp) | None => bearer(&desk.snapshot().state, &parts.headers).map(Some),
    };
    request = Request::from_parts(parts, body);
    let mut response = match admitted {
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            next.run(request).await
        }
        Err(failure) => failure.into_response(),
    };
    let revision = HeaderValue::from(desk.snapshot().revision);
    metrics::counter!("ruche_admin_requests_total", "status" => response.status().as_str().to_owned()).increment(1);
    response.headers_mut().entry(headers::REVISION).or_insert(revision);
    response
}

async fn local(desk: &Desk, uid: u32, gid: u32) -> Result<Caller, Failure> {
    if peers::owns_the_node(uid) || desk.blocking.run(move || peers::in_group(uid, gid)).await? {
        return Ok(Caller { actor: Actor::Local { uid }, scope: None });
    }
    Err(Failure::new(
        StatusCode::FORBIDDEN,
        "forbidden",
        format!("the user {uid} may not use the admin socket"),
        "Ask as root, or put the user into the group `ruche`.",
    ))
}

fn bearer(state: &ModelState, headers: &HeaderMap) -> Result<Caller, Failure> {
    let Some(line) = headers.get(header::AUTHORIZATION) else { return Err(Failure::unauthenticated()) };
    let invalid = || Failure::from(Refusal::TokenInvalid);
    let (scheme, text) = line.to_str().ok().and_then(|line| line.split_once(' ')).ok_or_else(invalid)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(invalid());
    }
    let (id, hash) = split_token(text.trim()).ok_or_else(invalid)?;
    let token = state.tokens.get(&id).filter(|token| token.valid_at(now(state))).ok_or_else(invalid)?;
    if !same(&token.hash, &hash) {
        return Err(invalid());
    }
    Ok(Caller { actor: Actor::Token { id }, scope: Some(token.scope.clone()) })
}

/// A new secret, and the hash that is kept of it.
pub(crate) fn new_secret() -> (String, [u8; 32]) {
    let mut random = [0; 32];
    getrandom::fill(&mut random).expect("the kernel gives random bytes once it has booted");
    let secret = data_encoding::HEXLOWER.encode(&random);
    let hash = Sha256::digest(secret.as_bytes()).into();
    (secret, hash)
}

/// A token as its owner keeps it.
pub(crate) fn token_text(id: TokenId, secret: &str) -> String {
    format!("{TOKEN_PREFIX}{id}_{secret}")
}

fn split_token(text: &str) -> Option<(TokenId, [u8; 32])> {
    let (id, secret) = text.strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
    Some((id.parse().ok()?, Sha256::digest(secret.as_bytes()).into()))
}

/// Compares in the same time wherever they differ.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    std::hint::black_box(a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b))) == 0
}

/// The state's time stands still between changes; expiry must not.
fn now(state: &ModelState) -> Time {
    state.time.max(Time::now())
}

fn misdirected() -> Failure {
    Failure::new(
        StatusCode::MISDIRECTED_REQUEST,
        "host-refused",
        "the Host header names no loopback address",
        "Call the API as `localhost`, `127.0.0.1` or `[::1]`.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::effect::Stored;
    use crate::model::row::Row;
    use crate::model::tokens::Token;

    fn state(expires: Option<Time>) -> (ModelState, String) {
        let (secret, hash) = new_secret();
        let scope = Scope { access: Access::Read, account: Some(AccountName::parse("asso").unwrap()) };
        let token =
            Token { id: TokenId(7), name: "t".parse().unwrap(), hash, scope, created: Time(0), expires, revision: 1 };
        let mut state = ModelState::default();
        state.put(&Stored::new(Row::Token(token)));
        (state, token_text(TokenId(7), &secret))
    }

    fn ask(state: &ModelState, line: &str) -> Option<Caller> {
        bearer(state, &[(header::AUTHORIZATION, line.parse().unwrap())].into_iter().collect()).ok()
    }

    #[test]
    fn a_token_is_known_by_its_secret() {
        let (state, text) = state(None);
        let caller = ask(&state, &format!("bearer {text}")).unwrap();
        assert_eq!(caller.actor, Actor::Token { id: TokenId(7) });
        assert!(caller.sees(Some(&AccountName::parse("asso").unwrap())) && !caller.sees(None));
        assert!(caller.sees_all().is_err() && caller.may_write().is_err() && caller.is_valid(&state));
        let other = token_text(TokenId(8), "00");
        for bad in
            ["", "Bearer", "Bearer ", &format!("Basic {text}"), &format!("Bearer {text}0"), &format!("Bearer {other}")]
        {
            assert!(ask(&state, bad).is_none(), "{bad}");
        }
        assert!(bearer(&state, &HeaderMap::new()).is_err());
    }

    #[test]
    fn an_expired_token_is_no_token() {
        let (state, text) = state(Some(Time(1)));
        assert!(ask(&state, &format!("Bearer {text}")).is_none());
    }

    #[test]
    fn hashes_differ_wherever_they_differ() {
        let a = [7; 32];
        assert!(same(&a, &a));
        for at in 0..32 {
            let mut b = a;
            b[at] ^= 1;
            assert!(!same(&a, &b));
        }
    }
}
