//! Where the API is: what the command line names, else the environment, else the socket of this machine.
use std::path::PathBuf;

use http::{HeaderValue, Uri};

use crate::api::written::Wait;
use crate::base::limits::CLIENT_OUTCOME_WAIT;
use crate::cli::client::Api;
use crate::cli::failure::Failure;
use crate::cli::tree::{Global, Who};
use crate::fetch::client::Client;
use crate::fetch::target::Target;

const SOCKET: &str = "/run/ruche/admin.sock";
const DOING: &str = "tell where the admin API is";

pub(crate) fn api(global: &Global, environment: impl Fn(&str) -> Option<String>) -> Result<Api, Failure> {
    let target = match (&global.url, &global.socket) {
        (Some(url), _) => tcp(url)?,
        (None, Some(path)) => Target::Unix(path.clone()),
        (None, None) => match environment("RUCHE_URL") {
            Some(url) => tcp(&url)?,
            None => Target::Unix(environment("RUCHE_SOCKET").map_or_else(|| SOCKET.into(), PathBuf::from)),
        },
    };
    let token = match &target {
        Target::Unix(_) => None,
        Target::Tcp { .. } | Target::Tls { .. } => {
            environment("RUCHE_TOKEN").map(|token| bearer(&token)).transpose()?
        }
    };
    let wait = match global.wait {
        _ if global.no_wait => Wait::False,
        Some(Who::All) => Wait::All,
        Some(Who::Node) | None => Wait::True,
    };
    Ok(Api { client: Client::new(target), token, wait, outcome_wait: CLIENT_OUTCOME_WAIT })
}

fn tcp(url: &str) -> Result<Target, Failure> {
    let odd = |reason| Failure::usage(DOING, reason, "Give an address such as http://127.0.0.1:7479.");
    let uri: Uri = url.parse().map_err(|_| odd("the URL cannot be read"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(odd("the admin API listens on loopback and speaks plain HTTP; use a tunnel")),
        _ => return Err(odd("the URL does not begin with http://")),
    }
    if uri.path() != "/" || uri.query().is_some() || uri.authority().is_none_or(|name| name.as_str().contains('@')) {
        return Err(odd("the URL has more than a host and a port"));
    }
    let host = uri.host().unwrap_or_default();
    if uri.port_u16().is_none() && uri.authority().is_some_and(|name| name.as_str() != host) {
        return Err(odd("its port is no number up to 65535"));
    }
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host).to_owned();
    Ok(Target::Tcp { host, port: uri.port_u16().unwrap_or(80) })
}

fn bearer(token: &str) -> Result<HeaderValue, Failure> {
    let odd =
        |_| Failure::usage("read RUCHE_TOKEN", "it is no token", "Copy the secret as `ruche token create` showed it.");
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim())).map_err(odd)?;
    value.set_sensitive(true);
    Ok(value)
}
