//! Why there is no answer. It tells what never reached the other side from what may have been done there.
use std::io;
use std::time::Duration;

use crate::fetch::target::Target;

#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// No connection: the request was certainly not read.
    #[error("reach {target}: {cause}")]
    Unreachable { target: Target, cause: io::Error },
    /// The request was sent and the connection ended before the whole answer.
    #[error("read the answer of {target}: the connection broke off")]
    Broken { target: Target },
    #[error("read the answer of {target}: it is not HTTP")]
    Garbled { target: Target },
    #[error("read the answer of {target}: nothing complete came within {} s", wait.as_secs_f32())]
    Slow { target: Target, wait: Duration },
    #[error("read the answer of {target}: it is larger than {max} bytes")]
    TooLarge { target: Target, max: usize },
}

impl FetchError {
    /// hyper's own words are about its machinery; what counts is whether the other side speaks HTTP.
    pub(super) fn of(error: &hyper::Error, target: &Target) -> Self {
        let target = target.clone();
        if error.is_parse() { Self::Garbled { target } } else { Self::Broken { target } }
    }
}
