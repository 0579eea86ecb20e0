//! `/v1/requests/{request_id}`: what became of a write whose answer was lost. It resolves `outcome-unknown`.
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use http::StatusCode;

use crate::admin::error::Failure;
use crate::admin::look::{At, Look};
use crate::api::requests::RequestOutcome;
use crate::api::written::ReadQuery;
use crate::base::ids::RequestId;

/// Shows what a write did. 404: it did not happen or was refused. 409: it is on its way, and nobody knows yet.
#[utoipa::path(get, path = "/v1/requests/{request_id}", tag = "requests", params(("request_id" = String, Path), ReadQuery),
    responses((status = 200, body = RequestOutcome)))]
pub(crate) async fn show(At(id): At<String>, look: Look) -> Result<Response, Failure> {
    let key: Option<[u8; 16]> = HEXLOWER.decode(id.as_bytes()).ok().and_then(|key| key.try_into().ok());
    let key = key.ok_or_else(|| Failure::invalid("request_id", "expected 32 hexadecimal digits"))?;
    let request = RequestId { key, digest: [0; 16] };
    // Asked before the state is looked at: what is decided in between is in it.
    let undecided = look.desk.door.is_undecided(&request);
    let known = look.desk.snapshot().remembered(&request);
    if undecided && known.is_none() {
        return Err(Failure::new(
            StatusCode::CONFLICT,
            "undecided",
            format!("the request {id} is on its way"),
            "Ask again; after a failed write the next start of the node decides.",
        ));
    }
    let event = match known {
        Some(known) => look.desk.history.event(known.revision).await?,
        None => None,
    };
    let event = event.filter(|event| look.caller.sees(event.account.as_ref())).ok_or_else(|| unknown(&id))?;
    let outcome = RequestOutcome {
        request_id: id,
        revision: event.revision,
        time: event.time.to_string(),
        action: event.action,
        subject: event.subject,
        object: event.object.and_then(|object| look.view().any(object)),
    };
    Ok(look.stamped(axum::Json(outcome).into_response()))
}

fn unknown(id: &str) -> Failure {
    Failure::new(
        StatusCode::NOT_FOUND,
        "not-found",
        format!("no change was made by the request {id}, or too long ago"),
        "Send the request again if it is still wanted.",
    )
}
