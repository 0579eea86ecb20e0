//! What is wrong with a configuration, all of it at once: where, what, and what to do. Never stops at the first fault.
use std::fmt;
use std::path::PathBuf;

/// One fault of one key or file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// None where the value comes from no file.
    pub file: Option<PathBuf>,
    /// Counted from 1; None where the whole file is meant.
    pub line: Option<usize>,
    /// As `[section] key`; empty where no key is meant.
    pub key: String,
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}", file.display())?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

/// Every fault of one configuration, in the order of the files and lines; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
