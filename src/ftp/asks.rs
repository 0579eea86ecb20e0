//! What a session asks of the files of its site, one operation at a time, and what it is told: the same for files at home here and
//! for those at home elsewhere, where it goes over the peer channel as it is. Never decides whether somebody may.
use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::ids::SiteId;
use crate::base::names::Login;
use crate::files::gate::Permit;
use crate::files::jail::JailError;
use crate::files::listing::Entry;
use crate::files::write::{WriteError, Writer};
use crate::ftp::reply::Reply;
use crate::model::ftp_users::FtpUser;

/// Paths are those beneath the root of the login.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// What is true of a path, links followed.
    Entry(String),
    /// Whether something has this name.
    Has(String),
    MakeDir(String),
    RemoveDir(String),
    Remove(String),
    Rename {
        from: String,
        to: String,
    },
    SetModified {
        path: String,
        seconds: i64,
    },
    SetMode {
        path: String,
        mode: u32,
    },
    /// A file from an offset on: its pieces follow.
    Read {
        path: String,
        offset: u64,
    },
    /// The names in a directory, some at a time.
    List(String),
    /// A file that is to come: parts of it follow.
    Store {
        path: String,
        start: Start,
    },
}

/// What an upload keeps of the file that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Start {
    Anew,
    At(u64),
    AtEnd,
}

/// A part of a file that is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Part {
    Piece(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The last piece: the file is whole.
    Last(#[serde(with = "serde_bytes")] Vec<u8>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    Done,
    Entry(Entry),
    Has(bool),
    Mode(u32),
    /// So many bytes long; the first piece follows.
    File(u64),
    /// Shorter than a whole one: the last.
    Piece(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Of a directory; fewer than were asked for: the last.
    Names(Vec<Entry>),
    /// Still at it.
    Busy,
    Refused {
        code: u16,
        text: String,
    },
    /// The site is at home elsewhere, as of this revision.
    Moved(u64),
}

/// Who asks, as the node knows them where they logged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Who {
    pub(crate) login: Login,
    pub(crate) site: SiteId,
    pub(crate) dir: String,
    pub(crate) created: Time,
}

impl Who {
    pub(crate) fn of(user: &FtpUser) -> Self {
        Self { login: user.login.clone(), site: user.site, dir: user.dir.clone(), created: user.created }
    }
}

/// An operation on its way to a home elsewhere.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) who: Who,
    /// Of the site, as the node knows it that asks.
    pub(crate) epoch: u64,
    /// What the node that asks knows of the site and the login, at least.
    pub(crate) revision: u64,
    pub(crate) ask: Ask,
}

impl Ask {
    /// Whether it needs a permit before it begins.
    pub(crate) fn changes(&self) -> bool {
        !matches!(self, Self::Entry(_) | Self::Has(_) | Self::Read { .. } | Self::List(_))
    }

    /// Whether nothing is different when it was done twice: an upload is seen at its end only.
    pub(crate) fn is_repeatable(&self) -> bool {
        !self.changes() || matches!(self, Self::Store { .. })
    }
}

impl Said {
    pub(crate) fn refused(reply: &Reply) -> Self {
        Self::Refused { code: reply.code, text: reply.text().to_owned() }
    }
}

/// Does what takes one step. Blocks.
pub(crate) fn perform(writer: &Writer, permit: Option<&Permit>, ask: Ask) -> Result<Said, Reply> {
    let jail = writer.jail();
    let permit = || permit.ok_or(WriteError::Permit);
    match ask {
        Ask::Entry(path) => Ok(Said::Entry(jail.entry(&path)?)),
        Ask::Has(path) => Ok(Said::Has(jail.has(&path)?)),
        Ask::MakeDir(path) => done(writer.mkdir(permit()?, &path)),
        Ask::RemoveDir(path) => done(writer.rmdir(permit()?, &path)),
        Ask::Remove(path) => done(writer.remove(permit()?, &path)),
        Ask::Rename { from, to } => done(writer.rename(permit()?, &from, &to)),
        Ask::SetModified { path, seconds } => done(writer.set_modified(permit()?, &path, seconds)),
        Ask::SetMode { path, mode } => Ok(Said::Mode(writer.set_mode(permit()?, &path, mode)?)),
        // These take several.
        Ask::Read { .. } | Ask::List(_) | Ask::Store { .. } => Err(JailError::Invalid.into()),
    }
}

fn done(result: Result<(), WriteError>) -> Result<Said, Reply> {
    Ok(result.map(|()| Said::Done)?)
}
