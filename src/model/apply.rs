//! The rules' front door: one envelope against one state gives effects and an answer, or a refusal. Pure and deterministic.
use std::fmt::Display;

use crate::base::clock::Time;
use crate::base::limits::HISTORY_KEPT;
use crate::base::names::AccountName;
use crate::model::answer::{Answer, Event, Outcome};
use crate::model::change::{Actor, Batch, Change, Envelope};
use crate::model::drains;
use crate::model::effect::{Effect, Stored};
use crate::model::plans::Limits;
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::{Row, Table};
use crate::model::state::State;
use crate::model::tokens::{Access, Scope};
use crate::model::{
    accounts, certificates, challenges, cluster, ftp_users, issuers, joins, moves, nodes, operations, orders, plans,
    records, rotation, sites, standbys, stations, tokens, wishes, zone_files, zones,
};

/// What one change does, in order.
pub type Effects = Vec<Effect>;

/// One change being decided: the state before it and the effects so far.
#[derive(Debug)]
pub(crate) struct Apply<'a> {
    pub(crate) state: &'a State,
    pub(crate) time: Time,
    /// The revision the change will have.
    pub(crate) revision: u64,
    envelope: &'a Envelope,
    scope: Option<&'a Scope>,
    effects: Effects,
}

/// Decides one envelope. `level` says which rules are in force; there is one so far.
pub fn apply(state: &State, envelope: &Envelope, _level: u32) -> Result<(Effects, Answer), Refusal> {
    if let Some(before) = state.remembered(&envelope.request_id) {
        if before.digest != envelope.request_id.digest {
            return Err(Refusal::KeyReused);
        }
        return Ok((Effects::new(), Answer { revision: before.revision, object: None, repeated: true }));
    }
    let scope = scope(state, envelope.actor)?;
    let revision = state.revision + 1;
    let mut cx = Apply { state, time: state.time, revision, envelope, scope, effects: Effects::new() };
    let outcome = decide(&mut cx, &envelope.change)?;
    let event = Event {
        revision,
        time: state.time,
        actor: envelope.actor,
        action: outcome.action.to_owned(),
        subject: outcome.subject,
        account: outcome.account,
        request_id: envelope.request_id,
        object: outcome.object.clone(),
    };
    cx.put(Row::Event(event));
    cx.prune(Table::Events);
    Ok((cx.effects, Answer { revision, object: outcome.object, repeated: false }))
}

/// Applies a whole log entry: the state moves on, each envelope with what it did.
pub fn apply_batch(state: &mut State, batch: &Batch) -> Vec<Result<(Effects, Answer), Refusal>> {
    state.time = state.time.max(batch.time);
    let decide = |envelope| {
        let decided = apply(state, envelope, state.level());
        if let Ok((effects, answer)) = &decided {
            effects.iter().for_each(|effect| state.absorb(effect));
            state.revision = state.revision.max(answer.revision);
        }
        decided
    };
    batch.envelopes.iter().map(decide).collect()
}

/// The scope of who asks: none for the machine itself and its local admins.
fn scope(state: &State, actor: Actor) -> Result<Option<&Scope>, Refusal> {
    let Actor::Token { id } = actor else { return Ok(None) };
    let token = state.tokens.get(&id).filter(|token| token.valid_at(state.time)).ok_or(Refusal::TokenInvalid)?;
    if token.scope.access == Access::Read {
        return Err(Refusal::Forbidden { reason: "it is for reading only".into() });
    }
    Ok(Some(&token.scope))
}

fn decide(cx: &mut Apply<'_>, change: &Change) -> Result<Outcome, Refusal> {
    match change {
        Change::Found(change) => cluster::found(cx, change),
        Change::RaiseLevel(change) => cluster::raise_level(cx, change),
        Change::KeyExported(_) => cluster::key_exported(cx),
        Change::PlanPut(change) => plans::put(cx, change),
        Change::PlanRemove(change) => plans::remove(cx, change),
        Change::AccountCreate(change) => accounts::create(cx, change),
        Change::AccountSet(change) => accounts::set(cx, change),
        Change::AccountRemove(change) => accounts::remove(cx, change),
        Change::SiteCreate(change) => sites::create(cx, change),
        Change::SiteSet(change) => sites::set(cx, change),
        Change::SiteRemove(change) => sites::remove(cx, change),
        Change::ZoneCreate(change) => zones::create(cx, change),
        Change::ZoneSet(change) => zones::set(cx, change),
        Change::ZoneRemove(change) => zones::remove(cx, change),
        Change::RecordPut(change) => records::put(cx, change),
        Change::RecordRemove(change) => records::remove(cx, change),
        Change::FtpUserCreate(change) => ftp_users::create(cx, change),
        Change::FtpUserSet(change) => ftp_users::set(cx, change),
        Change::FtpUserRemove(change) => ftp_users::remove(cx, change),
        Change::CertificateStore(change) => certificates::store(cx, change),
        Change::CertificateRemove(change) => certificates::remove(cx, change),
        Change::CertificateWarn(change) => certificates::warn(cx, change),
        Change::TokenCreate(change) => tokens::create(cx, change),
        Change::TokenRemove(change) => tokens::remove(cx, change),
        Change::NodeSet(change) => nodes::set(cx, change),
        Change::OperationStart(change) => operations::start(cx, change),
        Change::OperationProgress(change) => operations::progress(cx, change),
        Change::OperationFinish(change) => operations::finish(cx, change),
        Change::SitesCaPut(change) => cluster::put_sites_ca(cx, change),
        Change::TicketKeysPut(change) => cluster::put_ticket_keys(cx, change),
        Change::ZoneImport(change) => zone_files::import(cx, change),
        Change::CookieKeyPut(change) => cluster::put_cookie_key(cx, change),
        Change::IssuerCreate(change) => issuers::create(cx, change),
        Change::IssuerSet(change) => issuers::set(cx, change),
        Change::IssuerRemove(change) => issuers::remove(cx, change),
        Change::IssuerAccountPut(change) => issuers::put_account(cx, change),
        Change::IssuerTold(change) => issuers::told(cx, change),
        Change::AcmeKeyPut(change) => cluster::put_acme_key(cx, change),
        Change::WishCreate(change) => wishes::create(cx, change),
        Change::WishRemove(change) => wishes::remove(cx, change),
        Change::OrderReserve(change) => orders::reserve(cx, change),
        Change::OrderPlace(change) => orders::place(cx, change),
        Change::OrderFinish(change) => orders::finish(cx, change),
        Change::ChallengePut(change) => challenges::put(cx, change),
        Change::ChallengeRemove(change) => challenges::remove(cx, change),
        Change::JoinTokenCreate(change) => joins::create_token(cx, change),
        Change::NodeJoin(change) => joins::join(cx, change),
        Change::NodeSays(change) => nodes::says(cx, change),
        Change::NodeHealth(change) => nodes::health(cx, change),
        Change::NodeRemove(change) => nodes::remove(cx, change),
        Change::SiteMove(change) => moves::begin(cx, change),
        Change::MoveStep(change) => moves::step(cx, change),
        Change::Rekey(change) => rotation::rekey(cx, change),
        Change::Reseal(change) => rotation::reseal(cx, change),
        Change::RotationEnd(change) => rotation::end(cx, change),
        Change::NodeDrain(change) => drains::begin(cx, change),
        Change::DrainStep(change) => drains::step(cx, change),
        Change::SiteFailover(change) => standbys::fail_over(cx, change),
        Change::SiteRecovered(change) => standbys::recovered(cx, change),
        Change::SiteFenced(change) => standbys::fenced(cx, change),
        Change::MoveGo(change) => moves::go(cx, change),
        Change::StandbyStep(change) => stations::step(cx, change),
    }
}

impl Apply<'_> {
    pub(crate) fn put(&mut self, row: Row) {
        let finished = matches!(row, Row::FinishedOperation(_));
        self.effects.push(Effect::Put(Stored::new(row)));
        if finished {
            self.prune(Table::FinishedOperations);
        }
    }

    pub(crate) fn delete(&mut self, row: Row) {
        self.effects.push(Effect::Delete(Stored::new(row)));
    }

    /// History is bounded: what is older than so many revisions goes.
    fn prune(&mut self, table: Table) {
        if let Some(before) = self.revision.checked_sub(HISTORY_KEPT) {
            self.effects.push(Effect::Prune { table, before });
        }
    }

    /// The id this envelope's seed gives to what it creates.
    pub(crate) fn seed_id(&self) -> u64 {
        self.envelope.seed.id()
    }

    /// If-Match: the object must be at the revision the caller saw.
    pub(crate) fn expect(&self, kind: Kind, name: impl Display, actual: Option<u64>) -> Result<(), Refusal> {
        let actual = actual.unwrap_or(0);
        match self.envelope.expect {
            Some(expected) if expected != actual => {
                Err(Refusal::Stale { kind, name: name.to_string(), expected, actual })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn actor(&self) -> Actor {
        self.envelope.actor
    }

    /// Only for who may do everything.
    pub(crate) fn unscoped(&self) -> Result<(), Refusal> {
        match self.scope.and_then(|scope| scope.account.as_ref()) {
            Some(account) => Err(Refusal::Forbidden { reason: format!("it is limited to the account {account}") }),
            None => Ok(()),
        }
    }

    /// Only for what the cluster does by itself: nobody may hand it a secret of their own.
    pub(crate) fn by_the_cluster(&self) -> Result<(), Refusal> {
        match self.actor() {
            Actor::System => Ok(()),
            _ => Err(Refusal::Forbidden { reason: "the cluster does it by itself".into() }),
        }
    }

    /// What is not the caller's does not exist for it.
    pub(crate) fn may(&self, kind: Kind, name: impl Display, owner: Option<&AccountName>) -> Result<(), Refusal> {
        match self.scope.and_then(|scope| scope.account.as_ref()) {
            Some(account) if owner != Some(account) => Err(Refusal::not_found(kind, name)),
            _ => Ok(()),
        }
    }

    /// The owner of something new: the one asked for, or the account the caller is limited to.
    pub(crate) fn owner(&self, wanted: Option<&AccountName>) -> Result<Option<AccountName>, Refusal> {
        match (self.scope.and_then(|scope| scope.account.as_ref()), wanted) {
            (Some(own), Some(wanted)) if own != wanted => {
                Err(Refusal::Forbidden { reason: format!("it is limited to the account {own}") })
            }
            (own, wanted) => Ok(wanted.or(own).cloned()),
        }
    }

    /// The limits of an account that is to get more: it must exist and not be suspended.
    pub(crate) fn growing(&self, name: &AccountName) -> Result<Limits, Refusal> {
        let account = self.state.account(name)?;
        if account.suspended {
            return Err(Refusal::Suspended { account: name.to_string() });
        }
        let plan = account.plan.as_ref().and_then(|plan| self.state.plans.get(plan));
        Ok(plan.map(|plan| plan.limits.clone()).unwrap_or_default())
    }

    pub(crate) fn within(
        &self,
        account: &AccountName,
        what: &str,
        limit: Option<u64>,
        wanted: u64,
    ) -> Result<(), Refusal> {
        match limit {
            Some(limit) if wanted > limit => {
                Err(Refusal::Limit { account: account.to_string(), what: what.to_owned(), limit, wanted })
            }
            _ => Ok(()),
        }
    }

    /// An account's names may not lie in another account's zone: nobody takes `mail.` of somebody else's domain.
    pub(crate) fn own_ground(&self, name: &str, account: Option<&AccountName>) -> Result<(), Refusal> {
        let (Some(account), Some(zone)) = (account, self.state.zone_above(name)) else { return Ok(()) };
        // A zone of no account is the provider's own: who is limited to an account is not let in by itself.
        let foreign = match &zone.head.account {
            Some(owner) => owner != account,
            None => self.is_scoped(),
        };
        match foreign {
            true => Err(Refusal::ForeignZone { name: name.to_owned(), zone: zone.head.name.to_string() }),
            false => Ok(()),
        }
    }

    /// Whether the caller is limited to an account.
    pub(crate) fn is_scoped(&self) -> bool {
        self.scope.is_some_and(|scope| scope.account.is_some())
    }
}
