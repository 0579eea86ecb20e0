//! Writes a zone file that any server reads: one record a line, names relative to the zone, columns that line up.
use std::fmt::Write;

use crate::rr::data::present_data;
use crate::rr::{Name, RecordType};

/// A wider owner than this pushes its own line only.
const OWNER_COLUMN_MAX: usize = 32;

/// A zone file that grows set by set, in the order they are given.
#[derive(Debug)]
pub struct Writer {
    origin: Name,
    ttl: u32,
    column: usize,
    out: String,
}

impl Writer {
    /// Begins the file of a zone; `ttl` is that of most records. `owners` are the names to come, for the width of their column.
    pub fn new<'a>(origin: Name, ttl: u32, owners: impl Iterator<Item = &'a Name>) -> Self {
        let widths = owners.map(|owner| owner.relative_to(&origin).len()).filter(|width| *width <= OWNER_COLUMN_MAX);
        let column = widths.max().unwrap_or(1);
        let out = format!("$ORIGIN {origin}\n$TTL {ttl}\n");
        Self { origin, ttl, column, out }
    }

    /// Writes one record set; its TTL only where it is another one.
    pub fn set<'a>(&mut self, owner: &Name, rtype: RecordType, ttl: u32, values: impl Iterator<Item = &'a [u8]>) {
        let (owner, column) = (owner.relative_to(&self.origin), self.column);
        let ttl = if ttl == self.ttl { String::new() } else { ttl.to_string() };
        for value in values {
            let data = present_data(rtype, value);
            let _ = writeln!(self.out, "{owner:column$} {ttl:>7} IN {rtype:<6} {data}");
        }
    }

    pub fn finish(self) -> String {
        self.out
    }
}
