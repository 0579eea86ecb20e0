//! `ruche check`: the configuration, and whether a node that runs here knows itself under another name. Changes nothing.
use std::path::Path;
use std::process::ExitCode;

use crate::config::load::{DEFAULT_FILE, load};
use crate::daemon::start::BAD_CONFIG;

pub fn run(file: Option<&Path>) -> ExitCode {
    match load(file) {
        Ok(_) => {
            println!("{}: sound", file.unwrap_or(Path::new(DEFAULT_FILE)).display());
            ExitCode::SUCCESS
        }
        Err(faults) => {
            eprintln!("{faults}");
            ExitCode::from(BAD_CONFIG)
        }
    }
}
