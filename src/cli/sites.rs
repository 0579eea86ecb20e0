//! `ruche site`: websites, and what answers for them. Never touches a site's files.
use clap::{ArgGroup, Args, Subcommand};
use http::Method;

use crate::api::moves::Moving;
use crate::api::sites::{Handler, Site, SiteCreate, SitePatch, Www};
use crate::base::limits::LOG_LINES_DEFAULT;
use crate::base::names::{AccountName, Host, IssuerName, NodeName};
use crate::base::sizes::human;
use crate::cli::client::{Write, of_account, path, read};
use crate::cli::failure::Failure;
use crate::cli::moves::{self, MoveArgs};
use crate::cli::options::{EXAMPLES, OptionArgs};
use crate::cli::output::{Out, clean, or_dash, unicode};
use crate::cli::session::Session;
use crate::cli::standbys::{self, FailoverArgs, StandbyArgs};
use crate::cli::tree::{WriteArgs, one_of};
use crate::cli::values::{Limit, size, size_limit};
use crate::cli::{certificates, options, visits};

const CREATE_EXAMPLES: &str = "\
Examples:
  ruche site create example.org --static --www redirect
  ruche site create example.org --static --node pi-1 --standby pi-2
  ruche site create bücher.example --php 8.2 --account tennis-club --quota 2G
  ruche site create app.example.org --proxy http://127.0.0.1:3000
  ruche site create old.example.org --redirect https://example.org";

#[derive(Debug, Subcommand)]
pub(crate) enum SiteCommand {
    /// Create a site
    #[command(after_help = CREATE_EXAMPLES)]
    Create(Box<CreateArgs>),
    /// List the sites
    Ls {
        /// Only those of this account
        #[arg(long)]
        account: Option<AccountName>,
    },
    /// Show one site
    Show { host: Host },
    /// Change a site; what is not named stays
    #[command(after_help = EXAMPLES)]
    Set(Box<SetArgs>),
    /// Suspend a site: visitors are told so
    Suspend {
        host: Host,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Resume a suspended site
    Resume {
        host: Host,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Show visitors that the site is being worked on
    Maintenance {
        host: Host,
        #[arg(value_parser = ["on", "off"])]
        state: String,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Show who came to a site: its access log on this node
    #[command(after_help = "Example:\n  ruche site logs example.org -n 100 -f")]
    Logs {
        host: Host,
        /// How many of the newest lines
        #[arg(short = 'n', long, default_value_t = LOG_LINES_DEFAULT)]
        lines: usize,
        /// Go on with what comes
        #[arg(short, long)]
        follow: bool,
    },
    /// Show how many came to a site day by day, or to all sites
    Stats { host: Option<Host> },
    /// Move a site to another node while it is served
    #[command(after_help = "Examples:
  ruche site move example.org --to pi-2 --dry-run
  ruche site move example.org --to pi-2 --bandwidth 5M")]
    Move(MoveArgs),
    /// Make a standby the home of a site whose home is down
    #[command(after_help = "Examples:
  ruche site failover example.org --dry-run
  ruche site failover example.org --to pi-2 --yes")]
    Failover(FailoverArgs),
    /// Remove a site; its files stay in the trash for 7 days
    Rm {
        host: Host,
        #[command(flatten)]
        write: WriteArgs,
    },
}

/// What answers a request.
#[derive(Debug, Args)]
#[group(skip)]
struct HandlerArgs {
    /// Serve the site's files
    #[arg(long = "static")]
    files: bool,
    /// Pass requests on to these servers: http://host:port, https://host:port or unix:/path
    #[arg(long, value_name = "URL", num_args = 1..)]
    proxy: Vec<String>,
    /// Redirect to another address: path and query are kept where the URL has no path of its own (https://example.org), else
    /// everybody lands on the URL itself
    #[arg(long, value_name = "URL")]
    redirect: Option<String>,
    /// Serve the site's files and run PHP of this version
    #[arg(long, value_name = "VER")]
    php: Option<String>,
}

impl HandlerArgs {
    fn handler(self) -> Option<Handler> {
        match self {
            Self { redirect: Some(to), .. } => Some(Handler::Redirect { to, status: 308 }),
            Self { php: Some(version), .. } => Some(Handler::Php { version }),
            Self { files: true, .. } => Some(Handler::Static {}),
            Self { proxy, .. } if !proxy.is_empty() => Some(Handler::Proxy { upstreams: proxy }),
            Self { .. } => None,
        }
    }
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("handler").args(["files", "proxy", "redirect", "php"]).required(true))]
pub(crate) struct CreateArgs {
    /// Main name of the site, in Unicode or as A-labels
    host: Host,
    #[command(flatten)]
    handler: HandlerArgs,
    /// Another name that is answered alike; may be repeated
    #[arg(long = "alias", value_name = "H")]
    aliases: Vec<Host>,
    /// What happens to `www.` before the main name
    #[arg(long, default_value = "off", value_parser = one_of::<Www>(&["off", "serve", "redirect"]))]
    www: Www,
    /// Owner of the site
    #[arg(long)]
    account: Option<AccountName>,
    /// Node that holds its files [default: the one with the fewest sites]
    #[arg(long)]
    node: Option<NodeName>,
    #[command(flatten)]
    standby: StandbyArgs,
    /// Who issues its certificate [default: the cluster's choice]
    #[arg(long)]
    issuer: Option<IssuerName>,
    /// Space its files may take, such as 500M or 2G [default: as much as its account has]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    quota: Option<u64>,
    #[command(flatten)]
    options: OptionArgs,
    #[command(flatten)]
    write: WriteArgs,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("handler").args(["files", "proxy", "redirect", "php"]))]
pub(crate) struct SetArgs {
    host: Host,
    #[command(flatten)]
    handler: HandlerArgs,
    /// The other names, all of them; may be repeated
    #[arg(long = "alias", value_name = "H")]
    aliases: Vec<Host>,
    /// Remove all other names
    #[arg(long, conflicts_with = "aliases")]
    no_alias: bool,
    /// What happens to `www.` before the main name
    #[arg(long, value_parser = one_of::<Www>(&["off", "serve", "redirect"]))]
    www: Option<Www>,
    /// New owner
    #[arg(long)]
    account: Option<AccountName>,
    #[arg(long, conflicts_with = "account")]
    no_account: bool,
    #[command(flatten)]
    standby: StandbyArgs,
    /// Keep no copies of it
    #[arg(long, conflicts_with = "standbys")]
    no_standby: bool,
    /// Who issues its certificate
    #[arg(long)]
    issuer: Option<IssuerName>,
    #[arg(long, conflicts_with = "issuer")]
    no_issuer: bool,
    /// Space its files may take, or `unlimited`: as much as its account has
    #[arg(long, value_name = "SIZE", value_parser = size_limit)]
    quota: Option<Limit>,
    #[command(flatten)]
    options: OptionArgs,
    #[command(flatten)]
    write: WriteArgs,
}

impl SetArgs {
    fn patch(self) -> Result<(Host, SitePatch, WriteArgs), Failure> {
        let standbys_wanted = self.standby.number(&doing("change", &self.host))?;
        let aliases = (self.no_alias || !self.aliases.is_empty()).then(|| texts(&self.aliases));
        let patch = SitePatch {
            aliases,
            www: self.www,
            handler: self.handler.handler(),
            account: if self.no_account { Some(None) } else { self.account.map(|name| Some(name.to_string())) },
            issuer: if self.no_issuer { Some(None) } else { self.issuer.map(|name| Some(name.to_string())) },
            quota: self.quota.map(Option::from),
            standbys: (self.no_standby || self.standby.is_named()).then(|| self.standby.names()),
            failover: self.standby.failover,
            standbys_wanted,
            options: self.options.patch()?,
            ..SitePatch::default()
        };
        Ok((self.host, patch, self.write))
    }
}

pub(crate) async fn run(session: &Session, command: SiteCommand) -> Result<(), Failure> {
    match command {
        SiteCommand::Create(args) => create(session, *args).await,
        SiteCommand::Ls { account } => {
            session.list("sites", &of_account(path(&["sites"]), account.as_ref()), table).await
        }
        SiteCommand::Show { host } => show(session, &host).await,
        SiteCommand::Set(args) => {
            let (host, patch, write) = args.patch()?;
            session.patch("Changed", doing("change", &host), one(&host), &patch, &write).await
        }
        SiteCommand::Suspend { host, write } => {
            let patch = SitePatch { suspended: Some(true), ..SitePatch::default() };
            session.patch("Suspended", doing("suspend", &host), one(&host), &patch, &write).await
        }
        SiteCommand::Resume { host, write } => {
            let patch = SitePatch { suspended: Some(false), ..SitePatch::default() };
            session.patch("Resumed", doing("resume", &host), one(&host), &patch, &write).await
        }
        SiteCommand::Maintenance { host, state, write } => {
            let patch = SitePatch { maintenance: Some(state == "on"), ..SitePatch::default() };
            let doing = format!("switch maintenance {state} for the site {}", host.to_unicode());
            session.patch("Switched", doing, one(&host), &patch, &write).await
        }
        SiteCommand::Logs { host, lines, follow } => visits::logs(session, &host, lines, follow).await,
        SiteCommand::Stats { host } => visits::stats(session, host.as_ref()).await,
        SiteCommand::Move(args) => moves::site(session, args).await,
        SiteCommand::Failover(args) => standbys::fail_over(session, args).await,
        SiteCommand::Rm { host, write } => {
            let what = format!("the site {}", host.to_unicode());
            session.remove(&what, " Its files stay in the trash for 7 days.", one(&host), &write).await
        }
    }
}

async fn create(session: &Session, args: CreateArgs) -> Result<(), Failure> {
    let doing = doing("create", &args.host);
    let body = SiteCreate {
        host: args.host.to_string(),
        aliases: texts(&args.aliases),
        www: args.www,
        handler: args.handler.handler().expect("clap asks for one of the handlers"),
        account: args.account.map(|name| name.to_string()),
        node: args.node.map(|name| name.to_string()),
        standbys: args.standby.names(),
        standbys_wanted: args.standby.number(&doing)?.unwrap_or_default(),
        failover: args.standby.failover.unwrap_or_default(),
        issuer: args.issuer.map(|name| name.to_string()),
        quota: args.quota,
        options: args.options.patch()?,
    };
    let write = Write::new(doing.clone(), Method::POST, path(&["sites"]), &args.write).body(&body);
    let done = session.write("Created", write).await?;
    if !session.out.json {
        // A repeated request may be answered without the object.
        let site = read::<Site>(&doing, &done.body).ok();
        if let Some((chosen, node)) = site.as_ref().and_then(|site| Some((site.chosen.as_ref()?, &site.node))) {
            session.out.note(&format!("{node} was chosen: {}.", clean(chosen)));
        }
        if let Some((root, node)) = site.and_then(|site| Some((site.root?, site.node))) {
            session.out.note(&format!("Its files go to {root} on the node {node}."));
        }
    }
    Ok(())
}

async fn show(session: &Session, host: &Host) -> Result<(), Failure> {
    let doing = doing("show", host);
    let body = session.api.get(&doing, &one(host)).await?;
    if session.out.json {
        return session.print_json(&body);
    }
    let site: Site = read(&doing, &body)?;
    let certificate = match &site.certificate {
        // One that was replaced a moment ago is not worth a failure.
        Some(id) => certificates::brief(session, &doing, id).await.ok(),
        None => None,
    };
    let copies = standbys::brief(session, &doing, &site).await;
    session.out.print(&fields(&session.out, &site, certificate, copies))
}

fn doing(verb: &str, host: &Host) -> String {
    format!("{verb} the site {}", host.to_unicode())
}

fn one(host: &Host) -> String {
    path(&["sites", host.as_str()])
}

fn texts(hosts: &[Host]) -> Vec<String> {
    hosts.iter().map(ToString::to_string).collect()
}

fn handler(handler: &Handler) -> String {
    match handler {
        Handler::Static {} => "static".to_owned(),
        Handler::Php { version } => format!("php {version}"),
        Handler::Proxy { upstreams } => format!("proxy to {}", upstreams.join(", ")),
        Handler::Redirect { to, status } => format!("redirect to {to} ({status})"),
    }
}

fn www(www: Www) -> &'static str {
    match www {
        Www::Off => "off",
        Www::Serve => "served like the main name",
        Www::Redirect => "redirected to the main name",
    }
}

fn table(out: &Out, sites: Vec<Site>) -> String {
    let rows = sites.into_iter().map(|site| {
        let status = site.status.as_str().to_owned();
        [site.host_unicode, handler(&site.handler), or_dash(site.account), site.node, status]
    });
    out.table(["HOST", "HANDLER", "ACCOUNT", "NODE", "STATUS"], rows)
}

fn fields(out: &Out, site: &Site, certificate: Option<String>, copies: Vec<(&'static str, Option<String>)>) -> String {
    let aliases: Vec<_> = site.aliases.iter().map(|alias| unicode(alias)).collect();
    let listed = |texts: &[String]| (!texts.is_empty()).then(|| texts.join(", "));
    let mut fields = vec![
        ("host", Some(site.host_unicode.clone())),
        ("in the DNS", (site.host != site.host_unicode).then(|| site.host.clone())),
        ("aliases", listed(&aliases)),
        ("www", Some(www(site.www).to_owned())),
        ("handler", Some(handler(&site.handler))),
        ("status", Some(site.status.as_str().to_owned())),
        ("account", site.account.clone()),
        ("node", Some(site.node.clone())),
        ("chosen", site.chosen.clone()),
        ("moves to", site.moving.as_ref().map(moving)),
    ];
    fields.extend(copies);
    fields.extend([
        ("files", site.root.clone()),
        ("quota", Some(site.quota.map_or_else(|| "as much as its account".to_owned(), human))),
        ("issuer", site.issuer.clone()),
        ("certificate", certificate),
    ]);
    fields.extend(options::fields(&site.options));
    fields.extend([
        ("created", Some(out.time(&site.created))),
        ("id", Some(site.id.clone())),
        ("epoch", Some(site.epoch.to_string())),
        ("revision", Some(site.revision.to_string())),
    ]);
    out.fields(&fields)
}

fn moving(moving: &Moving) -> String {
    let waits = if moving.waits { ", which waits for the word to go on" } else { "" };
    format!("{}, operation {}{waits}", moving.to, moving.operation)
}
