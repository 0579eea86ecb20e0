//! Handshakes in memory against a real client, certificates before openssl, and what hostile bytes do.
mod certificates;
mod handshakes;
mod tickets;
mod world;
