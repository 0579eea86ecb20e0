//! How many files and connections this process may hold open. Never asks for more than its hard limit.
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit, which a shell sets low for programs of another age, to the hard one; returns what holds now.
pub fn raise() -> usize {
    let before = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: before.maximum, maximum: before.maximum };
    let now = if setrlimit(Resource::Nofile, wanted).is_ok() { before.maximum } else { before.current };
    now.and_then(|now| usize::try_from(now).ok()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hard_limit_becomes_the_limit() {
        let may = raise();
        assert!(may > 256, "{may}");
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
    }
}
