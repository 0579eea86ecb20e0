//! What this node knows of the copies on its disk that stand by: one small file each, beside the sites. A copy without one is none:
//! its files were at home here once, or nobody knows what they are. Everything here blocks.
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::ids::SiteId;
use crate::files::atomic::{self, AtomicError};

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    Write(#[from] AtomicError),
    #[error("keep what is known of copies in {path}: {cause}")]
    Io { path: PathBuf, cause: io::Error },
}

/// A copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Of the home it is a copy of.
    pub epoch: u64,
    /// It had everything once, under that epoch.
    pub whole: bool,
    /// When what it has was last fetched.
    pub as_of: Time,
}

#[derive(Debug)]
pub struct Records {
    path: PathBuf,
}

impl Records {
    pub fn open(data_dir: &Path) -> Result<Self, RecordError> {
        let path = data_dir.join("standbys");
        match fs::create_dir(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => Err(RecordError::Io { path, cause }),
            _ => Ok(Self { path }),
        }
    }

    /// All that can be read; what cannot says nothing.
    pub fn all(&self) -> Result<BTreeMap<SiteId, Record>, RecordError> {
        let fault = |cause| RecordError::Io { path: self.path.clone(), cause };
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(&self.path).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            let Some(site) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let read = fs::read(entry.path()).ok().and_then(|text| serde_json::from_slice(&text).ok());
            all.extend(read.map(|record: Record| (site, record)));
        }
        Ok(all)
    }

    /// On the disk when this returns.
    pub fn put(&self, site: SiteId, record: &Record) -> Result<(), RecordError> {
        let text = serde_json::to_vec(record).expect("a record has no failing serialiser");
        Ok(atomic::replace(&self.at(site), 0o600, &text)?)
    }

    /// Gone from the disk when this returns.
    pub fn remove(&self, site: SiteId) -> Result<(), RecordError> {
        match fs::remove_file(self.at(site)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => removed,
        }
        .and_then(|()| fs::File::open(&self.path)?.sync_all())
        .map_err(|cause| RecordError::Io { path: self.at(site), cause })
    }

    fn at(&self, site: SiteId) -> PathBuf {
        self.path.join(site.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_kept_until_it_is_removed_and_damage_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path()).unwrap();
        let record = Record { epoch: 3, whole: true, as_of: Time(5) };
        records.put(SiteId(1), &Record { whole: false, ..record }).unwrap();
        records.put(SiteId(1), &record).unwrap();
        records.put(SiteId(2), &record).unwrap();
        fs::write(dir.path().join("standbys").join(SiteId(3).to_string()), "{").unwrap();
        fs::write(dir.path().join("standbys/notes"), "").unwrap();
        let again = Records::open(dir.path()).unwrap();
        assert_eq!(again.all().unwrap(), BTreeMap::from([(SiteId(1), record), (SiteId(2), record)]));
        again.remove(SiteId(1)).unwrap();
        again.remove(SiteId(1)).unwrap();
        assert_eq!(again.all().unwrap().len(), 1);
    }
}
