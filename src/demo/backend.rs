//! What a proxied site of the demo stands before: a server that answers each request with what reached it.
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// Lines of a head it reads; the node sends fewer.
const LINES_MAX: usize = 100;

/// It ends when this is dropped.
pub(crate) struct Backend {
    address: SocketAddr,
    task: AbortHandle,
}

impl Backend {
    pub(crate) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
        });
        Ok(Self { address, task: task.abort_handle() })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request, one answer; the node does without a connection that stays.
async fn answer(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut seen = String::from("A backend behind the hive saw:\n");
    for _ in 0..LINES_MAX {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 || line == "\r\n" {
            break;
        }
        seen.push_str(&line);
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        seen.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(seen.as_bytes()).await?;
    stream.shutdown().await
}
