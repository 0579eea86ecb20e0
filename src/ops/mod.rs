//! What every running part needs and no part of the domain: logging, metrics, the board, named tasks, the blocking pool,
//! sockets, the stop. Never knows a site, a zone or an account.
pub mod log;
