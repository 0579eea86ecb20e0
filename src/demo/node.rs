//! The throw-away node: a child process in a private directory, asked over its admin socket, killed and removed at the end.
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::door::random;
use crate::fetch::client::Client;
use crate::fetch::error::FetchError;
use crate::fetch::target::Target;
use crate::fetch::trust::TrustError;

/// How long the node may take to be ready, and to stop.
const READY_WAIT: Duration = Duration::from_secs(30);
const STOP_WAIT: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Failed to show the node.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error("start the demo: {0}")]
    Start(std::io::Error),
    #[error("start the node: it ended with {status}; its log is {}", .log.display())]
    Ended { status: std::process::ExitStatus, log: PathBuf },
    #[error("start the node: it was not ready in time; its log is {}", .0.display())]
    NotReady(PathBuf),
    #[error("ask the node: {0}")]
    Fetch(#[from] FetchError),
    #[error("ask the node: {method} {path} answered {status}: {body}")]
    Answered { method: Method, path: String, status: StatusCode, body: String },
    #[error("trust the node: {0}")]
    Trust(#[from] TrustError),
    #[error("put a page: {0}")]
    Page(std::io::Error),
    #[error("see {expected:?} at {url}: it answered {status}: {body}")]
    Seen { url: String, status: StatusCode, body: String, expected: String },
    #[error("ask over DNS: {0}")]
    Dns(std::io::Error),
    #[error("upload over FTP: {0}")]
    Ftp(std::io::Error),
    #[error("upload over FTP: the server said {line:?}, not {expected}")]
    FtpSaid { line: String, expected: String },
    #[error("see it work: {0} does not hold")]
    Unmet(&'static str),
    #[error("finish: interrupted")]
    Interrupted,
    #[error("clean up {}: {source}", .dir.display())]
    CleanUp { dir: PathBuf, source: std::io::Error },
}

/// One request and the status it must be answered with.
pub(crate) struct Asked {
    method: Method,
    path: String,
    body: Option<Value>,
    status: StatusCode,
}

impl Asked {
    pub(crate) fn new(method: Method, path: &str, body: Value, status: StatusCode) -> Self {
        Self { method, path: path.to_owned(), body: Some(body), status }
    }

    /// Makes something.
    pub(crate) fn post(path: &str, body: Value) -> Self {
        Self::new(Method::POST, path, body, StatusCode::CREATED)
    }

    pub(crate) fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), body: None, status: StatusCode::OK }
    }
}

pub(crate) struct Node {
    dir: PathBuf,
    child: Child,
    client: Client,
}

impl Node {
    pub(crate) async fn start(name: &str) -> Result<Self, DemoError> {
        let chance: String = random()[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let dir = std::env::temp_dir().join(format!("ruche-demo-{chance}"));
        std::fs::DirBuilder::new().mode(0o700).create(&dir).map_err(DemoError::Start)?;
        std::fs::write(dir.join("ruche.toml"), config(&dir, name)).map_err(DemoError::Start)?;
        let child = spawn(&dir).map_err(DemoError::Start)?;
        let client = Client::new(Target::Unix(dir.join("admin.sock")));
        let mut node = Self { dir, child, client };
        node.ready().await?;
        Ok(node)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("admin.sock")
    }

    async fn ready(&mut self) -> Result<(), DemoError> {
        let deadline = Instant::now() + READY_WAIT;
        while self.ask(Asked::get("/readyz")).await.is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(DemoError::Ended { status, log: self.log() });
            }
            if Instant::now() > deadline {
                return Err(DemoError::NotReady(self.log()));
            }
            sleep(ASK_AGAIN).await;
        }
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.dir.join("node.log")
    }

    pub(crate) async fn ask(&self, asked: Asked) -> Result<Value, DemoError> {
        let body = self.body(asked).await?;
        Ok(serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    pub(crate) async fn body(&self, asked: Asked) -> Result<Bytes, DemoError> {
        let Asked { method, path, body, status } = asked;
        let bytes = body.as_ref().map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let mut request = Request::new(bytes);
        *request.method_mut() = method.clone();
        *request.uri_mut() = path.parse().map_err(|_| DemoError::Unmet("the path is well formed"))?;
        if body.is_some() {
            request.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        }
        let response = self.client.send(request).await?;
        if response.status != status {
            let body = String::from_utf8_lossy(&response.body).into_owned();
            return Err(DemoError::Answered { method, path, status: response.status, body });
        }
        Ok(response.body)
    }

    /// The port of a listener, by the key of the configuration it comes from.
    pub(crate) async fn port(&self, name: &str) -> Result<u16, DemoError> {
        let status = self.ask(Asked::get("/v1/status")).await?;
        let listening = status["listening"].as_array().into_iter().flatten();
        let address = listening.filter(|one| one["name"] == name).find_map(|one| one["address"].as_str());
        let address: Option<std::net::SocketAddr> = address.and_then(|address| address.parse().ok());
        address.map(|address| address.port()).ok_or(DemoError::Unmet("the node listens for DNS and FTP"))
    }

    pub(crate) async fn kill_and_restart(&mut self) -> Result<(), DemoError> {
        self.kill().await?;
        self.start_again().await
    }

    /// With SIGKILL, as a power cut would.
    pub(crate) async fn kill(&mut self) -> Result<(), DemoError> {
        self.child.kill().await.map_err(DemoError::Start)
    }

    pub(crate) fn is_up(&self) -> bool {
        self.child.id().is_some()
    }

    pub(crate) async fn start_again(&mut self) -> Result<(), DemoError> {
        self.child = spawn(&self.dir).map_err(DemoError::Start)?;
        self.ready().await
    }

    /// Asks the node to stop, insists if it does not, and removes its directory.
    pub(crate) async fn stop(mut self) -> Result<(), DemoError> {
        if let Some(pid) = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id as i32)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if timeout(STOP_WAIT, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
        std::fs::remove_dir_all(&self.dir).map_err(|source| DemoError::CleanUp { dir: self.dir, source })
    }
}

fn config(dir: &Path, name: &str) -> String {
    let dir = dir.display();
    format!(
        "[node]\nname = \"{name}\"\ndata_dir = \"{dir}/data\"\n\n[web]\nhttp = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]\n\n[dns]\nlisten = [\"127.0.0.1:0\"]\n\n\
         [ftp]\nlisten = [\"127.0.0.1:0\"]\n\n[admin]\nsocket = \"{dir}/admin.sock\"\nlisten = [\"127.0.0.1:0\"]\n\n[cluster]\nlisten = [\"127.0.0.1:0\"]\n"
    )
}

fn spawn(dir: &Path) -> std::io::Result<Child> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("node.log"))?;
    Command::new(std::env::current_exe()?)
        .args(["run", "--config"])
        .arg(dir.join("ruche.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}
