//! openraft's view of us: what an entry carries, what applying it answers, what a member is.
use std::sync::Arc;

use openraft::EntryPayload;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::answer::Answer;
use crate::model::refusal::Refusal;

openraft::declare_raft_types!(
    pub TypeConfig:
        D = Payload,
        R = Applied,
        NodeId = u64,
        Node = Peer,
        SnapshotData = crate::store::copy::Copied,
);

pub type LogId = openraft::LogId<u64>;
pub type Vote = openraft::Vote<u64>;
pub type Entry = openraft::Entry<TypeConfig>;
pub type Membership = openraft::StoredMembership<u64, Peer>;
pub type StorageError = openraft::StorageError<u64>;

/// An encoded `model::change::Batch`. It is read where it is applied: the log carries what it may not understand yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(pub Arc<[u8]>);

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        serde_bytes::ByteBuf::deserialize(from).map(|bytes| Self(bytes.into_vec().into()))
    }
}

/// What each envelope of an entry was answered.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Applied(pub Vec<Result<Answer, Refusal>>);

/// A member as raft's membership keeps it. Addresses are not here: they may change without it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The public key its peer channel answers with; empty while it has none.
    #[serde(default, with = "serde_bytes")]
    pub key: Vec<u8>,
}

/// Bytes of an entry, as far as they count.
pub(crate) fn weight(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(payload) => payload.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}
