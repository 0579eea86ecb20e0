//! The id of a request. With an Idempotency-Key it is made of the caller and the key, so that the same request sent again, to this
//! node or another one, before or after a restart, is recognised by the rules. Pure but for chance.
use http::{HeaderMap, Method};
use sha2::{Digest, Sha256};

use crate::admin::error::Failure;
use crate::api::headers::IDEMPOTENCY_KEY;
use crate::base::ids::RequestId;
use crate::base::limits::IDEMPOTENCY_KEY_MAX;
use crate::cluster::door;
use crate::model::change::Actor;

/// What was asked, as far as two requests with one key must agree on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) conditions: &'a str,
    pub(crate) body: &'a [u8],
}

/// The key a client sent, if any.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<&[u8]>, Failure> {
    let mut lines = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    let key = line.as_bytes();
    let sound = !key.is_empty() && key.len() <= IDEMPOTENCY_KEY_MAX && key.iter().all(u8::is_ascii_graphic);
    if sound && lines.next().is_none() {
        return Ok(Some(key));
    }
    let detail = format!("an Idempotency-Key is one word of 1 to {IDEMPOTENCY_KEY_MAX} visible ASCII characters");
    Err(Failure::bad_request("bad-idempotency-key", detail, "Use a random one, such as a UUID, for each new request."))
}

pub(crate) fn request_id(actor: Actor, key: Option<&[u8]>, asked: Asked<'_>) -> RequestId {
    let digest =
        hash(&[asked.method.as_str().as_bytes(), asked.path.as_bytes(), asked.conditions.as_bytes(), asked.body]);
    let key = key.map_or_else(door::random, |key| {
        let actor = match actor {
            Actor::System => "system".to_owned(),
            Actor::Local { uid } => format!("local {uid}"),
            Actor::Token { id } => format!("token {id}"),
        };
        hash(&[actor.as_bytes(), key])
    });
    RequestId { key, digest }
}

/// The first half of SHA-256 over the parts, each with its length.
fn hash(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::TokenId;

    const ASKED: Asked<'_> = Asked { method: &Method::POST, path: "/v1/sites", conditions: "", body: b"{}" };
    const ROOT: Actor = Actor::Local { uid: 0 };

    #[test]
    fn the_same_request_has_the_same_id() {
        let id = request_id(ROOT, Some(b"k"), ASKED);
        assert_eq!(request_id(ROOT, Some(b"k"), ASKED), id);
        let other = request_id(ROOT, Some(b"k"), Asked { body: b"{ }", ..ASKED });
        assert!(other.key == id.key && other.digest != id.digest);
        let other = request_id(ROOT, Some(b"k"), Asked { method: &Method::PUT, ..ASKED });
        assert_ne!(other.digest, id.digest);
        assert_ne!(request_id(Actor::Local { uid: 1 }, Some(b"k"), ASKED).key, id.key);
        assert_ne!(request_id(Actor::Token { id: TokenId(0) }, Some(b"k"), ASKED).key, id.key);
        assert_ne!(request_id(ROOT, Some(b"l"), ASKED).key, id.key);
    }

    #[test]
    fn without_a_key_each_request_is_new() {
        assert_ne!(request_id(ROOT, None, ASKED).key, request_id(ROOT, None, ASKED).key);
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
    }

    #[test]
    fn keys_are_short_visible_words() {
        let read = |text: &str| {
            let headers: HeaderMap = [(IDEMPOTENCY_KEY.parse().unwrap(), text.parse().unwrap())].into_iter().collect();
            key(&headers).map(|key| key.map(<[u8]>::to_vec)).ok()
        };
        assert_eq!(read("abc"), Some(Some(b"abc".to_vec())));
        assert_eq!(key(&HeaderMap::new()).unwrap(), None);
        assert!(read("").is_none() && read("a b").is_none() && read(&"a".repeat(256)).is_none());
    }
}
