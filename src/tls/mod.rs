//! The only X.509 code: the sites CA and what it mints, certificates read, the resolver by server name, session tickets from keys
//! in the state, the server's configuration, the keys by which nodes know each other. Never listens and never writes.
pub mod ca;
pub mod error;
pub mod jose;
pub mod mint;
pub mod node;
pub mod order;
pub mod parse;
pub mod peer;
pub mod pfx;
pub mod resolver;
pub mod sealed;
pub mod server;
pub mod tickets;

mod der;
mod validity;

#[cfg(test)]
mod tests;
