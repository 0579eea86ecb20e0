//! The peer channel: one port, TLS 1.3 between two keys, connections by class, bounded messages. Who is no member is not answered;
//! a connection that failed in any way is not used again.
pub mod accept;
pub mod book;
pub mod dial;
pub mod error;
pub(crate) mod frames;
pub mod messages;
pub(crate) mod offers;

/// Of the messages on the channel. Another one is refused, and who asks is told which this is.
pub(crate) const PROTOCOL: u32 = 1;
