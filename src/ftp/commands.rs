//! One line as a command: pure. Knows which arguments a command takes, never what is allowed to whom.
use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A password, which no `Debug` shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(pub(crate) String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ascii,
    Binary,
}

/// What EPSV asks for (RFC 2428).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Epsv {
    Same,
    V4,
    V6,
    All,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    User(String),
    Pass(Password),
    /// Its argument is one of those that mean TLS.
    Auth,
    Pbsz,
    /// Whether private; RFC 4217 knows clear besides.
    Prot(bool),
    Pasv,
    Epsv(Epsv),
    Type(Kind),
    Mode,
    Stru,
    List(String),
    Nlst(String),
    Mlsd(String),
    Mlst(String),
    Stat(Option<String>),
    Size(String),
    Mdtm(String),
    Mfmt(i64, String),
    Retr(String),
    Stor(String),
    Stou,
    Appe(String),
    Rest(u64),
    Abor,
    Dele(String),
    Rmd(String),
    Mkd(String),
    Rnfr(String),
    Rnto(String),
    Cwd(String),
    Pwd,
    Chmod(u32, String),
    SiteHelp,
    Feat,
    OptsUtf8,
    /// The facts asked for.
    OptsMlst(String),
    Help,
    Noop,
    Syst,
    Quit,
    Clnt,
    /// Known, and not to be had, with the reason.
    Refused(&'static str),
}

/// Why a line is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Syntax {
    #[error("There is no such command")]
    Unknown,
    #[error("Expected {0}")]
    Argument(&'static str),
    #[error("Offered here is {0}")]
    Parameter(&'static str),
}

impl Syntax {
    /// RFC 959 section 4.2.2.
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Unknown => 500,
            Self::Argument(_) => 501,
            Self::Parameter(_) => 504,
        }
    }
}

const ACTIVE: &str = "Active mode could be turned against others: use PASV or EPSV";

pub(crate) fn parse(line: &str) -> Result<Command, Syntax> {
    let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
    let text = || argument.to_owned();
    let path = || if argument.is_empty() { Err(Syntax::Argument("a path")) } else { Ok(argument.to_owned()) };
    Ok(match verb.to_ascii_uppercase().as_str() {
        "USER" if argument.is_empty() => return Err(Syntax::Argument("a login")),
        "USER" => Command::User(text()),
        "PASS" => Command::Pass(Password(text())),
        "AUTH" => one_of(argument, &["TLS", "TLS-C", "SSL", "TLS-P"], "AUTH TLS").map(|_| Command::Auth)?,
        "PBSZ" if argument.parse::<u32>().is_err() => return Err(Syntax::Argument("a size, such as 0")),
        "PBSZ" => Command::Pbsz,
        "PROT" => Command::Prot(one_of(argument, &["P", "C"], "PROT P")? == 0),
        "CCC" => Command::Refused("The control connection stays protected"),
        "PASV" => Command::Pasv,
        "EPSV" => Command::Epsv(epsv(argument)?),
        "PORT" | "EPRT" | "LPRT" => Command::Refused(ACTIVE),
        "TYPE" => Command::Type(kind(argument)?),
        "MODE" => one_of(argument, &["S"], "MODE S").map(|_| Command::Mode)?,
        "STRU" => one_of(argument, &["F"], "STRU F").map(|_| Command::Stru)?,
        "LIST" => Command::List(without_flags(argument)),
        "NLST" => Command::Nlst(without_flags(argument)),
        "MLSD" => Command::Mlsd(text()),
        "MLST" => Command::Mlst(text()),
        "STAT" => Command::Stat((!argument.is_empty()).then(|| without_flags(argument))),
        "SIZE" => Command::Size(path()?),
        "MDTM" => Command::Mdtm(path()?),
        "MFMT" => {
            let (time, path) = argument.split_once(' ').ok_or(Syntax::Argument(TIME_AND_PATH))?;
            Command::Mfmt(moment(time).ok_or(Syntax::Argument(TIME_AND_PATH))?, path.to_owned())
        }
        "RETR" => Command::Retr(path()?),
        "STOR" => Command::Stor(path()?),
        "STOU" => Command::Stou,
        "APPE" => Command::Appe(path()?),
        "REST" => Command::Rest(number(argument).ok_or(Syntax::Argument("a number of bytes"))?),
        "ABOR" => Command::Abor,
        "DELE" => Command::Dele(path()?),
        "RMD" | "XRMD" => Command::Rmd(path()?),
        "MKD" | "XMKD" => Command::Mkd(path()?),
        "RNFR" => Command::Rnfr(path()?),
        "RNTO" => Command::Rnto(path()?),
        "CWD" | "XCWD" => Command::Cwd(path()?),
        "CDUP" | "XCUP" => Command::Cwd("..".to_owned()),
        "PWD" | "XPWD" => Command::Pwd,
        "SITE" => site(argument)?,
        "FEAT" => Command::Feat,
        "OPTS" => opts(argument)?,
        "HELP" => Command::Help,
        "NOOP" | "ALLO" => Command::Noop,
        "SYST" => Command::Syst,
        "REIN" => Command::Refused("To log in as somebody else, connect anew"),
        "ACCT" | "SMNT" => Command::Refused("Nothing here needs it"),
        "QUIT" => Command::Quit,
        "CLNT" => Command::Clnt,
        _ => return Err(Syntax::Unknown),
    })
}

const TIME_AND_PATH: &str = "a time such as 20261122063000 and a path";
const CHMOD: &str = "CHMOD, a mode such as 644, and a path";

/// Which of these the word is, whatever its case.
fn one_of(word: &str, known: &[&str], offered: &'static str) -> Result<usize, Syntax> {
    let at = known.iter().position(|known| known.eq_ignore_ascii_case(word.trim()));
    at.ok_or(Syntax::Parameter(offered))
}

fn epsv(argument: &str) -> Result<Epsv, Syntax> {
    Ok(match argument.trim().to_ascii_uppercase().as_str() {
        "" => Epsv::Same,
        "1" => Epsv::V4,
        "2" => Epsv::V6,
        "ALL" => Epsv::All,
        _ => return Err(Syntax::Argument("1, 2 or ALL")),
    })
}

fn kind(argument: &str) -> Result<Kind, Syntax> {
    match argument.trim().to_ascii_uppercase().as_str() {
        "A" | "A N" => Ok(Kind::Ascii),
        "I" | "L 8" => Ok(Kind::Binary),
        _ => Err(Syntax::Parameter("TYPE A and TYPE I")),
    }
}

/// Clients that think of a shell send `-la` before the path.
fn without_flags(argument: &str) -> String {
    let mut rest = argument;
    while let Some(flags) = rest.strip_prefix('-') {
        rest = flags.split_once(' ').map_or("", |(_, rest)| rest.trim_start());
    }
    rest.to_owned()
}

fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// `YYYYMMDDHHMMSS` in UTC, parts of a second left out (RFC 3659 section 2.3).
fn moment(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 14 || !digits(whole) || !digits(part) {
        return None;
    }
    let field = |from: usize, to: usize| whole[from..to].parse::<i8>().ok();
    let year = whole[..4].parse::<i16>().ok()?;
    let (month, day) = (field(4, 6)?, field(6, 8)?);
    // A leap second is the last one of its minute.
    let (hour, minute, second) = (field(8, 10)?, field(10, 12)?, field(12, 14)?.min(59));
    let moment = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    Some(moment.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

fn site(argument: &str) -> Result<Command, Syntax> {
    let (word, rest) = argument.split_once(' ').unwrap_or((argument, ""));
    match word.to_ascii_uppercase().as_str() {
        "HELP" => Ok(Command::SiteHelp),
        "CHMOD" => {
            let (mode, path) = rest.split_once(' ').ok_or(Syntax::Argument(CHMOD))?;
            let octal = mode.len() <= 4 && mode.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
            let mode = u32::from_str_radix(mode, 8).ok().filter(|_| octal && !path.is_empty());
            Ok(Command::Chmod(mode.ok_or(Syntax::Argument(CHMOD))?, path.to_owned()))
        }
        _ => Err(Syntax::Parameter("SITE CHMOD and SITE HELP")),
    }
}

fn opts(argument: &str) -> Result<Command, Syntax> {
    let (word, rest) = argument.split_once(' ').unwrap_or((argument, ""));
    match (word.to_ascii_uppercase().as_str(), rest.trim().to_ascii_uppercase().as_str()) {
        ("UTF8" | "UTF-8", "ON" | "") => Ok(Command::OptsUtf8),
        ("MLST", _) => Ok(Command::OptsMlst(rest.to_owned())),
        _ => Err(Syntax::Argument("UTF8 ON, or MLST and facts")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_whatever_their_case() {
        let path = || "a b".to_owned();
        for (line, wanted) in [
            ("user ada", Command::User("ada".into())),
            ("PASS  two words ", Command::Pass(Password(" two words ".into()))),
            ("PASS", Command::Pass(Password(String::new()))),
            ("AUTH tls-c", Command::Auth),
            ("PBSZ 0", Command::Pbsz),
            ("PROT p", Command::Prot(true)),
            ("PROT C", Command::Prot(false)),
            ("EPSV", Command::Epsv(Epsv::Same)),
            ("epsv all", Command::Epsv(Epsv::All)),
            ("TYPE a n", Command::Type(Kind::Ascii)),
            ("TYPE L 8", Command::Type(Kind::Binary)),
            ("LIST -la -R a b", Command::List(path())),
            ("LIST -a", Command::List(String::new())),
            ("STAT", Command::Stat(None)),
            ("MFMT 20261122063000.123 a b", Command::Mfmt(1_795_329_000, path())),
            ("REST 18446744073709551615", Command::Rest(u64::MAX)),
            ("XCUP", Command::Cwd("..".into())),
            ("site chmod 0644 a b", Command::Chmod(0o644, path())),
            ("OPTS utf8 on", Command::OptsUtf8),
            ("OPTS MLST size;", Command::OptsMlst("size;".into())),
            ("PORT 127,0,0,1,0,22", Command::Refused(ACTIVE)),
        ] {
            assert_eq!(parse(line), Ok(wanted), "{line}");
        }
    }

    #[test]
    fn what_is_no_command_is_told_why() {
        for (line, code) in [
            ("", 500),
            (" NOOP", 500),
            ("GET / HTTP/1.1", 500),
            ("AUTH KRB5", 504),
            ("PROT E", 504),
            ("TYPE E", 504),
            ("MODE Z", 504),
            ("STRU R", 504),
            ("PBSZ x", 501),
            ("RETR", 501),
            ("USER", 501),
            ("REST -1", 501),
            ("REST 18446744073709551616", 501),
            ("REST +1", 501),
            ("MFMT 20261122063000", 501),
            ("MFMT 20261322063000 a", 501),
            ("MFMT 2026112206300x a", 501),
            ("MFMT ééééééé a", 501),
            ("SITE CHMOD 888 a", 501),
            ("SITE CHMOD 644", 501),
            ("SITE CHMOD 77777 a", 501),
            ("SITE EXEC ls", 504),
            ("EPSV 3", 501),
        ] {
            assert_eq!(parse(line).unwrap_err().code(), code, "{line}");
        }
        assert!(!format!("{:?}", parse("PASS secret")).contains("secret"));
    }
}
