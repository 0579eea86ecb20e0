//! A red case for each rule: a small source that must be refused, and its lawful twin that must not.
use super::{
    papers,
    plan::{FILE_LINES_MAX, FLOORS, FUNCTION_LINES_MAX, NARROW, NEVER, TENANTS, floor},
    reading::Source,
    rules,
};

/// The refusals of a house with one source of interest, as `line rule`; its parents are declared around it.
fn judge(path: &str, body: &str) -> Vec<String> {
    let mut sources = vec![source(path, body)];
    let parts: Vec<&str> = path.trim_start_matches("src/").trim_end_matches(".rs").split('/').collect();
    if parts != ["lib"] {
        let top = parts[0];
        if top != "main" {
            sources.push(source("src/lib.rs", &format!("pub mod {top};")));
        }
        if let [top, child] = parts[..]
            && child != "mod"
        {
            sources.push(source(&format!("src/{top}/mod.rs"), &format!("mod {child};")));
        }
    }
    rules::refusals(&sources).iter().map(|refusal| format!("{} {}", refusal.line, refusal.rule)).collect()
}

/// Line 1 is the opening, so a body starts on line 2.
fn source(path: &str, body: &str) -> Source {
    Source { path: path.into(), text: format!("//! A case.\n{body}\n") }
}

#[track_caller]
fn red(path: &str, body: &str, expected: &[&str]) {
    assert_eq!(judge(path, body), expected, "{path}:\n{body}");
}

#[track_caller]
fn green(path: &str, body: &str) {
    red(path, body, &[]);
}

#[test]
fn floors_go_down() {
    green("src/web/listen.rs", "use crate::tls::Resolver; use crate::base::{limits, names::Host};");
    green("src/web/listen.rs", "use crate::web::route; use super::route::Route; use self::inner::X;");
    green("src/daemon/mod.rs", "fn wire() { crate::web::start(crate::dns::start()) }");
    red("src/web/listen.rs", "use crate::admin::Api;", &["2 floors"]);
    red("src/store/mod.rs", "use crate::api::Page;", &["2 floors"]);
    red("src/model/zone.rs", "use crate::files;", &["2 floors"]);
    red("src/store/mod.rs", "use crate::{base::ids,\n  cluster::{Door, self}};", &["3 floors"]);
    red("src/store/mod.rs", "#[cfg(test)]\nmod tests { use crate::cluster::Door; }", &["3 floors"]);
}

#[test]
fn a_path_is_an_import_wherever_it_stands() {
    red("src/store/mod.rs", "fn f() {\n crate::cluster::go() }", &["3 floors"]);
    red("src/store/mod.rs", "fn f(x: Vec<crate::cluster::Door>) {}", &["2 floors"]);
    red("src/store/mod.rs", "fn f() { log!(\"{}\", [crate::cluster::NAME]) }", &["2 floors"]);
    red("src/store/mod.rs", "macro_rules! m { () => { $crate::cluster::x() } }", &["2 floors"]);
    red(
        "src/store/mod.rs",
        "#[derive(X)]\nstruct S {\n #[serde(with = \"crate::cluster::x\")]\n a: u8 }",
        &["4 floors"],
    );
    red("src/store/mod.rs", "impl crate::cluster::Inbound for S {}", &["2 floors"]);
    green(
        "src/store/mod.rs",
        "/// See [`crate::cluster::Door`].\n// crate::cluster::Door\nconst S: &str = \"crate::cluster::Door\";",
    );
}

#[test]
fn the_gate_names_the_library() {
    green("src/main.rs", "use ruche::daemon; fn main() { ruche::cli::run() }");
    red("src/main.rs", "use ruche::common;", &["2 unknown-module"]);
    red("src/main.rs", "use ruche::*;", &["2 floors"]);
    red("src/main.rs", "use crate::cli;", &["2 floors"]);
}

#[test]
fn the_whole_crate_has_no_other_name() {
    red("src/web/mod.rs", "use crate as all;", &["2 floors"]);
    red("src/web/mod.rs", "use crate::*;", &["2 floors"]);
    red("src/web/mod.rs", "use crate::{self as all};", &["2 floors"]);
}

#[test]
fn super_stays_inside_its_module() {
    green("src/web/listen.rs", "mod tests { use super::*; use super::super::route; }");
    red("src/web/listen.rs", "use super::super::tls;", &["2 floors"]);
    red("src/web/mod.rs", "use super::tls::X;", &["2 floors"]);
    red("src/web/mod.rs", "fn f() { super::dns::x() }", &["2 floors"]);
    red("src/demo.rs", "mod inner { fn f() { super::super::cli::x() } }", &["2 floors"]);
}

#[test]
fn rooms_have_no_doors_between_them() {
    red("src/web/mod.rs", "use crate::dns::Zone;", &["2 doors"]);
    red("src/moves/plan.rs", "fn f() { crate::acme::plan() }", &["2 doors"]);
}

#[test]
fn the_panel_sees_the_desk_only() {
    green("src/panel/mod.rs", "use crate::admin::sites;");
    red("src/panel/mod.rs", "use crate::store::Store;", &["2 floors"]);
}

#[test]
fn every_module_has_a_floor_and_a_declaration() {
    red("src/common/mod.rs", "", &["1 unknown-module"]);
    red("src/extra.rs", "", &["1 unknown-module"]);
    red("src/web/mod.rs", "use crate::util::X;", &["2 unknown-module"]);
    let orphan = [source("src/lib.rs", "pub mod web;"), source("src/web/mod.rs", ""), source("src/web/lost.rs", "")];
    let refused = rules::refusals(&orphan);
    assert_eq!(refused.len(), 1);
    assert_eq!(
        refused[0].to_string(),
        "src/web/lost.rs:1: [orphan] no `mod lost;` declares this file: declare it or delete it"
    );
}

#[test]
fn the_library_root_only_declares() {
    green("src/lib.rs", "#![forbid(unsafe_code)]\npub mod base;\nmod web;");
    red("src/lib.rs", "pub mod base;\npub use base::limits;", &["3 lib"]);
    red("src/lib.rs", "fn f() {}", &["2 lib"]);
}

#[test]
fn crates_stay_with_their_tenants() {
    green("src/store/db.rs", "use rusqlite::Connection; use serde::Serialize; fn f() { openraft::go() }");
    red("src/admin/mod.rs", "use rusqlite::Connection;", &["2 tenants"]);
    red("src/admin/mod.rs", "fn f(c: &rusqlite::Connection) {}", &["2 tenants"]);
    red("src/admin/mod.rs", "use ::{rusqlite as sql,\n toml};", &["2 tenants", "3 tenants"]);
    red("src/admin/mod.rs", "extern crate rusqlite;", &["2 tenants"]);
    red("src/store/mod.rs", "fn f() { anyhow::bail!(\"x\") }", &["2 tenants"]);
    red("src/admin/mod.rs", "#[derive(clap::Parser)]\nstruct S;", &["2 tenants"]);
    red("src/store/mod.rs", "pub(crate) use rusqlite;", &["2 tenants"]);
    red("src/base/mod.rs", "fn f() { rmp_serde::to_vec(&1) }", &["2 tenants"]);
    green("src/base/mod.rs", "#[cfg(test)]\nmod tests { fn f() { rmp_serde::to_vec(&1) } }");
    red("src/base/mod.rs", "#[cfg(test)]\nmod tests { use rusqlite::Connection; }", &["3 tenants"]);
    red("src/rr/mod.rs", "pub use hickory_proto::*;", &["2 tenants"]);
    green("src/rr/mod.rs", "pub(crate) use hickory_proto::rr::RecordType; use hickory_proto::*;");
    green("src/base/mod.rs", "fn f(toml: &str, s: S) { s.tower; s.hyper(); let clap = toml; }");
}

#[test]
fn the_model_is_pure() {
    green(
        "src/model/mod.rs",
        "use std::{collections::BTreeMap, net::{IpAddr, SocketAddr}}; fn f(at: std::net::Ipv4Addr) {}",
    );
    red("src/model/mod.rs", "use std::{\n fs,\n net::TcpStream};", &["3 pure", "4 pure"]);
    red("src/model/mod.rs", "fn f() { std::fs::read(1) }", &["2 pure"]);
    red("src/model/mod.rs", "use std::net;", &["2 pure"]);
    red("src/model/mod.rs", "use tokio::sync::watch;", &["2 pure"]);
    red("src/model/mod.rs", "async fn f() { g().await }", &["2 pure"]);
    red("src/model/mod.rs", "use std::time::{Duration, SystemTime};", &["2 pure"]);
    green("src/model/mod.rs", "#[cfg(test)]\nmod tests { fn f() { std::fs::read(1) } }");
    green("src/store/mod.rs", "use std::{fs, net::TcpStream};");
    red("src/seal/mod.rs", "use std::fs::File;", &["2 pure"]);
}

#[test]
fn only_tests_unwrap() {
    green("src/store/mod.rs", "fn f(x: Option<u8>) { x.unwrap_or(1); x.expect(\"it was set above\"); }");
    green("src/store/mod.rs", "#[cfg(test)]\nmod tests {\n fn f() { x.unwrap(); }\n}");
    green("src/store/mod.rs", "#[test]\nfn f() { x.unwrap(); }");
    green("src/store/mod.rs", "#[tokio::test(flavor = \"current_thread\")]\nasync fn f() { x.unwrap(); }");
    red("src/store/mod.rs", "fn f() { x.unwrap(); }", &["2 unwrap"]);
    red("src/store/mod.rs", "fn f() { log!(\"{}\",\n x.unwrap()) }", &["3 unwrap"]);
    red("src/store/mod.rs", "fn f() { x.map(Option::unwrap) }", &["2 unwrap"]);
    red("src/store/mod.rs", "#[cfg(not(test))]\nfn f() { x.unwrap(); }", &["3 unwrap"]);
    red("src/store/mod.rs", "#[cfg(test)]\nfn f() {}\nfn g() { x.unwrap(); }", &["4 unwrap"]);
}

#[test]
fn a_test_file_is_known_by_its_declaration() {
    let sources = |attribute: &str| {
        [
            source("src/lib.rs", "mod store;"),
            source("src/store/mod.rs", &format!("{attribute} mod cases;")),
            source("src/store/cases.rs", "fn f() { x.unwrap(); }"),
        ]
    };
    assert_eq!(rules::refusals(&sources("#[cfg(test)]")).len(), 0);
    assert_eq!(rules::refusals(&sources("#[cfg(all(test, unix))]")).len(), 0);
    assert_eq!(rules::refusals(&sources("")).len(), 1);
}

#[test]
fn every_channel_has_a_bound() {
    green("src/cluster/mod.rs", "use tokio::sync::{mpsc, oneshot}; fn f() { mpsc::channel(8); oneshot::channel(); }");
    red("src/cluster/mod.rs", "fn f() { tokio::sync::mpsc::unbounded_channel(); }", &["2 unbounded"]);
    red("src/cluster/mod.rs", "use tokio::sync::mpsc::{Sender, UnboundedSender};", &["2 unbounded"]);
    red("src/cluster/mod.rs", "fn f() { mpsc::channel(); }", &["2 unbounded"]);
    red("src/cluster/mod.rs", "fn f() { mpsc::channel::<Vec<u8>>(); }", &["2 unbounded"]);
    red("src/cluster/mod.rs", "use std::sync::mpsc::channel;", &["2 unbounded"]);
}

#[test]
fn nothing_is_unsafe_or_hidden() {
    green("src/ops/mod.rs", "#![forbid(unsafe_code)]");
    red("src/ops/mod.rs", "fn f() { unsafe { g() } }", &["2 unsafe"]);
    red("src/ops/mod.rs", "#[cfg(test)]\nmod tests { unsafe fn f() {} }", &["3 unsafe"]);
    red("src/ops/mod.rs", "include!(\"x.rs\");", &["2 include"]);
    red("src/ops/mod.rs", "#[path = \"x.rs\"]\nmod x;", &["2 include"]);
    red("src/ops/mod.rs", "fn f( {", &["2 syntax"]);
}

#[test]
fn files_and_functions_are_small() {
    let items = |count: usize| "/// what\nconst X: u8 = 1;\n\n// why\n".repeat(count);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}", items(FILE_LINES_MAX));
    green("src/ops/mod.rs", &items(FILE_LINES_MAX));
    green("src/ops/mod.rs", &format!("{}{tests}", items(FILE_LINES_MAX)));
    red("src/ops/mod.rs", &items(FILE_LINES_MAX + 1), &["1 file-size"]);
    let string = format!("const X: &str = \"{}\";", "a\n".repeat(FILE_LINES_MAX));
    red("src/ops/mod.rs", &string, &["1 file-size"]);

    let function = |count: usize| format!("fn f() {{\n{}}}\n", "g();\n\n// why\n".repeat(count - 2));
    green("src/ops/mod.rs", &function(FUNCTION_LINES_MAX));
    red("src/ops/mod.rs", &function(FUNCTION_LINES_MAX + 1), &["2 function-size"]);
    red("src/ops/mod.rs", &format!("impl S {{\n{}}}", function(FUNCTION_LINES_MAX + 1)), &["3 function-size"]);
    red("src/ops/mod.rs", &format!("trait T {{\n{}}}", function(FUNCTION_LINES_MAX + 1)), &["3 function-size"]);
    green("src/ops/mod.rs", &format!("#[cfg(test)]\nmod tests {{\n{}}}", function(FUNCTION_LINES_MAX + 1)));
}

#[test]
fn every_file_says_what_it_is_for() {
    let bare = [Source { path: "src/main.rs".into(), text: "fn main() {}\n".into() }];
    assert_eq!(rules::refusals(&bare)[0].rule, "opening");
}

#[test]
fn the_map_and_the_papers_are_checked() {
    let sources = [source("src/lib.rs", ""), source("src/web/mod.rs", ""), source("src/dns/mod.rs", "")];
    assert_eq!(papers::unmapped(&sources, "| `web` | serves |\nsee `dns`"), ["dns"]);
    assert_eq!(papers::unmapped(&sources, "| `web` | serves |\n| `dns` | answers (to come) |"), ["dns"]);

    let place = format!("/{}/", "work");
    let file = |line: &str| [("a.md".to_owned(), format!("first\n{line}\n").into_bytes())];
    let found = |line: &str| papers::machine_paths(&file(line), std::slice::from_ref(&place));
    assert_eq!(found(&format!("cd {place}main")), [format!("a.md:2: {place}")]);
    assert_eq!(found(&format!("see \"{place}main\"")).len(), 1);
    assert_eq!(found(&format!("target{place}x https://host{place}")).len(), 0);
}

#[test]
fn the_plan_is_whole() {
    let known = |module: &&str| floor(module).is_some();
    let mut modules: Vec<&str> = FLOORS.iter().flat_map(|(_, modules)| modules.iter().copied()).collect();
    let count = modules.len();
    modules.sort_unstable();
    modules.dedup();
    assert_eq!(modules.len(), count, "a module has two floors");
    assert!(TENANTS.iter().chain(NARROW).flat_map(|(_, modules)| modules.iter()).all(known));
    assert!(NEVER.iter().all(|(module, _)| known(module)));
    assert!(TENANTS.is_sorted_by_key(|(name, _)| *name));
}
