//! Files of the node itself: replaced atomically, locked for one process. Never knows a protocol.
pub mod atomic;
pub mod lock;
