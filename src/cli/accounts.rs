//! `ruche account`: who owns sites, zones and logins. Never decides what an account may do.
use clap::Subcommand;
use http::Method;

use crate::api::accounts::{Account, AccountCreate, AccountPatch};
use crate::base::names::{AccountName, PlanName};
use crate::cli::client::{Write, path};
use crate::cli::failure::Failure;
use crate::cli::output::{Out, or_dash, yes_no};
use crate::cli::session::Session;
use crate::cli::tree::WriteArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Create an account
    #[command(after_help = "Example:\n  ruche account create tennis-club --plan small --contact tennis@example.org")]
    Create {
        name: AccountName,
        /// What it may have; without a plan there is no limit
        #[arg(long)]
        plan: Option<PlanName>,
        /// How to reach its owner
        #[arg(long, value_name = "TEXT")]
        contact: Option<String>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// List the accounts
    Ls,
    /// Show one account
    Show { name: AccountName },
    /// Change an account
    Set {
        name: AccountName,
        #[arg(long)]
        plan: Option<PlanName>,
        /// Take its plan away, and with it every limit
        #[arg(long, conflicts_with = "plan")]
        no_plan: bool,
        #[arg(long, value_name = "TEXT")]
        contact: Option<String>,
        #[arg(long, conflicts_with = "contact")]
        no_contact: bool,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Suspend an account: it keeps everything and may add nothing
    Suspend {
        name: AccountName,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Resume a suspended account
    Resume {
        name: AccountName,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Remove an account that owns nothing any more
    Rm {
        name: AccountName,
        #[command(flatten)]
        write: WriteArgs,
    },
}

pub(crate) async fn run(session: &Session, command: AccountCommand) -> Result<(), Failure> {
    match command {
        AccountCommand::Create { name, plan, contact, write } => {
            let body = AccountCreate { name: name.to_string(), plan: plan.map(|plan| plan.to_string()), contact };
            let doing = format!("create the account {name}");
            let write = Write::new(doing, Method::POST, path(&["accounts"]), &write).body(&body);
            session.write("Created", write).await.map(drop)
        }
        AccountCommand::Ls => session.list("accounts", &path(&["accounts"]), table).await,
        AccountCommand::Show { name } => session.show(&format!("show the account {name}"), &one(&name), fields).await,
        AccountCommand::Set { name, plan, no_plan, contact, no_contact, write } => {
            let plan = if no_plan { Some(None) } else { plan.map(|plan| Some(plan.to_string())) };
            let contact = if no_contact { Some(None) } else { contact.map(Some) };
            let patch = AccountPatch { plan, contact, suspended: None };
            change(session, ("change", "Changed"), &name, patch, &write).await
        }
        AccountCommand::Suspend { name, write } => {
            let patch = AccountPatch { suspended: Some(true), ..AccountPatch::default() };
            change(session, ("suspend", "Suspended"), &name, patch, &write).await
        }
        AccountCommand::Resume { name, write } => {
            let patch = AccountPatch { suspended: Some(false), ..AccountPatch::default() };
            change(session, ("resume", "Resumed"), &name, patch, &write).await
        }
        AccountCommand::Rm { name, write } => {
            session.remove(&format!("the account {name}"), "", one(&name), &write).await
        }
    }
}

async fn change(
    session: &Session,
    (verb, past): (&str, &str),
    name: &AccountName,
    patch: AccountPatch,
    args: &WriteArgs,
) -> Result<(), Failure> {
    let doing = format!("{verb} the account {name}");
    session.patch(past, doing, one(name), &patch, args).await
}

fn one(name: &AccountName) -> String {
    path(&["accounts", name.as_str()])
}

fn table(out: &Out, accounts: Vec<Account>) -> String {
    let rows = accounts.into_iter().map(|account| {
        let contact = or_dash(account.contact);
        [account.name, or_dash(account.plan), yes_no(account.suspended), out.time(&account.created), contact]
    });
    out.table(["ACCOUNT", "PLAN", "SUSPENDED", "CREATED", "CONTACT"], rows)
}

fn fields(out: &Out, account: &Account) -> String {
    out.fields(&[
        ("account", Some(account.name.clone())),
        ("plan", Some(account.plan.clone().unwrap_or_else(|| "none: no limits".into()))),
        ("contact", account.contact.clone()),
        ("suspended", Some(yes_no(account.suspended))),
        ("created", Some(out.time(&account.created))),
        ("revision", Some(account.revision.to_string())),
    ])
}
