//! Passwords of parts of a site (basic authentication, RFC 7617). What was found right is remembered by each thread for a while,
//! so that a request costs no more than a hash of its own; the rest is checked by a few at a time on the pool for blocking work.
//! Never says whether a user exists, neither in words nor by the time it takes.
pub(crate) mod area;
mod backoff;

use std::net::IpAddr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use data_encoding::BASE64;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use lru::LruCache;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::base::limits::{
    AUTH_CHECKS_AT_ONCE, AUTH_CHECKS_WAITING_MAX, AUTH_ENTERED_KEPT, AUTH_ENTERED_KEPT_FOR, PASSWORD_MAX,
};
use crate::model::options::Area;
use crate::ops::blocking::Blocking;
use crate::web::auth::backoff::Backoff;

/// What all threads share.
#[derive(Debug)]
pub(crate) struct Gatekeeper {
    checks: Semaphore,
    /// Those under way and those that wait for their turn.
    places: Semaphore,
    backoff: Backoff,
    /// Makes the memory of a thread unreadable to who does not have it.
    key: [u8; 32],
}

/// What one thread remembers of who entered.
#[derive(Debug)]
pub(crate) struct Entered(Mutex<LruCache<[u8; 32], Instant>>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// With this name.
    Open(String),
    /// No or wrong credentials.
    Ask,
    /// Too many wrong ones came from there, or too many checks wait.
    Later(Duration),
}

impl Gatekeeper {
    pub(crate) fn new() -> Self {
        let mut key = [0; 32];
        getrandom::fill(&mut key).expect("the kernel gives random bytes once it has booted");
        Self {
            checks: Semaphore::new(AUTH_CHECKS_AT_ONCE),
            places: Semaphore::new(AUTH_CHECKS_AT_ONCE + AUTH_CHECKS_WAITING_MAX),
            backoff: Backoff::new(),
            key,
        }
    }

    /// Whether who sends these headers may enter.
    pub(crate) async fn enter(
        &self,
        entered: &Entered,
        area: &Area,
        headers: &HeaderMap,
        peer: IpAddr,
        blocking: &Blocking,
    ) -> Entry {
        let Some((name, password)) = credentials(headers) else { return Entry::Ask };
        let user = area.users.binary_search_by(|user| user.name.as_str().cmp(&name)).ok().map(|at| &area.users[at]);
        let now = Instant::now();
        let mark = user.map(|user| self.mark(&user.password, &password));
        if mark.is_some_and(|mark| entered.knows(&mark, now)) {
            return Entry::Open(name);
        }
        if let Some(left) = self.backoff.left(peer, now) {
            return Entry::Later(left);
        }
        let Ok(_place) = self.places.try_acquire() else { return Entry::Later(Duration::from_secs(1)) };
        let Ok(_turn) = self.checks.acquire().await else { return Entry::Ask };
        let hash = user.map(|user| user.password.clone());
        let right = blocking.run(move || is_right(hash.as_deref(), &password)).await;
        match (right, mark) {
            (Ok(true), Some(mark)) => {
                entered.remember(mark, Instant::now());
                self.backoff.entered(peer);
                Entry::Open(name)
            }
            (Ok(_), _) => {
                self.backoff.failed(peer, Instant::now());
                Entry::Ask
            }
            (Err(_), _) => Entry::Later(Duration::from_secs(1)),
        }
    }

    /// Of one password for one hash: a changed hash is another one at once.
    fn mark(&self, hash: &str, password: &str) -> [u8; 32] {
        let mut digest = Sha256::new_with_prefix(self.key);
        digest.update((hash.len() as u64).to_be_bytes());
        digest.update(hash);
        digest.update(password);
        digest.finalize().into()
    }
}

impl Entered {
    pub(crate) fn new() -> Self {
        let mut marks = LruCache::unbounded();
        marks.resize(AUTH_ENTERED_KEPT);
        Self(Mutex::new(marks))
    }

    fn knows(&self, mark: &[u8; 32], now: Instant) -> bool {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.get(mark).is_some_and(|since| now.saturating_duration_since(*since) < AUTH_ENTERED_KEPT_FOR)
    }

    fn remember(&self, mark: [u8; 32], now: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(mark, now);
    }
}

/// Name and password, as far as they can be any.
fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    let (scheme, coded) = line.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(BASE64.decode(coded.trim().as_bytes()).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    (password.len() <= PASSWORD_MAX).then(|| (name.to_owned(), password.to_owned()))
}

/// As much work for who does not exist as for who does.
fn is_right(hash: Option<&str>, password: &str) -> bool {
    static NOBODY: OnceLock<Option<String>> = OnceLock::new();
    let argon2 = Argon2::default();
    match hash {
        Some(hash) => argon2.verify_password(password.as_bytes(), hash).is_ok(),
        None => {
            let nobody = NOBODY.get_or_init(|| argon2.hash_password(b"nobody").ok().map(|hash| hash.to_string()));
            let _ =
                std::hint::black_box(nobody.as_deref().map(|hash| argon2.verify_password(password.as_bytes(), hash)));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::model::options::AreaUser;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn headers(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(text).unwrap())])
    }

    fn basic(credentials: &str) -> HeaderMap {
        headers(&format!("Basic {}", BASE64.encode(credentials.as_bytes())))
    }

    fn area() -> Area {
        let password = Argon2::default().hash_password(b"correct horse").unwrap().to_string();
        Area { path: "/".into(), realm: None, users: vec![AreaUser { name: "ada".into(), password }] }
    }

    #[test]
    fn credentials_are_read_or_there_are_none() {
        let read = |text: &str| credentials(&headers(text));
        assert_eq!(credentials(&basic("ada:a:b é")), Some(("ada".into(), "a:b é".into())));
        assert_eq!(read("basic  YTpi"), Some(("a".into(), "b".into())));
        for bad in ["", "Basic", "Basic ", "Bearer YTpi", "Basic YTpi=", "Basic YWI=", "Basic /w==", "Basic {}"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(credentials(&basic(&format!("a:{}", "x".repeat(PASSWORD_MAX + 1)))), None);
        let mut two = basic("a:b");
        two.append(AUTHORIZATION, HeaderValue::from_static("Basic YTpi"));
        assert_eq!(credentials(&two), None);
        assert_eq!(credentials(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn who_is_right_enters_and_is_remembered_until_the_password_changes() {
        let blocking = Blocking::new(tokio::runtime::Handle::current());
        let (keeper, entered, mut area) = (Gatekeeper::new(), Entered::new(), area());
        let ask = async |area: &Area, text: &str| keeper.enter(&entered, area, &basic(text), PEER, &blocking).await;
        for wrong in ["ada:correct hors", "ada:", "eve:correct horse", ":correct horse"] {
            assert_eq!(ask(&area, wrong).await, Entry::Ask, "{wrong}");
        }
        assert_eq!(ask(&area, "ada:correct horse").await, Entry::Open("ada".into()));
        assert_eq!(entered.0.lock().unwrap().len(), 1);
        let begin = Instant::now();
        for _ in 0..100 {
            assert_eq!(ask(&area, "ada:correct horse").await, Entry::Open("ada".into()));
        }
        assert!(begin.elapsed() < Duration::from_secs(1), "each request was hashed: {:?}", begin.elapsed());
        area.users[0].password = Argon2::default().hash_password(b"battery staple").unwrap().to_string();
        assert_eq!(ask(&area, "ada:correct horse").await, Entry::Ask);
    }

    #[tokio::test]
    async fn who_guesses_waits_and_who_is_in_stays() {
        let blocking = Blocking::new(tokio::runtime::Handle::current());
        let (keeper, entered, area) = (Gatekeeper::new(), Entered::new(), area());
        let ask = async |text: &str| keeper.enter(&entered, &area, &basic(text), PEER, &blocking).await;
        assert_eq!(ask("ada:correct horse").await, Entry::Open("ada".into()));
        let mut guesses = 0;
        while ask("ada:guess").await == Entry::Ask {
            guesses += 1;
            assert!(guesses < 20, "nobody stops the guessing");
        }
        assert!(matches!(ask("ada:battery staple").await, Entry::Later(_)));
        assert_eq!(ask("ada:correct horse").await, Entry::Open("ada".into()));
    }
}
