//! The limits of obtaining certificates: what an issuer allows, what it may send, how long it may take, and how often we ask.
use std::time::Duration;

/// Issuers of one cluster.
pub const ISSUERS_MAX: usize = 32;
/// Authorities one issuer's server may be certified by.
pub const ISSUER_CERTIFICATES_MAX: usize = 8;
/// Mail addresses one issuer may write to.
pub const ISSUER_CONTACTS_MAX: usize = 8;
/// Certificates asked for beside those of sites.
pub const WISHES_MAX: usize = 10_000;
/// Names of one order: what every issuer takes.
pub const ORDER_NAMES_MAX: usize = 100;
/// Orders under way at one time: each holds a connection and a task, and issuers look at their pending ones.
pub const ORDERS_OPEN_MAX: usize = 8;
/// Of those, the ones at one issuer, with the names looked at for it: one that has stopped answering leaves the others theirs.
pub const ISSUER_JOBS_MAX: usize = ORDERS_OPEN_MAX / 2;
/// Challenges of one order in the state: one a name.
pub const ORDER_CHALLENGES_MAX: usize = ORDER_NAMES_MAX;
/// How long a finished order is remembered: longer than any window of an issuer's limits.
pub const ORDER_KEPT: Duration = Duration::from_secs(8 * 24 * 3600);
/// Bytes of the reason of a failure that are kept.
pub const ORDER_REASON_MAX: usize = 600;
/// Bytes of the URL of an order or an account.
pub const ACME_URL_MAX: usize = 1024;

/// Orders of one account in three hours: Let's Encrypt takes 300, and a few are left for whoever shares the account.
pub const ORDERS_PER_ACCOUNT: (usize, Duration) = (280, Duration::from_secs(3 * 3600));
/// Certificates for new names of one registered domain in seven days: Let's Encrypt takes 50.
pub const ORDERS_PER_DOMAIN: (usize, Duration) = (48, Duration::from_secs(7 * 24 * 3600));
/// Certificates for exactly the same names in seven days: Let's Encrypt takes 5.
pub const ORDERS_PER_NAMES: (usize, Duration) = (4, Duration::from_secs(7 * 24 * 3600));
/// Failed validations of one name in an hour: Let's Encrypt takes 5.
pub const FAILURES_PER_NAME: (usize, Duration) = (4, Duration::from_secs(3600));

/// Pauses after failures, one after the other; each is shortened or lengthened by a fifth by chance.
pub const PAUSES: [Duration; 7] = [
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(3600),
    Duration::from_secs(4 * 3600),
    Duration::from_secs(12 * 3600),
    Duration::from_secs(24 * 3600),
];
/// Longest time for which an issuer that does not answer is not asked again.
pub const AWAY_PAUSE_MAX: Duration = Duration::from_secs(3600);
/// Longest wait an issuer can ask for: one that says a year is mistaken.
pub const PAUSE_MAX: Duration = Duration::from_secs(3 * 24 * 3600);
/// How often one request is made again because its nonce was refused.
pub const NONCES_MAX: usize = 12;
/// Bytes of one answer of an issuer: a chain of certificates takes 10 KiB.
pub const ANSWER_MAX: usize = 256 << 10;
/// Time to be connected to an issuer, and to find its address.
pub const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// Time for the head of an answer, and for its body.
pub const TALK_WAIT: Duration = Duration::from_secs(30);
/// Time one order may take in all, from the first word to the certificate.
pub const ORDER_WAIT: Duration = Duration::from_secs(10 * 60);
/// Time an issuer may take to validate, and to sign.
pub const VALIDATE_WAIT: Duration = Duration::from_secs(3 * 60);
/// How long the planes may take to serve the answers to challenges.
pub const SERVED_WAIT: Duration = Duration::from_secs(10);
/// How far our clock may be from an issuer's: past that nothing we plan is right.
pub const SKEW_MAX: Duration = Duration::from_secs(3600);

/// Names that are looked at in one go.
pub const CHECKS_AT_ONCE: usize = 8;
/// How long a name that was found in order is not looked at again.
pub const CHECK_GOOD: Duration = Duration::from_secs(10 * 60);
/// Pauses between two looks at a name that is not in order, the last one for ever after.
pub const CHECK_PAUSES: [Duration; 5] = [
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(3600),
];
/// Bytes of the answer to a look at ourselves.
pub const PROBE_MAX: usize = 1024;
/// Time a look at ourselves may take.
pub const PROBE_WAIT: Duration = Duration::from_secs(5);
/// Least time between two plans: a burst of changes costs one.
pub const PLAN_EVERY: Duration = Duration::from_secs(1);
/// Longest time without a plan: clocks are set, and issuers change their minds.
pub const PLAN_IDLE: Duration = Duration::from_secs(6 * 3600);
/// How soon, and how late, an issuer is asked again when it wants a certificate renewed.
pub const WINDOW_ASK: (Duration, Duration) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));
/// Certificates one issuer is asked about in one go.
pub const WINDOWS_AT_ONCE: usize = 50;
/// Pause before an order is gone on with that could not be written down: a full disk, a node that stops.
pub const UNWRITTEN_PAUSE: Duration = Duration::from_secs(30);
/// What is remembered of names that want nothing any more, before it is thrown away.
pub const FORGOTTEN_CHECKS_MAX: usize = 1000;
/// Share of its lifetime a certificate has left when it is renewed, where its issuer says nothing.
pub const RENEW_SHARE: u64 = 3;
/// How long before its end somebody is told that a certificate has no successor, and the share of its lifetime where that is less.
pub const WARN_LEFT: (Duration, u32) = (Duration::from_secs(15 * 24 * 3600), 3);
/// Share of its lifetime that a renewal may take before anybody is told: short certificates are due only then.
pub const WARN_GRACE_SHARE: u32 = 60;
/// Certificates that are said to end in one go.
pub const WARNED_AT_ONCE: usize = 50;
/// How long an issuer is known by the domains its directory named.
pub const IDENTITIES_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Domains an issuer may know itself by.
pub const IDENTITIES_MAX: usize = 32;
/// How often who exports a certificate and stays looks whether it was renewed.
pub const CERTIFICATE_EVERY: Duration = Duration::from_secs(60);
/// Items of the plan that are shown.
pub const PLAN_SHOWN_MAX: usize = 10_000;
