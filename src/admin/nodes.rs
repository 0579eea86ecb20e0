//! `/v1/nodes`: the machines of the cluster, by their names.
use std::net::IpAddr;
use std::sync::Arc;

use axum::response::Response;

use crate::admin::ask::{Ask, AskWith};
use crate::admin::error::Failure;
use crate::admin::fields;
use crate::admin::look::{At, Look};
use crate::admin::resource::{Resource, View, path};
use crate::api::moves::Stays;
use crate::api::nodes as api;
use crate::api::page::{Page, PageQuery};
use crate::api::written::{ReadQuery, Removed, WriteQuery, Written};
use crate::base::ids::NodeId;
use crate::base::names::NodeName;
use crate::model::answer::Object;
use crate::model::change::Change;
use crate::model::drains::Stay;
use crate::model::nodes::{Node, NodeRemove, NodeSet, Role};
use crate::model::refusal::Kind;
use crate::model::state::State;

impl Resource for Node {
    type View = api::Node;

    fn of(object: Object) -> Option<Self> {
        if let Object::Node(node) = object { Some(node) } else { None }
    }

    fn view(&self, cx: &View<'_>) -> api::Node {
        let stays = |stay: &Stay| {
            let site = cx.snapshot.sites.get(&stay.site)?.host.to_string();
            Some(Stays { site, reason: stay.reason.clone() })
        };
        api::Node {
            id: self.id.to_string(),
            name: self.name.to_string(),
            roles: self.roles.iter().map(|role| shown_role(*role)).collect(),
            not_listening: self.deaf.iter().map(|role| shown_role(*role)).collect(),
            addresses: self.addresses.iter().map(IpAddr::to_string).collect(),
            labels: self.labels.clone(),
            cordoned: self.cordoned,
            draining: self.draining.as_ref().map(|draining| draining.operation.to_string()),
            stays: self.draining.iter().flat_map(|draining| &draining.stays).filter_map(stays).collect(),
            up: !self.down,
            reach: self.reach.iter().map(ToString::to_string).collect(),
            sites: cx.snapshot.sites_at(self.id),
            joined: self.joined.to_string(),
            revision: self.revision,
        }
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn path(&self) -> String {
        path(&["nodes", self.name.as_str()])
    }
}

/// The node of a name, or why there is none.
pub(crate) fn named<'a>(state: &'a State, field: &str, name: &str) -> Result<&'a Arc<Node>, Failure> {
    let parsed: NodeName = fields::name(field, name)?;
    state.node_named(&parsed).ok_or_else(|| Failure::not_found(Kind::Node, name))
}

/// The ids of nodes that are named.
pub(crate) fn ids(state: &State, field: &str, names: &[String]) -> Result<Vec<NodeId>, Failure> {
    names.iter().map(|name| named(state, field, name).map(|node| node.id)).collect()
}

/// The name of a node; its id where the node is gone.
pub(crate) fn name(state: &State, id: NodeId) -> String {
    state.nodes.get(&id).map_or_else(|| id.to_string(), |node| node.name.to_string())
}

fn shown_role(role: Role) -> api::Role {
    match role {
        Role::Web => api::Role::Web,
        Role::Dns => api::Role::Dns,
        Role::Ftp => api::Role::Ftp,
        Role::Control => api::Role::Control,
    }
}

fn role(role: api::Role) -> Role {
    match role {
        api::Role::Web => Role::Web,
        api::Role::Dns => Role::Dns,
        api::Role::Ftp => Role::Ftp,
        api::Role::Control => Role::Control,
    }
}

/// Lists the nodes by name.
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes", params(PageQuery), responses((status = 200, body = Page<api::Node>)))]
pub(crate) async fn list(look: Look) -> Result<Response, Failure> {
    look.caller.sees_all()?;
    let nodes = look.snapshot.nodes.values();
    look.page_by_name(nodes, |node| node.name.to_string(), |node| node.view(&look.view()))
}

/// Shows one node.
#[utoipa::path(get, path = "/v1/nodes/{node}", tag = "nodes", params(("node" = String, Path), ReadQuery),
    responses((status = 200, body = api::Node)))]
pub(crate) async fn show(At(name): At<String>, look: Look) -> Result<Response, Failure> {
    look.caller.sees_all()?;
    Ok(look.one(&**named(&look.snapshot, "node", &name)?))
}

/// Changes what a node does, its public addresses and labels, or whether it takes new sites.
#[utoipa::path(patch, path = "/v1/nodes/{node}", tag = "nodes", params(("node" = String, Path), WriteQuery),
    request_body = api::NodePatch, responses((status = 200, body = Written<api::Node>)))]
pub(crate) async fn set(
    At(name): At<String>,
    AskWith(ask, body): AskWith<api::NodePatch>,
) -> Result<Response, Failure> {
    ask.caller.sees_all()?;
    let node = named(&ask.snapshot, "node", &name)?;
    let addresses = body.addresses.map(|addresses| addresses.iter().map(|text| text.parse::<IpAddr>()).collect());
    let addresses: Option<Vec<_>> = addresses.transpose().map_err(|error| Failure::invalid("addresses", error))?;
    let set = NodeSet {
        node: node.id,
        roles: body.roles.map(|roles| roles.into_iter().map(role).collect()).into(),
        addresses: addresses.into(),
        labels: body.labels.into(),
        cordoned: body.cordoned.into(),
    };
    ask.change::<Node>(Change::NodeSet(set), Some(node.revision)).await
}

/// Takes a node out of the cluster that holds no site. It need not be up.
#[utoipa::path(delete, path = "/v1/nodes/{node}", tag = "nodes", params(("node" = String, Path), WriteQuery),
    responses((status = 200, body = Removed)))]
pub(crate) async fn remove(At(name): At<String>, ask: Ask) -> Result<Response, Failure> {
    ask.caller.sees_all()?;
    let node = named(&ask.snapshot, "node", &name)?;
    ask.remove(Change::NodeRemove(NodeRemove { node: node.id, lost: false }), Some(node.revision)).await
}

/// Takes a node out of the cluster whose disk may be in other hands. What that disk could open is replaced; an operation shows how far
/// that is.
#[utoipa::path(post, path = "/v1/nodes/{node}/lost", tag = "nodes", params(("node" = String, Path), WriteQuery),
    responses((status = 200, body = Removed)))]
pub(crate) async fn lose(At(name): At<String>, ask: Ask) -> Result<Response, Failure> {
    ask.caller.sees_all()?;
    let node = named(&ask.snapshot, "node", &name)?;
    ask.remove(Change::NodeRemove(NodeRemove { node: node.id, lost: true }), Some(node.revision)).await
}
