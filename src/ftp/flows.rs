//! Files and names that take several steps, here or at a home elsewhere: one shape for both. What came over a link whole gives the
//! link back; what broke off takes it along, and the home gives up what it had begun.
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use crate::base::limits::{FTP_COPY_STEP, FTP_FIRST_PIECE, FTP_NAMES_AT_ONCE, FTP_PIECE};
use crate::files::gate::Permit;
use crate::files::jail::{Found, JailError};
use crate::files::listing::{Entry, Listing};
use crate::files::write::{Upload, WriteError};
use crate::ftp::Plane;
use crate::ftp::asks::{Part, Said};
use crate::ftp::fault::busy;
use crate::ftp::link::{Link, LinkError};
use crate::ftp::reply::Reply;

/// A file being read.
#[derive(Debug)]
pub(crate) enum Source {
    Here(File),
    There(Link),
}

/// A directory being read.
#[derive(Debug)]
pub(crate) enum Names {
    Here(Listing),
    There(Link),
}

/// A file being stored.
#[derive(Debug)]
pub(crate) enum Sink {
    Here {
        upload: Box<Upload>,
        /// From its beginning: a site whose files are to be taken over waits for it.
        permit: Permit,
    },
    There(Link),
}

impl Source {
    /// The next piece; one that is shorter than `FTP_PIECE` is the last.
    pub(crate) async fn next(self, plane: &Plane) -> Result<(Self, Vec<u8>), Reply> {
        match self {
            Self::Here(mut file) => {
                let (piece, file) = plane.work(move || (piece(&mut file), file)).await?;
                Ok((Self::Here(file), piece.map_err(busy)?))
            }
            Self::There(mut link) => match link.hear().await? {
                Said::Piece(piece) => Ok((Self::There(link), piece)),
                said => Err(no(said)),
            },
        }
    }

    pub(crate) fn link(self) -> Option<Link> {
        match self {
            Self::Here(_) => None,
            Self::There(link) => Some(link),
        }
    }
}

impl Names {
    /// The next ones; fewer than `FTP_NAMES_AT_ONCE` are the last.
    pub(crate) async fn next(self, plane: &Plane) -> Result<(Self, Vec<Entry>), Reply> {
        match self {
            Self::Here(mut listing) => {
                let (entries, listing) = plane.work(move || (listing.next(FTP_NAMES_AT_ONCE), listing)).await?;
                Ok((Self::Here(listing), entries?))
            }
            Self::There(mut link) => match link.hear().await? {
                Said::Names(entries) => Ok((Self::There(link), entries)),
                said => Err(no(said)),
            },
        }
    }

    pub(crate) fn link(self) -> Option<Link> {
        match self {
            Self::Here(_) => None,
            Self::There(link) => Some(link),
        }
    }
}

impl Sink {
    pub(crate) fn here(upload: Upload, permit: Permit) -> Self {
        Self::Here { upload: Box::new(upload), permit }
    }

    /// Copies what is kept of the file that goes on.
    pub(crate) async fn copied(self, plane: &Plane) -> Result<Self, Reply> {
        match self {
            Self::Here { mut upload, permit } => {
                while upload.is_copying() {
                    upload = plane
                        .work(move || {
                            upload.copy(FTP_COPY_STEP)?;
                            Ok::<_, WriteError>(upload)
                        })
                        .await??;
                }
                Ok(Self::Here { upload, permit })
            }
            Self::There(mut link) => match link.hear().await? {
                Said::Done => Ok(Self::There(link)),
                said => Err(no(said)),
            },
        }
    }

    /// Writes a piece, and gives its memory back, empty.
    pub(crate) async fn write(self, plane: &Plane, mut piece: Vec<u8>) -> Result<(Self, Vec<u8>), Reply> {
        match self {
            Self::Here { mut upload, permit } => {
                let written = plane.work(move || {
                    upload.write(&piece)?;
                    piece.clear();
                    Ok::<_, WriteError>((upload, piece))
                });
                let (upload, piece) = written.await??;
                Ok((Self::Here { upload, permit }, piece))
            }
            Self::There(mut link) => {
                let part = Part::Piece(piece);
                link.give(&part).await?;
                let (Part::Piece(mut piece) | Part::Last(mut piece)) = part;
                piece.clear();
                Ok((Self::There(link), piece))
            }
        }
    }

    /// Writes the last piece and puts the file into its place.
    pub(crate) async fn commit(self, plane: &Plane, last: Vec<u8>) -> Result<Option<Link>, Reply> {
        match self {
            Self::Here { mut upload, permit } => {
                let place = plane.work(move || {
                    upload.write(&last)?;
                    upload.commit(&permit)?;
                    Ok::<_, WriteError>(permit)
                });
                place.await??.holds()?;
                Ok(None)
            }
            Self::There(mut link) => {
                link.give(&Part::Last(last)).await?;
                match link.hear().await? {
                    Said::Done => Ok(Some(link)),
                    said => Err(no(said)),
                }
            }
        }
    }

    /// Whether what came is sent on before there is much of it.
    pub(crate) fn is_far(&self) -> bool {
        matches!(self, Self::There(_))
    }
}

/// A word that was not waited for.
pub(crate) fn no(said: Said) -> Reply {
    match said {
        Said::Refused { code, text } => Reply::new(code, text),
        _ => LinkError::Odd.into(),
    }
}

/// A file at its offset with its length, and its first piece read.
pub(crate) fn opened(found: Found, offset: u64) -> Result<(File, u64, Vec<u8>), JailError> {
    let Found::File(mut opened) = found else { return Err(JailError::NotRegular) };
    opened.file.seek(SeekFrom::Start(offset.min(opened.len))).map_err(JailError::Io)?;
    let first = piece(&mut opened.file).map_err(JailError::Io)?;
    Ok((opened.file, opened.len, first))
}

/// The next piece of a file; empty at its end.
fn piece(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(FTP_FIRST_PIECE);
    file.take(FTP_PIECE as u64).read_to_end(&mut piece)?;
    Ok(piece)
}
