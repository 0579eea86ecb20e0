//! The binary: reads the command and hands it to the floor that does it.
use std::process::ExitCode;

use ruche::cli::Command;

fn main() -> ExitCode {
    match ruche::cli::parse() {
        Command::Run { config } => ruche::daemon::start::run(config.as_deref()),
        Command::Check { config } => ruche::daemon::check::run(config.as_deref()),
        Command::Demo { once } => ruche::demo::run(once),
        Command::Api(command) => ruche::cli::run(command),
    }
}
