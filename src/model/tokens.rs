//! Tokens of the admin API. Only the hash of a secret is kept; scope and expiry are judged here, by the state's own time.
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::ids::TokenId;
use crate::base::limits::{TOKEN_KEPT, TOKENS_FORGOTTEN};
use crate::base::names::{AccountName, TokenName};
use crate::model::answer::{Object, Outcome};
use crate::model::apply::Apply;
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;

/// What a token may do, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    pub access: Access,
    /// Only what belongs to this account; absent: everything.
    pub account: Option<AccountName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    Read,
    Write,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub id: TokenId,
    pub name: TokenName,
    /// SHA-256 of the secret, which is random and long: no slow hash is needed.
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 32],
    pub scope: Scope,
    pub created: Time,
    pub expires: Option<Time>,
    pub revision: u64,
}

impl Token {
    pub fn valid_at(&self, now: Time) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCreate {
    pub name: TokenName,
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 32],
    pub scope: Scope,
    pub expires: Option<Time>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRemove {
    pub name: TokenName,
}

pub(crate) fn create(cx: &mut Apply<'_>, change: &TokenCreate) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let old = cx.state.token_named(&change.name);
    cx.expect(Kind::Token, &change.name, old.map(|token| token.revision))?;
    if old.is_some() {
        return Err(Refusal::exists(Kind::Token, &change.name));
    }
    if let Some(account) = &change.scope.account {
        cx.state.account(account)?;
    }
    if change.expires.is_some_and(|expires| expires <= cx.time) {
        return Err(Refusal::invalid("expires", "it lies in the past"));
    }
    let token = Token {
        id: TokenId(cx.seed_id()),
        name: change.name.clone(),
        hash: change.hash,
        scope: change.scope.clone(),
        created: cx.time,
        expires: change.expires,
        revision: cx.revision,
    };
    if cx.state.tokens.contains_key(&token.id) {
        return Err(Refusal::exists(Kind::Token, token.id));
    }
    forget(cx);
    cx.put(Row::Token(token.clone()));
    Ok(Outcome::new("token.create", &change.name)
        .account(change.scope.account.as_ref())
        .object(Object::Token(Token { hash: [0; 32], ..token })))
}

/// Tokens that expired long ago go with each new one: who makes them without end keeps few.
fn forget(cx: &mut Apply<'_>) {
    let old = |token: &&Arc<Token>| token.expires.is_some_and(|expires| expires.plus(TOKEN_KEPT) < cx.time);
    let old: Vec<Token> =
        cx.state.tokens.values().filter(old).take(TOKENS_FORGOTTEN).map(|old| Token::clone(old)).collect();
    old.into_iter().for_each(|old| cx.delete(Row::Token(old)));
}

pub(crate) fn remove(cx: &mut Apply<'_>, change: &TokenRemove) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let token = cx.state.token_named(&change.name).ok_or_else(|| Refusal::not_found(Kind::Token, &change.name))?;
    cx.expect(Kind::Token, &change.name, Some(token.revision))?;
    let account = token.scope.account.clone();
    cx.delete(Row::Token(Token::clone(token)));
    Ok(Outcome::new("token.remove", &change.name).account(account.as_ref()))
}
