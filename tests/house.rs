//! The house rules as a test: floors, tenants, sizes and bans, read from the source itself, and the papers that describe it.
//! Each rule is a pure function over sources, and has a red case of its own in `house/red.rs`.
mod house {
    pub(crate) mod papers;
    pub(crate) mod plan;
    pub(crate) mod reading;
    mod red;
    pub(crate) mod rules;
}

use house::{papers, reading::Source, rules};
use std::{
    fs,
    path::{Path, PathBuf},
};

#[test]
fn the_house_stands() {
    let refusals: Vec<String> = rules::refusals(&sources()).iter().map(ToString::to_string).collect();
    assert!(refusals.is_empty(), "\n{}\n", refusals.join("\n"));
}

#[test]
fn the_map_has_every_module() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is the map of the house");
    let missing = papers::unmapped(&sources(), &map);
    let remedy = "give each a row in ARCHITECTURE.md's table, and strike its `(to come)`";
    assert!(missing.is_empty(), "modules that exist and are not on the map: {missing:?}: {remedy}");
}

#[test]
fn no_tracked_file_names_the_build_machine() {
    let Some(files) = papers::tracked(&root()) else {
        eprintln!("skipped: not a git checkout, or git is not installed");
        return;
    };
    let found = papers::machine_paths(&files, &papers::machine_places(&root()));
    assert!(
        found.is_empty(),
        "paths of the build machine, write them relative to the repository:\n{}",
        found.join("\n")
    );
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    collect(&root().join("src"), &mut sources);
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn collect(directory: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).expect("src is readable") {
        let path = entry.expect("src is readable").path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source is UTF-8");
            let path = path.strip_prefix(root()).expect("it was found below the root");
            sources.push(Source { path: path.display().to_string(), text });
        }
    }
}
