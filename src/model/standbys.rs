//! Standbys: nodes that keep a copy of a site's files, and the change that makes one of them its home when the home is gone.
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::ids::{NodeId, SiteId};
use crate::base::limits::SITE_STANDBYS_MAX;
use crate::model::answer::{Object, Outcome};
use crate::model::apply::Apply;
use crate::model::change::{Actor, Set};
use crate::model::nodes::Node;
use crate::model::operations::{self, Operation, Status};
use crate::model::refusal::{Kind, Refusal};
use crate::model::row::Row;
use crate::model::serials;
use crate::model::sites::{Site, SiteSet, check_text};
use crate::model::stations;

/// Who decides that a standby takes the place of a home that is down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failover {
    /// The cluster; the home writes only while the leader confirms that it is the home.
    #[default]
    Automatic,
    /// An administrator.
    Manual,
}

impl Failover {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Makes a standby the home of a site whose home is down. By the cluster itself only where failover is automatic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteFailover {
    pub site: SiteId,
    pub to: NodeId,
    /// Under which the site is at home where it is down.
    pub epoch: u64,
}

/// A node that was the home holds files that the standby did not have, and keeps them apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRecovered {
    pub site: SiteId,
    pub node: NodeId,
    pub files: u64,
    /// On that node.
    pub folder: String,
}

/// The home of a site that was not fenced before knows that it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteFenced {
    pub site: SiteId,
    /// What the site says it is since.
    pub since: u64,
}

/// What a site's recovery is called among the operations.
const SITE_RECOVER: &str = "site.recover";

pub(crate) fn fail_over(cx: &mut Apply<'_>, change: &SiteFailover) -> Result<Outcome, Refusal> {
    cx.unscoped()?;
    let old = cx.state.sites.get(&change.site).ok_or_else(|| Refusal::not_found(Kind::Site, change.site))?;
    let old = Arc::clone(old);
    let to = cx.state.nodes.get(&change.to).ok_or_else(|| Refusal::not_found(Kind::Node, change.to))?;
    if let Some(reason) = objection(to, &old) {
        return Err(Refusal::invalid("to", reason));
    }
    if old.epoch != change.epoch {
        return Err(Refusal::invalid("epoch", "the home of the site has changed meanwhile"));
    }
    if cx.state.nodes.get(&old.home).is_some_and(|home| !home.down) {
        return Err(Refusal::invalid("site", "its home is up: move the site instead"));
    }
    if cx.actor() == Actor::System && old.failover != Failover::Automatic {
        return Err(Refusal::Forbidden { reason: "an administrator decides about the failover of this site".into() });
    }
    if cx.actor() == Actor::System && old.unconfirmed.is_some() {
        return Err(Refusal::Forbidden { reason: UNCONFIRMED.into() });
    }
    let mut site = Site::clone(&old);
    (site.home, site.epoch, site.revision) = (to.id, old.epoch + 1, cx.revision);
    site.unconfirmed = None;
    step_aside(cx, &mut site, old.home);
    if let Some(moving) = site.moving.take() {
        operations::end(cx, moving.operation, Status::Failed { reason: "a standby took the site over".into() });
    }
    serials::site_changed(cx, Some(&old), Some(&site));
    let site = Arc::new(site);
    cx.put(Row::Site(Arc::clone(&site)));
    Ok(Outcome::new("site.failed-over", &site.host).account(site.account.as_ref()).object(site.for_events()))
}

/// Why nobody takes over by itself.
pub const UNCONFIRMED: &str = "its home has not said yet that it writes under its lease only";

/// A site that was written without a lease is not known to be fenced until its home says so. Whoever becomes the home knows.
pub(crate) fn fence(old: &Site, site: &mut Site) {
    site.unconfirmed = match (old.is_fenced(), site.is_fenced()) {
        (_, false) => None,
        (true, true) => old.unconfirmed,
        (false, true) => Some(site.revision),
    };
}

pub(crate) fn fenced(cx: &mut Apply<'_>, change: &SiteFenced) -> Result<Outcome, Refusal> {
    cx.by_the_cluster()?;
    let old = cx.state.sites.get(&change.site).ok_or_else(|| Refusal::not_found(Kind::Site, change.site))?;
    if old.unconfirmed != Some(change.since) {
        return Err(Refusal::invalid("since", "the site has changed meanwhile"));
    }
    let site = Site { unconfirmed: None, revision: cx.revision, ..Site::clone(old) };
    let outcome = Outcome::new("site.fenced", &site.host).account(site.account.as_ref());
    cx.put(Row::Site(site.into()));
    Ok(outcome)
}

/// Why a site cannot fail over to a node.
pub fn objection(to: &Node, site: &Site) -> Option<String> {
    let name = &to.name;
    if !site.standbys.contains(&to.id) {
        return Some(format!("{name} is no standby of {}", site.host));
    }
    if !to.takes_visitors() {
        return Some(format!("{name} takes no visitors"));
    }
    to.down.then(|| format!("{name} is down"))
}

/// Where a standby became the home, the node that was it stands by in its place: its files are there.
pub(crate) fn step_aside(cx: &Apply<'_>, site: &mut Site, was: NodeId) {
    let home = site.home;
    if cx.state.nodes.contains_key(&was) {
        site.standbys.iter_mut().filter(|standby| **standby == home).for_each(|standby| *standby = was);
    }
    site.standbys.retain(|standby| *standby != home);
    stations::tidy(site);
}

pub(crate) fn recovered(cx: &mut Apply<'_>, change: &SiteRecovered) -> Result<Outcome, Refusal> {
    cx.by_the_cluster()?;
    let site = cx.state.sites.get(&change.site).ok_or_else(|| Refusal::not_found(Kind::Site, change.site))?;
    let node = cx.state.nodes.get(&change.node).ok_or_else(|| Refusal::not_found(Kind::Node, change.node))?;
    let stage = format!("what the standby did not have is kept on {} in {}", node.name, change.folder);
    check_text("folder", &stage)?;
    let operation = Operation {
        id: crate::base::ids::OperationId(cx.seed_id()),
        action: SITE_RECOVER.to_owned(),
        subject: site.host.to_string(),
        account: site.account.clone(),
        stage,
        done: change.files,
        total: Some(change.files),
        status: Status::Succeeded,
        started: cx.time,
        ended: Some(cx.time),
        revision: cx.revision,
    };
    if cx.state.operations.contains_key(&operation.id) {
        return Err(Refusal::exists(Kind::Operation, operation.id));
    }
    cx.put(Row::FinishedOperation(operation.clone()));
    Ok(Outcome::new("site.recovered", &site.host).account(site.account.as_ref()).object(Object::Operation(operation)))
}

/// Nodes that are to keep copies: each one known, once, and not the home.
pub(crate) fn check(cx: &Apply<'_>, standbys: &[NodeId], home: NodeId) -> Result<(), Refusal> {
    if standbys.len() > SITE_STANDBYS_MAX {
        return Err(Refusal::invalid("standbys", format!("a site has {SITE_STANDBYS_MAX} at most")));
    }
    for (at, id) in standbys.iter().enumerate() {
        let node = cx.state.nodes.get(id).ok_or_else(|| Refusal::not_found(Kind::Node, id))?;
        if *id == home || standbys[..at].contains(id) {
            return Err(Refusal::invalid("standbys", "a standby is another node than the home, and stands there once"));
        }
        if !node.takes_visitors() {
            return Err(Refusal::invalid("standbys", format!("{} takes no visitors", node.name)));
        }
    }
    Ok(())
}

/// A number of standbys that the cluster chooses.
pub(crate) fn check_number(wanted: u8) -> Result<(), Refusal> {
    if usize::from(wanted) > SITE_STANDBYS_MAX {
        return Err(Refusal::invalid("standbys_wanted", format!("a site has {SITE_STANDBYS_MAX} at most")));
    }
    Ok(())
}

/// Standbys that are named are as they are; of a number the first ones stay.
pub(crate) fn set(site: &mut Site, change: &SiteSet) -> Result<(), Refusal> {
    if let Set::To(standbys) = &change.standbys {
        site.standbys.clone_from(standbys);
        (site.wanted, site.stationed) = (0, Vec::new());
    }
    if let Set::To(wanted) = change.wanted {
        check_number(wanted)?;
        site.wanted = wanted;
        if wanted > 0 {
            site.standbys.truncate(wanted.into());
        }
    }
    stations::tidy(site);
    Ok(())
}

/// A node that is no more stands by for nobody.
pub(crate) fn forget(cx: &mut Apply<'_>, node: NodeId) {
    let stood: Vec<_> = cx.state.sites.values().filter(|site| site.standbys.contains(&node)).cloned().collect();
    for site in stood {
        let mut site = Site { revision: cx.revision, ..Site::clone(&site) };
        site.standbys.retain(|standby| *standby != node);
        stations::tidy(&mut site);
        if !site.is_fenced() {
            site.unconfirmed = None;
        }
        cx.put(Row::Site(site.into()));
    }
}
