//! A fake of the admin API on a unix socket: it keeps what it was asked and answers as it was told.
use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::api::written::Wait;
use crate::cli::client::Api;
use crate::cli::cluster::ClusterTree;
use crate::cli::failure::Failure;
use crate::cli::output::Out;
use crate::cli::session::Session;
use crate::cli::tree::{ApiTree, Cli, Format, Tree};
use crate::fetch::client::{Bounds, Client};
use crate::fetch::target::Target;

/// What a connection is answered.
#[derive(Clone)]
pub(super) enum Play {
    /// These bytes, then the end.
    Say(Vec<u8>),
    /// These bytes, then silence.
    Stall(Vec<u8>),
    /// Nothing: the connection is closed once the request was read.
    HangUp,
}

pub(super) fn json(status: u16, body: &str) -> Play {
    let length = body.len();
    Play::Say(
        format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
            .into(),
    )
}

pub(super) fn problem(status: u16, code: &str, request: &str) -> Play {
    json(
        status,
        &format!(
            r#"{{"type":"urn:ruche:problem:{code}","title":"X","status":{status},"detail":"It is so.","code":"{code}","remedy":"Do it.","request_id":"{request}"}}"#
        ),
    )
}

pub(super) struct Fake {
    _dir: tempfile::TempDir,
    pub(super) socket: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
    printed: Page,
}

/// What was printed, both streams in the order of their lines.
#[derive(Clone, Default)]
struct Page(Rc<RefCell<Vec<u8>>>);

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut *self.0.borrow_mut(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Fake {
    /// Answers one connection after the other; the last answer is given again and again.
    pub(super) fn start(plays: Vec<Play>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(serve(listener, plays, Arc::clone(&asked)));
        Self { _dir: dir, socket, asked, printed: Page::default() }
    }

    /// The requests, each with its head and body.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Everything printed so far.
    pub(super) fn printed(&self) -> String {
        String::from_utf8(self.printed.0.borrow().clone()).unwrap()
    }

    pub(super) fn api(&self, bounds: Bounds) -> Api {
        let client = Client { target: Target::Unix(self.socket.clone()), bounds };
        Api { client, token: None, wait: Wait::True, outcome_wait: Duration::from_secs(2) }
    }

    /// Does a command against this API.
    pub(super) async fn run(&self, line: &str) -> Result<(), Failure> {
        let words: Vec<_> = std::iter::once("ruche").chain(line.split_whitespace()).collect();
        let cli = Cli::try_parse_from(words).unwrap();
        let tree = match cli.command {
            Tree::Api(tree) => tree,
            Tree::Cluster(ClusterTree::Api(command)) => ApiTree::Cluster(command),
            _ => panic!("`{line}` is no command of the API"),
        };
        let api = Api { wait: if cli.global.no_wait { Wait::False } else { Wait::True }, ..self.api(brief()) };
        let out = Out::to(cli.global.output == Format::Json, self.printed.clone(), self.printed.clone());
        crate::cli::dispatch(Session { api, out, yes: cli.global.yes }, tree).await
    }
}

pub(super) fn brief() -> Bounds {
    let wait = Duration::from_millis(300);
    Bounds { connect: wait, head: wait, body: wait, body_max: 10_000 }
}

async fn serve(listener: UnixListener, plays: Vec<Play>, asked: Arc<Mutex<Vec<String>>>) {
    let mut at = 0;
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = read(&mut stream).await;
        asked.lock().unwrap().push(request);
        match plays[at].clone() {
            Play::Say(bytes) => stream.write_all(&bytes).await.unwrap_or(()),
            Play::Stall(bytes) => {
                stream.write_all(&bytes).await.unwrap();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    drop(stream);
                });
            }
            Play::HangUp => {}
        }
        at = (at + 1).min(plays.len() - 1);
    }
}

async fn read(stream: &mut UnixStream) -> String {
    let mut text = String::new();
    loop {
        let mut part = [0; 4096];
        let size = stream.read(&mut part).await.unwrap();
        text.push_str(std::str::from_utf8(&part[..size]).unwrap());
        let head = text.find("\r\n\r\n");
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        if size == 0 || head.is_some_and(|end| text.len() >= end + 4 + length) {
            return text;
        }
    }
}
