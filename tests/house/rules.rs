//! The house rules, each a pure function from what was read to what is refused.
use super::{
    plan::{self, row},
    reading::{self, Named, Reading, Source},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) rule: &'static str,
    pub(crate) text: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: [{}] {}", self.path, self.line, self.rule, self.text)
    }
}

/// Everything the house refuses in these sources, in their order.
pub(crate) fn refusals(sources: &[Source]) -> Vec<Refusal> {
    let mut book = Book::default();
    let mut read = BTreeMap::new();
    for source in sources {
        match reading::read(source) {
            Ok(reading) => drop(read.insert(source.path.as_str(), reading)),
            Err(error) => {
                book.refuse(&source.path, error.span().start().line, "syntax", format!("does not parse: {error}"))
            }
        }
    }
    let declared: BTreeMap<&[String], bool> =
        read.values().flat_map(|reading| &reading.declared).map(|(path, test)| (path.as_slice(), *test)).collect();
    for source in sources {
        let Some(reading) = read.get(source.path.as_str()) else {
            continue;
        };
        let modules = reading::module_path(&source.path);
        let test_file = (1..=modules.len()).any(|depth| declared.get(&modules[..depth]) == Some(&true));
        let mut visit = Visit { source, module: &modules[0], reading, test_file, book: &mut book };
        visit.place(&modules, &declared);
        visit.opening();
        visit.imports();
        visit.words();
        visit.sizes();
    }
    book.refusals
}

#[derive(Default)]
struct Book {
    refusals: Vec<Refusal>,
    /// A group of imports from one place is one refusal.
    seen: BTreeSet<(String, usize, &'static str, String)>,
}

impl Book {
    fn refuse(&mut self, path: &str, line: usize, rule: &'static str, text: String) {
        if self.seen.insert((path.into(), line, rule, text.clone())) {
            self.refusals.push(Refusal { path: path.into(), line, rule, text });
        }
    }
}

struct Visit<'a> {
    source: &'a Source,
    module: &'a str,
    reading: &'a Reading,
    test_file: bool,
    book: &'a mut Book,
}

impl Visit<'_> {
    fn refuse(&mut self, line: usize, rule: &'static str, text: String) {
        self.book.refuse(&self.source.path, line, rule, text);
    }

    fn is_test(&self, line: usize) -> bool {
        self.test_file || self.reading.is_test(line)
    }

    /// Each file belongs to a module of the plan and is compiled; the library's root only declares.
    fn place(&mut self, modules: &[String], declared: &BTreeMap<&[String], bool>) {
        if self.module == "lib" {
            for &line in &self.reading.items {
                let text =
                    "lib.rs holds something else than `mod` lines: move it into a module, re-export nothing".into();
                self.refuse(line, "lib", text);
            }
        } else if plan::floor(self.module).is_none() {
            let text = format!(
                "`{}` has no floor: use a module of the plan, or give it a floor in the design first",
                self.module
            );
            self.refuse(1, "unknown-module", text);
        } else if self.module != "main" && !declared.contains_key(modules) {
            let name = &modules[modules.len() - 1];
            self.refuse(1, "orphan", format!("no `mod {name};` declares this file: declare it or delete it"));
        }
    }

    fn opening(&mut self) {
        if !self.source.text.starts_with("//!") {
            let text = "does not start with `//!`: say first what the file does and what it never does".into();
            self.refuse(1, "opening", text);
        }
    }

    fn imports(&mut self) {
        let reading = self.reading;
        for named in &reading.named {
            let root = named.segments.first().map_or("", String::as_str);
            match root {
                "crate" if self.module == "main" => {
                    self.refuse(named.line, "floors", "main.rs has no modules of its own: name `ruche::…`".into());
                }
                "crate" => self.import(named, 1),
                "ruche" if self.module == "main" => self.import(named, 1),
                "self" | "super" => self.climb(named),
                _ => self.foreign(named, root),
            }
        }
    }

    fn import(&mut self, named: &Named, at: usize) {
        let (module, line) = (self.module, named.line);
        let to = match named.segments.get(at).map(String::as_str) {
            None | Some("*" | "self" | "super") => {
                self.refuse(
                    line,
                    "floors",
                    "takes the whole crate under a name: name one module after `crate::`".into(),
                );
                return;
            }
            Some(to) => to,
        };
        let (Some((here, _)), there) = (plan::floor(module), plan::floor(to)) else {
            return;
        };
        let Some((there, floor)) = there else {
            self.refuse(
                line,
                "unknown-module",
                format!("`{to}` is no module of the plan: import from where the thing lives"),
            );
            return;
        };
        let narrow = row(plan::NARROW, module).filter(|allowed| to != module && !allowed.contains(&to));
        if there > here {
            let text =
                format!("`{module}` imports `{to}` from a higher floor: move the thing down, or hand it in from above");
            self.refuse(line, "floors", text);
        } else if there == here && to != module && floor == plan::ROOMS {
            let text = format!(
                "a door from `{module}` to `{to}`: rooms do not know each other, let `daemon` wire them or move the thing down"
            );
            self.refuse(line, "doors", text);
        } else if there == here && to != module {
            let text = format!(
                "`{module}` imports its neighbour `{to}`: move the thing to a lower floor, or hand it in from above"
            );
            self.refuse(line, "floors", text);
        } else if let Some(allowed) = narrow {
            let text =
                format!("`{module}` imports `{to}`, but may import {allowed:?} only: let that offer a function for it");
            self.refuse(line, "floors", text);
        }
    }

    /// `super::` stays inside a top module; what climbs out of it starts with `crate::`.
    fn climb(&mut self, named: &Named) {
        let climbed = named.segments.iter().filter(|segment| *segment == "super").count();
        if climbed >= named.within.len() && climbed > 0 {
            let text = format!("`super` climbs out of `{}`: start the path with `crate::`", self.module);
            self.refuse(named.line, "floors", text);
        }
    }

    fn foreign(&mut self, named: &Named, root: &str) {
        let (module, line) = (self.module, named.line);
        if let Some(tenants) = row(plan::TENANTS, root) {
            let whole = named.segments.get(1).is_none_or(|second| second == "*");
            let tested = plan::FREE_IN_TESTS.contains(&root) && self.is_test(line);
            if !tenants.contains(&module) && !tested {
                let text = format!(
                    "`{module}` uses the crate `{root}`, whose tenants are {tenants:?}: go through one of them"
                );
                self.refuse(line, "tenants", text);
            } else if named.published && whole {
                let text =
                    format!("publishes the whole crate `{root}` beyond its tenants: offer own types or functions");
                self.refuse(line, "tenants", text);
            }
        }
        let path = named.segments.join("::");
        let banned = row(plan::NEVER, module)
            .unwrap_or_default()
            .iter()
            .find(|ban| path == **ban || path.strip_prefix(**ban).is_some_and(|rest| rest.starts_with("::")));
        let address = path.starts_with("std::net::") && plan::ADDRESSES.contains(&named.segments[2].as_str());
        if let Some(ban) = banned.filter(|_| !address && !self.is_test(line)) {
            let text = format!(
                "`{module}` is pure and names `{ban}`: take the value as an argument, touch the world on a higher floor"
            );
            self.refuse(line, "pure", text);
        }
        let std_channel = path == "std::sync::mpsc::channel" || path.ends_with("mpsc::channel") && named.called_bare;
        if std_channel && !self.is_test(line) {
            self.unbounded(line);
        }
        if matches!(path.as_str(), "Option::unwrap" | "Result::unwrap") && !self.is_test(line) {
            self.unwrap(line);
        }
    }

    fn words(&mut self) {
        let reading = self.reading;
        for (word, line) in &reading.words {
            let (line, test) = (*line, self.is_test(*line));
            match word.as_str() {
                "unsafe" => {
                    self.refuse(line, "unsafe", "`unsafe` is forbidden: use the safe call of rustix or std".into())
                }
                "include!" | "#[path]" => {
                    self.refuse(line, "include", format!("`{word}` hides code from this test: make it a plain module"));
                }
                "async" | "await" if self.module == "model" && !test => {
                    self.refuse(
                        line,
                        "pure",
                        "`model` is pure and waits for nothing: decide here, wait on a higher floor".into(),
                    );
                }
                ".unwrap(" if !test => self.unwrap(line),
                "unbounded_channel" | "UnboundedSender" | "UnboundedReceiver" if !test => self.unbounded(line),
                _ => {}
            }
        }
    }

    fn unwrap(&mut self, line: usize) {
        let text =
            "`unwrap()` outside tests: return the error, or `expect` with the invariant that makes it true".into();
        self.refuse(line, "unwrap", text);
    }

    fn unbounded(&mut self, line: usize) {
        let text = "an unbounded channel: use a bounded one with its size and reason in base/limits.rs".into();
        self.refuse(line, "unbounded", text);
    }

    fn sizes(&mut self) {
        let reading = self.reading;
        if self.test_file {
            return;
        }
        let lines = reading.code.iter().filter(|line| !reading.is_test(**line)).count();
        if lines > plan::FILE_LINES_MAX {
            let text = format!("{lines} lines of code, {} are the most: split it by subject", plan::FILE_LINES_MAX);
            self.refuse(1, "file-size", text);
        }
        for function in &reading.functions {
            let (start, lines) = (*function.lines.start(), reading.code.range(function.lines.clone()).count());
            if lines > plan::FUNCTION_LINES_MAX && !reading.is_test(start) {
                let name = &function.name;
                let text =
                    format!("`{name}` has {lines} lines of code, {} are the most: split it", plan::FUNCTION_LINES_MAX);
                self.refuse(start, "function-size", text);
            }
        }
    }
}
