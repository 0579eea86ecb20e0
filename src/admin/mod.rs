//! The desk: `/v1` over the admin socket and loopback TCP. Reads come from the snapshot, writes go through the door, and every
//! fault is a problem with a remedy. No SQL and no rule of its own: what may be is decided when a change is applied.
pub mod context;
pub(crate) mod obtained;
pub mod peers;
pub mod serve;

mod accounts;
mod ask;
mod auth;
mod certificates;
mod cluster;
mod error;
mod etag;
mod events;
mod feed;
mod fields;
mod ftp_users;
mod idempotency;
mod issuers;
mod joining;
mod look;
mod moves;
mod nodes;
mod operations;
mod options;
mod passwords;
mod plans;
mod reader;
mod records;
mod requests;
mod resource;
mod sites;
mod standbys;
mod status;
mod tokens;
mod visits;
mod zone_files;
mod zones;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get};
use http::{Method, StatusCode, Uri};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Content, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder, SecurityRequirement,
};
use utoipa::{PartialSchema, Path, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::{PathItemExt, paste, routes};

use crate::admin::context::Context;
use crate::admin::context::Desk;
use crate::admin::error::Failure;
use crate::api::problem::{Fault, MEDIA_TYPE, Problem};
use crate::api::written::Wait;
use crate::base::version::version;

/// The API as `serve` takes it.
pub type Api = Router;

/// The whole API, ready to be served. Each request must carry its `peers::Peer` as an extension, which `serve` sees to.
pub fn router(context: Context) -> Api {
    let desk = Arc::new(Desk::new(context));
    // Described anew each time somebody asks: megabytes that a node at work has no use for.
    let openapi = get(|| async { axum::Json(described(paths())) });
    routes()
        .route("/v1/openapi.json", openapi)
        .method_not_allowed_fallback(no_such_method)
        .fallback(no_such_path)
        .layer(from_fn_with_state(Arc::clone(&desk), auth::admit))
        .with_state(desk)
}

/// Hands every handler to `$each`: what serves them and what describes them read the same list.
macro_rules! handlers {
    ($each:ident) => {
        $each! {
            plans::list,
            plans::show, plans::put, plans::remove,
            accounts::list, accounts::create,
            accounts::show, accounts::set, accounts::remove,
            sites::list, sites::create,
            sites::show, sites::set, sites::remove,
            moves::begin,
            standbys::show,
            standbys::fail_over,
            visits::logs,
            visits::stats,
            visits::all,
            zones::list, zones::create,
            zones::show, zones::set, zones::remove,
            zone_files::show, zone_files::put,
            records::list,
            records::show, records::put, records::remove,
            ftp_users::list, ftp_users::create,
            ftp_users::show, ftp_users::set, ftp_users::remove,
            tokens::list, tokens::create,
            tokens::show, tokens::remove,
            certificates::list, obtained::issue,
            obtained::plan,
            obtained::renew,
            obtained::import,
            obtained::export,
            certificates::ca,
            certificates::show, obtained::remove,
            issuers::list, issuers::create,
            issuers::show, issuers::set, issuers::remove,
            nodes::list,
            nodes::show, nodes::set, nodes::remove, nodes::lose,
            moves::drain, moves::rebalance,
            standbys::evacuate,
            operations::list,
            operations::show,
            operations::cancel,
            moves::go,
            events::list,
            requests::show,
            cluster::export_key,
            cluster::raise_level,
            joining::show,
            joining::token,
            joining::join,
            joining::leave,
            status::show,
            status::healthz,
            status::readyz,
            status::metrics,
        }
    };
}

/// The handlers under their paths and methods; nothing is described yet.
fn routes() -> Router<Arc<Desk>> {
    macro_rules! route {
        ($($room:ident::$handler:ident,)+) => {
            paste! { Router::new()$(.route(&$room::[<__path_ $handler>]::path(), method!($room, $handler)))+ }
        };
    }
    macro_rules! method {
        ($room:ident, $handler:ident) => {
            paste! {
                $room::[<__path_ $handler>]::methods()
                    .iter()
                    .fold(MethodRouter::new(), |router, method| router.on(method.to_method_filter(), $room::$handler))
            }
        };
    }
    handlers!(route)
}

/// What the handlers say of themselves.
fn paths() -> OpenApi {
    macro_rules! describe {
        ($($room:ident::$handler:ident,)+) => {
            OpenApiRouter::<Arc<Desk>>::default()$(.routes(routes!($room::$handler)))+
        };
    }
    handlers!(describe).split_for_parts().1
}

/// What no handler says of itself: that any of them may answer a problem, and how a caller shows who it is.
fn described(paths: OpenApi) -> OpenApi {
    let problem = ResponseBuilder::new()
        .description("The request was not done.")
        .content(MEDIA_TYPE, Content::new(Some(Ref::from_schema_name(Problem::name()))))
        .build();
    let bearer =
        HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A token; not needed on the socket."));
    let mut components = paths.components.unwrap_or_default();
    components.schemas.insert(Problem::name().into_owned(), Problem::schema());
    components.schemas.insert(Fault::name().into_owned(), Fault::schema());
    components.schemas.insert(Wait::name().into_owned(), Wait::schema());
    components.security_schemes.insert("token".into(), SecurityScheme::Http(bearer.build()).into());
    let mut paths = paths.paths;
    for (path, item) in &mut paths.paths {
        let methods = ["get", "put", "post", "delete", "patch"];
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for (method, operation) in methods.into_iter().zip(operations) {
            let Some(operation) = operation else { continue };
            operation.operation_id = Some(format!("{method}{}", path.replace(['/', '{', '}', '-'], "_")));
            for (status, response) in &mut operation.responses.responses {
                // OpenAPI wants one of each response.
                if let RefOr::T(response) = response
                    && response.description.is_empty()
                {
                    response.description =
                        if status == "503" { "The node is ill." } else { "The request was done." }.into();
                }
            }
            operation.responses.responses.insert("default".into(), problem.clone().into());
        }
    }
    OpenApiBuilder::new()
        .info(InfoBuilder::new().title("Ruche").version(version()).build())
        .security(Some([SecurityRequirement::new("token", [""; 0])]))
        .components(Some(components))
        .paths(paths)
        .build()
}

async fn no_such_path(uri: Uri) -> Failure {
    let detail = format!("there is nothing at {}", uri.path());
    Failure::new(StatusCode::NOT_FOUND, "no-such-path", detail, "Look at `/v1/openapi.json` for what there is.")
}

async fn no_such_method(method: Method, uri: Uri) -> Failure {
    let detail = format!("{method} cannot be asked of {}", uri.path());
    Failure::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "no-such-method",
        detail,
        "Use one of the methods in the Allow header.",
    )
}
