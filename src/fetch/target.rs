//! Where a request goes, and how a connection to it is made.
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::fetch::error::FetchError;
use crate::fetch::trust::Trust;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Unix(PathBuf),
    Tcp {
        /// A name or an address, an IPv6 one without brackets.
        host: String,
        port: u16,
    },
    /// HTTPS to an address we know, certified for `name`.
    Tls {
        name: String,
        address: SocketAddr,
        trust: Trust,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Tls { name, address, .. } => write!(f, "https://{name}:{} at {}", address.port(), address.ip()),
        }
    }
}

pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl Wire for TcpStream {}
impl Wire for UnixStream {}
impl Wire for TlsStream<TcpStream> {}

impl Target {
    /// The Host header: a unix socket has no name of its own.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tcp { .. } => self.to_string(),
            Self::Tls { name, address, .. } => format!("{name}:{}", address.port()),
        }
    }

    pub(super) async fn connect(&self, wait: Duration) -> Result<Box<dyn Wire>, FetchError> {
        let opened = timeout(wait, self.open()).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        opened.map_err(|cause| FetchError::Unreachable { target: self.clone(), cause })
    }

    async fn open(&self) -> io::Result<Box<dyn Wire>> {
        match self {
            Self::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Self::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Self::Tls { name, address, trust } => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(trust.connect(name, stream).await?))
            }
        }
    }
}
