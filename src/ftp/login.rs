//! Passwords verified: as much work for a login that does not exist as for one that does, a bounded number at one time, slower
//! after failures. Imported hashes, and those of another cost than new ones have, are replaced at the next login. Never logs a
//! password.
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::base::limits::{PASSWORD_HASHES_AT_ONCE, PASSWORD_MAX};
use crate::base::names::Login;
use crate::cluster::door::{Door, Write};
use crate::ftp::Plane;
use crate::ftp::backoff::Backoff;
use crate::ftp::commands::Password;
use crate::ftp::crypt;
use crate::ftp::fault::busy;
use crate::ftp::reply::Reply;
use crate::model::change::{Change, Set};
use crate::model::ftp_users::{FtpUser, FtpUserSet};

/// The only change this room makes: the same password, hashed our way.
#[derive(Debug, Clone)]
pub struct Rehash {
    login: Login,
    hash: String,
}

impl From<Rehash> for Change {
    fn from(rehash: Rehash) -> Self {
        Self::FtpUserSet(FtpUserSet { password: Set::To(rehash.hash), ..FtpUserSet::of(rehash.login) })
    }
}

/// What all logins share.
#[derive(Debug)]
pub(crate) struct Logins {
    backoff: Mutex<Backoff>,
    turns: Semaphore,
    door: Door<Rehash>,
}

impl Logins {
    pub(crate) fn new(door: Door<Rehash>) -> Self {
        Self { backoff: Mutex::default(), turns: Semaphore::new(PASSWORD_HASHES_AT_ONCE), door }
    }

    fn backoff(&self) -> MutexGuard<'_, Backoff> {
        // Counters: as good after a panic as before.
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The user whose login and password these are.
pub(crate) async fn verified(plane: &Plane, from: IpAddr, login: &str, password: Password) -> Result<FtpUser, Reply> {
    let logins = &plane.logins;
    // Waited for before the look at the failures: they are counted one after the other.
    let _turn = logins.turns.acquire().await.map_err(busy)?;
    let wait = logins.backoff().wait(from, login, Instant::now());
    if wait > Duration::ZERO {
        metrics::counter!("ruche_ftp_logins_total", "result" => "slowed").increment(1);
        return Err(Reply::new(530, format!("Too many failed logins: try again in {} s", wait.as_secs() + 1)));
    }
    let known = Login::parse(login).ok().and_then(|login| plane.snapshot().ftp_users.get(&login).map(Arc::clone));
    let hash = known.as_ref().map(|user| user.password.clone());
    let given = password.clone();
    let matches = plane.blocking.run(move || is_right(&given, hash.as_deref())).await.map_err(busy)?;
    match known {
        Some(user) if matches => {
            metrics::counter!("ruche_ftp_logins_total", "result" => "done").increment(1);
            if !is_our_way(&user.password) {
                rehash(plane, &user, password).await;
            }
            Ok(FtpUser::clone(&user))
        }
        _ => {
            logins.backoff().failed(from, login, Instant::now());
            metrics::counter!("ruche_ftp_logins_total", "result" => "failed").increment(1);
            tracing::info!(%from, login, "a login failed");
            Err(Reply::new(530, "Not logged in: login or password are wrong"))
        }
    }
}

/// Whether it is the password; where there is no user the same work is done for nothing.
fn is_right(password: &Password, hash: Option<&str>) -> bool {
    static NOBODY: OnceLock<Option<String>> = OnceLock::new();
    let given = password.0.as_bytes();
    if given.len() > PASSWORD_MAX {
        return false;
    }
    let Some(hash) = hash else {
        let nobody = NOBODY.get_or_init(|| hashed(b"nobody")).as_deref().unwrap_or_default();
        // Also who guesses that word is nobody.
        let _ = std::hint::black_box(Argon2::default().verify_password(given, nobody));
        return false;
    };
    match crypt::verify(given, hash) {
        Some(right) => right,
        None => Argon2::default().verify_password(given, hash).is_ok(),
    }
}

fn hashed(password: &[u8]) -> Option<String> {
    Argon2::default().hash_password(password).map(|hash| hash.to_string()).ok()
}

/// Of the kind and the cost that new hashes have.
fn is_our_way(hash: &str) -> bool {
    let argon2 = Argon2::default();
    let cost = argon2.params();
    hash.starts_with(&format!("$argon2id$v=19$m={},t={},p={}$", cost.m_cost(), cost.t_cost(), cost.p_cost()))
}

/// Replaces a hash of another kind or cost, if the cluster takes changes and nobody changed the user meanwhile.
async fn rehash(plane: &Plane, user: &FtpUser, password: Password) {
    let hash = match plane.blocking.run(move || hashed(password.0.as_bytes())).await {
        Ok(Some(hash)) => hash,
        _ => return,
    };
    let change = Rehash { login: user.login.clone(), hash };
    let write = Write { expect: Some(user.revision), ..Write::of_system(change) };
    if let Err(error) = plane.logins.door.write(write).await {
        tracing::warn!(login = %user.login, "an old password hash stays: failed to {error}");
    }
}

#[cfg(test)]
mod tests {
    use argon2::{Algorithm, Params, Version};

    use super::*;

    #[test]
    fn passwords_are_told_apart() {
        let ours = hashed(b"correct horse").unwrap();
        assert!(is_our_way(&ours));
        let cheaper = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
        let cheaper = cheaper.hash_password(b"correct horse").unwrap().to_string();
        assert!(is_right(&Password("correct horse".into()), Some(&cheaper)) && !is_our_way(&cheaper), "{cheaper}");
        let imported =
            "$6$saltstring$MO53nAXQUKXVLlsbiXyPgMsR6q10N7eF7sPvanwdXnEeCj5kE3eYaRvFv0wVW1UZ4SnNTzc1v4OCOq1ASDQZY0";
        let right = |password: &str, hash| is_right(&Password(password.into()), hash);
        assert!(right("correct horse", Some(&ours)) && !right("wrong horse", Some(&ours)));
        assert!(right("a", Some(imported)) && !right("b", Some(imported)) && !is_our_way(imported));
        assert!(!right("nobody", None) && !right("", Some("")) && !right("x", Some("$1$abc$def")));
        assert!(!right(&"x".repeat(PASSWORD_MAX + 1), Some(&ours)));
    }
}
