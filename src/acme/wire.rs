//! HTTP to an issuer: every wait and size bounded, over TLS always, and what its answers say beside their bodies remembered: when to
//! come back, and what time it is there.
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Problem};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::base::limits::acme::{ANSWER_MAX, CONNECT_WAIT, IDENTITIES_MAX, PAUSE_MAX, TALK_WAIT};
use crate::fetch;
use crate::fetch::client::{Bounds, Client};
use crate::fetch::error::FetchError;
use crate::fetch::target::Target;
use crate::fetch::trust::Trust;
use crate::model::issuers::IssuerAccount;
use crate::tls::jose::AccountKey;

/// Addresses of an issuer that are tried.
const ADDRESSES_MAX: usize = 4;
const NONCE: &str = "replay-nonce";

#[derive(Debug, Clone)]
pub(crate) struct Wire {
    trust: Trust,
    heard: Arc<Mutex<Heard>>,
}

/// What the last answers said beside their bodies.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Heard {
    /// How long to wait before it is asked again.
    pub(crate) retry: Option<Duration>,
    /// How far its clock is from ours.
    pub(crate) skew: Option<Duration>,
}

impl Wire {
    pub(crate) fn new(trust: Trust) -> Self {
        Self { trust, heard: Arc::default() }
    }

    pub(crate) fn heard(&self) -> Heard {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By which domains an issuer knows itself in CAA records, as its directory says (RFC 8555 section 7.1.1).
    pub(crate) async fn identities(&self, directory: &str) -> Result<Vec<String>, Error> {
        let directory = self.directory(directory).await?;
        Ok(directory.meta.identities.into_iter().take(IDENTITIES_MAX).collect())
    }

    /// Has the issuer know an account by another key from here on (RFC 8555 section 7.3.5).
    pub(crate) async fn change_key(&self, of: &IssuerAccount, old: &AccountKey, new: &AccountKey) -> Result<(), Error> {
        let directory = self.directory(&of.directory).await?;
        let Some(url) = &directory.key_change else { return Err(Error::Unsupported("another key of an account")) };
        let header = json!({"alg": new.algorithm(), "jwk": new.jwk(), "url": url});
        let said = json!({"account": of.url, "oldKey": old.jwk()}).to_string();
        let said = new.sign(&header, said.as_bytes()).map_err(other)?;
        self.say(&directory, url, ("kid", json!(of.url)), old, &said).await.map(drop)
    }

    /// Where the account of a key is, if there is one (RFC 8555 section 7.3.1).
    pub(crate) async fn account_of(&self, directory: &str, key: &AccountKey) -> Result<String, Error> {
        let directory = self.directory(directory).await?;
        let said = json!({"onlyReturnExisting": true});
        let answer = self.say(&directory, &directory.new_account, ("jwk", key.jwk()), key, &said).await?;
        let at = answer.headers.get(LOCATION).and_then(|at| at.to_str().ok());
        at.map(str::to_owned).ok_or(Error::Str("no account URL"))
    }

    /// Says something with a key: what the library says with keys of ours only.
    async fn say(
        &self,
        directory: &Directory,
        url: &str,
        (name, who): (&str, Value),
        key: &AccountKey,
        said: &Value,
    ) -> Result<fetch::response::Response, Error> {
        let (head, ()) = Request::head(&directory.new_nonce).body(())?.into_parts();
        let answer = self.exchange(head, Bytes::new()).await?;
        let nonce = answer.headers.get(NONCE).and_then(|nonce| nonce.to_str().ok());
        let header = json!({"alg": key.algorithm(), name: who, "nonce": nonce, "url": url});
        let body = key.sign(&header, said.to_string().as_bytes()).map_err(other)?;
        let (head, ()) = Request::post(url).header(CONTENT_TYPE, "application/jose+json").body(())?.into_parts();
        let answer = self.exchange(head, body.to_string().into()).await?;
        match answer.status.is_success() {
            true => Ok(answer),
            false => Err(serde_json::from_slice::<Problem>(&answer.body)?.into()),
        }
    }

    async fn directory(&self, url: &str) -> Result<Directory, Error> {
        let (head, ()) = Request::get(url).body(())?.into_parts();
        let answer = self.exchange(head, Bytes::new()).await?;
        if !answer.status.is_success() {
            return Err(other(io::Error::other(format!("it answers {}", answer.status.as_u16()))));
        }
        Ok(serde_json::from_slice(&answer.body)?)
    }

    async fn send(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let answer = self.exchange(head, body).await?;
        let mut response = Response::new(Full::new(answer.body));
        (*response.status_mut(), *response.headers_mut()) = (answer.status, answer.headers);
        // The library adds it to the present, whatever it is.
        if let Some(retry) = self.heard().retry {
            response.headers_mut().insert(RETRY_AFTER, retry.as_secs().into());
        } else {
            response.headers_mut().remove(RETRY_AFTER);
        }
        Ok(BytesResponse::from(response))
    }

    async fn exchange(&self, mut head: Parts, body: Bytes) -> Result<fetch::response::Response, Error> {
        let uri = std::mem::take(&mut head.uri);
        let (host, port) = authority(&uri).map_err(other)?;
        head.uri = uri.path_and_query().map_or_else(|| Uri::from_static("/"), |path| Uri::from(path.clone()));
        head.headers.insert(USER_AGENT, HeaderValue::from_static(concat!("ruche/", env!("CARGO_PKG_VERSION"))));
        let bounds = Bounds { connect: CONNECT_WAIT, head: TALK_WAIT, body: TALK_WAIT, body_max: ANSWER_MAX };
        let mut last = None;
        for address in addresses(&host, port).await.map_err(other)? {
            let target = Target::Tls { name: host.clone(), address, trust: self.trust.clone() };
            let request = Request::from_parts(head.clone(), body.clone());
            match (Client { target, bounds }).send(request).await {
                Ok(answer) => {
                    self.heard.lock().unwrap_or_else(PoisonError::into_inner).hear(&answer.headers);
                    return Ok(answer);
                }
                // It was never read there: another address may do.
                Err(error @ FetchError::Unreachable { .. }) => last = Some(error),
                Err(error) => return Err(other(error)),
            }
        }
        Err(last.map_or_else(|| other(io::Error::other(format!("{host} has no address"))), other))
    }
}

/// What of a directory the library does not tell.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    #[serde(default)]
    new_nonce: String,
    #[serde(default)]
    new_account: String,
    key_change: Option<String>,
    #[serde(default)]
    meta: Meta,
}

#[derive(Debug, Default, Deserialize)]
struct Meta {
    #[serde(default, rename = "caaIdentities")]
    identities: Vec<String>,
}

impl Heard {
    fn hear(&mut self, headers: &HeaderMap) {
        let now = SystemTime::now();
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(there) = text(DATE).and_then(|date| httpdate::parse_http_date(date).ok()) {
            self.skew = Some(now.duration_since(there).unwrap_or_else(|ahead| ahead.duration()));
        }
        let retry = text(RETRY_AFTER).and_then(|retry| match retry.parse() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => httpdate::parse_http_date(retry).ok()?.duration_since(now).ok(),
        });
        self.retry = retry.map(|retry| retry.min(PAUSE_MAX));
    }
}

impl HttpClient for Wire {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().send(request))
    }
}

/// Where an issuer is; nothing is said to one without TLS.
fn authority(uri: &Uri) -> io::Result<(String, u16)> {
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(host)) => Ok((host.trim_matches(['[', ']']).to_owned(), uri.port_u16().unwrap_or(443))),
        _ => Err(io::Error::other(format!("the issuer names `{}`, which is no https URL", brief(uri)))),
    }
}

fn brief(uri: &Uri) -> String {
    uri.to_string().chars().take(100).collect()
}

async fn addresses(host: &str, port: u16) -> io::Result<impl Iterator<Item = SocketAddr>> {
    let found = timeout(CONNECT_WAIT, tokio::net::lookup_host((host, port))).await;
    let found = found.map_err(|_| io::Error::other(format!("the address of {host} was not found in time")))?;
    let all: Vec<_> = found.map_err(|error| io::Error::other(format!("find {host}: {error}")))?.collect();
    Ok(all.into_iter().take(ADDRESSES_MAX))
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Other(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_waited_for_no_longer_than_is_sound() {
        let mut heard = Heard::default();
        let mut hear = |name, value: &str| {
            heard.hear(&HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())]));
            heard
        };
        for (said, wait) in [
            ("30", Some(Duration::from_secs(30))),
            ("18446744073709551615", Some(PAUSE_MAX)),
            ("18446744073709551616", None),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(PAUSE_MAX)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", None),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(hear(RETRY_AFTER, said).retry, wait, "{said}");
        }
        // What was said once holds for that answer; the clock is remembered.
        hear(RETRY_AFTER, "30");
        let heard = hear(DATE, "Thu, 01 Jan 1970 00:00:00 GMT");
        assert!(heard.retry.is_none() && heard.skew.is_some_and(|skew| skew > Duration::from_secs(1 << 30)));
        assert!(hear(RETRY_AFTER, "1").skew.is_some());
    }
}
