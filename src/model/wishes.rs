//! Wishes: certificates asked for beside those that follow from sites, such as for a mail machine. Each is kept renewed until it is
//! withdrawn.
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::ids::WishId;
use crate::base::limits::acme::{ORDER_NAMES_MAX, WISHES_MAX};
use crate::base::names::{Host, IssuerName};
use crate::model::answer::{Object, Outcome};
use crate::model::apply::Apply;
use crate::model::issuers;
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    pub id: WishId,
    /// A-labels, `*.` allowed, each once.
    pub names: Vec<String>,
    /// Absent: the preferred ones.
    pub issuer: Option<IssuerName>,
    pub created: Time,
    pub revision: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WishCreate {
    pub names: Vec<String>,
    pub issuer: Option<IssuerName>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WishRemove {
    pub id: WishId,
}

pub(crate) fn create(cx: &mut Apply<'_>, change: &WishCreate) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let id = WishId(cx.seed_id());
    cx.expect(Kind::Wish, id, None)?;
    if cx.state.wishes.contains_key(&id) {
        return Err(Refusal::exists(Kind::Wish, id));
    }
    if cx.state.wishes.len() >= WISHES_MAX {
        return Err(Refusal::invalid("names", format!("there are {WISHES_MAX} of them at most")));
    }
    check_names(&change.names)?;
    issuers::check_named(cx.state, change.issuer.as_ref())?;
    let same = |wish: &&Arc<Wish>| wish.names == change.names;
    if let Some(old) = cx.state.wishes.values().find(same) {
        return Err(Refusal::exists(Kind::Wish, old.names.join(" ")));
    }
    let wish = Wish {
        id,
        names: change.names.clone(),
        issuer: change.issuer.clone(),
        created: cx.time,
        revision: cx.revision,
    };
    cx.put(Row::Wish(wish.clone().into()));
    Ok(Outcome::new("wish.create", wish.names.join(" ")).object(Object::Wish(wish)))
}

pub(crate) fn remove(cx: &mut Apply<'_>, change: &WishRemove) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let wish = cx.state.wishes.get(&change.id).ok_or_else(|| Refusal::not_found(Kind::Wish, change.id))?;
    cx.expect(Kind::Wish, change.id, Some(wish.revision))?;
    let outcome = Outcome::new("wish.remove", wish.names.join(" "));
    cx.delete(Row::Wish(Arc::clone(wish)));
    Ok(outcome)
}

/// Names a certificate may be for.
pub(crate) fn check_names(names: &[String]) -> Result<(), Refusal> {
    if names.is_empty() || names.len() > ORDER_NAMES_MAX {
        return Err(Refusal::invalid("names", format!("expected 1 to {ORDER_NAMES_MAX} of them")));
    }
    for (at, name) in names.iter().enumerate() {
        let plain = name.strip_prefix("*.").unwrap_or(name);
        match Host::parse(plain) {
            Ok(host) if host.as_str() == plain && plain.contains('.') => {}
            _ => return Err(Refusal::invalid("names", format!("`{name}` is no name a certificate can be for"))),
        }
        if names[..at].contains(name) {
            return Err(Refusal::invalid("names", format!("{name} stands there twice")));
        }
    }
    Ok(())
}
