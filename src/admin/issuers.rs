//! `/v1/issuers`: the authorities certificates are asked of. Keys of contracts are sealed here, and never shown.
use std::sync::Arc;

use axum::response::Response;
use data_encoding::{BASE64URL, BASE64URL_NOPAD};

use crate::admin::Desk;
use crate::admin::ask::{Ask, AskWith};
use crate::admin::error::Failure;
use crate::admin::fields;
use crate::admin::look::{At, Look};
use crate::admin::resource::{Resource, View, path};
use crate::api::issuers as api;
use crate::api::page::{Page, PageQuery};
use crate::api::written::{ReadQuery, Removed, WriteQuery, Written};
use crate::base::names::IssuerName;
use crate::model::answer::Object;
use crate::model::change::{Change, Set};
use crate::model::issuers::{Binding, Issuer, IssuerAccount, IssuerCreate, IssuerRemove, IssuerSet, Standing, Task};
use crate::model::refusal::Kind;
use crate::model::state::Snapshot;
use crate::tls::jose::{self, AccountKey};
use crate::tls::parse;
use crate::tls::sealed::seal_at;

impl Resource for Issuer {
    type View = api::Issuer;

    fn of(object: Object) -> Option<Self> {
        if let Object::Issuer(issuer) = object { Some(issuer) } else { None }
    }

    fn view(&self, cx: &View<'_>) -> api::Issuer {
        let place = cx.snapshot.preferred_issuers().iter().position(|issuer| issuer.name == self.name);
        api::Issuer {
            name: self.name.to_string(),
            directory: self.directory.clone(),
            own_ca: !self.roots.is_empty(),
            // What it is to the provider is nothing to who is limited to an account.
            contacts: if cx.limited { Vec::new() } else { self.contacts.clone() },
            eab_kid: self.binding.as_ref().filter(|_| !cx.limited).map(|binding| binding.key_id.clone()),
            place: place.map(|place| place + 1),
            account: self.account().filter(|_| !cx.limited).map(|account| account.url.clone()),
            thumbprint: self.account().map(|account| account.thumbprint.clone()),
            task: match self.task {
                Some(Task::Rollover) => Some("rollover".to_owned()),
                Some(Task::Deactivate) => Some("deactivate".to_owned()),
                None => self.is_to_be_told().then(|| "contacts".to_owned()),
            },
            built_in: Self::built_in(&self.name).is_some(),
            revision: self.revision,
        }
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn path(&self) -> String {
        path(&["issuers", self.name.as_str()])
    }
}

/// Lists the issuers by name.
#[utoipa::path(get, path = "/v1/issuers", tag = "issuers", params(PageQuery),
    responses((status = 200, body = Page<api::Issuer>)))]
pub(crate) async fn list(look: Look) -> Result<Response, Failure> {
    let from: Option<IssuerName> = look.cursor()?;
    let all = look.snapshot.all_issuers();
    let all = all.iter().filter(|issuer| from.as_ref().is_none_or(|from| issuer.name >= *from));
    Ok(look.page(all, |issuer| issuer.name.to_string(), |issuer| issuer.view(&look.view())))
}

/// Shows one issuer.
#[utoipa::path(get, path = "/v1/issuers/{issuer}", tag = "issuers", params(("issuer" = String, Path), ReadQuery),
    responses((status = 200, body = api::Issuer)))]
pub(crate) async fn show(At(name): At<IssuerName>, look: Look) -> Result<Response, Failure> {
    let issuer = look.snapshot.issuer(&name);
    issuer.map(|issuer| look.one(&*issuer)).ok_or_else(|| Failure::not_found(Kind::Issuer, name))
}

/// Creates an issuer. Nothing is asked of it before a certificate is wanted.
#[utoipa::path(post, path = "/v1/issuers", tag = "issuers", params(WriteQuery), request_body = api::IssuerCreate,
    responses((status = 201, body = Written<api::Issuer>)))]
pub(crate) async fn create(AskWith(ask, body): AskWith<api::IssuerCreate>) -> Result<Response, Failure> {
    let name: IssuerName = fields::name("name", &body.name)?;
    let create = IssuerCreate {
        directory: body.directory,
        roots: body.ca_cert.as_deref().map(roots).transpose()?.unwrap_or_default(),
        contacts: body.contacts.into_iter().map(contact).collect(),
        binding: body.eab.map(|eab| binding(&ask.desk, &ask.snapshot, &name, eab)).transpose()?,
        standing: standing(body.standing),
        name,
    };
    ask.create::<Issuer>(Change::IssuerCreate(create)).await
}

/// Changes an issuer, or has its account get another key or end.
#[utoipa::path(patch, path = "/v1/issuers/{issuer}", tag = "issuers", params(("issuer" = String, Path), WriteQuery),
    request_body = api::IssuerPatch, responses((status = 200, body = Written<api::Issuer>)))]
pub(crate) async fn set(
    At(name): At<IssuerName>,
    AskWith(ask, body): AskWith<api::IssuerPatch>,
) -> Result<Response, Failure> {
    let current = ask.snapshot.issuer(&name).map(|issuer| issuer.revision);
    let pem = body.ca_cert.map(|pem| pem.as_deref().map(roots).transpose()).transpose()?;
    let eab = |eab: Option<api::Eab>| eab.map(|eab| binding(&ask.desk, &ask.snapshot, &name, eab)).transpose();
    let task = body.task.map(|task| match task {
        api::Task::Rollover => Task::Rollover,
        api::Task::Deactivate => Task::Deactivate,
    });
    let set = IssuerSet {
        directory: body.directory.into(),
        roots: pem.map(Option::unwrap_or_default).into(),
        contacts: body.contacts.map(|contacts| contacts.into_iter().map(contact).collect()).into(),
        binding: body.eab.map(eab).transpose()?.into(),
        standing: body.standing.map(standing).into(),
        task: task.map_or(Set::Keep, |task| Set::To(Some(task))),
        account: body.account.map(|account| brought(&ask.desk, &ask.snapshot, &name, account)).transpose()?,
        ..IssuerSet::of(name.clone())
    };
    ask.change::<Issuer>(Change::IssuerSet(set), current).await
}

/// Removes an issuer that nothing names. A built-in one becomes again what it was.
#[utoipa::path(delete, path = "/v1/issuers/{issuer}", tag = "issuers", params(("issuer" = String, Path), WriteQuery),
    responses((status = 200, body = Removed)))]
pub(crate) async fn remove(At(name): At<IssuerName>, ask: Ask) -> Result<Response, Failure> {
    let current = ask.snapshot.issuers.get(&name).map(|issuer| issuer.revision);
    ask.remove(Change::IssuerRemove(IssuerRemove { name }), current).await
}

/// An account with its key, which may be of any kind.
fn brought(
    desk: &Arc<Desk>,
    snapshot: &Arc<Snapshot>,
    name: &IssuerName,
    account: api::Account,
) -> Result<IssuerAccount, Failure> {
    let refused = |error| Failure::invalid("account.key", error);
    let key = jose::read_jwk(&account.key).map_err(refused)?;
    let thumbprint = AccountKey::read(&key).map_err(refused)?.thumbprint();
    let cluster = snapshot.cluster.as_ref().ok_or_else(|| Failure::busy("the cluster is not founded yet"))?;
    let sealed = seal_at(&desk.keyring, cluster.sealed_for(), ("issuers", name.as_str(), "account"), &key);
    let key = Some(sealed.map_err(|error| Failure::busy(format!("failed to {error}")))?);
    Ok(IssuerAccount { url: account.url, key, thumbprint, directory: String::new(), next: None, told: Vec::new() })
}

/// `mailto:` is how ACME writes it; people need not.
fn contact(text: String) -> String {
    text.strip_prefix("mailto:").map(str::to_owned).unwrap_or(text)
}

fn standing(standing: api::Standing) -> Standing {
    match standing {
        api::Standing::First => Standing::First,
        api::Standing::Last => Standing::Last,
        api::Standing::ByName => Standing::ByName,
    }
}

fn roots(pem: &str) -> Result<Vec<serde_bytes::ByteBuf>, Failure> {
    let found = parse::certificates(pem.as_bytes()).map_err(|error| Failure::invalid("ca_cert", error))?;
    Ok(found.into_iter().map(Into::into).collect())
}

fn binding(desk: &Arc<Desk>, snapshot: &Arc<Snapshot>, name: &IssuerName, eab: api::Eab) -> Result<Binding, Failure> {
    let text = eab.key.trim();
    let key = BASE64URL_NOPAD.decode(text.as_bytes()).or_else(|_| BASE64URL.decode(text.as_bytes()));
    let key = key.ok().filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| Failure::invalid("eab.key", "expected base64url, as the issuer hands it out"))?;
    if eab.kid.is_empty() || eab.kid.len() > 200 {
        return Err(Failure::invalid("eab.kid", "expected 1 to 200 bytes"));
    }
    let cluster = snapshot.cluster.as_ref().ok_or_else(|| Failure::busy("the cluster is not founded yet"))?;
    let sealed = seal_at(&desk.keyring, cluster.sealed_for(), ("issuers", name.as_str(), "binding"), &key);
    let key = sealed.map_err(|error| Failure::busy(format!("failed to {error}")))?;
    Ok(Binding { key_id: eab.kid, key })
}
