//! What a change answers, and the audit event that keeps it: an event holds enough to answer a repeated request again.
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Time;
use crate::base::ids::{CertificateId, RequestId};
use crate::base::names::AccountName;
use crate::model::accounts::Account;
use crate::model::change::Actor;
use crate::model::cluster::Cluster;
use crate::model::ftp_users::FtpUser;
use crate::model::issuers::Issuer;
use crate::model::nodes::Node;
use crate::model::operations::Operation;
use crate::model::plans::Plan;
use crate::model::records::RecordSet;
use crate::model::sites::Site;
use crate::model::tokens::Token;
use crate::model::wishes::Wish;
use crate::model::zones::ZoneHead;

/// The object a change left behind, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Object {
    Cluster(Cluster),
    Plan(Plan),
    Account(Account),
    Site(Arc<Site>),
    Zone(ZoneHead),
    RecordSet(RecordSet),
    FtpUser(FtpUser),
    Certificate(CertificateId),
    Token(Token),
    Node(Node),
    Operation(Operation),
    Issuer(Issuer),
    Wish(Wish),
}

/// A change that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub revision: u64,
    /// The object as the change left it; absent after a removal.
    pub object: Option<Object>,
    /// The request had been answered before; nothing happened this time.
    pub repeated: bool,
}

/// The audit line of one change; its key is the revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub revision: u64,
    pub time: Time,
    pub actor: Actor,
    /// What happened, such as `site.create`.
    pub action: String,
    /// The name of what it happened to.
    pub subject: String,
    pub account: Option<AccountName>,
    pub request_id: RequestId,
    pub object: Option<Object>,
}

/// What a rule reports of a change it allowed.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) action: &'static str,
    pub(crate) subject: String,
    pub(crate) account: Option<AccountName>,
    pub(crate) object: Option<Object>,
}

impl Outcome {
    pub(crate) fn new(action: &'static str, subject: impl ToString) -> Self {
        Self { action, subject: subject.to_string(), account: None, object: None }
    }

    pub(crate) fn account(mut self, account: Option<&AccountName>) -> Self {
        self.account = account.cloned();
        self
    }

    pub(crate) fn object(mut self, object: Object) -> Self {
        self.object = Some(object);
        self
    }
}
