//! The command line as clap reads it. A command that does not exist yet is not in it. No IO and no logic.
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::de::DeserializeOwned;

use crate::cli::accounts::AccountCommand;
use crate::cli::certificates::CertCommand;
use crate::cli::cluster::{ClusterCommand, ClusterTree};
use crate::cli::events::EventsArgs;
use crate::cli::ftp_users::FtpUserCommand;
use crate::cli::issuers::IssuerCommand;
use crate::cli::nodes::NodeCommand;
use crate::cli::operations::OperationCommand;
use crate::cli::plans::PlanCommand;
use crate::cli::records::RecordCommand;
use crate::cli::sites::SiteCommand;
use crate::cli::tokens::TokenCommand;
use crate::cli::zones::ZoneCommand;

const EXAMPLES: &str = "\
First steps:
  ruche status                                    see how the node is
  ruche cluster key export recovery.key           keep this file off the machine
  ruche site create example.org --static          serve files
  ruche cert export --ca --out ruche-ca.pem       trust the internal certificates of its sites
  ruche zone create example.org                   keep DNS records
  ruche ftp-user create web --site example.org --password-stdin

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by a rule or limit, 4 not reachable or no quorum.";

/// A hosting node: websites, DNS, FTP and certificates on small machines that form a cluster.
#[derive(Debug, Parser)]
#[command(name = "ruche", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Tree,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Admin socket of the node [env: RUCHE_SOCKET] [default: /run/ruche/admin.sock]
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "url")]
    pub(crate) socket: Option<PathBuf>,
    /// Address of the admin API, such as http://127.0.0.1:7479, with the token in RUCHE_TOKEN [env: RUCHE_URL]
    #[arg(long, global = true)]
    pub(crate) url: Option<String>,
    /// How the output is written
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table, hide_default_value = true)]
    pub(crate) output: Format,
    /// After a write, wait until every part of the node serves it (the default), or with `all` every node that is up
    #[arg(long, global = true, overrides_with = "no_wait", value_enum, value_name = "WHO", num_args = 0..=1,
        require_equals = true, default_missing_value = "node")]
    pub(crate) wait: Option<Who>,
    /// After a write, return as soon as it is kept safely
    #[arg(long, global = true, overrides_with = "wait")]
    pub(crate) no_wait: bool,
    /// Do not ask before something is removed
    #[arg(short, long, global = true)]
    pub(crate) yes: bool,
}

/// Who serves a write before the command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Who {
    /// The node that is asked
    Node,
    /// Every node that is up
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Write options")]
pub(crate) struct WriteArgs {
    /// Only if the object is still at this revision
    #[arg(long, value_name = "REV")]
    pub(crate) if_match: Option<u64>,
    /// A write repeated under the same key happens once [default: random]
    #[arg(long, value_name = "K")]
    pub(crate) idempotency_key: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Tree {
    /// Run the node
    Run {
        /// Configuration file [default: /etc/ruche/ruche.toml]
        #[arg(long, value_name = "F")]
        config: Option<PathBuf>,
    },
    /// Check the configuration and tell all its faults
    Check {
        /// Configuration file [default: /etc/ruche/ruche.toml]
        #[arg(long, value_name = "F")]
        config: Option<PathBuf>,
    },
    /// Start a throw-away node, or a cluster of them, that shows itself working
    Demo {
        /// How many nodes: one shows its planes, several go on without one of them
        #[arg(long, value_name = "N", default_value = "1", value_parser = ["1", "3", "5"])]
        nodes: String,
        /// Stop after the tour, with exit code 0 if all went well
        #[arg(long)]
        once: bool,
    },
    /// Write manual pages and shell completions
    #[command(hide = true)]
    Docs {
        /// Directory they are written to
        dir: PathBuf,
    },
    /// The cluster and its keys
    #[command(subcommand)]
    Cluster(ClusterTree),
    #[command(flatten)]
    Api(ApiTree),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApiTree {
    /// Show how the node is and what to do next
    Status,
    /// Show what was changed, by whom and when
    Events(EventsArgs),
    /// Read as a part of `ClusterTree`.
    #[command(skip)]
    Cluster(ClusterCommand),
    /// The machines of the cluster
    #[command(subcommand)]
    Node(NodeCommand),
    /// Who owns sites, zones and logins
    #[command(subcommand)]
    Account(AccountCommand),
    /// What an account may have
    #[command(subcommand)]
    Plan(PlanCommand),
    /// Keys to the admin API for programs
    #[command(subcommand)]
    Token(TokenCommand),
    /// Websites
    #[command(subcommand)]
    Site(SiteCommand),
    /// The authorities certificates are asked of
    #[command(subcommand)]
    Issuer(Box<IssuerCommand>),
    /// Certificates that sites are served with
    #[command(subcommand)]
    Cert(CertCommand),
    /// DNS zones
    #[command(subcommand)]
    Zone(ZoneCommand),
    /// DNS records, set or removed as whole sets of one name and type
    #[command(subcommand)]
    Record(RecordCommand),
    /// Logins of the FTP server
    #[command(subcommand)]
    FtpUser(FtpUserCommand),
    /// Long work and its progress
    #[command(subcommand)]
    Operation(OperationCommand),
}

/// A value of the API by its name there; clap lists the names.
pub(crate) fn one_of<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| serde_json::from_value(serde_json::Value::String(name)))
}
