//! Uploads a page to the throw-away node over FTP with TLS, as a member's FTP program does.
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::demo::node::DemoError;
use crate::fetch::trust::Trust;

/// How long the whole upload may take.
const WAIT: Duration = Duration::from_secs(10);

pub(crate) struct Upload<'a> {
    pub(crate) server: SocketAddr,
    /// The name its certificate must be for.
    pub(crate) name: &'a str,
    pub(crate) trust: &'a Trust,
    pub(crate) login: &'a str,
    pub(crate) password: &'a str,
    pub(crate) path: &'a str,
    pub(crate) content: &'a [u8],
}

impl Upload<'_> {
    pub(crate) async fn run(self) -> Result<(), DemoError> {
        timeout(WAIT, self.talk()).await.map_err(|_| DemoError::Unmet("FTP answers in time"))?
    }

    async fn talk(self) -> Result<(), DemoError> {
        let mut plain = BufReader::new(TcpStream::connect(self.server).await.map_err(DemoError::Ftp)?);
        said(&mut plain, "220").await?;
        order(&mut plain, "AUTH TLS", "234").await?;
        let secure = self.trust.connect(self.name, plain.into_inner()).await.map_err(DemoError::Ftp)?;
        let mut control = BufReader::new(secure);
        order(&mut control, &format!("USER {}", self.login), "331").await?;
        order(&mut control, &format!("PASS {}", self.password), "230").await?;
        for (line, expected) in [("TYPE I", "200"), ("PBSZ 0", "200"), ("PROT P", "200")] {
            order(&mut control, line, expected).await?;
        }
        let passive = order(&mut control, "EPSV", "229").await?;
        let port = passive.split('|').nth(3).and_then(|port| port.parse().ok());
        let port = port.ok_or(DemoError::Unmet("EPSV names a port"))?;
        let data = TcpStream::connect((self.server.ip(), port)).await.map_err(DemoError::Ftp)?;
        send(&mut control, &format!("STOR {}", self.path)).await?;
        said(&mut control, "150").await?;
        let mut data = self.trust.connect(self.name, data).await.map_err(DemoError::Ftp)?;
        data.write_all(self.content).await.map_err(DemoError::Ftp)?;
        data.shutdown().await.map_err(DemoError::Ftp)?;
        said(&mut control, "226").await?;
        order(&mut control, "QUIT", "221").await?;
        Ok(())
    }
}

async fn order(
    stream: &mut BufReader<impl AsyncRead + AsyncWrite + Unpin>,
    line: &str,
    expected: &str,
) -> Result<String, DemoError> {
    send(stream, line).await?;
    said(stream, expected).await
}

async fn send(stream: &mut BufReader<impl AsyncRead + AsyncWrite + Unpin>, line: &str) -> Result<(), DemoError> {
    stream.write_all(format!("{line}\r\n").as_bytes()).await.map_err(DemoError::Ftp)?;
    stream.flush().await.map_err(DemoError::Ftp)
}

/// The last line of a reply that must have this code (RFC 959 section 4.2).
async fn said(stream: &mut BufReader<impl AsyncRead + Unpin>, code: &str) -> Result<String, DemoError> {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.map_err(DemoError::Ftp)?;
        match line.get(..4) {
            Some(start) if start.strip_suffix(' ') == Some(code) => return Ok(line),
            Some(start) if start.ends_with('-') || start.starts_with(' ') => {}
            _ => return Err(DemoError::FtpSaid { line: line.trim_end().to_owned(), expected: code.to_owned() }),
        }
    }
}
