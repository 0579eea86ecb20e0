//! `/v1/certificates`: what sites are served with, and the CA behind the internal ones. Keys are minted here, sealed at once, and
//! never shown.
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use http::{StatusCode, header};
use sha2::{Digest, Sha256};

use crate::admin::Desk;
use crate::admin::error::Failure;
use crate::admin::look::{At, Look};
use crate::admin::resource::{Resource, View, path};
use crate::api::certificates as api;
use crate::api::page::{Page, PageQuery};
use crate::api::written::ReadQuery;
use crate::base::ids::{CertificateId, WishId};
use crate::base::limits::CERTIFICATE_NAMES_MAX;
use crate::base::names::{AccountName, Host};
use crate::model::answer::Object;
use crate::model::certificates::{Certificate, Minted};
use crate::model::refusal::Kind;
use crate::model::state::{Snapshot, State};
use crate::tls::error::TlsError;
use crate::tls::parse::pem;
use crate::tls::sealed;

impl Resource for Arc<Certificate> {
    type View = api::Certificate;

    fn of(_: Object) -> Option<Self> {
        None
    }

    fn view(&self, _: &View<'_>) -> api::Certificate {
        let leaf = self.chain.first().map_or(&[][..], |der| der.as_slice());
        api::Certificate {
            id: self.id.to_string(),
            names: self.names.clone(),
            issuer: self.issuer.to_string(),
            not_before: self.not_before.to_string(),
            not_after: self.not_after.to_string(),
            fingerprint: HEXLOWER.encode(&Sha256::digest(leaf)),
            chain: self.chain.iter().map(|der| pem(der)).collect(),
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

/// Whose a certificate is: the owner of the site that has its first name.
fn owner<'a>(state: &'a State, certificate: &Certificate) -> Option<&'a AccountName> {
    let id = state.hosts.get(certificate.names.first()?.as_str())?;
    state.sites.get(id)?.account.as_ref()
}

/// Lists the certificates by their ids.
#[utoipa::path(get, path = "/v1/certificates", tag = "certificates", params(PageQuery),
    responses((status = 200, body = Page<api::Certificate>)))]
pub(crate) async fn list(look: Look) -> Result<Response, Failure> {
    let all = look.snapshot.certificates.range(look.range::<CertificateId>()?).map(|(_, certificate)| certificate);
    let own = all.filter(|certificate| look.wants(owner(&look.snapshot, certificate)));
    let wanted = own.filter(|certificate| look.host.as_ref().is_none_or(|host| certificate.covers(host.as_str())));
    Ok(look.page(wanted, |certificate| certificate.id.to_string(), |certificate| certificate.view(&look.view())))
}

/// Shows one certificate, or what was asked for under this id.
#[utoipa::path(get, path = "/v1/certificates/{id}", tag = "certificates", params(("id" = String, Path), ReadQuery),
    responses((status = 200, body = api::Shown)))]
pub(crate) async fn show(At(id): At<String>, look: Look) -> Result<Response, Failure> {
    let wish = id.parse().ok().and_then(|id: WishId| look.snapshot.wishes.get(&id));
    if let Some(wish) = wish.filter(|_| look.caller.sees(None)) {
        return Ok(look.one(&**wish));
    }
    let found = id.parse().ok().and_then(|id: CertificateId| look.snapshot.certificates.get(&id));
    let seen = found.filter(|certificate| look.caller.sees(owner(&look.snapshot, certificate)));
    seen.map(|certificate| look.one(certificate)).ok_or_else(|| Failure::not_found(Kind::Certificate, id))
}

/// Shows the CA behind the internal certificates, for visitors to trust, as PEM.
#[utoipa::path(get, path = "/v1/certificates/ca", tag = "certificates", params(ReadQuery),
    responses((status = 200, content_type = "application/x-pem-file", body = String)))]
pub(crate) async fn ca(look: Look) -> Result<Response, Failure> {
    let ca = look.snapshot.cluster.as_ref().and_then(|cluster| cluster.sites_ca.as_ref());
    let ca = ca.ok_or_else(|| Failure::not_found(Kind::Certificate, "of the sites CA"))?;
    let body = ([(header::CONTENT_TYPE, "application/x-pem-file")], pem(&ca.certificate));
    Ok(look.stamped(body.into_response()))
}

/// An internal certificate for all hosts of a site. None where the rules will refuse so many.
pub(crate) async fn mint(
    desk: &Arc<Desk>,
    snapshot: &Arc<Snapshot>,
    hosts: impl Iterator<Item = Host>,
) -> Result<Option<Minted>, Failure> {
    let hosts: Vec<Host> = hosts.collect();
    if hosts.len() > CERTIFICATE_NAMES_MAX {
        return Ok(None);
    }
    let (cluster, keyring, now) = (snapshot.cluster.clone(), Arc::clone(&desk.keyring), snapshot.time);
    let cluster = cluster.ok_or_else(|| unready(&TlsError::NoCa))?;
    let _turn = desk.mints.acquire().await.map_err(|_| Failure::busy("the node is stopping"))?;
    let minted = desk.blocking.run(move || sealed::mint_for(&cluster, &keyring, hosts, now)).await?;
    minted.map(Some).map_err(|error| unready(&error))
}

fn unready(error: &TlsError) -> Failure {
    let detail = format!("failed to {error}");
    let remedy = "Look at `ruche status`: the first node makes the CA as soon as it can write.";
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, "no-certificate", detail, remedy)
}
