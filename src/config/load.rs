//! Reads the configuration files of this machine and hands them to `Config::parse`. Never writes one.
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::base::limits::{CONFIG_FILE_MAX, CONFIG_FILES_MAX};
use crate::config::fault::{Fault, Faults};
use crate::config::{Config, Machine};
use crate::ops::log;

/// Where the main file is, unless another one is named.
pub const DEFAULT_FILE: &str = "/etc/ruche/ruche.toml";

/// Loads the file and the `conf.d/*.toml` beside it, sorted by name. One that is named must exist; without the default
/// one the defaults hold.
pub fn load(path: Option<&Path>) -> Result<Config, Faults> {
    let main = path.unwrap_or(Path::new(DEFAULT_FILE));
    let mut files = Vec::new();
    let mut faults = Vec::new();
    let mut take = |file: PathBuf, required: bool| match text(&file) {
        Ok(text) => files.push((file, text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !required => {}
        Err(error) => faults.push(unreadable(&file, &error)),
    };
    take(main.to_owned(), path.is_some());
    match parts(&main.with_file_name("conf.d")) {
        Ok(parts) => parts.into_iter().for_each(|part| take(part, true)),
        Err((dir, error)) => faults.push(unreadable(&dir, &error)),
    }
    match Config::parse(&files, &machine()) {
        Ok(config) if faults.is_empty() => Ok(config),
        Ok(_) => Err(Faults(faults)),
        Err(Faults(more)) => Err(Faults(faults.into_iter().chain(more).collect())),
    }
}

fn machine() -> Machine {
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Machine { hostname: hostname.trim().to_owned(), journal: log::stderr_is_journal() }
}

/// The `*.toml` of a directory in the order of their names; none where it does not exist.
fn parts(dir: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err((dir.to_owned(), error)),
    };
    let mut parts = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| (dir.to_owned(), error))?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        if parts.len() == CONFIG_FILES_MAX {
            let error = io::Error::other(format!("it holds more than {CONFIG_FILES_MAX} files"));
            return Err((dir.to_owned(), error));
        }
        parts.push(path);
    }
    parts.sort();
    Ok(parts)
}

fn text(file: &Path) -> io::Result<String> {
    // A FIFO would wait for its writer for ever.
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = String::new();
    File::open(file)?.take(CONFIG_FILE_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > CONFIG_FILE_MAX {
        return Err(io::Error::other(format!("it is larger than {CONFIG_FILE_MAX} bytes")));
    }
    Ok(text)
}

fn unreadable(file: &Path, error: &io::Error) -> Fault {
    Fault {
        file: Some(file.to_owned()),
        line: None,
        key: String::new(),
        what: format!("cannot be read: {error}"),
        remedy: match error.kind() {
            io::ErrorKind::NotFound => "write it or name another one with --config".to_owned(),
            io::ErrorKind::PermissionDenied => "run as root, or let this user read it".to_owned(),
            io::ErrorKind::InvalidData => "save it as UTF-8".to_owned(),
            _ => "put a small text file there or take it away".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str, text: impl AsRef<[u8]>) {
        fs::write(dir.join(name), text).unwrap();
    }

    #[test]
    fn later_files_override_single_keys_and_replace_lists_whole() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("conf.d")).unwrap();
        let main = dir.path().join("ruche.toml");
        write(
            dir.path(),
            "ruche.toml",
            "[node]\nname = 'a'\ndata_dir = '/a'\n[web]\nhttp = ['127.0.0.1:1', '127.0.0.1:2']",
        );
        write(dir.path(), "conf.d/20.toml", "[node]\nname = 'c'");
        write(dir.path(), "conf.d/10.toml", "[node]\nname = 'b'\n[web]\nhttp = ['127.0.0.1:3']");
        write(dir.path(), "conf.d/.hidden.toml", "nonsense");
        write(dir.path(), "conf.d/30.toml.dpkg-new", "nonsense");
        let config = load(Some(&main)).unwrap();
        assert_eq!(config.node.name.as_str(), "c");
        assert_eq!(config.node.data_dir, Path::new("/a"));
        assert_eq!(config.web.http, ["127.0.0.1:3".parse().unwrap()]);
    }

    #[test]
    fn every_unreadable_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("conf.d")).unwrap();
        write(dir.path(), "conf.d/1.toml", vec![b'#'; CONFIG_FILE_MAX as usize + 1]);
        write(dir.path(), "conf.d/2.toml", [0xff]);
        write(dir.path(), "conf.d/3.toml", "[nod]");
        fs::create_dir(dir.path().join("conf.d/4.toml")).unwrap();
        let told = load(Some(&dir.path().join("ruche.toml"))).unwrap_err().to_string();
        let told: Vec<&str> = told.lines().collect();
        for (line, part) in told.iter().zip([
            "ruche.toml: cannot be read: No such file",
            "1.toml: cannot be read: it is larger than 1048576 bytes",
            "2.toml: cannot be read: stream did not contain valid UTF-8; save it as UTF-8",
            "4.toml: cannot be read: it is not a regular file",
            "3.toml:1: [nod]: unknown section; did you mean `node`?",
        ]) {
            assert!(line.contains(part), "{line}\nlacks {part}");
        }
        assert_eq!(told.len(), 5);
    }
}
