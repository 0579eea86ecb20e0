//! Files of the node itself (replaced atomically, locked for one process) and of its sites (behind descriptors). Never knows
//! a protocol.
pub mod atomic;
pub mod gate;
pub mod jail;
pub mod listing;
pub mod lock;
pub mod logs;
pub mod manifest;
mod order;
pub mod replica;
pub mod sites;
mod trash;
pub mod usage;
pub mod write;
