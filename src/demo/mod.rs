//! `ruche demo`: a throw-away node that shows itself working, step by step, and is gone afterwards. It is a real node, started
//! as a process of its own in a temporary directory; everything it shows was asked of its API.
mod node;

use std::io::Write;
use std::process::ExitCode;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::demo::node::{Asked, DemoError, Node};

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
    if checked.is_ok() && !once {
        say(&format!("\nThe node goes on until Ctrl-C. Try, in another terminal:\n\n{}", node.examples()));
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
    let stopped = node.stop().await;
    if checked.is_ok() && stopped.is_ok() {
        say("The node stopped and its directory is removed.");
    }
    checked.and(stopped)
}

async fn steps(node: &mut Node) -> Result<(), DemoError> {
    say(&format!("A node started in {}.", node.dir().display()));
    let created = StatusCode::CREATED;
    let step = async |node: &Node, what: &str, asked: Asked| -> Result<Value, DemoError> {
        let answer = node.ask(asked).await?;
        say(&format!("  {what}: revision {}", answer["revision"]));
        Ok(answer)
    };
    step(node, "account asso", Asked::new(Method::POST, "/v1/accounts", json!({"name": "asso"}), created)).await?;
    let site = json!({"host": "bücher.example", "handler": {"type": "static"}, "account": "asso", "www": "redirect"});
    let answer = step(node, "site bücher.example", Asked::new(Method::POST, "/v1/sites", site, created)).await?;
    expect("the host is kept as A-labels", answer["host"] == "xn--bcher-kva.example")?;
    let zone = json!({"name": "bücher.example", "account": "asso"});
    step(node, "zone bücher.example", Asked::new(Method::POST, "/v1/zones", zone, created)).await?;
    let records = "/v1/zones/xn--bcher-kva.example/records";
    let mail =
        Asked::new(Method::PUT, &format!("{records}/@/MX"), json!({"ttl": 300, "values": ["10 mail"]}), StatusCode::OK);
    step(node, "record @ MX", mail).await?;

    let twice = json!({"host": "www.bücher.example", "handler": {"type": "static"}});
    let refused = node.ask(Asked::new(Method::POST, "/v1/sites", twice, StatusCode::CONFLICT)).await?;
    say(&format!("  a second site with the same name is refused: {}", text(&refused["detail"])));

    let before = node.ask(Asked::get("/v1/status")).await?;
    node.kill_and_restart().await?;
    let after = node.ask(Asked::get("/v1/status")).await?;
    expect("every acknowledged change is there", before["revision"] == after["revision"])?;
    say(&format!("  killed with SIGKILL and started again: still revision {}", after["revision"]));
    let mail = node.ask(Asked::get(&format!("{records}/@/MX"))).await?;
    expect("the record is as it was put", mail["values"] == json!(["10 mail.xn--bcher-kva.example."]))?;
    expect("the node is well", after["health"] != "red")?;
    say("All checks passed.");
    Ok(())
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
