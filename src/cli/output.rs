//! What goes to the terminal: tables, aligned fields, colours, times and names for people. Bytes of the API for programs.
//! Control characters in what others wrote never reach the terminal.
use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::failure::Failure;

pub(crate) struct Out {
    pub(crate) json: bool,
    stdout: RefCell<Box<dyn Write>>,
    /// For hints; losing one loses nothing.
    stderr: RefCell<Box<dyn Write>>,
    colour: bool,
    /// Columns of the terminal; absent where there is none, and nothing is wrapped then.
    width: Option<u16>,
    zone: TimeZone,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Tone {
    Good,
    Warning,
    Bad,
    Strong,
    Faint,
}

impl Out {
    pub(crate) fn of_stdout(json: bool) -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let width = terminal.then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten();
        let width = width.map(|size| size.ws_col).filter(|columns| *columns > 0);
        let (colour, zone) = (terminal && !plain, TimeZone::system());
        let (stdout, stderr) =
            (RefCell::new(Box::new(stdout) as Box<_>), RefCell::new(Box::new(io::stderr()) as Box<_>));
        Self { json, stdout, stderr, colour, width, zone }
    }

    /// As it is where nobody looks: no colours, nothing wrapped, UTC.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self::to(false, io::sink(), io::sink())
    }

    #[cfg(test)]
    pub(crate) fn to(json: bool, stdout: impl Write + 'static, stderr: impl Write + 'static) -> Self {
        let (stdout, stderr) = (RefCell::new(Box::new(stdout) as Box<_>), RefCell::new(Box::new(stderr) as Box<_>));
        Self { json, stdout, stderr, colour: false, width: None, zone: TimeZone::UTC }
    }

    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = self.stdout.borrow_mut();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|cause| match cause.kind() {
            io::ErrorKind::BrokenPipe => Failure::PipeClosed,
            _ => Failure::io("write the output", cause),
        })
    }

    /// A hint beside the output, for people.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            let _ = writeln!(self.stderr.borrow_mut(), "{text}");
        }
    }

    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "31",
            Tone::Strong => "1",
            Tone::Faint => "2",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn table<const N: usize>(
        &self,
        header: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(header);
        table.add_rows(rows.into_iter().map(|row| row.map(|cell| clean(&cell))));
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        match self.width {
            Some(width) => table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        let mut text = String::new();
        for (at, line) in table.lines().enumerate() {
            let line = line.trim_end();
            text.push_str(&if at == 0 { self.paint(Tone::Strong, line) } else { line.to_owned() });
            text.push('\n');
        }
        text
    }

    /// One line a field, values aligned; a field without a value is left out.
    pub(crate) fn fields(&self, fields: &[(&str, Option<String>)]) -> String {
        let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let given = fields.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        given
            .map(|(name, value)| format!("{}  {}\n", self.paint(Tone::Faint, &format!("{name:width$}")), clean(value)))
            .collect()
    }

    /// A time of the API as the clock on the wall shows it.
    pub(crate) fn time(&self, rfc3339: &str) -> String {
        match rfc3339.parse::<Timestamp>() {
            Ok(stamp) => stamp.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M").to_string(),
            Err(_) => clean(rfc3339),
        }
    }
}

/// A host or zone with its labels in Unicode.
pub(crate) fn unicode(name: &str) -> String {
    match idna::domain_to_unicode(name) {
        (text, Ok(())) => text,
        _ => name.to_owned(),
    }
}

/// Several of them in one cell.
pub(crate) fn unicodes(names: &[String]) -> String {
    names.iter().map(|name| unicode(name)).collect::<Vec<_>>().join(", ")
}

/// Text that others wrote, without what would steer the terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

pub(crate) fn or_dash(text: Option<String>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
}

pub(crate) fn yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_and_bare() {
        let rows = [["bücher.example".to_owned(), "1".to_owned()], ["a".to_owned(), "22".to_owned()]];
        let text = Out::plain().table(["HOST", "SITES"], rows);
        assert_eq!(text, "HOST            SITES\nbücher.example  1\na               22\n");
    }

    #[test]
    fn tables_fit_the_terminal() {
        let out = Out { width: Some(40), ..Out::plain() };
        let text = out.table(["NAME", "VALUE"], [["a".to_owned(), "word ".repeat(40)]]);
        assert!(text.lines().count() > 2 && text.lines().all(|line| line.len() <= 40), "{text}");
    }

    #[test]
    fn only_the_header_is_painted() {
        let out = Out { colour: true, ..Out::plain() };
        assert_eq!(out.table(["A"], [["b".to_owned()]]), "\x1b[1mA\x1b[0m\nb\n");
    }

    #[test]
    fn fields_are_aligned_and_absent_ones_left_out() {
        let fields = [("host", Some("a.example".to_owned())), ("issuer", None), ("aliases", Some("b".to_owned()))];
        assert_eq!(Out::plain().fields(&fields), "host     a.example\naliases  b\n");
    }

    #[test]
    fn nobody_steers_the_terminal() {
        let text = Out::plain().table(["A"], [["x\x1b[2Jy\nz".to_owned()]]);
        assert_eq!(text, "A\nx\u{fffd}[2Jy\u{fffd}z\n");
    }

    #[test]
    fn a_closed_pipe_ends_quietly_and_a_full_disk_does_not() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let gone = Out::to(false, writer, io::sink()).print("text").unwrap_err();
        assert_eq!((gone.exit(), gone.report(false), gone.report(true)), (0, String::new(), String::new()));
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert_eq!(Out::to(false, full, io::sink()).print("text").unwrap_err().exit(), 1);
    }

    #[test]
    fn times_and_names() {
        assert_eq!(Out::plain().time("2026-11-22T06:12:59.123Z"), "2026-11-22 06:12");
        assert_eq!(Out::plain().time("odd\x07"), "odd\u{fffd}");
        assert_eq!(unicode("xn--bcher-kva.example"), "bücher.example");
        assert_eq!(unicode("_tcp.example"), "_tcp.example");
    }
}
