//! From texts to a configuration: walks the tables of each file, keeps where every key came from, collects every fault.
//! Never reads a file.
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::config::fault::{Fault, Faults};
use crate::config::keys::{self, Key};
use crate::config::listen::{self, Clash};
use crate::config::{Config, Machine};

pub(super) fn config(files: &[(PathBuf, String)], machine: &Machine) -> Result<Config, Faults> {
    let mut draft = Draft { config: Config::defaults(machine), places: BTreeMap::new(), faults: Vec::new() };
    for (file, text) in files {
        draft.read(file, text);
    }
    for clash in listen::clashes(&draft.config) {
        draft.clash(&clash);
    }
    if draft.faults.is_empty() { Ok(draft.config) } else { Err(Faults(draft.faults)) }
}

/// File and line of a value.
type Place = (PathBuf, usize);

struct Draft {
    config: Config,
    /// Where the value in force of each key was written; a default has no place.
    places: BTreeMap<Key, Place>,
    faults: Vec<Fault>,
}

impl Draft {
    fn read(&mut self, file: &Path, text: &str) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut faults: Vec<Fault> = errors
            .iter()
            .map(|error| Fault {
                file: Some(file.to_owned()),
                line: error.span().map(|span| line(text, &span)),
                key: String::new(),
                what: format!("not valid TOML: {}", error.message().replace('\n', ", ")),
                remedy: "correct this line".to_owned(),
            })
            .collect();
        let broken: Vec<Option<usize>> = faults.iter().map(|fault| fault.line).collect();
        let mut reader = Reader { file, text, faults: Vec::new() };
        self.sections(&mut reader, table.get_ref());
        // What is left of a line that is not TOML is no value anybody wrote.
        faults.extend(reader.faults.into_iter().filter(|fault| !broken.contains(&fault.line)));
        faults.sort_by_key(|fault| fault.line);
        self.faults.extend(faults);
    }

    fn sections(&mut self, reader: &mut Reader<'_>, table: &DeTable<'_>) {
        for (name, value) in table {
            let section = name.get_ref().as_ref();
            if !Key::ALL.iter().any(|key| key.section() == section) {
                reader.unknown(name.span(), &format!("[{}]", keys::shown(section)), "section", section, sections());
                continue;
            }
            let Some(entries) = value.get_ref().as_table() else {
                reader.fault(
                    value.span(),
                    format!("[{section}]"),
                    format!("expected a section, found {}", keys::kind(value.get_ref())),
                    format!("write [{section}] once on a line of its own, its keys below"),
                );
                continue;
            };
            for (name, value) in entries {
                let typed = name.get_ref().as_ref();
                let Some(key) = find(section, typed) else {
                    let label = format!("[{section}] {}", keys::shown(typed));
                    reader.unknown(name.span(), &label, "key", typed, names(section));
                    continue;
                };
                match keys::set(&mut self.config, key, value) {
                    Ok(()) => {
                        self.places.insert(key, (reader.file.to_owned(), line(reader.text, &value.span())));
                    }
                    Err(complaints) => {
                        for complaint in complaints {
                            reader.fault(complaint.span, label(key), complaint.what, complaint.remedy);
                        }
                    }
                }
            }
        }
    }

    fn clash(&mut self, clash: &Clash) {
        // A key with a fault still has its default, which nobody asked for.
        if [clash.first, clash.second].iter().any(|(key, _)| self.faults.iter().any(|fault| fault.key == label(*key))) {
            return;
        }
        let (here, there) = match self.places.contains_key(&clash.second.0) {
            true => (clash.second, clash.first),
            false => (clash.first, clash.second),
        };
        let place = self.places.get(&here.0);
        self.faults.push(Fault {
            file: place.map(|place| place.0.clone()),
            line: place.map(|place| place.1),
            key: label(here.0),
            what: format!("`{}` is taken by `{}` of {}", here.1, there.1, label(there.0)),
            remedy: "give one of them another port or address".to_owned(),
        });
    }
}

/// The faults of one file.
struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn fault(&mut self, span: Range<usize>, key: String, what: String, remedy: String) {
        let (file, line) = (Some(self.file.to_owned()), Some(line(self.text, &span)));
        self.faults.push(Fault { file, line, key, what, remedy });
    }

    fn unknown(&mut self, span: Range<usize>, label: &str, kind: &str, typed: &str, known: Vec<&str>) {
        let remedy = match nearest(typed, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        self.fault(span, label.to_owned(), format!("unknown {kind}"), remedy);
    }
}

fn label(key: Key) -> String {
    format!("[{}] {}", key.section(), key.name())
}

fn find(section: &str, name: &str) -> Option<Key> {
    Key::ALL.iter().copied().find(|key| key.section() == section && key.name() == name)
}

fn sections() -> Vec<&'static str> {
    let mut sections: Vec<_> = Key::ALL.iter().map(|key| key.section()).collect();
    sections.dedup();
    sections
}

fn names(section: &str) -> Vec<&'static str> {
    Key::ALL.iter().filter(|key| key.section() == section).map(|key| key.name()).collect()
}

fn line(text: &str, span: &Range<usize>) -> usize {
    let before = text.as_bytes().get(..span.start).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// The known name a typed one was most likely meant to be: a third of it mistyped at most, or two letters
/// of a short one.
fn nearest<'k>(typed: &str, known: &[&'k str]) -> Option<&'k str> {
    let closest = known.iter().map(|name| (distance(typed, name), *name)).min()?;
    (closest.0 * 3 <= closest.1.len().max(6)).then_some(closest.1)
}

/// Edits from one text to the other (Levenshtein), over bytes; a long text is far from every key.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > b.len() * 2 {
        return a.len();
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine { hostname: "node".to_owned(), journal: false }
    }

    fn parse(text: &str) -> Result<Config, Faults> {
        Config::parse(&[("f".into(), text.to_owned())], &machine())
    }

    #[test]
    fn the_samples_are_read_and_say_the_defaults() {
        let full = include_str!("../../config/full.toml");
        assert_eq!(parse(full), Ok(Config::defaults(&machine())));
        assert_eq!(parse(include_str!("../../config/ruche.toml")), Ok(Config::defaults(&machine())));
        let table = DeTable::parse(full).unwrap();
        for key in Key::ALL {
            let section = table.get_ref().get(key.section()).unwrap_or_else(|| panic!("no [{}]", key.section()));
            let keys = section.get_ref().as_table().unwrap();
            assert!(keys.contains_key(key.name()), "{} is not in full.toml", label(*key));
        }
    }

    #[test]
    fn values_are_taken() {
        let config = parse(
            "[node]\nname = 'alpha'\n[ftp]\npassive_ports = '1-2'\npassive_host = 'Ftp.Example.org'\n[admin]\nlisten = ['[::1]:0', '[::1]:0']\n\
             [cluster]\nadvertise = ['192.0.2.1:7480']\n[log]\nlevel = ['warn', 'store=debug']\nformat = 'json'\n[dns]\nlisten = []",
        )
        .unwrap();
        assert_eq!(config.node.name.as_str(), "alpha");
        assert_eq!(config.ftp.passive_ports, 1..=2);
        assert_eq!(config.ftp.passive_host.as_deref(), Some("ftp.example.org"));
        assert_eq!(config.admin.listen.len(), 2);
        assert_eq!(config.cluster.advertise, ["192.0.2.1:7480".parse().unwrap()]);
        assert_ne!(config.log.levels, Default::default());
        assert_eq!(config.dns.listen, []);
    }

    /// Each of these is refused with this message alone.
    #[test]
    fn each_fault_has_its_message() {
        let long = format!("[web]\nhttp = [{}]", "'127.0.0.1:0',".repeat(65));
        for (text, told) in [
            ("x = 1", "f:1: [x]: unknown section; known here: node, web, dns, ftp, admin, cluster, log"),
            ("\n[wbe]", "f:2: [wbe]: unknown section; did you mean `web`?"),
            ("[web]\nhtp = []", "f:2: [web] htp: unknown key; did you mean `http`?"),
            ("[web]\nlisten = []", "f:2: [web] listen: unknown key; known here: http, https"),
            (
                "web = 1",
                "f:1: [web]: expected a section, found a number; write [web] once on a line of its own, its keys below",
            ),
            (
                "[[web]]",
                "f:1: [web]: expected a section, found a list; write [web] once on a line of its own, its keys below",
            ),
            (
                "[web]\nhttp = '127.0.0.1:80'",
                "f:2: [web] http: expected a list, found a text; write it in brackets, such as [\"127.0.0.1:8080\"]",
            ),
            (
                "[web]\nhttp = [\n80]",
                "f:3: [web] http: expected a text, found a number; write it in quotes, such as \"127.0.0.1:8080\"",
            ),
            (
                "[web]\nhttp = ['127.0.0.1']",
                "f:2: [web] http: `127.0.0.1` has no port; add one, such as 127.0.0.1:8080 or [::1]:8080",
            ),
            (
                "[web]\nhttp = ['localhost:80']",
                "f:2: [web] http: `localhost:80` is no ip:port; write an address and a port, such as 127.0.0.1:8080 or [::1]:8080",
            ),
            (&long, "f:2: [web] http: the list has 65 items; keep at most 64"),
            (
                "[web]\nhttp = ['0.0.0.0:443']",
                "f:2: [web] http: `0.0.0.0:443` is taken by `0.0.0.0:443` of [web] https; give one of them another port or address",
            ),
            (
                "[ftp]\nlisten = ['192.0.2.1:80']",
                "f:2: [ftp] listen: `192.0.2.1:80` is taken by `0.0.0.0:80` of [web] http; give one of them another port or address",
            ),
            (
                "[dns]\nlisten = ['[::1]:53', '[::1]:53']",
                "f:2: [dns] listen: `[::1]:53` is taken by `[::1]:53` of [dns] listen; give one of them another port or address",
            ),
            (
                "[admin]\nlisten = ['0.0.0.0:7479']",
                "f:2: [admin] listen: `0.0.0.0:7479` is not a loopback address; listen on 127.0.0.1 or [::1] and reach it through a tunnel",
            ),
            ("[admin]\nsocket = 'a.sock'", "f:2: [admin] socket: `a.sock` is not an absolute path; start it with /"),
            (
                "[node]\ndata_dir = '/a\u{7f}'",
                "f:2: not valid TOML: invalid literal string, expected non-single-quote visible characters; correct this line",
            ),
            ("[node]\ndata_dir = \"/a\\u0000\"", "f:2: [node] data_dir: `/a\\0` holds a NUL character; take it out"),
            (
                "[node]\nname = 'My Host'",
                "f:2: [node] name: failed to read `My Host` as a node name: only lower-case letters, digits and . _ - can stand in it; use lower-case letters, digits and hyphens, such as \"node-1\"",
            ),
            (
                "[ftp]\npassive_ports = 5",
                "f:2: [ftp] passive_ports: expected a text, found a number; write it in quotes, such as \"30000-30999\"",
            ),
            (
                "[ftp]\npassive_ports = '1:2'",
                "f:2: [ftp] passive_ports: `1:2` is no range of ports; write LOW-HIGH, such as \"30000-30999\"",
            ),
            (
                "[ftp]\npassive_ports = '2-1'",
                "f:2: [ftp] passive_ports: 2-1 is no range of ports; write the lower one first, neither of them 0",
            ),
            (
                "[ftp]\npassive_ports = '0-1'",
                "f:2: [ftp] passive_ports: 0-1 is no range of ports; write the lower one first, neither of them 0",
            ),
            (
                "[ftp]\npassive_host = '::1'",
                "f:2: [ftp] passive_host: `::1` cannot be announced to an FTP client; write an IPv4 address (IPv6 clients use the one they came to), a host, or \"\"",
            ),
            (
                "[ftp]\npassive_host = 'a b'",
                "f:2: [ftp] passive_host: failed to read `a b` as a host: only letters, digits, hyphens and dots can stand in it; write an IPv4 address, a host, or \"\"",
            ),
            (
                "[cluster]\nadvertise = ['0.0.0.0:7480']",
                "f:2: [cluster] advertise: `0.0.0.0:7480` is no address another node can connect to; write the one they reach, with its port",
            ),
            (
                "[log]\nlevel = 'loud'",
                "f:2: [log] level: failed to read `loud` as a log level; write error, warn, info, debug, trace, or module=level",
            ),
            ("[log]\nformat = 'xml'", "f:2: [log] format: `xml` is no format; write text, json or journal"),
            (
                "[log]\nformat = 2026-01-01",
                "f:2: [log] format: expected a text, found a date; write it in quotes, such as \"text\"",
            ),
            (
                "[node]\nname =",
                "f:2: not valid TOML: string values must be quoted, expected literal string; correct this line",
            ),
            ("[node]\nname = 'a'\nname = 'b'", "f:3: not valid TOML: duplicate key; correct this line"),
        ] {
            assert_eq!(parse(text).map_err(|faults| faults.to_string()).unwrap_err(), told, "{text}");
        }
    }

    #[test]
    fn all_faults_are_told_together_in_the_order_of_files_and_lines() {
        let files = [
            ("a".into(), "[web]\nhttp = ['x', 'y']\nhtps = []\n[node\n[log]\nlevel = true".to_owned()),
            ("b".into(), "[log]\nlevel = 'info'\nformat = 3\n[admin]\nlisten = ['127.0.0.1:443']".to_owned()),
        ];
        let told = Config::parse(&files, &machine()).unwrap_err();
        let places: Vec<String> = told
            .0
            .iter()
            .map(|fault| format!("{}:{} {}", fault.file.as_ref().unwrap().display(), fault.line.unwrap(), fault.key))
            .collect();
        assert_eq!(
            places,
            [
                "a:2 [web] http",
                "a:2 [web] http",
                "a:3 [web] htps",
                "a:4 ",
                "a:6 [log] level",
                "b:3 [log] format",
                "b:5 [admin] listen"
            ],
            "{told}"
        );
    }

    #[test]
    fn no_text_panics() {
        for text in [
            "",
            "\u{0}",
            "[",
            "[[[[",
            "= =",
            "\"",
            "web.http = [[[[[[",
            "[web]\nhttp = [[]]",
            "a.b.c.d = {",
            "\u{feff}[web]",
        ] {
            let _ = parse(text);
        }
        let _ = parse(&"[".repeat(10_000));
        let _ = parse(&format!("[web]\nhttp = {}", "[".repeat(10_000)));
    }
}
