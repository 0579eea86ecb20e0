//! Commands of whoever calls: run by the shell, as the user who runs this one. The daemon runs none.
use std::io;
use std::process::Command;

use crate::cli::failure::Failure;

/// Runs a command to its end; one that ends with another status than 0 has failed.
pub(crate) fn run(doing: &str, command: &str, variables: &[(&str, &str)]) -> Result<(), Failure> {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).envs(variables.iter().copied());
    let status = shell.status().map_err(|error| Failure::io(doing, error))?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::io(doing, io::Error::other(format!("`{command}` ended with {status}")))),
    }
}
