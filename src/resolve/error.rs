//! Why there is no answer. That a name does not exist, or has no such record, is an answer.
use crate::base::limits::RESOLVE_WAIT;
use crate::base::names::NameError;

/// Completes "failed to …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error(transparent)]
    Name(#[from] NameError),
    /// NXDOMAIN, as opposed to a name without such records.
    #[error("find `{0}`: there is no such name")]
    NoSuchName(String),
    /// What each server did instead of answering: SERVFAIL, silence, an answer that cannot be read.
    #[error("look up the {rtype} record of `{name}`: {faults}")]
    Unanswered { name: String, rtype: String, faults: String },
    #[error("look up `{name}`: no answer within {} s", RESOLVE_WAIT.as_secs())]
    Slow { name: String },
    #[error("follow the aliases of `{0}`: they lead on and on")]
    Endless(String),
}
