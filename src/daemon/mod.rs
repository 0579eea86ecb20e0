//! The composition root: what a node is made of, in the order in which it starts, on one screen. Decides nothing.
mod certificates;
pub mod check;
mod handover;
mod identity;
mod listen;
mod peers;
mod planes;
pub mod recover;
mod reload;
mod signals;
pub mod start;
mod tls;
