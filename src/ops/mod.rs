//! What every running part needs and no part of the domain: logging, metrics, the board, named tasks, the blocking pool,
//! sockets and ports, the stop. Never knows a site, a zone or an account.
pub mod alive;
pub mod blocking;
pub mod board;
pub mod descriptors;
pub mod inherited;
pub mod listeners;
pub mod log;
pub mod metrics;
pub mod notify;
mod passing;
pub mod places;
pub mod ports;
pub mod sockets;
pub mod stop;
pub mod strangers;
pub mod successor;
pub mod tasks;
