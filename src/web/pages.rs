//! The pages of the node itself, for when no site has an answer. Self-contained; they name nobody and nothing of the machine.
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};

use crate::web::body::Body;

/// Seconds after which a visitor's program may ask again: a rush is over at once, maintenance soon, the rest is not.
const MAINTENANCE_RETRY: &str = "300";
const LATER: &str = "3600";
const SOON: &str = "5";

pub(crate) fn bad_request() -> Response<Body> {
    page(StatusCode::BAD_REQUEST, "Bad request", "The server did not understand the request.")
}

pub(crate) fn unknown_host() -> Response<Body> {
    page(StatusCode::NOT_FOUND, "Nothing here", "There is no site of this name at this address.")
}

/// What an issuer is to find that validates a name.
pub(crate) fn challenge(answer: String) -> Response<Body> {
    let mut response = Response::new(Body::from(answer));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A site has nothing of that name, or nothing that is for everybody.
pub(crate) fn not_found() -> Response<Body> {
    page(StatusCode::NOT_FOUND, "Not found", "There is nothing at this address.")
}

/// Clients open another connection and ask again (RFC 9110 section 15.5.20).
pub(crate) fn misdirected() -> Response<Body> {
    let text = "This connection was not made for the site that was asked for.";
    page(StatusCode::MISDIRECTED_REQUEST, "Misdirected request", text)
}

/// Methods that no site knows.
pub(crate) fn not_allowed() -> Response<Body> {
    let mut page = page(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", "The server does not know this method.");
    page.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    page
}

/// A part of the site is for those who have a password.
pub(crate) fn locked(realm: &str) -> Response<Body> {
    let mut page =
        page(StatusCode::UNAUTHORIZED, "Password needed", "This part of the site asks for a name and a password.");
    // RFC 7617 section 2.1; the rules let no quotes into a realm.
    if let Ok(challenge) = HeaderValue::from_str(&format!("Basic realm=\"{realm}\", charset=\"UTF-8\"")) {
        page.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    page
}

/// Too many wrong passwords, or too many at one time.
pub(crate) fn too_many(wait: Duration) -> Response<Body> {
    let text = "Too many passwords were tried. Please wait a moment.";
    let mut page = page(StatusCode::TOO_MANY_REQUESTS, "Too many attempts", text);
    page.headers_mut().insert(RETRY_AFTER, (wait.as_secs() + 1).into());
    page
}

pub(crate) fn suspended() -> Response<Body> {
    unavailable("Site suspended", "This site is suspended. Its owner can ask the provider why.", LATER)
}

pub(crate) fn maintenance() -> Response<Body> {
    unavailable("Under maintenance", "This site is being worked on and will be back soon.", MAINTENANCE_RETRY)
}

/// What this version cannot do yet, said as it is.
pub(crate) fn not_served() -> Response<Body> {
    unavailable("Not available", "This kind of site is not served by this version of the server.", LATER)
}

/// The site's files are at home on another node.
pub(crate) fn elsewhere() -> Response<Body> {
    unavailable("Not available", "This site cannot be served from here at the moment.", MAINTENANCE_RETRY)
}

/// What is behind a proxied site cannot be reached, or its answer is none.
pub(crate) fn upstream_failed() -> Response<Body> {
    page(StatusCode::BAD_GATEWAY, "Bad gateway", "What answers for this site could not be reached. It was noted.")
}

pub(crate) fn upstream_late() -> Response<Body> {
    page(StatusCode::GATEWAY_TIMEOUT, "Gateway timeout", "What answers for this site did not answer in time.")
}

pub(crate) fn turned_in_circles() -> Response<Body> {
    page(StatusCode::LOOP_DETECTED, "Loop detected", "This site is set up to ask itself for its answers.")
}

pub(crate) fn busy() -> Response<Body> {
    unavailable("Busy", "The server has too much to do at the moment.", SOON)
}

pub(crate) fn too_large() -> Response<Body> {
    page(StatusCode::PAYLOAD_TOO_LARGE, "Too large", "This site does not take uploads of that size.")
}

pub(crate) fn too_slow() -> Response<Body> {
    page(StatusCode::REQUEST_TIMEOUT, "Too slow", "The rest of the request did not come in time.")
}

/// Something went wrong that is not the visitor's.
pub(crate) fn failed() -> Response<Body> {
    page(StatusCode::INTERNAL_SERVER_ERROR, "Server error", "The server failed to answer. It was noted.")
}

pub(crate) fn redirect(status: StatusCode, location: &str) -> Response<Body> {
    // The text repeats no part of the location: it came from the visitor.
    let Ok(location) = HeaderValue::from_bytes(location.as_bytes()) else { return bad_request() };
    let mut response = answer(status, "Moved", "What was asked for is at another address.");
    response.headers_mut().insert(LOCATION, location);
    response
}

fn unavailable(title: &str, text: &str, retry: &'static str) -> Response<Body> {
    let mut page = page(StatusCode::SERVICE_UNAVAILABLE, title, text);
    page.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(retry));
    page
}

/// A page that is not to be kept: what it says ends at any time.
pub(crate) fn page(status: StatusCode, title: &str, text: &str) -> Response<Body> {
    let mut response = answer(status, title, text);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn answer(status: StatusCode, title: &str, text: &str) -> Response<Body> {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>body{{font:1.1em/1.5 sans-serif;max-width:32em;margin:20vh auto;padding:0 1em;color:#222;background:#fff}}\
         @media(prefers-color-scheme:dark){{body{{color:#ddd;background:#111}}}}</style>\n\
         <h1>{title}</h1>\n<p>{text}</p>\n"
    );
    let mut response = Response::new(Body::from(html));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}
