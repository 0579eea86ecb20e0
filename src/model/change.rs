//! What the log carries: a batch of envelopes, each with one change. Stored self-describing (named fields), appended to only.
use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::ids::{RequestId, Seed, TokenId};
use crate::model::accounts::{AccountCreate, AccountRemove, AccountSet};
use crate::model::certificates::{CertificateRemove, CertificateStore, CertificateWarn};
use crate::model::challenges::{ChallengePut, ChallengeRemove};
use crate::model::cluster::{AcmeKeyPut, CookieKeyPut, Found, KeyExported, RaiseLevel, SitesCaPut, TicketKeysPut};
use crate::model::drains::{DrainStep, NodeDrain};
use crate::model::ftp_users::{FtpUserCreate, FtpUserRemove, FtpUserSet};
use crate::model::issuers::{IssuerAccountPut, IssuerCreate, IssuerRemove, IssuerSet, IssuerTold};
use crate::model::joins::{JoinTokenCreate, NodeJoin};
use crate::model::moves::{MoveGo, MoveStep, SiteMove};
use crate::model::nodes::{NodeHealth, NodeRemove, NodeSays, NodeSet};
use crate::model::operations::{OperationFinish, OperationProgress, OperationStart};
use crate::model::orders::{OrderFinish, OrderPlace, OrderReserve};
use crate::model::plans::{PlanPut, PlanRemove};
use crate::model::records::{RecordPut, RecordRemove};
use crate::model::rotation::{Rekey, Reseal, RotationEnd};
use crate::model::sites::{SiteCreate, SiteRemove, SiteSet};
use crate::model::standbys::{SiteFailover, SiteFenced, SiteRecovered};
use crate::model::stations::StandbyStep;
use crate::model::tokens::{TokenCreate, TokenRemove};
use crate::model::wishes::{WishCreate, WishRemove};
use crate::model::zone_files::ZoneImport;
use crate::model::zones::{ZoneCreate, ZoneRemove, ZoneSet};

/// The shape of a log entry this binary writes.
pub const BATCH_VERSION: u32 = 1;

/// One log entry: changes committed together by one fsync. Each succeeds or fails alone and sees those before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    pub version: u32,
    /// The leader's clock when the batch was made; the state takes the later of this and its own.
    pub time: Time,
    pub envelopes: Vec<Envelope>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    pub request_id: RequestId,
    pub actor: Actor,
    pub seed: Seed,
    /// The revision the object must have (If-Match); 0: it must not exist yet.
    pub expect: Option<u64>,
    pub change: Change,
}

/// Who asks. A token is looked up again in `apply`: it may have been removed since it was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// The cluster itself.
    System,
    /// A local user of the admin socket.
    Local {
        uid: u32,
    },
    Token {
        id: TokenId,
    },
}

/// Everything that can happen to the state. Appended to; a variant is never changed or removed within a level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Change {
    Found(Found),
    RaiseLevel(RaiseLevel),
    KeyExported(KeyExported),
    PlanPut(PlanPut),
    PlanRemove(PlanRemove),
    AccountCreate(AccountCreate),
    AccountSet(AccountSet),
    AccountRemove(AccountRemove),
    SiteCreate(Box<SiteCreate>),
    SiteSet(Box<SiteSet>),
    SiteRemove(SiteRemove),
    ZoneCreate(ZoneCreate),
    ZoneSet(ZoneSet),
    ZoneRemove(ZoneRemove),
    RecordPut(RecordPut),
    RecordRemove(RecordRemove),
    FtpUserCreate(FtpUserCreate),
    FtpUserSet(FtpUserSet),
    FtpUserRemove(FtpUserRemove),
    CertificateStore(CertificateStore),
    CertificateRemove(CertificateRemove),
    TokenCreate(TokenCreate),
    TokenRemove(TokenRemove),
    NodeSet(NodeSet),
    OperationStart(OperationStart),
    OperationProgress(OperationProgress),
    OperationFinish(OperationFinish),
    SitesCaPut(SitesCaPut),
    TicketKeysPut(TicketKeysPut),
    ZoneImport(ZoneImport),
    CookieKeyPut(CookieKeyPut),
    IssuerCreate(IssuerCreate),
    IssuerSet(IssuerSet),
    IssuerRemove(IssuerRemove),
    IssuerAccountPut(IssuerAccountPut),
    AcmeKeyPut(AcmeKeyPut),
    WishCreate(WishCreate),
    WishRemove(WishRemove),
    OrderReserve(OrderReserve),
    OrderPlace(OrderPlace),
    OrderFinish(OrderFinish),
    ChallengePut(ChallengePut),
    ChallengeRemove(ChallengeRemove),
    CertificateWarn(CertificateWarn),
    JoinTokenCreate(JoinTokenCreate),
    NodeJoin(NodeJoin),
    NodeSays(NodeSays),
    NodeHealth(NodeHealth),
    NodeRemove(NodeRemove),
    SiteMove(SiteMove),
    MoveStep(MoveStep),
    Rekey(Box<Rekey>),
    Reseal(Reseal),
    RotationEnd(RotationEnd),
    NodeDrain(NodeDrain),
    DrainStep(DrainStep),
    SiteFailover(SiteFailover),
    SiteRecovered(SiteRecovered),
    SiteFenced(SiteFenced),
    MoveGo(MoveGo),
    StandbyStep(StandbyStep),
    IssuerTold(IssuerTold),
}

/// One field of a `…Set`: left alone or replaced. Not an `Option`, because the value itself may be one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Set<T> {
    #[default]
    Keep,
    To(T),
}

impl<T: Clone> Set<T> {
    pub fn apply_to(&self, field: &mut T) {
        if let Self::To(value) = self {
            field.clone_from(value);
        }
    }

    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

impl<T> From<Option<T>> for Set<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Keep, Self::To)
    }
}

/// Failed to read a batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    #[error("read a log entry of version {0}: a newer ruche wrote it")]
    Version(u32),
    #[error("read a log entry: {0}")]
    Unreadable(#[from] rmp_serde::decode::Error),
    #[error("go on at level {0}: this ruche knows no such level")]
    Level(u32),
}

impl Envelope {
    /// Bytes it takes in a log entry.
    pub fn encoded_len(&self) -> usize {
        rmp_serde::to_vec_named(self).map_or(usize::MAX, |bytes| bytes.len())
    }
}

impl Batch {
    pub fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).expect("a batch has no map with keys that are not text and no failing serialiser")
    }

    /// An unknown change is an error here: a node that cannot read an entry stops applying, it never skips.
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        let batch: Self = rmp_serde::from_slice(bytes)?;
        if batch.version != BATCH_VERSION {
            return Err(BatchError::Version(batch.version));
        }
        Ok(batch)
    }
}
