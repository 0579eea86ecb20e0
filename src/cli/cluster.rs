//! `ruche cluster`: how the cluster is, and the recovery copy of its keys. The copy goes to a file that only its owner reads.
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use http::Method;

use crate::api::cluster::KeyExport;
use crate::base::names::NodeName;
use crate::cli::client::{Write, path, read};
use crate::cli::failure::Failure;
use crate::cli::joining;
use crate::cli::moves;
use crate::cli::output::clean;
use crate::cli::session::Session;
use crate::cli::tree::WriteArgs;
use crate::cli::upgrade::{self, Upgrade};

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterTree {
    #[command(flatten)]
    Api(ClusterCommand),
    /// Put a copy of the state in the place of lost or damaged databases
    ///
    /// On a node that does not run. The copy is verified first, and what was there is kept aside. Where the log of the node is whole it
    /// brings the copy up to date. Where it is not, what was changed after the copy is lost, and the node goes on alone: if other nodes
    /// of the cluster are left they have everything, and this one had better join them again.
    #[command(after_help = "Example:
  systemctl stop ruche
  ruche cluster recover --copy /var/lib/ruche/copies/state-1795392000-812.db.gz
  systemctl start ruche")]
    Recover(Recover),
}

#[derive(Debug, Args)]
pub struct Recover {
    /// A file of `copies` in the data directory, or a `state.db` that was copied while the node was stopped
    #[arg(long, value_name = "FILE")]
    pub copy: PathBuf,
    /// Which node of the copy this machine is, where there are several
    #[arg(long)]
    pub node: Option<NodeName>,
    /// Go on alone though the copy is of a cluster of several nodes: none of the others is left, or ever starts again as it was
    #[arg(long)]
    pub force_single: bool,
    /// Configuration file [default: /etc/ruche/ruche.toml]
    #[arg(long, value_name = "F")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show the cluster: who leads, and how each node is
    Status,
    /// Make this node a member of another cluster
    ///
    /// The token comes from `ruche node token` on any node of that cluster. The node takes the state of the cluster; one that holds
    /// sites, zones or accounts of its own is refused unless they are to be set aside.
    #[command(after_help = "Example:\n  ruche cluster join ruche-join-…")]
    Join {
        token: String,
        /// Its name in the cluster [default: the one it has]
        #[arg(long)]
        name: Option<NodeName>,
        /// Set aside what the node holds; it stays on the disk
        #[arg(long)]
        discard_state: bool,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Take this node out of its cluster
    ///
    /// It must be home of no site. It starts again, alone, and what it held is set aside on its disk.
    Leave {
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Move sites, so that no node has many more than another
    ///
    /// As few as make the numbers even, a few at a time, live. Nodes that are down, cordoned or without the role web take no part, and
    /// sites stay whose upstream is on their node itself.
    #[command(after_help = "Examples:
  ruche cluster rebalance --dry-run
  ruche cluster rebalance")]
    Rebalance {
        /// Tell which sites would move, where to, and why
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Upgrade all nodes, one after the other, the one that leads last
    ///
    /// Shows which node runs which version and which one is next. It stops where a node has diverged, where nobody leads, and where
    /// too few voters answer for one more to be away. With --run it does the steps itself, and waits after each until the node is back
    /// in its place. The level of the state is not raised: the version before can be installed again the same way, with --to. Once all
    /// is well, --raise raises it; from then on no earlier version runs the state.
    #[command(after_help = "Examples:
  ruche cluster upgrade
  ruche cluster upgrade --follow
  ruche cluster upgrade --to 0.2.0 --run 'ssh root@$RUCHE_NODE apt-get -y install ruche=$RUCHE_VERSION'")]
    Upgrade(Upgrade),
    /// The keys that protect the secrets of the cluster
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Write the recovery copy of the keys
    ///
    /// Without it, losing the disks of all nodes loses every certificate key, even if the state was saved. Keep the copy off the
    /// machines: who has it and a copy of the state can read every secret.
    #[command(after_help = "Example:\n  ruche cluster key export recovery.key")]
    Export {
        /// New file it is written to, for its owner only [default: the standard output]
        file: Option<PathBuf>,
        #[command(flatten)]
        write: WriteArgs,
    },
}

pub(crate) async fn run(session: &Session, command: ClusterCommand) -> Result<(), Failure> {
    match command {
        ClusterCommand::Status => session.show("show the cluster", &path(&["cluster"]), joining::cluster).await,
        ClusterCommand::Join { token, name, discard_state, write } => {
            joining::join(session, token, name, discard_state, &write).await
        }
        ClusterCommand::Leave { write } => joining::leave(session, &write).await,
        ClusterCommand::Rebalance { dry_run, write } => moves::rebalance(session, dry_run, &write).await,
        ClusterCommand::Upgrade(args) => upgrade::run(session, args).await,
        ClusterCommand::Key(KeyCommand::Export { file, write }) => export(session, file.as_deref(), &write).await,
    }
}

async fn export(session: &Session, file: Option<&Path>, args: &WriteArgs) -> Result<(), Failure> {
    const DOING: &str = "export the keys of the cluster";
    // Opened first: the cluster remembers the export, so there must be a place for it.
    let opened = file.map(|path| create(path).map(|file| (path, file))).transpose()?;
    let write = Write::new(DOING, Method::POST, path(&["cluster", "key"]), args);
    let answer = match session.api.write(write).await {
        Ok(done) => read::<KeyExport>(DOING, &done.body).map(|export| (export, done.body)),
        Err(failure) => Err(failure),
    };
    let (export, body) = match answer {
        Ok(answer) => answer,
        Err(failure) => {
            if let Some((path, _)) = opened {
                let _ = fs::remove_file(path);
            }
            return Err(failure);
        }
    };
    let Some((path, mut file)) = opened else {
        return if session.out.json { session.print_json(&body) } else { session.out.print(&lined(&export.keyring)) };
    };
    let written = file.write_all(lined(&export.keyring).as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|cause| Failure::io(format!("write {}", path.display()), cause))?;
    session
        .out
        .note("Keep it off this machine: who has it and a copy of the state can read every secret of the cluster.");
    let (path, fingerprint) = (path.display(), clean(&export.fingerprint));
    session.out.print(&format!("Wrote the recovery copy of the keys to {path}, fingerprint {fingerprint}.\n"))
}

fn create(path: &Path) -> Result<File, Failure> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    opened.map_err(|cause| Failure::io(format!("create {}", path.display()), cause))
}

fn lined(text: &str) -> String {
    format!("{}\n", text.trim_end())
}
