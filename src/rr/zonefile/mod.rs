//! Zone files (RFC 1035 section 5): text to records, every fault with its line, and records to text. Pure: never opens a file, so
//! `$INCLUDE` is refused, and never knows what may stand where in a zone.
mod entries;
mod generate;
mod head;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub use head::apex;
pub use read::read;
pub use write::Writer;

use crate::base::limits::ZONE_FILE_FAULTS_MAX;
use crate::rr::{Name, RecordType};

/// What a zone file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ZoneFile {
    pub records: Vec<Record>,
    /// What could not be read, in the order of the lines.
    pub faults: Vec<LineFault>,
    /// How many more there are than are told.
    pub untold: usize,
    /// The first `$TTL`, in seconds.
    pub ttl: Option<u32>,
}

/// One record, with the line where it begins.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    pub line: usize,
    pub owner: Name,
    /// Seconds.
    pub ttl: u32,
    pub rtype: RecordType,
    /// Wire form, valid for the type.
    pub data: Vec<u8>,
}

/// Why a line is refused, in words for who wrote it.
#[derive(Debug, PartialEq, Eq)]
pub struct LineFault {
    pub line: usize,
    pub reason: String,
}

impl ZoneFile {
    pub(super) fn refuse(&mut self, line: usize, reason: impl ToString) {
        if self.faults.len() < ZONE_FILE_FAULTS_MAX {
            self.faults.push(LineFault { line, reason: reason.to_string() });
        } else {
            self.untold += 1;
        }
    }
}
