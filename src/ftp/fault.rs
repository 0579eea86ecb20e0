//! Errors as replies (RFC 959 section 4.2.2): 4xx where trying again may help, 5xx where it will not. Never tells what lies
//! outside of a client's own files.
use std::fmt;

use crate::files::gate::Refused;
use crate::files::jail::JailError;
use crate::files::write::WriteError;
use crate::ftp::line::Bad;
use crate::ftp::passive::PassiveError;
use crate::ftp::paths::PathFault;
use crate::ftp::reply::Reply;

/// Something there is too little of at the moment.
pub(crate) fn busy(error: impl fmt::Display) -> Reply {
    Reply::new(451, format!("The server is busy: {error}; try again"))
}

/// The data connection was not made, or not kept.
pub(crate) fn broken(error: impl fmt::Display) -> Reply {
    Reply::new(426, format!("The transfer was cut off: {error}"))
}

impl From<JailError> for Reply {
    fn from(error: JailError) -> Self {
        let code = match error {
            JailError::NotFound | JailError::Outside | JailError::NotRegular | JailError::Denied => 550,
            JailError::Invalid => 553,
            JailError::Io(_) => 451,
        };
        Self::failed(code, error)
    }
}

impl From<WriteError> for Reply {
    fn from(error: WriteError) -> Self {
        let code = match error {
            WriteError::Path(error) => return error.into(),
            WriteError::Quota(_) => 552,
            WriteError::Exists | WriteError::IsDirectory | WriteError::NotEmpty => 550,
            WriteError::Beyond { .. } => 554,
            WriteError::DiskFull => 452,
            WriteError::Incomplete | WriteError::Permit | WriteError::Io(_) => 451,
        };
        Self::failed(code, error)
    }
}

impl From<PassiveError> for Reply {
    fn from(error: PassiveError) -> Self {
        Self::failed(425, error)
    }
}

impl From<Refused> for Reply {
    fn from(error: Refused) -> Self {
        Self::failed(450, error)
    }
}

impl From<PathFault> for Reply {
    fn from(error: PathFault) -> Self {
        Self::failed(553, error)
    }
}

impl From<Bad> for Reply {
    fn from(error: Bad) -> Self {
        match error {
            // What follows is not the beginning of a command.
            Bad::TooLong => Self::new(421, format!("Goodbye: failed to {error}")),
            Bad::NotUtf8 | Bad::Control => Self::failed(501, error),
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::base::ids::SiteId;
    use crate::files::gate::Gates;

    #[tokio::test]
    async fn while_a_site_is_frozen_its_writers_are_asked_to_try_again() {
        let (gates, site) = (Gates::default(), SiteId(1));
        gates.set_home(site, 1, false);
        let frozen = gates.close(site).unwrap();
        let refused = Reply::from(gates.enter(site, 1).unwrap_err());
        assert_eq!(refused.code, 450);
        assert!(refused.to_string().contains("try again"), "{refused}");
        drop(frozen);
        gates.set_home(site, 2, false);
        assert_eq!(Reply::from(gates.enter(site, 1).unwrap_err()).code, 450);
        gates.remove(site);
        assert_eq!(Reply::from(gates.enter(site, 2).unwrap_err()).code, 450);
    }
}
