//! The papers stay true: the map has every module that exists, and nothing tracked names the machine it was built on.
use super::{
    plan,
    reading::{Source, module_path},
};
use std::{collections::BTreeSet, fs, path::Path, process::Command};

/// Modules of the source that have no row in the map's table, or one that still says they are to come.
pub(crate) fn unmapped(sources: &[Source], map: &str) -> Vec<String> {
    let modules: BTreeSet<String> = sources.iter().map(|source| module_path(&source.path).swap_remove(0)).collect();
    let row = |module: &str| map.lines().find(|line| line.starts_with(&format!("| `{module}` |")));
    let mapped = |module: &str| row(module).is_some_and(|row| !row.contains("to come"));
    modules.into_iter().filter(|module| plan::floor(module).is_some() && !mapped(module)).collect()
}

/// `file:line` of each place where a path of the build machine stands.
pub(crate) fn machine_paths(files: &[(String, Vec<u8>)], places: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, bytes) in files {
        for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if let Some(place) = places.iter().find(|place| holds(line, place.as_bytes())) {
                found.push(format!("{name}:{}: {place}", at + 1));
            }
        }
    }
    found
}

/// A path begins where no other path goes on: neither `site/root/` nor `https://host/work/` is one of the machine.
fn holds(line: &[u8], place: &[u8]) -> bool {
    line.windows(place.len()).enumerate().any(|(at, window)| {
        let before = at.checked_sub(1).map(|before| line[before]);
        window == place && before.is_none_or(|byte| !byte.is_ascii_alphanumeric() && !b"._-}>*/".contains(&byte))
    })
}

/// The homes of build machines, put together here so that this file does not hold them.
pub(crate) fn machine_places(root: &Path) -> Vec<String> {
    let mut places: Vec<String> = ["work", "root"].iter().map(|name| format!("/{name}/")).collect();
    if root.components().count() > 2 {
        places.push(root.display().to_string());
    }
    places
}

/// Every tracked file with its bytes; none outside a git checkout.
pub(crate) fn tracked(root: &Path) -> Option<Vec<(String, Vec<u8>)>> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output().ok()?;
    let names = String::from_utf8(listed.stdout).ok().filter(|_| listed.status.success())?;
    let read = |name: &str| fs::read(root.join(name)).ok().map(|bytes| (name.to_owned(), bytes));
    Some(names.split('\0').filter(|name| !name.is_empty()).filter_map(read).collect())
}
