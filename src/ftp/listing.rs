//! What lies in a directory, as text for LIST, NLST, MLSD and MLST: pure, given the clock. Names that would break a line are
//! shown with `?` to people and left out for programs.
use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::base::clock::Time;
use crate::files::listing::{Entry, Kind};
use crate::ftp::paths::OWN;

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As `ls -l` does; `now` in seconds since 1970 decides whether a year is shown.
    Long {
        now: i64,
    },
    Names,
    Facts(Facts),
}

/// Half a year: older files are shown with their year instead of the time of day.
const RECENT: i64 = 182 * 24 * 3600;
const DAY: i64 = 24 * 3600;

impl Form {
    /// The long form as of this moment.
    pub(crate) fn now() -> Self {
        Self::Long { now: i64::try_from(Time::now().seconds()).unwrap_or(i64::MAX) }
    }
}

/// The facts of MLST (RFC 3659 section 7.5) that a client wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts(u8);

const FACTS: [&str; 5] = ["type", "size", "modify", "perm", "UNIX.mode"];

impl Default for Facts {
    fn default() -> Self {
        Self((1 << FACTS.len()) - 1)
    }
}

impl Facts {
    /// Those of a list such as `size;modify;` that are known.
    pub(crate) fn of(list: &str) -> Self {
        let wanted = |fact: &str| list.split(';').any(|name| name.trim().eq_ignore_ascii_case(fact));
        Self(FACTS.iter().enumerate().filter(|(_, fact)| wanted(fact)).fold(0, |facts, (at, _)| facts | 1 << at))
    }

    fn has(self, at: usize) -> bool {
        self.0 & (1 << at) != 0
    }

    /// `size;modify;`
    pub(crate) fn names(self) -> String {
        FACTS.iter().enumerate().filter(|(at, _)| self.has(*at)).map(|(_, fact)| format!("{fact};")).collect()
    }

    /// As FEAT tells them: those in force have a star.
    pub(crate) fn offered(self) -> String {
        FACTS.iter().enumerate().map(|(at, fact)| format!("{fact}{};", if self.has(at) { "*" } else { "" })).collect()
    }
}

/// The lines of these entries, each with its end.
pub(crate) fn lines(entries: &[Entry], form: Form) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() * 80);
    for entry in entries.iter().filter(|entry| !entry.name.starts_with(OWN.as_bytes())) {
        let odd = entry.name.iter().any(u8::is_ascii_control);
        match form {
            Form::Long { now } => {
                out.extend_from_slice(long(entry, now).as_bytes());
                out.extend(shown(&entry.name));
                if let Kind::Link(target) = &entry.kind {
                    out.extend_from_slice(b" -> ");
                    out.extend(shown(target));
                }
            }
            Form::Names | Form::Facts(_) if odd => continue,
            Form::Names => out.extend_from_slice(&entry.name),
            Form::Facts(facts) => {
                out.extend_from_slice(self::facts(entry, facts).as_bytes());
                out.push(b' ');
                out.extend_from_slice(&entry.name);
            }
        }
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn shown(name: &[u8]) -> impl Iterator<Item = u8> + '_ {
    name.iter().map(|byte| if byte.is_ascii_control() { b'?' } else { *byte })
}

fn long(entry: &Entry, now: i64) -> String {
    let kind = match entry.kind {
        Kind::File => '-',
        Kind::Dir => 'd',
        Kind::Link(_) => 'l',
        Kind::Other => 'p',
    };
    let recent = entry.modified > now - RECENT && entry.modified < now + DAY;
    let date = date(entry.modified, if recent { "%b %e %H:%M" } else { "%b %e  %Y" });
    let mut text = String::with_capacity(64);
    text.push(kind);
    for at in (0..9).rev() {
        text.push(if entry.mode & (1 << at) == 0 { '-' } else { ['x', 'w', 'r'][at % 3] });
    }
    let _ = write!(text, " 1 site site {:>12} {date} ", entry.len);
    text
}

/// `type=file;size=12;…` without the name.
pub(crate) fn facts(entry: &Entry, wanted: Facts) -> String {
    let (kind, perm) = match &entry.kind {
        Kind::File => ("file", "adfrw"),
        Kind::Dir => ("dir", "cdeflmp"),
        Kind::Link(_) => ("OS.unix=symlink", "df"),
        Kind::Other => ("OS.unix=special", "df"),
    };
    let mut text = String::with_capacity(80);
    for (at, fact) in FACTS.iter().enumerate().filter(|(at, _)| wanted.has(*at)) {
        let _ = match at {
            0 => write!(text, "{fact}={kind};"),
            1 if entry.kind == Kind::File => write!(text, "{fact}={};", entry.len),
            1 => Ok(()),
            2 => write!(text, "{fact}={};", stamp(entry.modified)),
            3 => write!(text, "{fact}={perm};"),
            _ => write!(text, "{fact}=0{:03o};", entry.mode),
        };
    }
    text
}

/// `YYYYMMDDHHMMSS` in UTC.
pub(crate) fn stamp(seconds: i64) -> String {
    date(seconds, "%Y%m%d%H%M%S")
}

fn date(seconds: i64, form: &str) -> String {
    Timestamp::from_second(seconds).unwrap_or_default().to_zoned(TimeZone::UTC).strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_329_000;

    fn entry(name: &str, kind: Kind) -> Entry {
        Entry { name: name.into(), kind, len: 12, modified: NOW - 60, mode: 0o640 }
    }

    fn text(entries: &[Entry], form: Form) -> String {
        String::from_utf8(lines(entries, form)).unwrap()
    }

    #[test]
    fn each_form_has_its_lines() {
        let old = Entry { modified: 0, mode: 0o755, ..entry("été d", Kind::Dir) };
        let entries = [
            entry("a", Kind::File),
            old,
            entry("l", Kind::Link(b"../x\r\n226 y".to_vec())),
            entry("n\r\nx", Kind::File),
        ];
        assert_eq!(
            text(&entries, Form::Long { now: NOW }),
            "-rw-r----- 1 site site           12 Nov 22 06:29 a\r\n\
             drwxr-xr-x 1 site site           12 Jan  1  1970 été d\r\n\
             lrw-r----- 1 site site           12 Nov 22 06:29 l -> ../x??226 y\r\n\
             -rw-r----- 1 site site           12 Nov 22 06:29 n??x\r\n"
        );
        assert_eq!(text(&entries, Form::Names), "a\r\nété d\r\nl\r\n");
        assert_eq!(
            text(&entries, Form::Facts(Facts::default())),
            "type=file;size=12;modify=20261122062900;perm=adfrw;UNIX.mode=0640; a\r\n\
             type=dir;modify=19700101000000;perm=cdeflmp;UNIX.mode=0755; été d\r\n\
             type=OS.unix=symlink;modify=20261122062900;perm=df;UNIX.mode=0640; l\r\n"
        );
        assert_eq!(
            text(&[entry(".ruche-x", Kind::File), entry(".htaccess", Kind::File)], Form::Names),
            ".htaccess\r\n"
        );
    }

    #[test]
    fn facts_are_chosen() {
        assert_eq!(Facts::default().offered(), "type*;size*;modify*;perm*;UNIX.mode*;");
        let some = Facts::of("SIZE;unix.MODE;inode;");
        assert_eq!(
            (some.names().as_str(), some.offered().as_str()),
            ("size;UNIX.mode;", "type;size*;modify;perm;UNIX.mode*;")
        );
        assert_eq!(facts(&entry("a", Kind::File), some), "size=12;UNIX.mode=0640;");
        assert_eq!(facts(&entry("a", Kind::File), Facts::of("")), "");
    }

    #[test]
    fn any_time_has_a_text() {
        for seconds in [i64::MIN, -1, 0, i64::MAX] {
            assert_eq!(stamp(seconds).len(), 14);
        }
    }
}
