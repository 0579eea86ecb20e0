//! Why a command failed, with what to do about it and the exit code that says which kind it was. Never prints by itself.
use std::io;

use crate::api::problem::Problem;
use crate::fetch::error::FetchError;

/// Exit codes; 0 is done. Usage errors that clap finds end with the same 2.
pub(crate) mod exit {
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    /// A rule or a limit said no.
    pub(crate) const REFUSED: u8 = 3;
    /// Nobody answered, or too few nodes did.
    pub(crate) const UNREACHABLE: u8 = 4;
}

/// The text completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{doing}: {reason}")]
    Usage { doing: String, reason: String, remedy: String },
    /// Long work that began, and did not end as it was to.
    #[error("{doing}: {reason}")]
    Ended { doing: String, reason: String },
    #[error("{doing}: it was not confirmed")]
    Declined { doing: String },
    #[error("{doing}: {}", clause(doing, &problem.detail))]
    Problem { doing: String, problem: Box<Problem> },
    /// The request was sent, and nobody says what became of it.
    #[error("learn whether it happened to {doing}: {reason}")]
    Unknown { doing: String, reason: String, key: String },
    #[error("{doing}: the answer (status {status}) is not one of this API: {excerpt}")]
    Odd { doing: String, status: u16, excerpt: String },
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("{doing}: {cause}")]
    Io { doing: String, cause: io::Error },
    /// Whoever read the output has had enough: `| head`.
    #[error("write the output: the reader is gone")]
    PipeClosed,
}

impl Failure {
    pub(crate) fn usage(doing: &str, reason: &str, remedy: &str) -> Self {
        Self::Usage { doing: doing.into(), reason: reason.into(), remedy: remedy.into() }
    }

    pub(crate) fn nothing_to_change(doing: &str) -> Self {
        Self::usage(doing, "nothing to change was named", "See what can be changed with --help.")
    }

    pub(crate) fn ended(doing: &str, reason: &str) -> Self {
        Self::Ended { doing: doing.into(), reason: reason.into() }
    }

    pub(crate) fn io(doing: impl Into<String>, cause: io::Error) -> Self {
        Self::Io { doing: doing.into(), cause }
    }

    pub(crate) fn exit(&self) -> u8 {
        match self {
            Self::PipeClosed => 0,
            Self::Usage { .. } => exit::USAGE,
            Self::Problem { problem, .. } => match problem.status {
                503 | 504 => exit::UNREACHABLE,
                400..=499 => exit::REFUSED,
                _ => exit::FAILED,
            },
            Self::Unknown { .. } => exit::UNREACHABLE,
            Self::Fetch(FetchError::Unreachable { .. } | FetchError::Broken { .. } | FetchError::Slow { .. }) => {
                exit::UNREACHABLE
            }
            Self::Ended { .. } | Self::Declined { .. } | Self::Odd { .. } | Self::Fetch(_) | Self::Io { .. } => {
                exit::FAILED
            }
        }
    }

    /// Stable, for programs.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Usage { .. } => "usage",
            Self::Ended { .. } => "not-done",
            Self::Declined { .. } => "declined",
            Self::Problem { problem, .. } => &problem.code,
            Self::Unknown { .. } => "outcome-unknown",
            Self::Odd { .. } => "odd-answer",
            Self::Fetch(FetchError::Unreachable { .. }) => "unreachable",
            Self::Fetch(_) => "no-answer",
            Self::Io { .. } => "io",
            Self::PipeClosed => "pipe-closed",
        }
    }

    /// One line on what to do.
    pub(crate) fn remedy(&self) -> String {
        match self {
            Self::Usage { remedy, .. } => remedy.clone(),
            Self::Ended { .. } => "Correct this and begin again; `ruche operation ls` shows what became of it.".into(),
            Self::Declined { .. } => "Nothing was changed.".into(),
            Self::Problem { problem, .. } if problem.code == "token-missing" => {
                "Put a token into RUCHE_TOKEN; create one with `ruche token create` on the node.".into()
            }
            Self::Problem { problem, .. } => problem.remedy.clone(),
            Self::Unknown { key, .. } => {
                format!(
                    "Repeat the command with `--idempotency-key {key}`: what happened already does not happen again."
                )
            }
            Self::Odd { .. } => "Make sure that a Ruche node of this version listens there.".into(),
            Self::Fetch(FetchError::Unreachable { cause, .. }) => unreachable_remedy(cause.kind()).into(),
            Self::Fetch(FetchError::TooLarge { .. }) => "Ask for less at a time.".into(),
            Self::Fetch(FetchError::Garbled { .. }) => "Make sure that a Ruche node listens there.".into(),
            Self::Fetch(_) => "Look at the node's log with `journalctl -u ruche`, then try again.".into(),
            Self::Io { .. } => "Correct this and try again.".into(),
            Self::PipeClosed => String::new(),
        }
    }

    /// What goes to stderr, for people or for programs; empty where silence is right.
    pub(crate) fn report(&self, json: bool) -> String {
        match self {
            Self::PipeClosed => String::new(),
            Self::Problem { problem, .. } if json => {
                serde_json::to_string(problem).expect("a problem is text and numbers") + "\n"
            }
            _ if json => {
                let detail = format!("failed to {self}");
                let object = serde_json::json!({"code": self.code(), "detail": detail, "remedy": self.remedy()});
                format!("{object}\n")
            }
            _ => format!("error: failed to {self}\n{}  {}\n", self.faults(), self.remedy()),
        }
    }

    fn faults(&self) -> String {
        match self {
            Self::Problem { problem, .. } if problem.faults.len() > 1 => {
                problem.faults.iter().map(|fault| format!("  {}: {}\n", fault.field, fault.reason)).collect()
            }
            _ => String::new(),
        }
    }
}

/// A sentence of the API as the end of ours, which says already what was to be done.
fn clause(doing: &str, detail: &str) -> String {
    let text = detail.strip_suffix('.').unwrap_or(detail);
    let text = text.strip_prefix("Failed to ").unwrap_or(text);
    let said = text.strip_prefix(doing).and_then(|rest| rest.strip_prefix(": "));
    let text = said.unwrap_or(text);
    let mut rest = text.chars();
    let (first, second) = (rest.next(), text.chars().nth(1));
    match first {
        // A name in capitals keeps them.
        Some(first) if second.is_some_and(|c| c.is_lowercase() || c == ' ') => {
            first.to_lowercase().chain(rest).collect()
        }
        _ => text.to_owned(),
    }
}

fn unreachable_remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::PermissionDenied => "Run the command as root or as a member of the group `ruche`.",
        io::ErrorKind::NotFound => {
            "Start the node with `systemctl start ruche` or `ruche run`, or name its socket with --socket."
        }
        _ => "See whether the node runs (`systemctl status ruche`), and whether its admin API listens there.",
    }
}

#[cfg(test)]
mod tests {
    use super::clause;

    #[test]
    fn what_was_to_be_done_is_said_once() {
        let said = "Failed to make a join token: the cluster is not founded yet.";
        assert_eq!(clause("make a join token", said), "the cluster is not founded yet");
        assert_eq!(clause("join the cluster", said), "make a join token: the cluster is not founded yet");
        assert_eq!(clause("create the site", "A site has this name."), "a site has this name");
    }
}
