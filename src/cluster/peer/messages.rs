//! What nodes say to each other. Named fields, so that adjacent releases understand each other: a field may be added with a default.
use std::fmt;
use std::net::SocketAddr;

use openraft::SnapshotMeta;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use serde::{Deserialize, Serialize};

use crate::base::ids::{ClusterId, NodeId};
use crate::base::names::NodeName;
use crate::cluster::door::WriteError;
use crate::cluster::look::Look;
use crate::model::answer::Answer;
use crate::model::change::Envelope;
use crate::store::types::{LogId, Peer, TypeConfig, Vote};

/// The first message of who calls.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Opening {
    pub(crate) protocol: u32,
    /// 0 where who calls knows none yet.
    pub(crate) cluster: ClusterId,
    pub(crate) from: NodeId,
    /// 0 where who calls does not know who it is.
    pub(crate) to: NodeId,
    pub(crate) class: Class,
}

/// What a connection is for: what is slow in one class holds up no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Class {
    /// Questions and answers among members.
    Raft,
    /// One copy of the state.
    Bulk,
    /// A visitor's connection, carried on.
    Forward,
    /// Whoever has a join token.
    Join,
    /// Operations on the files of a site at home there.
    Files,
    /// A copy of the files of a site.
    Copy,
    /// The other side will ask over it, and open it as if it had called.
    Offer,
}

/// What who was called says to an opening.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Opened {
    Welcome,
    Refused(Why),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    Protocol(u32),
    OtherCluster,
    OtherNode,
    NotAMember,
    NoTokenOpen,
    NotServed,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(theirs) => {
                write!(f, "it speaks protocol {theirs} of the peer channel: upgrade the older node")
            }
            Self::OtherCluster => f.write_str("it belongs to another cluster"),
            Self::OtherNode => f.write_str("it is another node than the one that was wanted"),
            Self::NotAMember => f.write_str("it does not know this node as a member of its cluster"),
            Self::NoTokenOpen => f.write_str("it expects no new node: make a token with `ruche node token`"),
            Self::NotServed => f.write_str("it does not take such connections now"),
        }
    }
}

/// A question among members.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Ask {
    Append(AppendEntriesRequest<TypeConfig>),
    Vote(VoteRequest<u64>),
    /// Whether a vote would be given to who has this log, before anybody is disturbed by an election.
    Canvass {
        last: Option<LogId>,
    },
    /// The leader goes: the one it asks is to follow.
    Elect,
    /// Changes that came in elsewhere, for the leader.
    Write(Vec<Envelope>),
    /// Up to where somebody must have applied to have everything acknowledged by now.
    ReadIndex,
    /// That the asking node may go on writing what is at home there: answered with up to where it must have applied.
    Lease,
    /// Where the asking node is reached from now on.
    Tell {
        reach: Vec<SocketAddr>,
    },
    /// Who the members are.
    Members,
    /// How the node is.
    Look,
    /// Whether every plane there serves this revision, which is waited for a while.
    Served(u64),
    /// A copy of the state, for one that is wrong.
    Copy,
    /// The keyring, for a member that lacks a key of it.
    Keyring,
    /// What only the leader can do; how that is written is its caller's.
    Errand(serde_bytes::ByteBuf),
    /// Whether the asked node can call the asking one.
    Reach,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    Append(AppendEntriesResponse<u64>),
    Vote(VoteResponse<u64>),
    Canvass(bool),
    Done,
    Written(Vec<Result<Answer, WriteError>>),
    NotLeader,
    Index(Option<u64>),
    Members(Members),
    Look(Box<Look>),
    Served(bool),
    Keyring(serde_bytes::ByteBuf),
    Errand(serde_bytes::ByteBuf),
    Failed(String),
    Reached(bool),
}

/// Who the members are, as of a revision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    pub cluster: ClusterId,
    pub revision: u64,
    pub members: Vec<Known>,
}

/// A member: its key, and where it was reached last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    pub node: NodeId,
    pub name: NodeName,
    #[serde(with = "serde_bytes")]
    pub key: Vec<u8>,
    pub reach: Vec<SocketAddr>,
}

/// What goes before a copy of the state: its bytes follow.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CopyHead {
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta<u64, Peer>,
    pub(crate) bytes: u64,
    /// It was asked for by a node whose state is wrong; raft has no part in it.
    #[serde(default)]
    pub(crate) instead: bool,
    /// The same on each connection over which this copy goes.
    pub(crate) serial: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum CopySaid {
    /// So many bytes of it are there already: the rest follows.
    Have(u64),
    Taken(SnapshotResponse<u64>),
    Retaken,
    Failed(String),
}

/// What a machine says that wants to be a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Knock {
    #[serde(with = "serde_bytes")]
    pub(crate) secret: Vec<u8>,
    pub(crate) node: NodeId,
    pub(crate) name: NodeName,
    /// Where it is reached; empty: where it calls from, at this port.
    pub(crate) reach: Vec<SocketAddr>,
    pub(crate) port: Option<u16>,
    pub(crate) knows: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Knocked {
    /// It is one; the keyring and the members.
    Come {
        #[serde(with = "serde_bytes")]
        keyring: Vec<u8>,
        members: Members,
    },
    Refused {
        code: String,
        why: String,
    },
}
