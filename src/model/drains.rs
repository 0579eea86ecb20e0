//! Drains: a node on its way to hold no site. It is cordoned, its sites move away one after the other, and what cannot go is named. The
//! state says how far that is, so whoever leads next goes on.
use std::fmt::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::ids::{NodeId, OperationId, SiteId};
use crate::base::limits::moves::{DRAIN_AHEAD, DRAIN_STAYS_MAX};
use crate::model::answer::{Object, Outcome};
use crate::model::apply::Apply;
use crate::model::nodes::Node;
use crate::model::operations::{self, Operation, Status};
use crate::model::placement::bound;
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;
use crate::model::sites::{Site, check_text};
use crate::model::state::State;
use crate::model::stations::{self, stand_in};

/// What a drain is called among the operations.
pub const NODE_DRAIN: &str = "node.drain";

/// A drain under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    pub operation: OperationId,
    /// Sites that cannot go, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stays: Vec<Stay>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stay {
    pub site: SiteId,
    pub reason: String,
}

/// Cordons a node and has its sites move away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDrain {
    pub node: NodeId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainStep {
    pub node: NodeId,
    pub operation: OperationId,
    pub step: DrainTo,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DrainTo {
    /// A site cannot go.
    Stays(Stay),
    /// Nothing is left to be done.
    End,
}

pub(crate) fn begin(cx: &mut Apply<'_>, change: &NodeDrain) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let old = known(cx.state, change.node)?;
    cx.expect(Kind::Node, &old.name, Some(old.revision))?;
    let under_way = old.draining.as_ref().and_then(|draining| cx.state.operations.get(&draining.operation));
    if let Some(operation) = under_way {
        // Whoever asks again wants to see the same one.
        return Ok(Outcome::new(NODE_DRAIN, &old.name).object(Object::Operation(Operation::clone(operation))));
    }
    let operation = operations::begin(cx, NODE_DRAIN, &old.name, None, "cordoned")?;
    let operation = Operation { total: Some(cx.state.sites_at(old.id)), ..operation };
    let draining = Some(Draining { operation: operation.id, stays: Vec::new() });
    cx.put(Row::Node(Node { cordoned: true, draining, revision: cx.revision, ..Node::clone(&old) }));
    cx.put(Row::Operation(operation.clone()));
    Ok(Outcome::new(NODE_DRAIN, &old.name).object(Object::Operation(operation)))
}

pub(crate) fn step(cx: &mut Apply<'_>, change: &DrainStep) -> Result<Outcome, Refusal> {
    cx.by_the_cluster()?;
    let old = known(cx.state, change.node)?;
    let draining = old.draining.clone().filter(|draining| draining.operation == change.operation);
    let mut draining = draining.ok_or_else(|| Refusal::not_found(Kind::Operation, change.operation))?;
    let mut node = Node { revision: cx.revision, ..Node::clone(&old) };
    match &change.step {
        DrainTo::Stays(stay) => {
            check_text("reason", &stay.reason)?;
            if draining.stays.len() >= DRAIN_STAYS_MAX || draining.holds(stay.site) {
                return Err(Refusal::invalid("site", "it is known to stay, or too many do"));
            }
            draining.stays.push(stay.clone());
            node.draining = Some(draining);
            cx.put(Row::Node(node));
            Ok(Outcome::new("node.drain-stays", &old.name))
        }
        DrainTo::End => {
            let Some(Next::End(status)) = next(cx.state, &old).into_iter().next() else {
                return Err(Refusal::invalid("step", "there is something left to be done"));
            };
            node.draining = None;
            stations::stay(cx, node.id);
            cx.put(Row::Node(node));
            let outcome = Outcome::new("node.drained", &old.name);
            let ended = operations::end(cx, change.operation, status);
            Ok(ended.into_iter().fold(outcome, |outcome, ended| outcome.object(Object::Operation(ended))))
        }
    }
}

/// Notes that a move away from a node that is drained came to nothing.
pub(crate) fn stayed(cx: &mut Apply<'_>, site: &Site, to: NodeId, status: &Status) {
    let Some(node) = cx.state.nodes.get(&site.home) else { return };
    let Some(draining) = node.draining.as_ref().filter(|draining| draining.stays.len() < DRAIN_STAYS_MAX) else {
        return;
    };
    let reason = match status {
        Status::Failed { reason } => reason.chars().filter(|c| !c.is_control()).take(160).collect(),
        // Where it was to go is away: it goes elsewhere.
        _ if cx.state.nodes.get(&to).is_none_or(|to| to.closed().is_some()) => return,
        _ => "its move was cancelled".to_owned(),
    };
    let mut draining = draining.clone();
    draining.stays.push(Stay { site: site.id, reason });
    cx.put(Row::Node(Node { draining: Some(draining), revision: cx.revision, ..Node::clone(node) }));
}

/// What is to be done next about a node that is drained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The site is to go, and somebody has to say where.
    Begin(SiteId),
    /// It stays.
    Stay(Stay),
    /// Another node is to keep the copy that is here.
    Replace(SiteId),
    /// It leaves once the node in its place has everything.
    Await {
        site: SiteId,
        stand_in: NodeId,
    },
    /// A move that leads to the node, or to one that takes no site now.
    Cancel(OperationId),
    End(Status),
}

/// Pure. Nothing: moves are under way, and are waited for.
pub fn next(state: &State, node: &Node) -> Vec<Next> {
    let Some(draining) = &node.draining else { return Vec::new() };
    let operation = state.operations.get(&draining.operation);
    let is_cancelled = operation.is_none_or(|operation| operation.status == Status::Cancelling);
    if is_cancelled {
        // What is under way arrives.
        return vec![Next::End(Status::Cancelled)];
    }
    let cancellable = |id: &OperationId| state.operations.get(id).is_some_and(|going| going.status == Status::Running);
    let leaves = |site: &SiteId| state.sites.get(site).is_some_and(|site| site.home == node.id);
    let (mut nexts, mut going) = (Vec::new(), 0);
    for (site, (operation, to)) in &state.moving {
        going += usize::from(leaves(site) || *to == node.id);
        let closed = state.nodes.get(to).is_none_or(|to| to.closed().is_some());
        if (*to == node.id || (closed && leaves(site))) && cancellable(operation) {
            nexts.push(Next::Cancel(*operation));
        }
    }
    let at_home = state.sites.values().filter(|site| site.home == node.id && site.moving.is_none());
    let mut left = at_home.filter(|site| !draining.holds(site.id)).peekable();
    let given_up = draining.stays.len() >= DRAIN_STAYS_MAX;
    if going == 0 && (given_up || left.peek().is_none()) {
        let copies = if given_up { Vec::new() } else { copies(state, node, draining) };
        return if copies.is_empty() { vec![Next::End(draining.outcome(state, node))] } else { copies };
    }
    if !given_up {
        let asked = left.take(DRAIN_AHEAD.saturating_sub(going));
        nexts.extend(asked.map(|site| match bound(site) {
            Some(reason) => Next::Stay(Stay { site: site.id, reason }),
            None => Next::Begin(site.id),
        }));
    }
    nexts
}

/// What is to be done about the copies that stand by on the node, a few at a time.
fn copies(state: &State, node: &Node, draining: &Draining) -> Vec<Next> {
    let stands = |site: &&Arc<Site>| site.standbys.contains(&node.id) && !draining.holds(site.id);
    let nexts = state.sites.values().filter(stands).map(|site| match stand_in(site, node.id) {
        Some(stand_in) => Next::Await { site: site.id, stand_in },
        None => Next::Replace(site.id),
    });
    let (awaited, others): (Vec<_>, Vec<_>) = nexts.partition(|next| matches!(next, Next::Await { .. }));
    let more = DRAIN_AHEAD.saturating_sub(awaited.len());
    awaited.into_iter().chain(others.into_iter().take(more)).collect()
}

impl Draining {
    pub fn holds(&self, site: SiteId) -> bool {
        self.stays.iter().any(|stay| stay.site == site)
    }

    fn outcome(&self, state: &State, node: &Node) -> Status {
        let at_home = |stay: &&Stay| state.sites.get(&stay.site).is_some_and(|site| site.home == node.id);
        let stays: Vec<&Stay> = self.stays.iter().filter(at_home).collect();
        if stays.is_empty() {
            return Status::Succeeded;
        }
        let mut reason = match state.sites_at(node.id) {
            1 => format!("1 site stays on {}", node.name),
            more => format!("{more} sites stay on {}", node.name),
        };
        for (at, stay) in stays.iter().enumerate() {
            let host = state.sites.get(&stay.site).map(|site| site.host.to_string()).unwrap_or_default();
            let _ = write!(reason, "{} {host}: {}", if at == 0 { ":" } else { ";" }, stay.reason);
        }
        Status::Failed { reason }
    }
}

fn known(state: &State, id: NodeId) -> Result<Arc<Node>, Refusal> {
    state.nodes.get(&id).cloned().ok_or_else(|| Refusal::not_found(Kind::Node, id))
}
