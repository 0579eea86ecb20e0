//! `ruche node`: the machines of the cluster, what they do and where they are found.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use clap::Subcommand;
use http::Method;

use crate::api::nodes::{Node, NodePatch, Role};
use crate::base::names::NodeName;
use crate::cli::client::{Write, path};
use crate::cli::failure::Failure;
use crate::cli::joining;
use crate::cli::moves;
use crate::cli::output::{Out, or_dash, yes_no};
use crate::cli::session::Session;
use crate::cli::standbys;
use crate::cli::tree::{WriteArgs, one_of};
use crate::cli::values::{duration, label};

const ROLES: &[&str] = &["web", "dns", "ftp", "control"];

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List the nodes
    Ls,
    /// Show one node
    Show { node: NodeName },
    /// Make a token with which one machine joins the cluster
    #[command(after_help = "Examples:
  ruche node token
  ruche node token --expires 15m")]
    Token {
        /// How long it is good for, such as 15m, 2h or 3d [default: 1h]
        #[arg(long, value_name = "TIME", value_parser = duration)]
        expires: Option<Duration>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Change a node; what is not named stays
    #[command(after_help = "Examples:
  ruche node set pi-1 --address 192.0.2.1 --address 2001:db8::1
  ruche node set pi-1 --role web --role ftp --label rack=attic")]
    Set {
        node: NodeName,
        /// What it does, all of it; may be repeated
        #[arg(long = "role", value_name = "ROLE", value_delimiter = ',', value_parser = one_of::<Role>(ROLES))]
        roles: Vec<Role>,
        /// Its public addresses, all of them, for DNS; may be repeated
        #[arg(long = "address", value_name = "IP")]
        addresses: Vec<IpAddr>,
        /// It has no public address
        #[arg(long, conflicts_with = "addresses")]
        no_address: bool,
        /// Its labels, all of them; may be repeated
        #[arg(long = "label", value_name = "K=V", value_parser = label)]
        labels: Vec<(String, String)>,
        /// Take all its labels away
        #[arg(long, conflicts_with = "labels")]
        no_label: bool,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Give the node no new sites
    Cordon {
        node: NodeName,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Move all sites of a node to others, and give it no new ones
    ///
    /// Each goes where it fits best, live, one after the other. What cannot go is named with the reason. `ruche operation cancel` ends
    /// it; asked again, it shows how far it is.
    Drain {
        node: NodeName,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Make standbys the homes of all sites of a node that is down
    Evacuate {
        node: NodeName,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Take a node out of the cluster
    ///
    /// It must be home of no site; it need not be up.
    Rm {
        node: NodeName,
        /// Its disk may be in other hands: replace every key and certificate that it could open, and revoke all tokens
        #[arg(long)]
        lost: bool,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Let the node have new sites again
    Uncordon {
        node: NodeName,
        #[command(flatten)]
        write: WriteArgs,
    },
}

pub(crate) async fn run(session: &Session, command: NodeCommand) -> Result<(), Failure> {
    match command {
        NodeCommand::Ls => session.list("nodes", &path(&["nodes"]), table).await,
        NodeCommand::Show { node } => session.show(&format!("show the node {node}"), &one(&node), fields).await,
        NodeCommand::Set { node, roles, addresses, no_address, labels, no_label, write } => {
            let patch = NodePatch {
                roles: (!roles.is_empty()).then(|| roles.into_iter().collect::<BTreeSet<_>>()),
                addresses: (no_address || !addresses.is_empty())
                    .then(|| addresses.iter().map(ToString::to_string).collect()),
                labels: (no_label || !labels.is_empty()).then(|| labels.into_iter().collect::<BTreeMap<_, _>>()),
                cordoned: None,
            };
            session.patch("Changed", format!("change the node {node}"), one(&node), &patch, &write).await
        }
        NodeCommand::Token { expires, write } => joining::token(session, expires, &write).await,
        NodeCommand::Rm { node, lost: true, write } => {
            let doing = format!("remove the lost node {node}");
            let question =
                format!("Remove the node {node}? All tokens end, and all keys and certificates are replaced.");
            session.confirm(&doing, &question)?;
            let at = path(&["nodes", node.as_str(), "lost"]);
            session.write("Removed", Write::new(doing, Method::POST, at, &write)).await?;
            session.out.note("`ruche operation ls` shows how far the replacing of keys and certificates is.");
            Ok(())
        }
        NodeCommand::Rm { node, lost: false, write } => {
            let loses = " It is a member no more, and nobody answers it.";
            session.remove(&format!("the node {node}"), loses, one(&node), &write).await
        }
        NodeCommand::Drain { node, write } => moves::drain(session, &node, &write).await,
        NodeCommand::Evacuate { node, write } => standbys::evacuate(session, &node, &write).await,
        NodeCommand::Cordon { node, write } => {
            let patch = NodePatch { cordoned: Some(true), ..NodePatch::default() };
            session.patch("Cordoned", format!("cordon the node {node}"), one(&node), &patch, &write).await
        }
        NodeCommand::Uncordon { node, write } => {
            let patch = NodePatch { cordoned: Some(false), ..NodePatch::default() };
            session.patch("Uncordoned", format!("uncordon the node {node}"), one(&node), &patch, &write).await
        }
    }
}

fn one(node: &NodeName) -> String {
    path(&["nodes", node.as_str()])
}

fn roles(node: &Node) -> String {
    let silent = |role| if node.not_listening.contains(role) { " (no address)" } else { "" };
    node.roles.iter().map(|role| format!("{}{}", role.as_str(), silent(role))).collect::<Vec<_>>().join(", ")
}

fn labels(node: &Node) -> String {
    node.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}

fn table(out: &Out, nodes: Vec<Node>) -> String {
    let rows = nodes.into_iter().map(|node| {
        let (roles, labels) = (or_dash(Some(roles(&node))), or_dash(Some(labels(&node))));
        let addresses = or_dash(Some(node.addresses.join(", ")));
        [node.name, yes_no(node.up), roles, addresses, node.sites.to_string(), yes_no(node.cordoned), labels]
    });
    out.table(["NODE", "UP", "ROLES", "ADDRESSES", "SITES", "CORDONED", "LABELS"], rows)
}

fn fields(out: &Out, node: &Node) -> String {
    let given = |text: String| (!text.is_empty()).then_some(text);
    let stays: Vec<_> = node.stays.iter().map(|stay| format!("{}: {}", stay.site, stay.reason)).collect();
    out.fields(&[
        ("node", Some(node.name.clone())),
        ("roles", given(roles(node))),
        ("addresses", given(node.addresses.join(", "))),
        ("labels", given(labels(node))),
        ("sites", Some(node.sites.to_string())),
        ("up", Some(yes_no(node.up))),
        ("reached at", given(node.reach.join(", "))),
        ("cordoned", Some(yes_no(node.cordoned))),
        ("drained by", node.draining.as_ref().map(|operation| format!("operation {operation}"))),
        ("stay here", given(stays.join("; "))),
        ("joined", Some(out.time(&node.joined))),
        ("id", Some(node.id.clone())),
        ("revision", Some(node.revision.to_string())),
    ])
}
