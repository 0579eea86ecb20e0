//! Files of the node itself (replaced atomically, locked for one process) and of its sites (behind descriptors). Never knows
//! a protocol.
mod aside;
pub mod atomic;
pub mod gate;
mod growing;
pub mod hold;
pub mod jail;
pub mod listing;
pub mod lock;
pub mod logs;
pub mod manifest;
mod order;
pub mod records;
pub mod replica;
pub mod sites;
mod trash;
pub mod usage;
pub mod watch;
pub mod write;
