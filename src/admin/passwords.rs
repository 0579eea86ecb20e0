//! Passwords on their way in: their bounds, and the hash that is kept of them. Never keeps or shows one.
use argon2::Argon2;
use argon2::password_hash::PasswordHasher;

use crate::admin::Desk;
use crate::admin::error::Failure;
use crate::api::ftp_users::Password;
use crate::base::limits::{PASSWORD_MAX, PASSWORD_MIN};

/// A few at a time, on the pool for blocking work.
pub(crate) async fn hashed(desk: &Desk, password: Password) -> Result<String, Failure> {
    check_length(&password)?;
    let _turn = desk.hashes.acquire().await.map_err(|_| Failure::busy("the node is stopping"))?;
    let hash = desk.blocking.run(move || hash(&password)).await?;
    hash.map_err(|error| Failure::busy(format!("failed to hash the password: {error}")))
}

fn check_length(password: &Password) -> Result<(), Failure> {
    match password.0.len() {
        PASSWORD_MIN..=PASSWORD_MAX => Ok(()),
        _ => Err(Failure::invalid("password", format!("expected {PASSWORD_MIN} to {PASSWORD_MAX} bytes"))),
    }
}

/// argon2id with its recommended parameters and a random salt, as a PHC string.
fn hash(password: &Password) -> Result<String, argon2::password_hash::Error> {
    Argon2::default().hash_password(password.0.as_bytes()).map(|hash| hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_becomes_a_salted_argon2id_hash() {
        let password = Password("correct horse".into());
        let (one, two) = (hash(&password).unwrap(), hash(&password).unwrap());
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && one != two, "{one}");
    }

    #[test]
    fn passwords_have_bounds() {
        let check = |length: usize| check_length(&Password("x".repeat(length))).is_ok();
        assert!(!check(0) && !check(7) && check(8) && check(1024) && !check(1025));
    }
}
