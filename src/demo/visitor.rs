//! A visitor of the throw-away node: asks over HTTPS, trusts the node's own authority only, and says what it did not see.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use serde_json::Value;

use crate::demo::node::DemoError;
use crate::fetch::client::Client;
use crate::fetch::response::Response;
use crate::fetch::target::Target;
use crate::fetch::trust::Trust;

/// Where the node listens, once it said so.
#[derive(Clone, Copy)]
struct Ports {
    http: SocketAddr,
    https: SocketAddr,
}

pub(crate) struct Visitor {
    trust: Trust,
    host: &'static str,
    root: PathBuf,
    ca: PathBuf,
    ports: Ports,
}

impl Visitor {
    /// One who has not been told yet where to go.
    pub(crate) fn new(pem: &[u8], host: &'static str, root: PathBuf, ca: PathBuf) -> Result<Self, DemoError> {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self { trust: Trust::only(pem)?, host, root, ca, ports: Ports { http: nowhere, https: nowhere } })
    }

    /// The same visitor, who goes to another site of the node.
    pub(crate) fn of(&self, host: &'static str) -> Self {
        Self { trust: self.trust.clone(), host, root: PathBuf::new(), ca: self.ca.clone(), ports: self.ports }
    }

    /// The same one, who goes there once more.
    pub(crate) fn again(&self) -> Self {
        Self { root: self.root.clone(), ..self.of(self.host) }
    }

    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Reads the ports from the node's status: a restart changes them.
    pub(crate) fn moved_to(self, status: &Value) -> Result<Self, DemoError> {
        let port = |name: &str| {
            let listening = status["listening"].as_array()?.iter();
            let address = listening.filter(|one| one["name"] == name).find_map(|one| one["address"].as_str())?;
            address.parse().ok()
        };
        match (port("web.http"), port("web.https")) {
            (Some(http), Some(https)) => Ok(Self { ports: Ports { http, https }, ..self }),
            _ => Err(DemoError::Unmet("the node listens for HTTP and HTTPS")),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}:{}/", self.host, self.https_port())
    }

    pub(crate) fn https_port(&self) -> u16 {
        self.ports.https.port()
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn ca(&self) -> &Path {
        &self.ca
    }

    /// Asks over HTTPS, and has a look at what came.
    pub(crate) async fn sees(&self, path: &str, status: StatusCode, text: &str) -> Result<(), DemoError> {
        let address = self.ports.https;
        let target = Target::Tls { name: self.host.to_owned(), address, trust: self.trust.clone() };
        let answer = Client::new(target).send(asked(path)?).await?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        if answer.status != status || !body.contains(text) {
            return Err(DemoError::Seen { url: self.url(), status: answer.status, body, expected: text.to_owned() });
        }
        Ok(())
    }

    /// Asks without TLS; gives where that leads.
    pub(crate) async fn over_http(&self, path: &str) -> Result<String, DemoError> {
        let (host, port) = (self.ports.http.ip().to_string(), self.ports.http.port());
        let mut request = asked(path)?;
        let name = header::HeaderValue::from_static(self.host);
        request.headers_mut().insert(header::HOST, name);
        let Response { headers, .. } = Client::new(Target::Tcp { host, port }).send(request).await?;
        let location = headers.get(header::LOCATION).and_then(|to| to.to_str().ok());
        Ok(location.unwrap_or_default().to_owned())
    }
}

fn asked(path: &str) -> Result<Request<Bytes>, DemoError> {
    Request::get(path).body(Bytes::new()).map_err(|_| DemoError::Unmet("the path is well formed"))
}
