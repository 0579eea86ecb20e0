//! Reads a zone file: what holds from line to line, and records one by one. Never stops at a fault: all are told together.
use crate::base::limits::{ZONE_FILE_EXPANDED_MAX, ZONE_FILE_RECORDS_MAX};
use crate::rr::data::parse_data;
use crate::rr::zonefile::entries::{Entry, entries};
use crate::rr::zonefile::generate::Generate;
use crate::rr::zonefile::head::{HeadError, brief, head, seconds, word};
use crate::rr::zonefile::{Record, ZoneFile};
use crate::rr::{Name, RecordType};

/// Reads the file of the zone `apex`; `ttl` is for records of a file that names none anywhere before them.
pub fn read(file: &[u8], apex: &Name, ttl: u32) -> ZoneFile {
    let mut reader = Reader {
        apex: apex.clone(),
        origin: Some(apex.clone()),
        owner: None,
        default_ttl: None,
        last_ttl: None,
        ttl,
        expanded: 0,
        full: false,
        out: ZoneFile::default(),
    };
    for entry in entries(file) {
        match entry {
            Ok(entry) => reader.entry(&entry),
            Err((line, fault)) => {
                // Whose record this was to be is not known, nor that of those indented below it.
                reader.owner = None;
                reader.out.refuse(line, fault);
            }
        }
        if reader.full {
            break;
        }
    }
    reader.out
}

struct Reader {
    apex: Name,
    /// Absent after an `$ORIGIN` that could not be read: then relative names mean nothing.
    origin: Option<Name>,
    /// The owner of the last record.
    owner: Option<Name>,
    /// `$TTL` (RFC 2308 section 4).
    default_ttl: Option<u32>,
    /// The last one that was stated (RFC 1035 section 5.1), or the minimum of the SOA.
    last_ttl: Option<u32>,
    ttl: u32,
    /// Octets of text that `$GENERATE` has made.
    expanded: usize,
    /// There are more records than a zone can take at once: reading on is work for nothing.
    full: bool,
    out: ZoneFile,
}

impl Reader {
    fn entry(&mut self, entry: &Entry) {
        if entry.indented || !entry.text.starts_with('$') {
            if let Err(fault) = self.record(entry.line, entry.indented, &entry.text) {
                self.out.refuse(entry.line, fault);
            }
            return;
        }
        let (directive, rest) = word(&entry.text);
        let done = match directive.to_ascii_uppercase().as_str() {
            "$ORIGIN" => self.set_origin(rest),
            "$TTL" => self.set_ttl(rest),
            "$GENERATE" => self.generate(entry.line, rest),
            "$INCLUDE" => Err("$INCLUDE is not followed: put the lines of the other file here".to_owned()),
            _ => Err(format!("`{}` is no directive: expected $ORIGIN, $TTL or $GENERATE", brief(directive))),
        };
        if let Err(reason) = done {
            self.out.refuse(entry.line, reason);
        }
    }

    fn set_origin(&mut self, text: &str) -> Result<(), String> {
        let name = word(text).0;
        self.origin = self.name(name).inspect_err(|_| self.origin = None).map(Some)?;
        Ok(())
    }

    fn set_ttl(&mut self, text: &str) -> Result<(), String> {
        let ttl = word(text).0;
        let ttl = seconds(ttl).map_err(|_| {
            format!("$TTL wants at most 2147483647 seconds or a duration like `1h30m`, not `{}`", brief(ttl))
        })?;
        self.default_ttl = Some(ttl);
        self.out.ttl.get_or_insert(ttl);
        Ok(())
    }

    fn generate(&mut self, line: usize, text: &str) -> Result<(), String> {
        let generate = Generate::read(text).map_err(|fault| fault.to_string())?;
        for number in generate.numbers() {
            let entry = generate.entry(number).map_err(|fault| fault.to_string())?;
            self.expanded += entry.len();
            if self.expanded > ZONE_FILE_EXPANDED_MAX {
                self.full = true;
                return Err(format!("$GENERATE makes more than {ZONE_FILE_EXPANDED_MAX} octets"));
            }
            // What is wrong with one of them is wrong with most.
            self.record(line, false, &entry)?;
            if self.full {
                break;
            }
        }
        Ok(())
    }

    fn record(&mut self, line: usize, indented: bool, text: &str) -> Result<(), String> {
        let rest = if indented {
            text
        } else {
            let (owner, rest) = word(text);
            self.owner = None;
            self.owner = Some(self.name(owner)?);
            rest
        };
        let owner = self.owner.clone().ok_or_else(|| HeadError::NoOwner.to_string())?;
        let head = head(rest).map_err(|fault| fault.to_string())?;
        self.last_ttl = head.ttl.or(self.last_ttl);
        if !owner.is_under(&self.apex) {
            return Err(format!("{owner} does not lie in the zone {}", self.apex));
        }
        if head.rtype.is_signed() {
            return Err(format!("{} comes with the signing of a zone: leave it out", head.rtype));
        }
        let origin = self.origin.as_ref().ok_or("the $ORIGIN above cannot be read")?;
        let data = parse_data(head.rtype, head.data, origin).map_err(|fault| fault.to_string())?;
        if head.rtype == RecordType::SOA {
            let minimum = data.last_chunk().map(|minimum| u32::from_be_bytes(*minimum));
            self.last_ttl = self.last_ttl.or(minimum.filter(|minimum| *minimum < 1 << 31));
        }
        let ttl = head.ttl.or(self.default_ttl).or(self.last_ttl).unwrap_or(self.ttl);
        if self.out.records.len() == ZONE_FILE_RECORDS_MAX {
            self.full = true;
            return Err(format!("a zone file has at most {ZONE_FILE_RECORDS_MAX} records"));
        }
        self.out.records.push(Record { line, owner, ttl, rtype: head.rtype, data });
        Ok(())
    }

    fn name(&self, text: &str) -> Result<Name, String> {
        let known = self.origin.is_some() || text.ends_with('.');
        if !known {
            return Err("the $ORIGIN above cannot be read".into());
        }
        Name::parse(text, self.origin.as_ref()).map_err(|fault| HeadError::Owner(brief(text), fault).to_string())
    }
}
