//! A site's directory held against other processes of this node: together by those that let the site be written, alone by one in
//! which it rests. The kernel gives a hold up with the process. Never waits.
use std::os::fd::OwnedFd;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::base::ids::SiteId;
use crate::files::sites::{SiteDirs, SiteDirsError};

/// Until dropped.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "its descriptor is the lock")] Option<OwnedFd>);

impl SiteDirs {
    /// With others that write; none while somebody is alone. Makes the directory: whoever asks will write to it.
    pub(super) fn hold_together(&self, site: SiteId) -> Result<Option<Hold>, SiteDirsError> {
        let opened = self.opened(site, true)?;
        self.locked(site, opened, FlockOperation::NonBlockingLockShared)
    }

    /// Without any other; none while somebody writes. Where there is no directory nobody can.
    pub fn hold_alone(&self, site: SiteId) -> Result<Option<Hold>, SiteDirsError> {
        let opened = self.opened(site, false)?;
        self.locked(site, opened, FlockOperation::NonBlockingLockExclusive)
    }

    fn locked(
        &self,
        site: SiteId,
        opened: Option<OwnedFd>,
        how: FlockOperation,
    ) -> Result<Option<Hold>, SiteDirsError> {
        let Some(dir) = opened else { return Ok(Some(Hold(None))) };
        match rustix::fs::flock(&dir, how) {
            Ok(()) => Ok(Some(Hold(Some(dir)))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(self.fault("lock", site, errno)),
        }
    }
}
