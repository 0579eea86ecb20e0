//! A node as a child process with a directory of its own: started, asked, killed, stopped, started again.
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::http::{Answer, Client};
use super::until;

#[derive(Debug)]
pub struct Node {
    dir: TempDir,
    pub data: PathBuf,
    /// What the process is started under, such as a tracer that ends with it.
    pub under: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Where the program lies, in the place of the binary under test.
    pub program: Option<PathBuf>,
    child: Option<Child>,
}

/// The binary under test: that of this build, or the one `RUCHE_BIN` names.
pub fn binary() -> PathBuf {
    std::env::var_os("RUCHE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_ruche").into(), PathBuf::from)
}

/// A configuration that disturbs nobody: no customers' ports, the admin API on a socket and on a free port.
pub fn config(dir: &Path, data: &Path) -> String {
    format!(
        "[node]\nname = \"test\"\ndata_dir = \"{}\"\n[web]\nhttp = []\nhttps = []\n[dns]\nlisten = []\n[ftp]\nlisten = []\n\
         [admin]\nsocket = \"{}\"\nlisten = [\"127.0.0.1:0\"]\n[cluster]\nlisten = []\n[log]\nlevel = \"info\"\nformat = \"text\"\n",
        data.display(),
        dir.join("admin.sock").display(),
    )
}

impl Node {
    /// Configured, not started.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("ruche-test-").tempdir().unwrap();
        let data = dir.path().join("data");
        Self::with_data(dir, data)
    }

    /// With its data elsewhere, such as on a disk of its own.
    pub fn with_data(dir: TempDir, data: PathBuf) -> Self {
        fs::write(dir.path().join("ruche.toml"), config(dir.path(), &data)).unwrap();
        Self { dir, data, under: Vec::new(), env: Vec::new(), program: None, child: None }
    }

    /// Started and ready.
    pub fn ready() -> Self {
        let mut node = Self::new();
        node.start();
        node
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn socket(&self) -> PathBuf {
        self.path("admin.sock")
    }

    pub fn config(&self) -> PathBuf {
        self.path("ruche.toml")
    }

    /// Starts the process and waits until it is ready.
    pub fn start(&mut self) {
        self.spawn();
        self.wait_ready();
    }

    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "the node runs already");
        let log = || OpenOptions::new().create(true).append(true).open(self.path("node.log")).unwrap();
        let (program, arguments) = match self.under.split_first() {
            Some((tool, options)) => (PathBuf::from(tool), [options, &[binary().display().to_string()]].concat()),
            None => (self.program.clone().unwrap_or_else(binary), Vec::new()),
        };
        let mut command = Command::new(program);
        command.args(arguments).args(["run", "--config"]).arg(self.config());
        command.env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS").env_remove("WATCHDOG_USEC");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log()).stderr(log()).process_group(0);
        self.child = Some(command.spawn().unwrap());
    }

    pub fn wait_ready(&mut self) {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                self.child = None;
                panic!("the node ended with {status} instead of being ready:\n{}", self.log());
            }
            let ready = Client::new(&self.socket()).ask("GET", "/readyz", None, &[]);
            // Without the others it serves all the same.
            let only_alone = |answer: &Answer| {
                let reasons = answer.json["reasons"].as_array();
                let of_raft = |reason: &Value| reason.as_str().is_some_and(|reason| reason.starts_with("raft: "));
                reasons.is_some_and(|reasons| !reasons.is_empty() && reasons.iter().all(of_raft))
            };
            if ready.is_ok_and(|answer| answer.status == 200 || only_alone(&answer)) {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "the node is not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Everything it said since it was made.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("node.log")).unwrap_or_default()
    }

    /// The lines it says from now on are those after this many.
    pub fn log_lines(&self) -> usize {
        self.log().lines().count()
    }

    pub fn log_after(&self, lines: usize) -> String {
        self.log().lines().skip(lines).collect::<Vec<_>>().join("\n")
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// The process that has the data, which after a hand-over is not the one that was started here.
    pub fn holder(&self) -> Option<u32> {
        fs::read_to_string(self.data.join("lock")).ok()?.trim().parse().ok()
    }

    pub fn client(&self) -> Client {
        Client::new(&self.socket())
    }

    pub fn ask(&self, method: &str, path: &str, body: Option<Value>, headers: &[(&str, &str)]) -> Answer {
        let answer = self.client().ask(method, path, body.as_ref(), headers);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.log()))
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None, &[])
    }

    pub fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, Some(body), &[])
    }

    /// Every item of a list, page by page.
    pub fn all(&self, path: &str) -> Vec<Value> {
        let mut client = self.client();
        let mut items = Vec::new();
        let mut next = None::<String>;
        loop {
            let cursor = next.map(|next| format!("&cursor={next}")).unwrap_or_default();
            let page = client.ask("GET", &format!("{path}?limit=1000{cursor}"), None, &[]).unwrap().done();
            items.extend(page.json["items"].as_array().unwrap().iter().cloned());
            next = page.json["next"].as_str().map(str::to_owned);
            if next.is_none() {
                return items;
            }
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        signal_to(self.pid(), signal);
    }

    /// kill -9
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn term(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.wait_end(60)
    }

    /// Waits until the process ends by itself.
    pub fn wait_end(&mut self, seconds: u64) -> ExitStatus {
        let child = self.child.as_mut().unwrap();
        let status = until(seconds, "the node ends", || child.try_wait().unwrap());
        self.child = None;
        status
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    pub fn restart(&mut self) {
        assert!(self.term().success(), "{}", self.log());
        self.start();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let skip = log.lines().count().saturating_sub(40);
            println!("the end of the node's log:");
            log.lines().skip(skip).for_each(|line| println!("    {line}"));
        }
    }
}

pub fn signal_to(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// `ruche` with arguments, to its end.
pub fn ruche(arguments: &[&str]) -> std::process::Output {
    Command::new(binary()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// A file's bytes with one of them changed.
pub fn flip(path: &Path, at: usize, mask: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= mask;
    File::create(path).and_then(|mut file| std::io::Write::write_all(&mut file, &bytes)).unwrap();
}
