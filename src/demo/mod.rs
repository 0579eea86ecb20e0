//! `ruche demo`: a throw-away node that shows itself working, step by step, and is gone afterwards. It is a real node, started
//! as a process of its own in a temporary directory; everything it shows was asked of its API or of its ports.
mod node;
mod visitor;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::demo::node::{Asked, DemoError, Node};
use crate::demo::visitor::Visitor;

const HOST: &str = "bücher.example";
const HOST_A: &str = "xn--bcher-kva.example";
const SITE: &str = "/v1/sites/xn--bcher-kva.example";

/// Runs the demo. With `once` it ends after the checks.
pub fn run(once: bool) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let shown = match runtime {
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
    let mut node = Node::start().await?;
    let checked = tokio::select! {
        checked = steps(&mut node) => checked,
        _ = interrupt.recv() => Err(DemoError::Interrupted),
        _ = terminate.recv() => Err(DemoError::Interrupted),
    };
    if let (Ok(visitor), false) = (&checked, once) {
        say(&format!("\nThe node goes on until Ctrl-C. Try, in another terminal:\n\n{}", examples(&node, visitor)));
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

async fn steps(node: &mut Node) -> Result<Visitor, DemoError> {
    say(&format!("A node started in {}.", node.dir().display()));
    step(node, "account asso", Asked::post("/v1/accounts", json!({"name": "asso"}))).await?;
    let visitor = a_site(node).await?;
    let zone = json!({"name": HOST, "account": "asso"});
    step(node, &format!("zone {HOST}"), Asked::post("/v1/zones", zone)).await?;
    let mail = format!("/v1/zones/{HOST_A}/records/@/MX");
    let put = Asked::new(Method::PUT, &mail, json!({"ttl": 300, "values": ["10 mail"]}), StatusCode::OK);
    step(node, "record @ MX", put).await?;
    let twice = json!({"host": format!("www.{HOST}"), "handler": {"type": "static"}});
    let refused = node.ask(Asked::new(Method::POST, "/v1/sites", twice, StatusCode::CONFLICT)).await?;
    say(&format!("  a second site with the same name is refused: {}", text(&refused["detail"])));

    let before = node.ask(Asked::get("/v1/status")).await?;
    node.kill_and_restart().await?;
    let after = node.ask(Asked::get("/v1/status")).await?;
    expect("every acknowledged change is there", before["revision"] == after["revision"])?;
    say(&format!("  killed with SIGKILL and started again: still revision {}", after["revision"]));
    let mail = node.ask(Asked::get(&mail)).await?;
    expect("the record is as it was put", mail["values"] == json!([format!("10 mail.{HOST_A}.")]))?;
    expect("the node is well", after["health"] != "red")?;
    let visitor = visitor.moved_to(&after)?;
    visitor.sees("/", StatusCode::OK, "changed").await?;
    say("  the page is served again, with the same certificate authority");
    say("All checks passed.");
    Ok(visitor)
}

/// A site from its creation to a page that was changed, as a visitor sees it.
async fn a_site(node: &Node) -> Result<Visitor, DemoError> {
    let site = json!({"host": HOST, "handler": {"type": "static"}, "account": "asso", "www": "redirect"});
    let site = step(node, &format!("site {HOST}"), Asked::post("/v1/sites", site)).await?;
    expect("the host is kept as A-labels", site["host"] == HOST_A)?;
    expect("the site is served when the API says so", site["served"] == true)?;
    let root = PathBuf::from(text(&site["root"]));
    put(&root, "Hello from the hive.")?;
    say(&format!("  a page in {}", root.display()));

    let ca = node.dir().join("ca.pem");
    let pem = node.body(Asked::get("/v1/certificates/ca")).await?;
    std::fs::write(&ca, &pem).map_err(DemoError::Page)?;
    let visitor = Visitor::new(&pem, HOST_A, root, ca)?.moved_to(&node.ask(Asked::get("/v1/status")).await?)?;
    visitor.sees("/", StatusCode::OK, "Hello from the hive.").await?;
    say(&format!("  {} answers over TLS, verified: Hello from the hive.", visitor.url()));
    let location = visitor.over_http("/a?b").await?;
    expect("HTTP leads to HTTPS", location == format!("{}a?b", visitor.url()))?;
    say("  plain HTTP leads there");

    put(visitor.root(), "The page was changed.")?;
    visitor.sees("/", StatusCode::OK, "changed").await?;
    say("  the page was changed, and is served");
    for (maintenance, status) in [(true, StatusCode::SERVICE_UNAVAILABLE), (false, StatusCode::OK)] {
        let set = Asked::new(Method::PATCH, SITE, json!({"maintenance": maintenance}), StatusCode::OK);
        step(node, if maintenance { "maintenance on" } else { "maintenance off" }, set).await?;
        visitor.sees("/", status, if maintenance { "maintenance" } else { "changed" }).await?;
    }
    Ok(visitor)
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
fn examples(node: &Node, visitor: &Visitor) -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| "ruche".into());
    let (program, socket) = (program.display(), node.socket());
    let (socket, ca, root) = (socket.display(), visitor.ca().display(), visitor.root().display());
    let port = visitor.https_port();
    format!(
        "  curl --cacert {ca} --resolve {HOST_A}:{port}:127.0.0.1 {url}\n  \
         echo '<h1>Mine</h1>' > {root}/index.html\n  \
         curl --cacert {ca} --resolve {HOST_A}:{port}:127.0.0.1 {url}\n  \
         export RUCHE_SOCKET={socket}\n  {program} status\n  {program} site show {HOST}\n  \
         {program} site maintenance {HOST} on\n  {program} record set {HOST} www A 192.0.2.1\n  {program} events",
        url = visitor.url(),
    )
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
