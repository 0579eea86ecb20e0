//! The command line: a tree of commands, each a client of the admin API. What needs no API (`run`, `check`, `demo`) is only read
//! here and done by whoever called. Never opens a database or a configuration file.
mod accounts;
mod certbot;
mod certificates;
mod client;
pub mod cluster;
mod docs;
mod events;
mod failure;
mod ftp_users;
mod handover;
mod hook;
mod issuers;
mod joining;
mod moves;
mod nodes;
mod operations;
mod options;
mod output;
mod passwords;
mod plans;
mod records;
mod session;
mod sites;
mod sse;
mod standbys;
mod status;
mod target;
mod tokens;
mod tree;
mod upgrade;
mod values;
mod visits;
mod zone_files;
mod zones;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::cluster::{ClusterTree, Recover};
use crate::cli::failure::Failure;
use crate::cli::output::Out;
use crate::cli::session::Session;
use crate::cli::tree::{ApiTree, Cli, Format, Global, Tree};

/// What was asked for.
#[derive(Debug)]
pub enum Command {
    Run {
        config: Option<PathBuf>,
    },
    Check {
        config: Option<PathBuf>,
    },
    Demo {
        nodes: usize,
        /// Ends after showing itself, instead of staying.
        once: bool,
    },
    Recover(Recover),
    Api(ApiCommand),
}

/// A command for `run`.
#[derive(Debug)]
pub struct ApiCommand(Work);

#[derive(Debug)]
enum Work {
    Call(Global, ApiTree),
    Docs(PathBuf),
}

/// Reads the arguments of this process; help, version and usage errors end it with clap's answer (0 or 2).
pub fn parse() -> Command {
    let plain: Vec<OsString> = std::env::args_os().skip(1).collect();
    run_alone(&plain).unwrap_or_else(|| command(Cli::parse()))
}

/// The command of a node that stays, as its unit gives it. What reads all others is two megabytes of code, which the node would keep.
fn run_alone(arguments: &[OsString]) -> Option<Command> {
    match arguments {
        [run] if run == "run" => Some(Command::Run { config: None }),
        [run, name, config] if run == "run" && name == "--config" && is_plain(config) => {
            Some(Command::Run { config: Some(config.into()) })
        }
        _ => None,
    }
}

fn is_plain(value: &OsString) -> bool {
    !value.is_empty() && !value.as_encoded_bytes().starts_with(b"-")
}

fn command(cli: Cli) -> Command {
    match cli.command {
        Tree::Run { config } => Command::Run { config },
        Tree::Check { config } => Command::Check { config },
        Tree::Demo { nodes, once } => Command::Demo { nodes: nodes.parse().unwrap_or(1), once },
        Tree::Docs { dir } => Command::Api(ApiCommand(Work::Docs(dir))),
        Tree::Cluster(ClusterTree::Recover(order)) => Command::Recover(order),
        Tree::Cluster(ClusterTree::Api(command)) => {
            Command::Api(ApiCommand(Work::Call(cli.global, ApiTree::Cluster(command))))
        }
        Tree::Api(tree) => Command::Api(ApiCommand(Work::Call(cli.global, tree))),
    }
}

/// Does the command on a runtime of its own and tells on stderr why it failed; the exit code says which kind of failure it was.
pub fn run(command: ApiCommand) -> ExitCode {
    let (json, done) = match command.0 {
        Work::Call(global, tree) => (global.output == Format::Json, call(&global, tree)),
        Work::Docs(dir) => (false, docs::write(&dir)),
    };
    let Err(failure) = done else { return ExitCode::SUCCESS };
    // Nothing is left to tell it to where stderr is gone too.
    let _ = std::io::stderr().write_all(failure.report(json).as_bytes());
    ExitCode::from(failure.exit())
}

fn call(global: &Global, tree: ApiTree) -> Result<(), Failure> {
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let api = target::api(global, environment)?;
    let session = Session { api, out: Out::of_stdout(global.output == Format::Json), yes: global.yes };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|cause| Failure::io("start", cause))?.block_on(dispatch(session, tree))
}

async fn dispatch(session: Session, tree: ApiTree) -> Result<(), Failure> {
    match tree {
        ApiTree::Status => status::run(&session).await,
        ApiTree::Events(args) => events::run(&session, args).await,
        ApiTree::Cluster(command) => cluster::run(&session, command).await,
        ApiTree::Node(command) => nodes::run(&session, command).await,
        ApiTree::Issuer(command) => issuers::run(&session, *command).await,
        ApiTree::Cert(command) => certificates::run(&session, command).await,
        ApiTree::Account(command) => accounts::run(&session, command).await,
        ApiTree::Plan(command) => plans::run(&session, command).await,
        ApiTree::Token(command) => tokens::run(&session, command).await,
        ApiTree::Site(command) => sites::run(&session, command).await,
        ApiTree::Zone(command) => zones::run(&session, command).await,
        ApiTree::Record(command) => records::run(&session, command).await,
        ApiTree::FtpUser(command) => ftp_users::run(&session, command).await,
        ApiTree::Operation(command) => operations::run(&session, command).await,
    }
}
