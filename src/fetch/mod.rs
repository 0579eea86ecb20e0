//! A bounded HTTP/1.1 client over tcp, tls and unix sockets: one connection a request, every wait and size limited.
//! It never follows a redirect, never sends a request twice, and serves nothing.
pub(crate) mod client;
pub(crate) mod error;
mod link;
pub(crate) mod response;
pub(crate) mod target;
pub(crate) mod trust;
