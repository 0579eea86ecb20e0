//! The peer channel: one port, TLS 1.3 between two keys, connections by class, bounded messages. Who is no member is not answered;
//! a connection that failed in any way is not used again.
pub mod accept;
pub mod book;
pub mod dial;
pub mod error;
pub(crate) mod frames;
pub mod messages;
pub(crate) mod offers;

/// Of the messages on the channel. Who asks with another one is refused, and told which this is: a release that raises it speaks the one
/// before too, and calls again with that. What only appends fields to messages does not raise it: a field nobody knows is left out.
pub(crate) const PROTOCOL: u32 = 1;
