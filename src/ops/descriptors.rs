//! How many files and connections this process may hold open. Never asks for more than its hard limit.
use rustix::process::{Resource, Rlimit, setrlimit};

/// What every system allows, where nobody says.
const FEW: u64 = 1024;

/// Raises the soft limit, which a shell sets low for programs of another age, to the hard one; returns what holds now.
pub fn raise() -> usize {
    // The kernel's call for both is refused in the daemon's sandbox, where the service manager has set them.
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let (soft, hard) = parse(&limits).unwrap_or((FEW, FEW));
    let wanted = Rlimit { current: Some(hard), maximum: Some(hard) };
    let now = if hard > soft && setrlimit(Resource::Nofile, wanted).is_ok() { hard } else { soft };
    usize::try_from(now).unwrap_or(usize::MAX)
}

/// The soft and the hard limit, of proc(5).
fn parse(limits: &str) -> Option<(u64, u64)> {
    let mut numbers = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace();
    let mut number = || numbers.next().map(|number| number.parse().unwrap_or(u64::MAX));
    Some((number()?, number()?))
}

#[cfg(test)]
mod tests {
    use rustix::process::getrlimit;

    use super::*;

    #[test]
    fn the_hard_limit_becomes_the_limit() {
        let may = raise();
        assert!(may > 256, "{may}");
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert_eq!(now.current, u64::try_from(may).ok());
    }

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let text = "Limit Soft Limit Hard Limit Units\nMax open files            1024                 unlimited            files\n";
        assert_eq!(parse(text), Some((1024, u64::MAX)));
        assert_eq!(parse("Max open files"), None);
    }
}
