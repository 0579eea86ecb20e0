//! Moves of sites: a site that moves says where to and how far it is. One change flips its home and its epoch, and only while its
//! writes rest at the old home, so that at each revision there is exactly one.
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::ids::{NodeId, OperationId, SiteId};
use crate::base::names::Host;
use crate::model::answer::{Object, Outcome};
use crate::model::apply::Apply;
use crate::model::drains;
use crate::model::nodes::Node;
use crate::model::operations::{self, Operation, Status};
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;
use crate::model::serials;
use crate::model::sites::{Site, check_text};
use crate::model::standbys;
use crate::model::state::State;
use crate::model::stations;

/// What a move of a site is called among the operations.
pub const SITE_MOVE: &str = "site.move";

/// Where a site moves to, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moving {
    pub operation: OperationId,
    pub to: NodeId,
    pub stage: Stage,
    /// Bytes a second the copy may take; absent: as many as there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<u64>,
    /// Why it goes there; absent: somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it is to wait for somebody's word before the site rests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The site is written where it was, and copied meanwhile.
    Copying,
    /// It is copied but for a little, is written where it was, and waits for somebody's word.
    Held,
    /// Nothing is written. A round is one rest: what was copied in another one is worth nothing.
    Resting { round: u64 },
}

/// Begins a move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteMove {
    pub host: Host,
    /// Absent: the best of the others.
    pub to: Option<NodeId>,
    pub bandwidth: Option<u64>,
    /// Why it goes there, where it was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it is to wait for somebody's word before the site rests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold: bool,
}

/// Somebody's word: the site of a move that was to wait may rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveGo {
    pub operation: OperationId,
}

/// Moves it on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveStep {
    pub site: SiteId,
    pub operation: OperationId,
    pub step: Step,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The old home is to take no more writes.
    Rest { round: u64 },
    /// It may again.
    Wake { round: u64 },
    /// The destination has everything of this rest, and is the home from here on.
    Flip { round: u64 },
    /// The site stays where it is.
    End(Status),
    /// Little is left to copy, and somebody's word is waited for.
    Hold,
}

pub(crate) fn begin(cx: &mut Apply<'_>, change: &SiteMove) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let old = Arc::clone(cx.state.site(&change.host)?);
    cx.expect(Kind::Site, &old.host, Some(old.revision))?;
    if let Some(moving) = &old.moving {
        let by = vec![format!("operation {}", moving.operation)];
        return Err(Refusal::InUse { kind: Kind::Site, name: old.host.to_string(), by });
    }
    let to = match change.to {
        Some(id) => cx.state.nodes.get(&id).ok_or_else(|| Refusal::not_found(Kind::Node, id))?,
        None => best(cx.state, &old).ok_or_else(|| Refusal::invalid("to", "no other node takes sites now"))?,
    };
    if let Some(reason) = objection(to, &old) {
        return Err(Refusal::invalid("to", reason));
    }
    if change.bandwidth == Some(0) {
        return Err(Refusal::invalid("bandwidth", "nothing would ever be copied at 0 bytes a second"));
    }
    change.reason.iter().try_for_each(|reason| check_text("reason", reason))?;
    let stage = format!("waiting for {}", to.name);
    let operation = operations::begin(cx, SITE_MOVE, &old.host, old.account.clone(), stage)?;
    let (to, bandwidth, reason, hold) = (to.id, change.bandwidth, change.reason.clone(), change.hold);
    let moving = Moving { operation: operation.id, to, stage: Stage::Copying, bandwidth, reason, hold };
    cx.put(Row::Site(Site { moving: Some(moving.into()), revision: cx.revision, ..Site::clone(&old) }.into()));
    cx.put(Row::Operation(operation.clone()));
    Ok(Outcome::new(SITE_MOVE, &old.host).account(old.account.as_ref()).object(Object::Operation(operation)))
}

/// Why a site cannot move to a node.
pub fn objection(to: &Node, site: &Site) -> Option<String> {
    if to.id == site.home {
        return Some(format!("{} is at home on {} already", site.host, to.name));
    }
    to.closed().map(|why| format!("{} {why}", to.name))
}

/// The node that a site moves to where none is named: of those that take sites the one with the fewest, here or on their way.
pub fn best<'s>(state: &'s State, site: &Site) -> Option<&'s Arc<Node>> {
    let coming = |node: &Node| state.moving.values().filter(|(_, to)| *to == node.id).count() as u64;
    let open = state.nodes.values().filter(|node| node.closed().is_none() && node.id != site.home);
    open.min_by_key(|node| (state.sites_at(node.id) + coming(node), node.id))
}

pub(crate) fn step(cx: &mut Apply<'_>, change: &MoveStep) -> Result<Outcome, Refusal> {
    cx.by_the_cluster()?;
    let old = cx.state.sites.get(&change.site).ok_or_else(|| Refusal::not_found(Kind::Site, change.site))?;
    let moving = old.moving.as_deref().filter(|moving| moving.operation == change.operation);
    let moving = moving.ok_or_else(|| Refusal::not_found(Kind::Operation, change.operation))?;
    let mut site = Site::clone(old);
    let staged = |stage, hold| Some(Moving { stage, hold, ..moving.clone() }.into());
    let action = match (&change.step, moving.stage) {
        (Step::Hold, Stage::Copying) if moving.hold => {
            site.moving = staged(Stage::Held, false);
            "site.held"
        }
        (Step::Rest { round }, Stage::Copying) => {
            site.moving = staged(Stage::Resting { round: *round }, moving.hold);
            "site.rest"
        }
        (Step::Wake { round }, Stage::Resting { round: current }) if *round == current => {
            site.moving = staged(Stage::Copying, moving.hold);
            "site.wake"
        }
        (Step::Flip { .. }, Stage::Resting { .. }) if is_cancelling(cx.state, change.operation) => {
            return Err(Refusal::invalid("step", "the move was cancelled"));
        }
        (Step::Flip { round }, Stage::Resting { round: current }) if *round == current => {
            site.home = moving.to;
            site.chosen.clone_from(&moving.reason);
            site.epoch += 1;
            site.unconfirmed = None;
            match cx.state.nodes.get(&old.home) {
                // What is cordoned is to become empty.
                Some(was) if was.cordoned => {
                    site.standbys.retain(|standby| *standby != moving.to);
                    stations::tidy(&mut site);
                }
                _ => standbys::step_aside(cx, &mut site, old.home),
            }
            site.moving = None;
            "site.moved"
        }
        (Step::End(status), _) if status.is_over() && *status != Status::Succeeded => {
            site.moving = None;
            drains::stayed(cx, &site, moving.to, status);
            "site.stays"
        }
        _ => return Err(Refusal::invalid("step", "the move is at another stage")),
    };
    let ended = match &change.step {
        Step::Flip { .. } => Some(Status::Succeeded),
        Step::End(status) => Some(status.clone()),
        Step::Hold | Step::Rest { .. } | Step::Wake { .. } => None,
    };
    let outcome = Outcome::new(action, &site.host).account(site.account.as_ref());
    site.revision = cx.revision;
    if site.home != old.home {
        serials::site_changed(cx, Some(&Arc::clone(old)), Some(&site));
    }
    let object = ended.and_then(|status| operations::end(cx, change.operation, status));
    cx.put(Row::Site(site.into()));
    Ok(object.into_iter().fold(outcome, |outcome, operation| outcome.object(Object::Operation(operation))))
}

pub(crate) fn go(cx: &mut Apply<'_>, change: &MoveGo) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let id = change.operation;
    let operation = cx.state.operations.get(&id).ok_or_else(|| Refusal::not_found(Kind::Operation, id))?;
    let operation = Operation::clone(operation);
    cx.expect(Kind::Operation, id, Some(operation.revision))?;
    let held = cx.state.moving.iter().find(|(_, (moving, _))| *moving == id);
    let old = held.and_then(|(site, _)| cx.state.sites.get(site)).map(Arc::clone);
    let found = old.and_then(|old| old.moving.as_deref().cloned().map(|moving| (old, moving)));
    let waits = |(_, moving): &(_, Moving)| moving.hold || moving.stage == Stage::Held;
    let Some((old, moving)) = found.filter(waits) else {
        return Err(Refusal::invalid("operation", "it waits for nobody's word"));
    };
    let moving = Moving { stage: Stage::Copying, hold: false, ..moving };
    cx.put(Row::Site(Site { moving: Some(moving.into()), revision: cx.revision, ..Site::clone(&old) }.into()));
    let outcome = Outcome::new("site.released", &old.host).account(old.account.as_ref());
    Ok(outcome.object(Object::Operation(operation)))
}

fn is_cancelling(state: &State, operation: OperationId) -> bool {
    state.operations.get(&operation).is_some_and(|operation| operation.status == Status::Cancelling)
}
