//! A bounded DNS client: it asks the name servers of this machine what the outside world sees of a name, before a certificate is
//! ordered for it. It keeps no answer, validates no DNSSEC, reads no `/etc/hosts`, and serves nobody.
mod answer;
pub mod caa;
pub mod error;
mod exchange;
mod question;
pub mod resolver;
mod servers;
#[cfg(test)]
mod tests;
