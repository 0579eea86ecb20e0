//! SHA-crypt (`$5$` and `$6$`, Ulrich Drepper's specification): the hashes that imported users bring along. Pure; never makes one
//! to be kept.
use sha2::digest::Output;
use sha2::{Digest, Sha256, Sha512};

use crate::base::limits::{CRYPT_ROUNDS_MAX, CRYPT_SALT_MAX};

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ROUNDS: u32 = 5000;
const ROUNDS_MIN: u32 = 1000;

/// Whether the password is that of the hash; none where the hash is of another kind.
pub(crate) fn verify(password: &[u8], hash: &str) -> Option<bool> {
    let (long, rest) = match (hash.strip_prefix("$6$"), hash.strip_prefix("$5$")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return None,
    };
    let (rounds, rest) = match rest.strip_prefix("rounds=") {
        Some(rest) => {
            let (rounds, rest) = rest.split_once('$')?;
            (rounds.parse::<u32>().ok()?.max(ROUNDS_MIN), rest)
        }
        None => (ROUNDS, rest),
    };
    let (salt, wanted) = rest.split_once('$')?;
    if rounds > CRYPT_ROUNDS_MAX {
        return None;
    }
    let salt = &salt.as_bytes()[..salt.len().min(CRYPT_SALT_MAX)];
    let made = if long {
        text_64(&digest::<Sha512>(password, salt, rounds))
    } else {
        text_32(&digest::<Sha256>(password, salt, rounds))
    };
    Some(same(&made, wanted.as_bytes()))
}

/// Equal, in a time that does not depend on where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

fn digest<D: Digest>(password: &[u8], salt: &[u8], rounds: u32) -> Output<D> {
    let of = |parts: &[&[u8]]| parts.iter().fold(D::new(), |hash, part| hash.chain_update(part)).finalize();
    let other = of(&[password, salt, password]);
    let mut hash = D::new().chain_update(password).chain_update(salt).chain_update(repeated(&other, password.len()));
    let mut bits = password.len();
    while bits > 0 {
        hash.update(if bits & 1 == 1 { &other[..] } else { password });
        bits >>= 1;
    }
    let mut now = hash.finalize();
    let many = |part: &[u8], times: usize| (0..times).fold(D::new(), |hash, _| hash.chain_update(part)).finalize();
    let p = repeated(&many(password, password.len()), password.len());
    let s = repeated(&many(salt, 16 + usize::from(now[0])), salt.len());
    for round in 0..rounds {
        let odd = round % 2 == 1;
        let mut hash = D::new();
        hash.update(if odd { &p[..] } else { &now[..] });
        if round % 3 != 0 {
            hash.update(&s);
        }
        if round % 7 != 0 {
            hash.update(&p);
        }
        hash.update(if odd { &now[..] } else { &p[..] });
        now = hash.finalize();
    }
    now
}

/// So many bytes of a digest over and over.
fn repeated(digest: &[u8], length: usize) -> Vec<u8> {
    digest.iter().copied().cycle().take(length).collect()
}

/// Three bytes as four characters, the lowest bits first.
fn push(text: &mut Vec<u8>, bytes: [u8; 3], characters: usize) {
    let bits = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
    text.extend((0..characters).map(|at| ALPHABET[(bits >> (6 * at)) as usize & 63]));
}

fn text_64(digest: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(86);
    for at in 0..21 {
        let three = [digest[at], digest[at + 21], digest[at + 42]];
        let turned = match at % 3 {
            0 => three,
            1 => [three[1], three[2], three[0]],
            _ => [three[2], three[0], three[1]],
        };
        push(&mut text, turned, 4);
    }
    push(&mut text, [0, 0, digest[63]], 2);
    text
}

fn text_32(digest: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(43);
    for at in 0..10 {
        let three = [digest[at], digest[at + 10], digest[at + 20]];
        let turned = match at % 3 {
            0 => three,
            1 => [three[2], three[0], three[1]],
            _ => [three[1], three[2], three[0]],
        };
        push(&mut text, turned, 4);
    }
    push(&mut text, [0, digest[31], digest[30]], 3);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl passwd`.
    #[test]
    fn hashes_of_others_are_verified() {
        let long = "x".repeat(130);
        for (password, hash) in [
            ("a", "$5$saltstring$7cz4bTeQ7MnNssphNhFVrITtuJYY/1tdvLL2uzLvOk8"),
            ("Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
            (&long, "$5$saltstring$iX71VynRG/8NIM7fbmflkRIDognHi.i7TbkmhVZvKDA"),
            ("été", "$5$saltstring$Z.BDQGD2UtsdChi.Vnq3J954e4enKwEErst7Nst6eI0"),
            (
                "a",
                "$6$saltstring$MO53nAXQUKXVLlsbiXyPgMsR6q10N7eF7sPvanwdXnEeCj5kE3eYaRvFv0wVW1UZ4SnNTzc1v4OCOq1ASDQZY0",
            ),
            (
                "Hello world!",
                "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            ),
            (
                &long,
                "$6$saltstring$t/vS3tNiwbmeMnRhTQEJC3i7pLg9uwDIDrHMZe.x48YSGH3Yz7i75iqOKQ3x14i1m4/G1kPQA3FsfPQO925OZ.",
            ),
            (
                "secret",
                "$6$rounds=1234$abcdefghijklmnop$IHxJU1//aPNjHJ/dTsgfYDQ8x53Qf934gbfExKhFjSUfeLhnxh5Qjre4cx8Z1herK1vKT7cjNCB8ULVND1/Q./",
            ),
        ] {
            assert_eq!(verify(password.as_bytes(), hash), Some(true), "{hash}");
            assert_eq!(verify(b"another", hash), Some(false), "{hash}");
            assert_eq!(verify(password.as_bytes(), &hash[..hash.len() - 1]), Some(false), "{hash}");
        }
        for other in ["$argon2id$v=19$x", "$1$a$b", "", "$6$", "$6$rounds=x$a$b", "$6$rounds=999999999$a$b", "$6$salt"]
        {
            assert_eq!(verify(b"x", other), None, "{other}");
        }
        assert_eq!(verify(b"x", "$6$\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}$b"), Some(false));
    }
}
