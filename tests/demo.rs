//! What a newcomer runs first: the demo shows a site over HTTPS, the lines it prints work as printed, and nothing is left of it.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use rustix::process::Signal;
use support::node::{binary, signal_to};

fn demo(dir: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(binary());
    command.arg("demo").args(arguments).env("TMPDIR", dir).stdin(Stdio::null());
    command.stdout(Stdio::piped()).spawn().unwrap()
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}

#[test]
fn once_it_checks_and_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let done = demo(dir.path(), &["--once"]).wait_with_output().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success() && said.contains("All checks passed."), "{said}");
    assert!(is_empty(dir.path()), "it left something");
}

#[test]
fn three_nodes_go_on_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let done = demo(dir.path(), &["--nodes", "3", "--once"]).wait_with_output().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success() && said.contains("All checks passed.") && said.contains("SIGKILL"), "{said}");
    assert!(is_empty(dir.path()), "it left something");
}

#[test]
fn its_lines_work_as_printed_until_it_is_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = demo(dir.path(), &[]);
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.starts_with("The node goes on until Ctrl-C.")), "it never came to its lines");
    let lines: Vec<String> = said.by_ref().skip(1).take(12).collect();
    // `events` goes on until it is ended.
    let (last, lines) = lines.split_last().unwrap();
    assert!(last.ends_with(" events"), "{last}");
    let script = format!("set -e\n{}\ntimeout 2 {} || test $? = 124\n", lines.join("\n"), last.trim());
    let run = Command::new("bash").arg("-c").arg(&script).output().unwrap();
    let (heard, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{script}\n{heard}\n{errors}");
    for expected in [
        "The page was changed.",
        "<h1>Mine</h1>",
        "A backend behind the hive saw",
        "192.0.2.7",
        "uploaded.html",
        "bücher.example",
        "all is well",
        "site.maintenance-on",
    ] {
        assert!(heard.contains(expected), "{expected} is missing:\n{script}\n{heard}\n{errors}");
    }
    signal_to(child.id(), Signal::INT);
    assert!(child.wait().unwrap().success());
    assert!(is_empty(dir.path()), "it left something");
}

#[test]
fn a_place_that_takes_nothing_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    let failed = command.args(["demo", "--once"]).env("TMPDIR", dir.path().join("absent")).output().unwrap();
    let errors = String::from_utf8(failed.stderr).unwrap();
    assert!(!failed.status.success() && errors.starts_with("error: failed to start the demo"), "{errors}");
}
