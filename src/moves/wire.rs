//! What the two ends of a copy say to each other. Named fields, so that adjacent releases understand each other.
use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::ids::SiteId;
use crate::files::manifest::{Content, Piece, Sum, Traits};

/// The first message of who calls.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Hello {
    /// What a site takes.
    Survey { site: SiteId },
    /// What is free on the disk.
    Room,
    /// Files of these sites changed, which stand by there.
    Touched { sites: Vec<SiteId> },
    /// How a copy is that stands by there.
    Standing { site: SiteId },
    /// Its files are wanted, of this epoch.
    Copy { site: SiteId, epoch: u64 },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Welcome {
    Survey(Sum),
    Room(u64),
    Standing(Standing),
    Ready,
    Refused(String),
}

/// How a copy is that stands by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// It had everything once, of the present home.
    pub whole: bool,
    /// When what it has was fetched last.
    pub as_of: Option<Time>,
    /// For how many seconds it has lacked something, as far as it knows; none: it has everything.
    pub behind: Option<u64>,
    /// Bytes here and in all, while it is fetched.
    pub fetched: Option<(u64, u64)>,
    /// What went wrong last.
    pub fault: Option<String>,
    /// Where files are kept that a new home did not have.
    pub recovered: Option<String>,
}

/// What who copies asks, one thing after the other.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// All names: answered by pieces, and the end.
    Walk,
    /// These files: answered in that order.
    Files(Vec<Wanted>),
    /// Whether nobody writes any more, in this rest.
    Rest { round: u64 },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Wanted {
    #[serde(with = "serde_bytes")]
    pub(crate) path: Vec<u8>,
    /// The digest of what is there already.
    pub(crate) have: Option<u128>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Walked {
    Piece(Piece),
    End,
    Failed(String),
}

/// What is said before the content of a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Told {
    /// It is no more, or nothing that is copied.
    Gone,
    /// What is there is it.
    Same {
        content: Content,
        traits: Traits,
    },
    /// Its stretches follow.
    Comes {
        content: Content,
        traits: Traits,
    },
    Failed(String),
}

/// What is said of the content of a file: the bytes of a stretch follow at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Stretch {
    Bytes {
        at: u64,
        len: u64,
    },
    Failed(String),
    /// The digest over all pieces; `steady`: nobody changed it meanwhile.
    End {
        digest: u128,
        steady: bool,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Rested {
    Yes,
    /// It is written still, or is to be written again.
    No(String),
}
