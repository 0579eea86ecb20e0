//! Keys of accounts at issuers, as JSON writes them (RFC 7517, RFC 7518), and what is said with them (RFC 7515). Ours are P-256; RSA is
//! what others bring along.
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::tls::der::{Der, INTEGER, SEQUENCE};
use crate::tls::error::TlsError;

/// The key of an account.
#[derive(Debug)]
pub enum AccountKey {
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// The private key of an account as clients of ACME keep it. Numbers are base64url.
#[derive(Deserialize)]
#[serde(tag = "kty")]
enum Jwk {
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String, d: String, p: String, q: String, dp: String, dq: String, qi: String },
    #[serde(rename = "EC")]
    Ec { crv: String, x: String, y: String, d: String },
}

impl AccountKey {
    /// From PKCS#8.
    pub fn read(pkcs8: &[u8]) -> Result<Self, TlsError> {
        if let Ok(key) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8) {
            return Ok(Self::P256(key));
        }
        RsaKeyPair::from_pkcs8(pkcs8).map(Self::Rsa).map_err(|_| TlsError::AccountKey("it is neither P-256 nor RSA"))
    }

    /// Whether it is of the kind that all ours are.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::P256(_))
    }

    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::P256(_) => "ES256",
            Self::Rsa(_) => "RS256",
        }
    }

    /// The public half.
    pub fn jwk(&self) -> Value {
        match self {
            Self::P256(key) => {
                // 4, then the two coordinates (SEC 1 section 2.3.3).
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({"crv": "P-256", "kty": "EC", "x": text(x), "y": text(y)})
            }
            Self::Rsa(key) => {
                let mut numbers = Der(key.public_key().as_ref()).enter(SEQUENCE).unwrap_or(Der(&[]));
                let mut next = || numbers.take(INTEGER).map(|number| text(number.strip_prefix(&[0]).unwrap_or(number)));
                let (n, e) = (next(), next());
                json!({"e": e, "kty": "RSA", "n": n})
            }
        }
    }

    /// SHA-256 of the public half (RFC 7638), base64url: its members stand in their order here, and there are no others.
    pub fn thumbprint(&self) -> String {
        text(&Sha256::digest(self.jwk().to_string()))
    }

    /// Signs a message with its header (RFC 7515 section 7.2.2); the header names algorithm and key.
    pub fn sign(&self, header: &Value, message: &[u8]) -> Result<Value, TlsError> {
        let (header, message) = (text(header.to_string().as_bytes()), text(message));
        let signed = format!("{header}.{message}");
        let failed = |_| TlsError::AccountKey("it does not sign");
        let signature = match self {
            Self::P256(key) => text(key.sign(&SystemRandom::new(), signed.as_bytes()).map_err(failed)?.as_ref()),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                let made = key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature);
                made.map_err(failed)?;
                text(&signature)
            }
        };
        Ok(json!({"protected": header, "payload": message, "signature": signature}))
    }
}

/// A private key as JSON, as PKCS#8.
pub fn read_jwk(json: &str) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    const BROKEN: TlsError = TlsError::AccountKey("its numbers are no key");
    let jwk: Jwk = serde_json::from_str(json).map_err(|_| TlsError::AccountKey("it is no JWK of an RSA or EC key"))?;
    let number = |text: &String| BASE64URL_NOPAD.decode(text.as_bytes()).map(Zeroizing::new).map_err(|_| BROKEN);
    let der = match &jwk {
        Jwk::Rsa { n, e, d, p, q, dp, dq, qi } => {
            let (n, e, d, p, q) = (number(n)?, number(e)?, number(d)?, number(p)?, number(q)?);
            let (dp, dq, qi) = (number(dp)?, number(dq)?, number(qi)?);
            let public_key = PublicKeyComponents { n: &**n, e: &**e };
            let parts = KeyPairComponents { public_key, d: &**d, p: &**p, q: &**q, dP: &**dp, dQ: &**dq, qInv: &**qi };
            let key = RsaKeyPair::from_components(&parts).map_err(|_| BROKEN)?;
            AsDer::<Pkcs8V1Der<'static>>::as_der(&key).map_err(|_| BROKEN)?.as_ref().to_vec()
        }
        Jwk::Ec { crv, x, y, d } if crv == "P-256" => {
            let point = [&[4][..], &number(x)?, &number(y)?].concat();
            let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let key = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &number(d)?, &point);
            key.map_err(|_| BROKEN)?.to_pkcs8v1().map_err(|_| BROKEN)?.as_ref().to_vec()
        }
        Jwk::Ec { .. } => return Err(TlsError::AccountKey("its curve is not P-256")),
    };
    Ok(Zeroizing::new(der))
}

fn text(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    /// RFC 7515 appendix A.3.
    const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

    /// What is signed, and with what.
    fn parts(signed: &Value) -> (String, Vec<u8>) {
        let part = |name: &str| signed[name].as_str().unwrap().to_owned();
        let signature = BASE64URL_NOPAD.decode(part("signature").as_bytes()).unwrap();
        (format!("{}.{}", part("protected"), part("payload")), signature)
    }

    #[test]
    fn a_key_is_read_and_says_what_it_is() {
        let key = AccountKey::read(&read_jwk(EC).unwrap()).unwrap();
        assert!(key.is_ours() && key.jwk()["x"] == "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "{}", key.jwk());
        let (message, signature) = parts(&key.sign(&json!({"alg": key.algorithm()}), b"payload").unwrap());
        assert!(message.ends_with(".cGF5bG9hZA"), "{message}");
        let AccountKey::P256(pair) = &key else { unreachable!() };
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
        public.verify(message.as_bytes(), &signature).unwrap();

        let made = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let key = AccountKey::read(AsDer::<Pkcs8V1Der<'static>>::as_der(&made).unwrap().as_ref()).unwrap();
        let jwk = key.jwk();
        assert!(!key.is_ours() && jwk["e"] == "AQAB" && jwk["n"].as_str().unwrap().len() == 342, "{jwk}");
        let (message, signature) = parts(&key.sign(&json!({"alg": key.algorithm()}), b"payload").unwrap());
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, made.public_key().as_ref());
        public.verify(message.as_bytes(), &signature).unwrap();
        assert_eq!(key.thumbprint().len(), 43);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for broken in
            ["", "{}", r#"{"kty":"oct","k":"AA"}"#, &EC.replace("P-256", "P-384"), &EC.replace("f83O", "f93O")]
        {
            assert!(read_jwk(broken).is_err(), "{broken}");
        }
        let rsa = r#"{"kty":"RSA","n":"AQAB","e":"AQAB","d":"AQ","p":"AQ","q":"AQ","dp":"AQ","dq":"AQ","qi":"AQ"}"#;
        assert!(read_jwk(rsa).is_err() && AccountKey::read(b"no key").is_err());
    }
}
