//! What goes wrong between an issuer and us, told so that somebody can do something about it, and how long to leave it alone.
use std::io;
use std::time::Duration;

use instant_acme::{Error, Problem};

use crate::base::limits::acme::{AWAY_PAUSE_MAX, PAUSE_MAX, PAUSES};
use crate::cluster::door::{WriteError, random};
use crate::fetch::error::FetchError;
use crate::fetch::trust::TrustError;
use crate::tls::error::TlsError;

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcmeError {
    #[error("{doing}: the issuer says: {}", said(.problem))]
    Said { doing: &'static str, problem: Box<Problem> },
    #[error("{doing}: {reason}")]
    Talk { doing: &'static str, reason: String },
    #[error("{doing}: the issuer's answer is odd: {reason}")]
    Odd { doing: &'static str, reason: String },
    #[error("answer the challenges: this node does not serve the answers yet")]
    NotServed,
    #[error("{doing}: the issuer takes too long")]
    Late { doing: &'static str },
    #[error("prove {}: {reason}", .names.join(", "))]
    Refused { names: Vec<String>, reason: String },
    #[error("prove {name}: {reason}")]
    NoWay { name: String, reason: String },
    #[error("order: this machine's clock is {} hours away from the issuer's", .0.as_secs() / 3600)]
    Clock(Duration),
    #[error("{doing}: orders are under way with it")]
    Busy { doing: &'static str },
    #[error("order: the issuer has not finished after {} minutes", .0.as_secs() / 60)]
    Slow(Duration),
    #[error("use the certificate: {0}")]
    Unusable(String),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("order: there is no account key yet")]
    NoKey,
    #[error("{doing}: the issuer does not know {what}")]
    Unsupported { doing: &'static str, what: &'static str },
}

const BAD_NONCE: &str = "urn:ietf:params:acme:error:badNonce";
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";
const LIMITED: &str = "urn:ietf:params:acme:error:rateLimited";
const INTERNAL: &str = "urn:ietf:params:acme:error:serverInternal";

impl AcmeError {
    pub(crate) fn of(doing: &'static str) -> impl Fn(Error) -> Self {
        move |error| match error {
            Error::Api(problem) => Self::Said { doing, problem: Box::new(problem) },
            Error::Unsupported(what) => Self::Unsupported { doing, what },
            Error::Timeout(_) => Self::Late { doing },
            // What is no trouble of our wire is the library's with what came over it.
            Error::Other(other) if !other.is::<FetchError>() && !other.is::<io::Error>() => {
                Self::Odd { doing, reason: other.to_string().chars().take(200).collect() }
            }
            // What is read of an endless answer is bounded; what is said of it, too.
            error => Self::Talk { doing, reason: error.to_string().chars().take(200).collect() },
        }
    }

    fn kind(&self) -> Option<&str> {
        match self {
            Self::Said { problem, .. } => problem.r#type.as_deref(),
            _ => None,
        }
    }

    /// Whether the account we know is none of theirs.
    pub(crate) fn is_unknown_account(&self) -> bool {
        self.kind() == Some(NO_ACCOUNT)
    }

    /// Whether the issuer has not taken up what was asked as it should, and might something else.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Unsupported { .. } | Self::Odd { .. } | Self::Said { .. }) && self.kind() != Some(LIMITED)
    }

    /// Whether it is trouble of the issuer, in which others would have their orders too, rather than one of these names.
    pub(crate) fn is_of_the_issuer(&self) -> bool {
        let unwell = || matches!(self.kind(), Some(LIMITED | INTERNAL));
        matches!(self, Self::Talk { .. } | Self::Odd { .. } | Self::Fetch(_) | Self::Trust(_) | Self::Clock(_))
            || unwell()
    }

    /// How long everybody leaves the issuer alone after so many such failures before it. A limit that was met by one order may be
    /// about its names alone: what is asked for then counts for those.
    pub(crate) fn pause_of_issuer(&self, count: u32, asked: Option<Duration>, ordering: bool) -> Duration {
        let asked = asked.filter(|_| !(ordering && self.kind() == Some(LIMITED))).unwrap_or_default();
        // Who is away may be back any time, and one word an hour is no burden.
        let most = if self.kind() == Some(LIMITED) { PAUSE_MAX } else { AWAY_PAUSE_MAX };
        step(count).min(most).max(asked)
    }

    /// The names whose validation failed.
    pub(crate) fn names(&self) -> Vec<String> {
        match self {
            Self::Refused { names, .. } => names.clone(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::Refused { .. } | Self::NoWay { .. } => {
                "See that the name leads here, on port 80 or by its zone, as the reason says."
            }
            Self::Clock(_) => "Set the clock of this machine; orders go on by themselves.",
            Self::Said { .. } if self.kind() == Some(LIMITED) => "Wait: the issuer's limits are for everybody.",
            Self::Said { .. } => "Look at what the issuer says; another one can be named with `--issuer`.",
            Self::Write(_) | Self::NoKey => "Look at `ruche status`: the state must take changes.",
            Self::Trust(_) => "Name the authority of the issuer's server with `ruche issuer set NAME --ca-cert FILE`.",
            _ => "It is tried again; another issuer can be named with `ruche issuer create … --prefer`.",
        }
    }

    /// How long to leave it alone after so many failures before it.
    pub(crate) fn pause(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let least = match self.kind() {
            Some(LIMITED) => PAUSES[3],
            _ => Duration::ZERO,
        };
        step(attempt).max(least).max(asked.unwrap_or_default())
    }
}

fn step(count: u32) -> Duration {
    jitter(PAUSES[(count as usize).min(PAUSES.len() - 1)])
}

/// Between four and six fifths of it: those who failed together do not come back together.
pub(crate) fn jitter(pause: Duration) -> Duration {
    let share = u32::from(random()[0]);
    pause * 4 / 5 + pause * share * 2 / (5 * 256)
}

fn said(problem: &Problem) -> String {
    let kind = problem.r#type.as_deref().unwrap_or("").rsplit(':').next().unwrap_or("");
    let detail = problem.detail.as_deref().unwrap_or("nothing more");
    let parts = problem.subproblems.iter().filter_map(|part| part.detail.as_deref());
    std::iter::once(format!("{detail} ({kind})")).chain(parts.map(str::to_owned)).collect::<Vec<_>>().join("; ")
}

/// Whether a nonce was refused, which an issuer may do at any time (RFC 8555 section 6.5).
pub(crate) fn is_bad_nonce(problem: &Problem) -> bool {
    problem.r#type.as_deref() == Some(BAD_NONCE)
}

/// Asks again where a nonce was refused. A macro: a closure's future could not be sent to another thread.
macro_rules! patiently {
    ($doing:expr, $ask:expr) => {{
        let mut left = crate::base::limits::acme::NONCES_MAX;
        loop {
            left -= 1;
            match $ask.await {
                Err(instant_acme::Error::Api(problem)) if left > 0 && crate::acme::fault::is_bad_nonce(&problem) => {}
                done => break done.map_err(crate::acme::fault::AcmeError::of($doing)),
            }
        }
    }};
}
pub(crate) use patiently;
