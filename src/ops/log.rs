//! Logging: one subscriber for the process, on standard error or in the journal; its levels change while it runs. Never
//! decides what is worth a line.
use std::fmt;
use std::io;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    pub levels: Levels,
    pub format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
    Journal,
}

/// One level for the program and others for single modules of it or for libraries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels {
    all: LevelFilter,
    modules: Vec<(String, LevelFilter)>,
}

impl Default for Levels {
    fn default() -> Self {
        Self { all: LevelFilter::INFO, modules: Vec::new() }
    }
}

/// Completes "failed to …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read `{0}` as a log level")]
pub struct LevelError(String);

impl Levels {
    /// Takes `level` for the whole program, or `module=level` for a module or a library.
    pub fn add(&mut self, text: &str) -> Result<(), LevelError> {
        let fault = || LevelError(text.chars().take(80).flat_map(char::escape_debug).collect());
        match text.split_once('=') {
            None => self.all = level(text).ok_or_else(fault)?,
            Some((module, text)) => {
                let module = module.trim();
                let named = !module.is_empty()
                    && module.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'));
                let level = level(text).filter(|_| named).ok_or_else(fault)?;
                self.modules.push((module.to_owned(), level));
            }
        }
        Ok(())
    }

    /// Libraries speak from `warn` on unless they are named: their `info` is nobody's business here.
    fn targets(&self) -> Targets {
        let mut targets = Targets::new().with_default(self.all.min(LevelFilter::WARN)).with_target("ruche", self.all);
        // It warns of each hostile connection; those are counted.
        targets = targets.with_target("h2", self.all.min(LevelFilter::ERROR));
        // It repeats every failure to reach a peer; `cluster` says it once, and what goes wrong with the disk is on the board.
        targets = targets.with_target("openraft", self.all.min(LevelFilter::ERROR));
        targets = targets.with_target("openraft::replication", LevelFilter::OFF);
        for (module, level) in &self.modules {
            targets = targets.with_target(format!("ruche::{module}"), *level).with_target(module.clone(), *level);
        }
        targets
    }
}

fn level(text: &str) -> Option<LevelFilter> {
    match text.trim() {
        text @ ("error" | "warn" | "info" | "debug" | "trace") => LevelFilter::from_str(text).ok(),
        _ => None,
    }
}

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("reach the journal's socket: {0}")]
    Journal(#[source] io::Error),
    #[error("start logging: it was started before")]
    Twice,
}

/// Changes the levels of the running subscriber.
#[derive(Clone)]
pub struct LogHandle(reload::Handle<Targets, Registry>);

impl fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogHandle")
    }
}

impl LogHandle {
    /// Holds from the next line on; the format stays what it was at the start.
    pub fn set(&self, levels: &Levels) {
        if let Err(error) = self.0.reload(levels.targets()) {
            tracing::error!(%error, "failed to change the log levels");
        }
    }
}

/// Starts logging for the whole process; once.
pub fn install(options: &LogOptions) -> Result<LogHandle, LogError> {
    let (filter, handle) = reload::Layer::new(options.levels.targets());
    let terminal = io::IsTerminal::is_terminal(&io::stderr());
    let text = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(terminal);
    let lines = match options.format {
        Format::Text => text.boxed(),
        Format::Json => text.json().flatten_event(true).with_ansi(false).boxed(),
        Format::Journal => {
            let journal = tracing_journald::layer().map_err(LogError::Journal)?;
            journal.with_syslog_identifier("ruche".to_owned()).boxed()
        }
    };
    tracing_subscriber::registry().with(filter).with(lines).try_init().map_err(|_| LogError::Twice)?;
    Ok(LogHandle(handle))
}

/// Whether standard error is the stream systemd opened to the journal: `JOURNAL_STREAM` is its device and inode.
pub fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let stat = rustix::fs::fstat(io::stderr());
    stat.is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn levels_of_the_program_its_modules_and_libraries() {
        let mut levels = Levels::default();
        for text in ["debug", "store=trace", "openraft = info"] {
            levels.add(text).unwrap();
        }
        let targets = levels.targets();
        for (target, level, on) in [
            ("ruche::web", Level::DEBUG, true),
            ("ruche::web", Level::TRACE, false),
            ("ruche::store::log", Level::TRACE, true),
            ("openraft::core", Level::INFO, true),
            ("openraft::core", Level::DEBUG, false),
            ("hyper", Level::WARN, true),
            ("hyper", Level::INFO, false),
        ] {
            assert_eq!(targets.would_enable(target, &level), on, "{target} {level}");
        }
        let mut quiet = Levels::default();
        quiet.add("error").unwrap();
        assert!(!quiet.targets().would_enable("hyper", &Level::WARN));
    }

    #[test]
    fn bad_levels_are_refused() {
        for text in ["", "loud", "off", "INFO", "web=", "=info", "we b=info", "web=info=x"] {
            assert!(Levels::default().add(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_reload_changes_what_is_logged() {
        let (filter, handle) = reload::Layer::new(Levels::default().targets());
        let handle = LogHandle(handle);
        let _guard = tracing_subscriber::registry().with(filter).set_default();
        assert!(!tracing::enabled!(target: "ruche::web", Level::DEBUG));
        let mut levels = Levels::default();
        levels.add("web=debug").unwrap();
        handle.set(&levels);
        assert!(tracing::enabled!(target: "ruche::web", Level::DEBUG));
        assert!(!tracing::enabled!(target: "ruche::dns", Level::DEBUG));
    }
}
