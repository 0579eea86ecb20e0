//! `ruche demo`: a throw-away node that shows itself working, step by step, and is gone afterwards. It is a real node, started
//! as a process of its own in a temporary directory; everything it shows was asked of its API or of its ports.
mod asker;
mod backend;
mod hive;
mod node;
mod steps;
mod uploader;
mod visitor;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::demo::backend::Backend;
use crate::demo::hive::Hive;
use crate::demo::node::{Asked, DemoError, Node};
use crate::demo::visitor::Visitor;

const HOST: &str = "bücher.example";
const HOST_A: &str = "xn--bcher-kva.example";
/// A site that is proxied to a backend.
const APP: &str = "app.example";
const LOGIN: &str = "maja";
/// The address the node is known by, from a range that nobody has (RFC 5737).
const ADDRESS: &str = "192.0.2.7";

/// What the lines to try are made of.
struct Shown {
    site: Visitor,
    /// Of the FTP user.
    password: String,
    /// Lives as long as somebody may look at it.
    _backend: Backend,
}

/// Runs the demo, of one node or several. With `once` it ends after the checks.
pub fn run(nodes: usize, once: bool) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let shown = match runtime {
        Ok(runtime) if nodes > 1 => runtime.block_on(show_several(nodes, once)),
        Ok(runtime) => runtime.block_on(show(once)),
        Err(error) => Err(DemoError::Start(error)),
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: failed to {error}");
            ExitCode::FAILURE
        }
    }
}

async fn show(once: bool) -> Result<(), DemoError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DemoError::Start)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(DemoError::Start)?;
    let mut node = Node::start("demo").await?;
    let checked = tokio::select! {
        checked = steps(&mut node) => checked,
        _ = interrupt.recv() => Err(DemoError::Interrupted),
        _ = terminate.recv() => Err(DemoError::Interrupted),
    };
    if let (Ok(shown), false) = (&checked, once) {
        say(&format!(
            "\nThe node goes on until Ctrl-C. Try, in another terminal:\n\n{}",
            examples(&node, shown).await?
        ));
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
    let stopped = node.stop().await;
    if checked.is_ok() && stopped.is_ok() {
        say("The node stopped and its directory is removed.");
    }
    checked.map(drop).and(stopped)
}

async fn show_several(count: usize, once: bool) -> Result<(), DemoError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DemoError::Start)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(DemoError::Start)?;
    let mut hive = Hive::start(count).await?;
    let checked = tokio::select! {
        checked = hive.steps() => checked,
        _ = interrupt.recv() => Err(DemoError::Interrupted),
        _ = terminate.recv() => Err(DemoError::Interrupted),
    };
    if checked.is_ok() && !once {
        let program = std::env::current_exe().unwrap_or_else(|_| "ruche".into());
        say("\nThe nodes go on until Ctrl-C. Try, in another terminal:\n");
        for node in &hive.nodes {
            say(&format!("  {} --socket {} cluster status", program.display(), node.socket().display()));
        }
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
    let stopped = hive.stop().await;
    if checked.is_ok() && stopped.is_ok() {
        say("The nodes stopped and their directories are removed.");
    }
    checked.and(stopped)
}

async fn steps(node: &mut Node) -> Result<Shown, DemoError> {
    say(&format!("A node started in {}.", node.dir().display()));
    step(node, "account asso", Asked::post("/v1/accounts", json!({"name": "asso"}))).await?;
    let site = steps::a_site(node).await?;
    let backend = steps::a_backend(node, &site).await?;
    let password = steps::an_upload(node, &site).await?;
    steps::a_zone(node).await?;

    let before = node.ask(Asked::get("/v1/status")).await?;
    node.kill_and_restart().await?;
    let after = node.ask(Asked::get("/v1/status")).await?;
    expect("every acknowledged change is there", before["revision"] == after["revision"])?;
    say(&format!("  killed with SIGKILL and started again: still revision {}", after["revision"]));
    expect("the node is well", after["health"] != "red")?;
    let site = site.moved_to(&after)?;
    site.sees("/", StatusCode::OK, "changed").await?;
    steps::is_resolved(node).await?;
    say("  the page is served again, with the same certificate authority, and its name is found");
    say("All checks passed.");
    Ok(Shown { site, password, _backend: backend })
}

async fn step(node: &Node, what: &str, asked: Asked) -> Result<Value, DemoError> {
    let answer = node.ask(asked).await?;
    say(&format!("  {what}: revision {}", answer["revision"]));
    Ok(answer)
}

fn put(root: &Path, line: &str) -> Result<(), DemoError> {
    let page = format!("<!doctype html>\n<meta charset=\"utf-8\">\n<title>{HOST}</title>\n<p>{line}</p>\n");
    crate::files::atomic::replace(&root.join("index.html"), 0o644, page.as_bytes())
        .map_err(|error| DemoError::Page(std::io::Error::other(error)))
}

/// Lines that work as they are printed.
async fn examples(node: &Node, shown: &Shown) -> Result<String, DemoError> {
    let program = std::env::current_exe().unwrap_or_else(|_| "ruche".into());
    let (program, socket, visitor) = (program.display(), node.socket(), &shown.site);
    let (socket, ca, root) = (socket.display(), visitor.ca().display(), visitor.root().display());
    let (port, dns, ftp) = (visitor.https_port(), node.port("dns.listen").await?, node.port("ftp.listen").await?);
    let page = format!("curl --cacert {ca} --resolve {HOST_A}:{port}:127.0.0.1 {}", visitor.url());
    Ok(format!(
        "  {page}\n  \
         echo '<h1>Mine</h1>' > {root}/index.html\n  \
         {page}\n  \
         curl --cacert {ca} --resolve {APP}:{port}:127.0.0.1 https://{APP}:{port}/\n  \
         dig @127.0.0.1 -p {dns} {HOST_A} +short\n  \
         lftp -e 'set ssl:verify-certificate no; ls; bye' -u {LOGIN},{password} -p {ftp} 127.0.0.1\n  \
         export RUCHE_SOCKET={socket}\n  {program} status\n  {program} site show {HOST}\n  \
         {program} site maintenance {HOST} on\n  {program} record set {HOST} www A 192.0.2.1\n  {program} events",
        password = shown.password,
    ))
}

fn expect(what: &'static str, holds: bool) -> Result<(), DemoError> {
    if holds { Ok(()) } else { Err(DemoError::Unmet(what)) }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Prints a line; a closed pipe is no reason to leave the node running.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
