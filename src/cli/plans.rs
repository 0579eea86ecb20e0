//! `ruche plan`: what an account may have. A plan is put as a whole; `set` reads it first and guards the change with its revision.
use clap::{Args, Subcommand};
use http::Method;

use crate::api::plans::{Limits, Plan, PlanPut};
use crate::base::names::PlanName;
use crate::base::sizes::human;
use crate::cli::client::{Write, path, read};
use crate::cli::failure::Failure;
use crate::cli::output::Out;
use crate::cli::session::Session;
use crate::cli::tree::WriteArgs;
use crate::cli::values::{Limit, count_limit, size_limit};

#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// Create a plan
    #[command(after_help = "Example:\n  ruche plan create small --sites 5 --zones 5 --ftp-users 10 --disk 10G")]
    Create {
        name: PlanName,
        #[command(flatten)]
        limits: LimitArgs,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// List the plans
    Ls,
    /// Show one plan
    Show { name: PlanName },
    /// Change limits of a plan; those not named stay. Lowering a limit removes nothing
    Set {
        name: PlanName,
        #[command(flatten)]
        limits: LimitArgs,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Remove a plan that no account has any more
    Rm {
        name: PlanName,
        #[command(flatten)]
        write: WriteArgs,
    },
}

/// Each a number or `unlimited`.
#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// Sites of an account, or `unlimited`
    #[arg(long, value_name = "N", value_parser = count_limit)]
    sites: Option<Limit>,
    /// Zones of an account
    #[arg(long, value_name = "N", value_parser = count_limit)]
    zones: Option<Limit>,
    /// Record sets of one zone
    #[arg(long, value_name = "N", value_parser = count_limit)]
    records: Option<Limit>,
    /// FTP users of an account
    #[arg(long, value_name = "N", value_parser = count_limit)]
    ftp_users: Option<Limit>,
    /// Sum of the quotas of all sites, such as 10G
    #[arg(long, value_name = "SIZE", value_parser = size_limit)]
    disk: Option<Limit>,
}

impl LimitArgs {
    fn over(&self, old: &Limits) -> Limits {
        let of = |new: Option<Limit>, old| new.map_or(old, Option::from);
        Limits {
            sites: of(self.sites, old.sites),
            zones: of(self.zones, old.zones),
            records: of(self.records, old.records),
            ftp_users: of(self.ftp_users, old.ftp_users),
            disk: of(self.disk, old.disk),
        }
    }

    fn is_empty(&self) -> bool {
        [self.sites, self.zones, self.records, self.ftp_users, self.disk].iter().all(Option::is_none)
    }
}

pub(crate) async fn run(session: &Session, command: PlanCommand) -> Result<(), Failure> {
    match command {
        PlanCommand::Create { name, limits, write } => {
            let body = PlanPut { limits: limits.over(&Limits::default()) };
            let mut put = Write::new(format!("create the plan {name}"), Method::PUT, one(&name), &write).body(&body);
            put.new_only = true;
            session.write("Created", put).await.map(drop)
        }
        PlanCommand::Ls => session.list("plans", &path(&["plans"]), table).await,
        PlanCommand::Show { name } => session.show(&format!("show the plan {name}"), &one(&name), fields).await,
        PlanCommand::Set { name, limits, write } => {
            let doing = format!("change the plan {name}");
            if limits.is_empty() {
                return Err(Failure::nothing_to_change(&doing));
            }
            let old: Plan = read(&doing, &session.api.get(&doing, &one(&name)).await?)?;
            let body = PlanPut { limits: limits.over(&old.limits) };
            let mut put = Write::new(doing, Method::PUT, one(&name), &write).body(&body);
            put.if_match.get_or_insert(old.revision);
            session.write("Changed", put).await.map(drop)
        }
        PlanCommand::Rm { name, write } => session.remove(&format!("the plan {name}"), "", one(&name), &write).await,
    }
}

fn one(name: &PlanName) -> String {
    path(&["plans", name.as_str()])
}

fn count(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}

fn bytes(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), human)
}

fn table(out: &Out, plans: Vec<Plan>) -> String {
    let rows = plans.into_iter().map(|Plan { name, limits, .. }| {
        let Limits { sites, zones, records, ftp_users, disk } = limits;
        [name, count(sites), count(zones), count(records), count(ftp_users), bytes(disk)]
    });
    out.table(["PLAN", "SITES", "ZONES", "RECORDS", "FTP USERS", "DISK"], rows)
}

fn fields(out: &Out, plan: &Plan) -> String {
    out.fields(&[
        ("plan", Some(plan.name.clone())),
        ("sites", Some(count(plan.limits.sites))),
        ("zones", Some(count(plan.limits.zones))),
        ("records of a zone", Some(count(plan.limits.records))),
        ("ftp users", Some(count(plan.limits.ftp_users))),
        ("disk", Some(bytes(plan.limits.disk))),
        ("revision", Some(plan.revision.to_string())),
    ])
}
