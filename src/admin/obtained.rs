//! `/v1/certificates`, as far as issuers have to do with it: what is planned, what is asked for, what is brought along and taken away.
//! A key enters in the clear and is sealed at once; it leaves only to who may do everything.
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::acme::keeper::Handle;
use crate::acme::plan::{Item, Step};
use crate::admin::ask::{Ask, AskWith};
use crate::admin::context::Desk;
use crate::admin::error::Failure;
use crate::admin::fields;
use crate::admin::look::{At, Look};
use crate::admin::resource::{Resource, View, path};
use crate::api::certificates as api;
use crate::api::written::{ReadQuery, Removed, WriteQuery, Written};
use crate::base::clock::Time;
use crate::base::ids::{CertificateId, Seed, WishId};
use crate::base::limits::acme::PLAN_SHOWN_MAX;
use crate::base::names::{Host, IssuerName};
use crate::cluster::door::random;
use crate::model::answer::Object;
use crate::model::certificates::{CertificateRemove, CertificateStore, IMPORTED};
use crate::model::change::Change;
use crate::model::orders::Purpose;
use crate::model::refusal::{Kind, Refusal};
use crate::model::state::State;
use crate::model::wishes::{Wish, WishCreate, WishRemove};
use crate::tls::order::{chain, linked};
use crate::tls::sealed::{open_at, seal_at};
use crate::tls::{parse, sealed};

impl Resource for Wish {
    type View = api::Wish;

    fn of(object: Object) -> Option<Self> {
        if let Object::Wish(wish) = object { Some(wish) } else { None }
    }

    fn view(&self, _: &View<'_>) -> api::Wish {
        api::Wish {
            id: self.id.to_string(),
            names: self.names.clone(),
            issuer: self.issuer.as_ref().map(IssuerName::to_string),
            created: self.created.to_string(),
            revision: self.revision,
        }
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn path(&self) -> String {
        path(&["certificates", &self.id.to_string()])
    }
}

/// What is asked of the node that leads, which plans and orders; the others know what it stored.
#[derive(Debug, Serialize, Deserialize)]
enum Errand {
    Plan,
    Renew(Vec<Purpose>),
}

/// Answers what other nodes ask of the one that leads, with what it plans then.
pub(crate) fn errands(obtaining: Handle) -> impl Fn(&[u8]) -> Vec<u8> {
    move |asked| {
        match serde_json::from_slice(asked) {
            Ok(Errand::Plan) => {}
            Ok(Errand::Renew(purposes)) => obtaining.renew(purposes),
            Err(_) => return Vec::new(),
        }
        let items = obtaining.plan().items.iter().take(PLAN_SHOWN_MAX).map(planned).collect();
        serde_json::to_vec(&api::Plan { items }).unwrap_or_default()
    }
}

async fn ask(desk: &Desk, errand: &Errand) -> Result<api::Plan, Failure> {
    let asked = serde_json::to_vec(errand).map_err(|error| Failure::busy(error.to_string()))?;
    let said = desk.member.errand(&asked).await.and_then(|said| serde_json::from_slice(&said).ok());
    said.ok_or_else(|| {
        let detail = "certificates are obtained by the node that leads, and none does now or it does not answer";
        Failure::new(StatusCode::CONFLICT, "not-leader", detail, "Try again in a few seconds.")
    })
}

/// Shows what becomes of all names that want a certificate, the most urgent first.
#[utoipa::path(get, path = "/v1/certificates/plan", tag = "certificates", params(ReadQuery),
    responses((status = 200, body = api::Plan)))]
pub(crate) async fn plan(look: Look) -> Result<Response, Failure> {
    unlimited(look.caller.account().is_none())?;
    let plan = ask(&look.desk, &Errand::Plan).await?;
    Ok(look.stamped(axum::Json(plan).into_response()))
}

/// Asks for a certificate that no site has, and keeps it renewed.
#[utoipa::path(post, path = "/v1/certificates", tag = "certificates", params(WriteQuery), request_body = api::Issue,
    responses((status = 201, body = Written<api::Wish>)))]
pub(crate) async fn issue(AskWith(ask, body): AskWith<api::Issue>) -> Result<Response, Failure> {
    let names = body.names.iter().map(|name| wanted(name)).collect::<Result<_, _>>()?;
    let issuer = fields::optional("issuer", body.issuer.as_deref())?;
    ask.create::<Wish>(Change::WishCreate(WishCreate { names, issuer })).await
}

/// Renews the certificates of these names now, due or not. The issuer's limits hold all the same.
#[utoipa::path(post, path = "/v1/certificates/renew", tag = "certificates", params(WriteQuery), request_body = api::Renew,
    responses((status = 202, body = api::Renewing)))]
pub(crate) async fn renew(AskWith(asked, body): AskWith<api::Renew>) -> Result<Response, Failure> {
    unlimited(asked.caller.account().is_none())?;
    let names: Vec<String> = body.names.iter().map(|name| wanted(name)).collect::<Result<_, _>>()?;
    let found: Vec<Purpose> = names.iter().map(|name| purpose(&asked.snapshot, name)).collect::<Result<_, _>>()?;
    ask(&asked.desk, &Errand::Renew(found)).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(api::Renewing { names })).into_response())
}

/// Takes up a certificate with its key. It is served as it is, and what follows it is ordered when it runs out.
#[utoipa::path(post, path = "/v1/certificates/import", tag = "certificates", params(WriteQuery),
    request_body = api::Pair, responses((status = 201, body = api::Imported)))]
pub(crate) async fn import(AskWith(ask, body): AskWith<api::Pair>) -> Result<Response, Failure> {
    let key = parse::private_key(body.key.as_bytes()).map_err(|error| Failure::invalid("key", error))?;
    let chain = chain(body.chain.as_bytes(), &key).map_err(|error| Failure::invalid("chain", error))?;
    linked(&chain.certificates).map_err(|error| Failure::invalid("chain", error))?;
    if chain.not_after <= Time::now() {
        return Err(Failure::invalid("chain", format!("it ended at {}", chain.not_after)));
    }
    let leaf = &chain.certificates[0];
    let held = ask.snapshot.certificates.values().find(|held| held.chain.first().is_some_and(|der| *der == *leaf));
    let id = held.map_or_else(|| CertificateId(Seed(random()).id()), |held| held.id);
    let cluster = ask.snapshot.cluster.as_ref().ok_or_else(|| Failure::busy("the cluster is not founded yet"))?;
    let sealed = seal_at(&ask.desk.keyring, cluster.sealed_for(), ("certificates", &id.to_string(), "key"), &key);
    let store = CertificateStore {
        id,
        names: chain.names.clone(),
        issuer: held.map_or_else(|| IssuerName::parse(IMPORTED).expect("it is a name"), |held| held.issuer.clone()),
        not_before: chain.not_before,
        not_after: chain.not_after,
        chain: chain.certificates.into_iter().map(Into::into).collect(),
        key: sealed.map_err(|error| Failure::busy(format!("failed to {error}")))?,
    };
    let done = ask.write::<()>(Change::CertificateStore(store), None).await?;
    let not_after = chain.not_after.to_string();
    let body = api::Imported { id: id.to_string(), names: chain.names, not_after, revision: done.revision };
    Ok(ask.json(StatusCode::CREATED, &done, &body))
}

/// Hands out a certificate with its key, for another service to use.
#[utoipa::path(get, path = "/v1/certificates/{id}/export", tag = "certificates", params(("id" = String, Path), ReadQuery),
    responses((status = 200, body = api::Pair)))]
pub(crate) async fn export(At(id): At<String>, look: Look) -> Result<Response, Failure> {
    unlimited(look.caller.account().is_none())?;
    // A key opens more than what can be read.
    look.caller.may_write()?;
    let found = id.parse().ok().and_then(|id: CertificateId| look.snapshot.certificates.get(&id));
    let (found, cluster) =
        found.zip(look.snapshot.cluster.as_ref()).ok_or_else(|| Failure::not_found(Kind::Certificate, &id))?;
    let key = open_at(&look.desk.keyring, cluster.sealed_for(), ("certificates", &id, "key"), &found.key);
    let key = key.map_err(|error| Failure::busy(format!("failed to {error}")))?;
    let chain = found.chain.iter().map(|der| parse::pem(der)).collect();
    let key = sealed::key_pem(&key);
    Ok(look.stamped(axum::Json(api::Pair { chain, key }).into_response()))
}

/// Removes a certificate that was obtained or brought along, or withdraws one that was asked for.
#[utoipa::path(delete, path = "/v1/certificates/{id}", tag = "certificates", params(("id" = String, Path), WriteQuery),
    responses((status = 200, body = Removed)))]
pub(crate) async fn remove(At(id): At<String>, ask: Ask) -> Result<Response, Failure> {
    let not_found = || Failure::not_found(Kind::Certificate, &id);
    if let Some(wish) = id.parse().ok().and_then(|id: WishId| ask.snapshot.wishes.get(&id).cloned()) {
        return ask.remove(Change::WishRemove(WishRemove { id: wish.id }), Some(wish.revision)).await;
    }
    let id: CertificateId = id.parse().map_err(|_| not_found())?;
    let current = ask.snapshot.certificates.get(&id).map(|certificate| certificate.revision);
    ask.remove(Change::CertificateRemove(CertificateRemove { id }), current).await
}

fn unlimited(is: bool) -> Result<(), Failure> {
    match is {
        true => Ok(()),
        false => Err(Refusal::Forbidden { reason: "it is limited to an account".into() }.into()),
    }
}

/// A name as it is stored: a host, or a wildcard of one.
fn wanted(text: &str) -> Result<String, Failure> {
    let (wild, bare) = text.strip_prefix("*.").map_or(("", text), |bare| ("*.", bare));
    let host: Host = fields::name("names", bare)?;
    Ok(format!("{wild}{host}"))
}

/// Whose certificate a name is in.
fn purpose(state: &State, name: &str) -> Result<Purpose, Failure> {
    let site = state.hosts.get(name).map(|id| Purpose::Site(*id));
    let wish = || state.wishes.values().find(|wish| wish.names.iter().any(|held| held == name));
    let found = site.or_else(|| wish().map(|wish| Purpose::Wish(wish.id)));
    found.ok_or_else(|| Failure::not_found(Kind::Site, name))
}

fn planned(item: &Item) -> api::Planned {
    let (step, at, reason) = match &item.step {
        Step::Good { renew } if renew.0 == u64::MAX => (api::Step::Good, None, None),
        Step::Good { renew } => (api::Step::Good, Some(*renew), None),
        Step::Check { .. } => (api::Step::Check, None, None),
        Step::Order(intent) => {
            let left = intent.left_out.iter().map(|(name, why)| format!("without {name}: {why}"));
            let all: Vec<_> = intent.how.iter().cloned().chain(left).collect();
            (api::Step::Order, None, Some(all.join("; ")))
        }
        Step::UnderWay { how } => (api::Step::UnderWay, None, (!how.is_empty()).then(|| how.join("; "))),
        Step::Wait { until, reason } => (api::Step::Wait, Some(*until), Some(reason.clone())),
        Step::Blocked { again, reason } => (api::Step::Blocked, Some(*again), Some(reason.clone())),
    };
    let wish = match item.purpose {
        Purpose::Wish(id) => Some(id.to_string()),
        Purpose::Site(_) => None,
    };
    api::Planned {
        wish,
        names: item.names.to_vec(),
        issuer: item.issuer.as_ref().map(IssuerName::to_string),
        step,
        at: at.map(|at| at.to_string()),
        reason,
    }
}
