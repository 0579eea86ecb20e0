//! Who may come in: TLS, login and password (RFC 959 section 4.1.1, RFC 4217).
use std::io;

use crate::base::limits::FTP_LOGIN_TRIES;
use crate::base::names::Login;
use crate::ftp::commands::Password;
use crate::ftp::guest::{Denied, Guest, LATER, standing};
use crate::ftp::login::verified;
use crate::ftp::reply::Reply;
use crate::ftp::session::Session;
use crate::model::ftp_users::FtpUser;

impl Session {
    pub(crate) fn user(&mut self, login: String) -> Result<Reply, Reply> {
        if self.guest.is_some() {
            return Err(Reply::new(530, "To log in as somebody else, connect anew"));
        }
        if !self.secure && !self.may_be_plain(&login) {
            return Err(Reply::new(530, "Say AUTH TLS first: without it everybody on the way could read the password"));
        }
        self.login = Some(login);
        Ok(Reply::new(331, "Now the password"))
    }

    fn may_be_plain(&self, login: &str) -> bool {
        let snapshot = self.plane.snapshot();
        Login::parse(login).is_ok_and(|login| snapshot.ftp_users.get(&login).is_some_and(|user| user.allow_plain))
    }

    pub(crate) async fn pass(&mut self, password: Password) -> Result<Reply, Reply> {
        let login = self.login.take().ok_or_else(|| Reply::new(503, "USER comes first"))?;
        let user = match verified(&self.plane, self.client, &login, password).await {
            Ok(user) => user,
            Err(reply) => {
                self.tries += 1;
                let last = self.tries >= FTP_LOGIN_TRIES;
                return Err(if last { Reply::new(421, "Goodbye: too many failed logins") } else { reply });
            }
        };
        if !self.secure && !user.allow_plain {
            // Changed since USER.
            return Err(Reply::new(530, "Say AUTH TLS first"));
        }
        let guest = self.admitted(user).await?;
        tracing::info!(%login, from = %self.client, tls = self.secure, "logged in");
        self.guest = Some(guest);
        self.stranger = None;
        Ok(Reply::new(230, "Logged in"))
    }

    async fn admitted(&self, user: FtpUser) -> Result<Guest, Reply> {
        let plane = &self.plane;
        let newest = plane.snapshot();
        let standing = standing(&newest, &user).map_err(Denied::login_reply)?;
        let mut guest = Guest::new(&user, newest.generation, standing, false);
        match guest.settle(plane).await {
            // Whoever is there first waits for the files.
            Err(reply) if reply.code != LATER => Err(reply),
            Ok(()) | Err(_) => Ok(guest),
        }
    }

    pub(crate) fn auth(&self) -> Result<Reply, Reply> {
        if self.secure {
            return Err(Reply::new(503, "TLS is on already"));
        }
        if !self.control.lines.is_empty() {
            // Said in the clear by who knows whom, it would be heard as if it had been protected.
            return Err(Reply::new(421, "Goodbye: wait for the reply to AUTH"));
        }
        Ok(Reply::new(234, "Begin TLS"))
    }

    /// After the reply to AUTH. What was said before counts no more.
    pub(crate) async fn upgrade(&mut self) -> io::Result<()> {
        self.control.secure(&self.plane.tls).await?;
        self.secure = true;
        self.login = None;
        Ok(())
    }

    pub(crate) fn pbsz(&self) -> Result<Reply, Reply> {
        self.needs_tls()?;
        Ok(Reply::new(200, "PBSZ=0"))
    }

    pub(crate) fn prot(&mut self, private: bool) -> Result<Reply, Reply> {
        self.needs_tls()?;
        self.private = private;
        Ok(Reply::new(200, if private { "Data will be protected" } else { "Data will be in the clear" }))
    }

    fn needs_tls(&self) -> Result<(), Reply> {
        if self.secure { Ok(()) } else { Err(Reply::new(503, "AUTH TLS comes first")) }
    }
}
