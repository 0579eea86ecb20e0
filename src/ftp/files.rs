//! Commands about names: directories, renames, removals, times, modes, and what is true of a path. Each asks the newest snapshot
//! first; the jail decides what a path reaches.
use std::sync::Arc;

use crate::base::limits::FTP_NAMES_AT_ONCE;
use crate::files::jail::{Jail, JailError};
use crate::files::listing::{Entry, Kind as EntryKind};
use crate::ftp::asks::{Ask, Said};
use crate::ftp::commands::Kind;
use crate::ftp::flows::no;
use crate::ftp::guest::Guest;
use crate::ftp::listing::{Form, facts, lines, stamp};
use crate::ftp::paths::{quoted, resolve};
use crate::ftp::reply::Reply;
use crate::ftp::session::Session;

impl Session {
    pub(crate) fn guest(&mut self) -> Result<&mut Guest, Reply> {
        self.guest.as_mut().ok_or_else(|| Reply::new(530, "Log in with USER and PASS first"))
    }

    pub(crate) fn path(&self, argument: &str) -> Result<String, Reply> {
        Ok(resolve(&self.cwd, argument)?)
    }

    /// One step, wherever the files are.
    async fn asks(&mut self, ask: Ask) -> Result<Said, Reply> {
        let plane = Arc::clone(&self.plane);
        self.guest()?.ask(&plane, ask).await
    }

    /// Reads what the kernel knows by heart; none where somebody would have to wait for the disk, or for another node.
    pub(crate) fn read_at_once<T>(
        &mut self,
        by: impl FnOnce(&Jail) -> Result<Option<T>, JailError>,
    ) -> Result<Option<T>, Reply> {
        let plane = Arc::clone(&self.plane);
        match self.guest()?.at_once(&plane)? {
            Some(writer) => Ok(by(writer.jail())?),
            None => Ok(None),
        }
    }

    pub(crate) async fn entry(&mut self, argument: &str) -> Result<(String, Entry), Reply> {
        let path = self.path(argument)?;
        if let Some(entry) = self.read_at_once(|jail| jail.entry_at_once(&path))? {
            return Ok((path, entry));
        }
        let plane = Arc::clone(&self.plane);
        let entry = self.guest()?.entry(&plane, &path).await?;
        Ok((path, entry))
    }

    pub(crate) async fn change_directory(&mut self, argument: &str) -> Result<Reply, Reply> {
        let (path, entry) = self.entry(argument).await?;
        if entry.kind != EntryKind::Dir {
            return Err(Reply::new(550, "It is not a directory"));
        }
        self.cwd = path;
        Ok(Reply::new(250, format!("{} is here", quoted(&self.cwd))))
    }

    pub(crate) async fn make_directory(&mut self, argument: &str) -> Result<Reply, Reply> {
        let path = self.path(argument)?;
        self.asks(Ask::MakeDir(path.clone())).await?;
        Ok(Reply::new(257, format!("{} is there now", quoted(&path))))
    }

    pub(crate) async fn remove_directory(&mut self, argument: &str) -> Result<Reply, Reply> {
        let path = self.path(argument)?;
        self.asks(Ask::RemoveDir(path)).await?;
        Ok(Reply::new(250, "Removed"))
    }

    pub(crate) async fn delete(&mut self, argument: &str) -> Result<Reply, Reply> {
        let path = self.path(argument)?;
        self.asks(Ask::Remove(path)).await?;
        Ok(Reply::new(250, "Removed"))
    }

    pub(crate) async fn rename_from(&mut self, argument: &str) -> Result<Reply, Reply> {
        let path = self.path(argument)?;
        match self.asks(Ask::Has(path.clone())).await? {
            Said::Has(true) => {}
            Said::Has(false) => return Err(JailError::NotFound.into()),
            said => return Err(no(said)),
        }
        self.renaming = Some(path);
        Ok(Reply::new(350, "Now RNTO"))
    }

    pub(crate) async fn rename(&mut self, from: Option<String>, argument: &str) -> Result<Reply, Reply> {
        let from = from.ok_or_else(|| Reply::new(503, "RNFR comes just before"))?;
        let to = self.path(argument)?;
        self.asks(Ask::Rename { from, to }).await?;
        Ok(Reply::new(250, "Renamed"))
    }

    pub(crate) async fn size(&mut self, argument: &str) -> Result<Reply, Reply> {
        if self.kind == Kind::Ascii {
            return Err(Reply::new(550, "In TYPE A the size is known after a transfer only: use TYPE I"));
        }
        match self.entry(argument).await? {
            (_, entry) if entry.kind == EntryKind::File => Ok(Reply::new(213, entry.len.to_string())),
            _ => Err(JailError::NotRegular.into()),
        }
    }

    pub(crate) async fn modified(&mut self, argument: &str) -> Result<Reply, Reply> {
        let (_, entry) = self.entry(argument).await?;
        Ok(Reply::new(213, stamp(entry.modified)))
    }

    pub(crate) async fn set_modified(&mut self, seconds: i64, argument: &str) -> Result<Reply, Reply> {
        let path = self.path(argument)?;
        self.asks(Ask::SetModified { path: path.clone(), seconds }).await?;
        Ok(Reply::new(213, format!("Modify={}; /{path}", stamp(seconds))))
    }

    pub(crate) async fn set_mode(&mut self, mode: u32, argument: &str) -> Result<Reply, Reply> {
        let path = self.path(argument)?;
        match self.asks(Ask::SetMode { path, mode }).await? {
            Said::Mode(mode) => Ok(Reply::new(200, format!("The mode is {mode:03o}"))),
            said => Err(no(said)),
        }
    }

    pub(crate) async fn facts_of(&mut self, argument: &str) -> Result<Reply, Reply> {
        let (path, entry) = self.entry(argument).await?;
        let line = format!("{} /{path}", facts(&entry, self.facts));
        Ok(Reply::list(250, "Facts:", [line], "End"))
    }

    /// Without a path about the session, with one a listing on the control connection: so much of it as one reply may hold.
    pub(crate) async fn stat(&mut self, argument: Option<&str>) -> Result<Reply, Reply> {
        let Some(argument) = argument else {
            let login = format!("Logged in as {}", self.guest()?.who.login);
            let tls = if self.secure { "with TLS" } else { "without TLS" };
            return Ok(Reply::list(211, "This session:", [login, tls.to_owned()], "End"));
        };
        let (path, entry) = self.entry(argument).await?;
        let plane = Arc::clone(&self.plane);
        let entries = match entry.kind {
            EntryKind::Dir => self.guest()?.list(&plane, path).await?.1,
            _ => vec![entry],
        };
        let text = String::from_utf8_lossy(&lines(&entries, Form::now())).into_owned();
        let end = if entries.len() < FTP_NAMES_AT_ONCE { "End" } else { "There is more: use MLSD or LIST" };
        Ok(Reply::list(213, "What is there:", text.lines().map(str::to_owned), end))
    }
}
