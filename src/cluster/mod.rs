//! The cluster as this node is part of it: raft over `store`, the one write door, what it says of itself.
pub mod certificates;
pub mod cookies;
pub mod door;
pub mod founding;
pub mod member;
mod network;
mod propose;
pub mod tickets;
