//! Where a site goes: the node it fits best, and why; and which sites change their home so that each node has its share. Pure: what
//! nodes say of themselves comes with the call. Never decides what may be: `apply` does.
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::ids::{NodeId, SiteId};
use crate::base::limits::moves::{BALANCE_SLACK, COPY_ROOM};
use crate::base::names::{Host, NodeName};
use crate::base::sizes::human;
use crate::model::nodes::Node;
use crate::model::sites::{Handler, Site, upstream_of_this_machine};
use crate::model::state::State;

/// What a node says of itself, beside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Bytes of the disk that holds the sites.
    pub free: u64,
    pub size: u64,
    /// Percent of its processors.
    pub load: u32,
}

/// The facts of those that answered.
pub type Boards = BTreeMap<NodeId, Facts>;

/// What is to be placed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish<'a> {
    /// What comes at once.
    pub bytes: u64,
    /// Where it is already.
    pub except: &'a [NodeId],
    /// Where its other copies are: nodes with a label in common with one of these are the last.
    pub apart: &'a [NodeId],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub node: NodeId,
    pub reason: String,
    /// The others, and how they are.
    pub others: Vec<Passed>,
}

/// A node that was not chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    pub node: NodeName,
    pub reason: String,
    /// It may be another time soon: it is down, or does not answer.
    pub is_away: bool,
}

/// The node that a site fits best, by labels, then by free disk, load and number of sites; none: why not, of each.
pub fn place(state: &State, boards: &Boards, wish: Wish<'_>) -> Result<Placed, Vec<Passed>> {
    let nodes = state.nodes.values().filter(|node| !wish.except.contains(&node.id));
    let (mut fits, mut passed) = (Vec::new(), Vec::new());
    for node in nodes {
        match unfit(node, boards, wish.bytes) {
            None => fits.push(node),
            Some((reason, is_away)) => passed.push(Passed { node: node.name.clone(), reason, is_away }),
        }
    }
    if fits.is_empty() && wish.bytes == 0 {
        // What has no files yet is rather on a full disk than nowhere.
        let answers = |node: &Node| boards.is_empty() || boards.contains_key(&node.id);
        let open = |node: &&Arc<Node>| node.closed().is_none() && answers(node) && !wish.except.contains(&node.id);
        fits = state.nodes.values().filter(open).collect();
        passed.retain(|passed| fits.iter().all(|node| node.name != passed.node));
    }
    let (sites, copies) = (counts(state), copies(state, wish));
    let of = |counts: &BTreeMap<NodeId, u64>, node: &Node| counts.get(&node.id).copied().unwrap_or(0);
    let count = |node: &Node| of(&sites, node) + of(&copies, node);
    let most = fits.iter().map(|node| count(node)).max().unwrap_or(0).max(1);
    // Each part is between 0 and 1000; the load of a moment counts half.
    let burden = |node: &Node| {
        let facts = boards.get(&node.id);
        let disk = facts.map_or(0, |facts| share(facts.size.saturating_sub(facts.free) + wish.bytes, facts.size));
        let load = facts.map_or(0, |facts| u64::from(facts.load.min(100)) * 5);
        disk + load + share(count(node), most)
    };
    let shares = |node: &Node| shared(state, node, wish.apart);
    fits.sort_by_cached_key(|node| (shares(node), burden(node), count(node), node.id));
    let Some((best, others)) = fits.split_first() else { return Err(passed) };
    let shown = |node: &Node| {
        let sites = match (of(&sites, node), of(&copies, node)) {
            (1, 0) => "1 site".to_owned(),
            (more, 0) => format!("{more} sites"),
            (some, kept) => format!("sites: {some}, copies: {kept}"),
        };
        let labels = match shares(node) {
            0 => "",
            _ => ", under a label of another copy",
        };
        match boards.get(&node.id) {
            Some(facts) => format!("{} free, load {} %, {sites}{labels}", human(facts.free), facts.load),
            None => sites + labels,
        }
    };
    passed
        .splice(..0, others.iter().map(|node| Passed { node: node.name.clone(), reason: shown(node), is_away: false }));
    let reason = match passed.is_empty() {
        true => format!("the only one that could be: {}", shown(best)),
        false => format!("it fits best: {}", shown(best)),
    };
    Ok(Placed { node: best.id, reason, others: passed })
}

/// How many labels a node has in common with others.
fn shared(state: &State, node: &Node, others: &[NodeId]) -> usize {
    let others: Vec<_> = others.iter().filter(|id| **id != node.id).filter_map(|id| state.nodes.get(id)).collect();
    node.labels
        .iter()
        .filter(|(name, value)| others.iter().any(|other| other.labels.get(*name) == Some(*value)))
        .count()
}

/// Why a site cannot go to a node, and whether that may pass soon.
fn unfit(node: &Node, boards: &Boards, bytes: u64) -> Option<(String, bool)> {
    if let Some(why) = node.closed() {
        return Some((format!("it {why}"), node.down));
    }
    match boards.get(&node.id) {
        // Where nobody was asked, nobody is silent.
        None => (!boards.is_empty()).then(|| ("it does not answer".to_owned(), true)),
        Some(facts) if bytes.saturating_add(COPY_ROOM) > facts.free => {
            Some((format!("it has {} free, and {} are to come", human(facts.free), human(bytes)), false))
        }
        Some(_) => None,
    }
}

fn share(part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(part) * 1000 / u128::from(whole.max(1))).unwrap_or(u64::MAX).min(1000)
}

/// Sites of each node, those on their way counted where they go.
fn counts(state: &State) -> BTreeMap<NodeId, u64> {
    let mut counts: BTreeMap<_, _> = state.nodes.keys().map(|node| (*node, state.sites_at(*node))).collect();
    for (site, (_, to)) in &state.moving {
        if let Some(count) = state.sites.get(site).and_then(|site| counts.get_mut(&site.home)) {
            *count = count.saturating_sub(1);
        }
        *counts.entry(*to).or_default() += 1;
    }
    counts
}

/// Copies of each node, where the site has other ones. For a site that has none each creation would look through all sites.
fn copies(state: &State, wish: Wish<'_>) -> BTreeMap<NodeId, u64> {
    let mut counts = BTreeMap::new();
    if !wish.apart.is_empty() {
        let kept = state.sites.values().flat_map(|site| &site.standbys);
        kept.for_each(|node| *counts.entry(*node).or_default() += 1);
    }
    counts
}

/// Why a site does not leave its home unless somebody says so: what it needs is there.
pub fn bound(site: &Site) -> Option<String> {
    let Handler::Proxy { upstreams } = &site.handler else { return None };
    let own = upstreams.iter().find(|upstream| upstream_of_this_machine(upstream))?;
    Some(format!("its upstream {own} is on the node itself"))
}

/// A site that changes its home, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    pub site: SiteId,
    pub host: Host,
    pub from: NodeId,
    pub to: NodeId,
    pub reason: String,
}

/// The moves after which no open node has many more sites than another; none where that is so. Nodes that are silent or full get none.
pub fn balance(state: &State, boards: &Boards) -> Vec<Way> {
    let mut counts = counts(state);
    let open: Vec<&Arc<Node>> = state.nodes.values().filter(|node| unfit(node, boards, 0).is_none()).collect();
    counts.retain(|id, _| open.iter().any(|node| node.id == *id));
    let mut movable: BTreeMap<NodeId, Vec<&Arc<Site>>> = BTreeMap::new();
    for site in state.sites.values().filter(|site| site.moving.is_none() && bound(site).is_none()) {
        movable.entry(site.home).or_default().push(site);
    }
    // Those go first that have no files.
    let has_files = |site: &Site| matches!(site.handler, Handler::Static | Handler::Php { .. });
    movable.values_mut().for_each(|sites| sites.sort_by_key(|site| (!has_files(site), site.host.clone())));
    let slack = 1 + counts.values().sum::<u64>() / counts.len().max(1) as u64 * BALANCE_SLACK / 100;
    let name = |id: NodeId| state.nodes.get(&id).map(|node| node.name.to_string()).unwrap_or_default();
    let mut ways = Vec::new();
    loop {
        let most = counts.iter().filter(|(id, _)| movable.get(*id).is_some_and(|sites| !sites.is_empty()));
        let most = most.max_by_key(|(id, count)| (**count, **id)).map(|(id, count)| (*id, *count));
        let least = counts.iter().min_by_key(|(id, count)| (**count, **id)).map(|(id, count)| (*id, *count));
        let (Some((from, most)), Some((to, least))) = (most, least) else { return ways };
        if most <= least + slack {
            return ways;
        }
        let Some(site) = movable.get_mut(&from).and_then(Vec::pop) else { return ways };
        let reason = format!("{} has {most} sites, and {} has {least}", name(from), name(to));
        ways.push(Way { site: site.id, host: site.host.clone(), from, to, reason });
        counts.insert(from, most - 1);
        counts.insert(to, least + 1);
    }
}
