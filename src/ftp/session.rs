//! One client: its lines taken one at a time and answered in their order, whatever it sent ahead; waits that end; the stop. What
//! the commands do is in `access`, `files` and `transfer`.
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::base::limits::{FTP_IDLE_WAIT, FTP_LOGIN_WAIT};
use crate::ftp::Plane;
use crate::ftp::commands::{Command, Kind, parse};
use crate::ftp::guest::Guest;
use crate::ftp::line::Next;
use crate::ftp::listing::Facts;
use crate::ftp::passive::Passive;
use crate::ftp::reply::Reply;
use crate::ftp::stream::Control;
use crate::ops::stop::Stop;
use crate::ops::strangers::Stranger;

/// What is true between two commands.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) plane: Arc<Plane>,
    pub(crate) control: Control,
    pub(crate) client: IpAddr,
    /// The address the client came to.
    pub(crate) local: IpAddr,
    pub(crate) secure: bool,
    /// Data connections have TLS.
    pub(crate) private: bool,
    /// Named by USER.
    pub(crate) login: Option<String>,
    pub(crate) tries: u32,
    pub(crate) stranger: Option<Stranger>,
    pub(crate) guest: Option<Guest>,
    pub(crate) cwd: String,
    pub(crate) kind: Kind,
    /// Where the next transfer begins.
    pub(crate) offset: u64,
    pub(crate) renaming: Option<String>,
    pub(crate) passive: Option<Passive>,
    pub(crate) epsv_only: bool,
    pub(crate) facts: Facts,
    begun: Instant,
    /// Never later than the next deadline. It may ring too early, and is then set anew: a timer for each wait would wake the
    /// thread for each.
    alarm: Pin<Box<Sleep>>,
}

/// Why there is no further command.
enum Heard {
    Line,
    Ended,
    Late,
    Stopping,
    MustGo,
}

impl Session {
    pub(crate) fn new(plane: Arc<Plane>, stream: TcpStream, client: IpAddr, local: IpAddr) -> Self {
        let stranger = Some(plane.strangers.enter());
        let begun = Instant::now();
        Self {
            plane,
            control: Control::new(stream),
            client,
            local,
            secure: false,
            private: false,
            login: None,
            tries: 0,
            stranger,
            guest: None,
            cwd: String::new(),
            kind: Kind::Ascii,
            offset: 0,
            renaming: None,
            passive: None,
            epsv_only: false,
            facts: Facts::default(),
            begun,
            alarm: Box::pin(sleep_until(begun + FTP_LOGIN_WAIT)),
        }
    }

    /// From the greeting to the end of the connection.
    pub(crate) async fn run(mut self, stop: &Stop) -> io::Result<()> {
        self.control.say(&Reply::new(220, "Welcome; say AUTH TLS first")).await?;
        loop {
            let reply = match self.heard(stop).await? {
                Heard::Line => match self.control.lines.take() {
                    Some(Ok(line)) => self.answer(&line).await,
                    Some(Err(bad)) => bad.into(),
                    None => continue,
                },
                Heard::Ended => return Ok(()),
                Heard::Late => Reply::new(421, "Goodbye: nothing was said for too long"),
                Heard::Stopping => Reply::new(421, "Goodbye: the server is stopping; connect again in a moment"),
                Heard::MustGo => Reply::new(421, "Goodbye: others are waiting to log in"),
            };
            self.control.say(&reply).await?;
            match reply.code {
                221 | 421 => {
                    self.control.close().await;
                    return Ok(());
                }
                234 => self.upgrade().await?,
                _ => {}
            }
        }
    }

    /// Waits for a whole line.
    async fn heard(&mut self, stop: &Stop) -> io::Result<Heard> {
        let since = Instant::now();
        loop {
            match self.control.lines.next() {
                Next::Nothing if self.control.has_ended() => return Ok(Heard::Ended),
                Next::Nothing => {}
                Next::Abort | Next::Other => return Ok(Heard::Line),
            }
            if stop.is_given_up() {
                return Ok(Heard::Stopping);
            }
            let deadline = if self.guest.is_none() { self.begun + FTP_LOGIN_WAIT } else { since + FTP_IDLE_WAIT };
            let unused = self.passive.as_ref().map(|passive| passive.until);
            let next = unused.unwrap_or(deadline).min(deadline);
            if self.alarm.deadline() > next || self.alarm.is_elapsed() {
                self.alarm.as_mut().reset(next);
            }
            tokio::select! {
                read = self.control.read() => read?,
                () = &mut self.alarm => {
                    let now = Instant::now();
                    if now >= deadline {
                        return Ok(Heard::Late);
                    }
                    self.passive.take_if(|passive| now >= passive.until);
                }
                () = stop.give_up() => {}
                () = must_go(self.stranger.as_ref()) => return Ok(Heard::MustGo),
            }
        }
    }

    async fn answer(&mut self, line: &str) -> Reply {
        match parse(line) {
            Ok(command) => self.done(command).await.unwrap_or_else(|reply| reply),
            Err(syntax) => Reply::new(syntax.code(), syntax.to_string()),
        }
    }

    /// Both sides are replies: a refusal ends a command early.
    async fn done(&mut self, command: Command) -> Result<Reply, Reply> {
        // RNTO follows RNFR at once (RFC 959 section 5.4).
        let renaming = self.renaming.take();
        match command {
            Command::User(login) => self.user(login),
            Command::Pass(password) => self.pass(password).await,
            Command::Auth => self.auth(),
            Command::Pbsz => self.pbsz(),
            Command::Prot(private) => self.prot(private),
            Command::Feat => Ok(self.feat()),
            Command::OptsUtf8 => Ok(Reply::new(200, "Names are UTF-8")),
            Command::OptsMlst(facts) => {
                self.facts = Facts::of(&facts);
                Ok(Reply::new(200, format!("MLST OPTS {}", self.facts.names())))
            }
            Command::Help => Ok(Reply::list(214, "Commands:", HELP.map(str::to_owned), "End")),
            Command::SiteHelp => Ok(Reply::list(214, "SITE commands:", ["CHMOD HELP".to_owned()], "End")),
            Command::Noop => Ok(Reply::new(200, "Fine")),
            Command::Clnt => Ok(Reply::new(200, "Noted")),
            Command::Syst => Ok(Reply::new(215, "UNIX Type: L8")),
            Command::Quit => Ok(Reply::new(221, "Goodbye")),
            Command::Refused(why) => Err(Reply::new(502, why)),
            command if self.guest.is_none() => {
                drop(command);
                Err(Reply::new(530, "Log in with USER and PASS first"))
            }
            Command::Rnto(to) => self.rename(renaming, &to).await,
            command => self.guest_command(command).await,
        }
    }

    async fn guest_command(&mut self, command: Command) -> Result<Reply, Reply> {
        match command {
            Command::Pasv => self.pasv().await,
            Command::Epsv(epsv) => self.epsv(epsv),
            Command::Type(kind) => {
                self.kind = kind;
                Ok(Reply::new(200, if kind == Kind::Ascii { "TYPE is A" } else { "TYPE is I" }))
            }
            Command::Mode => Ok(Reply::new(200, "MODE is S")),
            Command::Stru => Ok(Reply::new(200, "STRU is F")),
            Command::Rest(offset) => {
                self.offset = offset;
                Ok(Reply::new(350, format!("The next transfer begins at byte {offset}")))
            }
            Command::Abor => Ok(Reply::new(226, "No transfer is under way")),
            Command::Retr(path) => self.retrieve(&path).await,
            Command::Stor(path) => self.store(&path).await,
            Command::Appe(path) => self.append(&path).await,
            Command::Stou => self.store_unique().await,
            Command::List(path) => self.list_long(&path).await,
            Command::Nlst(path) => self.list_names(&path).await,
            Command::Mlsd(path) => self.list_facts(&path).await,
            Command::Mlst(path) => self.facts_of(&path).await,
            Command::Stat(path) => self.stat(path.as_deref()).await,
            Command::Size(path) => self.size(&path).await,
            Command::Mdtm(path) => self.modified(&path).await,
            Command::Mfmt(time, path) => self.set_modified(time, &path).await,
            Command::Dele(path) => self.delete(&path).await,
            Command::Rmd(path) => self.remove_directory(&path).await,
            Command::Mkd(path) => self.make_directory(&path).await,
            Command::Rnfr(path) => self.rename_from(&path).await,
            Command::Cwd(path) => self.change_directory(&path).await,
            Command::Pwd => Ok(Reply::new(257, format!("{} is here", crate::ftp::paths::quoted(&self.cwd)))),
            Command::Chmod(mode, path) => self.set_mode(mode, &path).await,
            _ => Err(Reply::new(503, "Not now")),
        }
    }

    fn feat(&self) -> Reply {
        let mlst = format!("MLST {}", self.facts.offered());
        let features =
            ["AUTH TLS", "CLNT", "EPSV", "MDTM", "MFMT", &mlst, "PBSZ", "PROT", "REST STREAM", "SIZE", "TVFS", "UTF8"];
        Reply::list(211, "Features:", features.map(str::to_owned), "End")
    }
}

async fn must_go(stranger: Option<&Stranger>) {
    match stranger {
        Some(stranger) => stranger.must_go().await,
        None => std::future::pending().await,
    }
}

const HELP: [&str; 5] = [
    "ABOR ALLO APPE AUTH CDUP CLNT CWD DELE EPSV FEAT HELP LIST MDTM MFMT",
    "MKD MLSD MLST MODE NLST NOOP OPTS PASS PASV PBSZ PROT PWD QUIT REST",
    "RETR RMD RNFR RNTO SITE SIZE STAT STOR STOU STRU SYST TYPE USER",
    "Not here: ACCT CCC EPRT PORT REIN SMNT",
    "The manual is docs/ftp.md",
];
