//! The binary: reads the command and hands it to the floor that does it.
use std::process::ExitCode;

use ruche::cli::Command;
use ruche::cli::cluster::Recover;
use ruche::store::restore::Wanted;

pub(crate) fn main() -> ExitCode {
    match ruche::cli::parse() {
        Command::Run { config } => ruche::daemon::start::run(config.as_deref()),
        Command::Check { config } => ruche::daemon::check::run(config.as_deref()),
        Command::Recover(Recover { copy, node, force_single, config }) => {
            let wanted = Wanted { copy: &copy, node: node.as_ref(), alone: force_single };
            ruche::daemon::recover::run(config.as_deref(), wanted)
        }
        Command::Demo { nodes, once } => ruche::demo::run(nodes, once),
        Command::Api(command) => ruche::cli::run(command),
    }
}
