//! `/v1/cluster/key`: the recovery copy of the keyring. It leaves by the admin socket only, and only for who could read it on the
//! disk as well. `/v1/cluster/level`: no way back once every node knows it.
use axum::Extension;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use crate::admin::ask::{Ask, AskWith, Gone};
use crate::admin::error::Failure;
use crate::admin::peers::{self, Peer};
use crate::api::cluster::{KeyExport, LevelRaise, LevelRaised};
use crate::api::written::WriteQuery;
use crate::model::change::Change;
use crate::model::cluster::{KeyExported, RaiseLevel};
use crate::model::refusal::Kind;

/// Hands out the recovery copy of the keyring, for root on the admin socket, and notes that this was done.
#[utoipa::path(post, path = "/v1/cluster/key", tag = "cluster", params(WriteQuery), responses((status = 200, body = KeyExport)))]
pub(crate) async fn export_key(Extension(peer): Extension<Peer>, ask: Ask) -> Result<Response, Failure> {
    if !matches!(peer, Peer::Local { uid, .. } if peers::owns_the_node(uid)) {
        return Err(Failure::forbidden("the keyring is handed out on the admin socket to root only"));
    }
    let cluster = ask.snapshot.cluster.as_ref().ok_or_else(|| Failure::not_found(Kind::Cluster, ""))?;
    let done: Gone = ask.write(Change::KeyExported(KeyExported {}), Some(cluster.revision)).await?;
    let id = cluster.id.to_string();
    let copy = ask.desk.keyring.to_recovery_copy(&id);
    let body = KeyExport {
        keyring: String::from_utf8_lossy(&copy).into_owned(),
        fingerprint: ask.desk.keyring.fingerprint(),
        cluster: id,
        revision: done.revision,
    };
    let mut response = ask.json(StatusCode::OK, &done, &body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Raises the level of the state to the next one, which every node must know. No earlier version runs it from then on.
#[utoipa::path(post, path = "/v1/cluster/level", tag = "cluster", params(WriteQuery), request_body = LevelRaise,
    responses((status = 200, body = LevelRaised)))]
pub(crate) async fn raise_level(AskWith(ask, body): AskWith<LevelRaise>) -> Result<Response, Failure> {
    ask.caller.sees_all()?;
    let level = body.level;
    let done: Gone = ask.write(Change::RaiseLevel(RaiseLevel { level }), None).await?;
    Ok(ask.json(StatusCode::OK, &done, &LevelRaised { level, revision: done.revision }))
}
