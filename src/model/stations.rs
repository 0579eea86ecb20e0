//! Standbys that the cluster chooses: as many as a site asks for, each on the node it fits best, and one in the place of each that is on
//! a node which is drained. That one leaves when the other has everything. The state says which stands in for which.
use serde::{Deserialize, Serialize};

use crate::base::ids::{NodeId, SiteId};
use crate::base::limits::SITE_STANDBYS_MAX;
use crate::model::answer::Outcome;
use crate::model::apply::Apply;
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;
use crate::model::sites::{Site, check_text};
use crate::model::standbys;

/// A standby that the cluster chose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stationed {
    pub node: NodeId,
    pub reason: String,
    /// The one that leaves when this one has everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<NodeId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbyStep {
    pub site: SiteId,
    pub step: StandbyTo,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StandbyTo {
    /// One more, which may stand in for another one.
    Place(Stationed),
    /// This one leaves: the one in its place has everything.
    Leave(NodeId),
}

pub(crate) fn step(cx: &mut Apply<'_>, change: &StandbyStep) -> Result<Outcome, Refusal> {
    cx.by_the_cluster()?;
    let old = cx.state.sites.get(&change.site).ok_or_else(|| Refusal::not_found(Kind::Site, change.site))?;
    let mut site = Site { revision: cx.revision, ..Site::clone(old) };
    let action = match &change.step {
        StandbyTo::Place(stationed) => {
            place(cx, &mut site, stationed)?;
            "site.standby-placed"
        }
        StandbyTo::Leave(node) => {
            if stand_in(&site, *node).is_none() {
                return Err(Refusal::invalid("node", "nobody stands in for it"));
            }
            site.standbys.retain(|standby| standby != node);
            "site.standby-left"
        }
    };
    tidy(&mut site);
    standbys::fence(old, &mut site);
    let outcome = Outcome::new(action, &site.host).account(site.account.as_ref());
    cx.put(Row::Site(site.into()));
    Ok(outcome)
}

fn place(cx: &Apply<'_>, site: &mut Site, stationed: &Stationed) -> Result<(), Refusal> {
    let node = cx.state.nodes.get(&stationed.node).ok_or_else(|| Refusal::not_found(Kind::Node, stationed.node))?;
    if let Some(why) = node.closed() {
        return Err(Refusal::invalid("node", format!("{} {why}", node.name)));
    }
    check_text("reason", &stationed.reason)?;
    if site.home == node.id || site.standbys.contains(&node.id) || site.standbys.len() >= SITE_STANDBYS_MAX {
        return Err(Refusal::invalid("node", "the site is there already, or has as many standbys as may be"));
    }
    let at = match stationed.instead {
        None if lacks(site) == 0 => return Err(Refusal::invalid("site", "it asks for no other standby")),
        None => site.standbys.len(),
        Some(of) => {
            let at = site.standbys.iter().position(|standby| *standby == of);
            let drained = cx.state.nodes.get(&of).is_some_and(|node| node.draining.is_some());
            at.filter(|_| drained && stand_in(site, of).is_none())
                .ok_or_else(|| Refusal::invalid("instead", "it is not to leave, or somebody stands in for it"))?
        }
    };
    site.standbys.insert(at, node.id);
    site.stationed.push(stationed.clone());
    Ok(())
}

/// How many standbys the cluster is still to choose.
pub fn lacks(site: &Site) -> usize {
    let leaving = site.stationed.iter().filter(|stationed| stationed.instead.is_some()).count();
    usize::from(site.wanted).saturating_sub(site.standbys.len() - leaving)
}

/// Who stands in for a standby that is to leave.
pub fn stand_in(site: &Site, of: NodeId) -> Option<NodeId> {
    site.stationed.iter().find(|stationed| stationed.instead == Some(of)).map(|stationed| stationed.node)
}

/// Whoever stands in for a node that stays after all stands by no more.
pub(crate) fn stay(cx: &mut Apply<'_>, node: NodeId) {
    let sites: Vec<_> = cx.state.sites.values().filter(|site| stand_in(site, node).is_some()).cloned().collect();
    for old in sites {
        let mut site = Site { revision: cx.revision, ..Site::clone(&old) };
        let gone = stand_in(&site, node);
        site.standbys.retain(|standby| Some(*standby) != gone);
        tidy(&mut site);
        cx.put(Row::Site(site.into()));
    }
}

/// Nothing is kept of nodes that stand by no more.
pub(crate) fn tidy(site: &mut Site) {
    site.stationed.retain(|stationed| site.standbys.contains(&stationed.node));
    for stationed in &mut site.stationed {
        stationed.instead = stationed.instead.filter(|of| site.standbys.contains(of));
    }
}
