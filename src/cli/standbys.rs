//! `--standby`, `ruche site failover` and `ruche node evacuate`: copies of sites, and what becomes of a site whose home is gone.
use clap::Args;
use http::Method;

use crate::api::sites::{Failover, Site};
use crate::api::standbys::{Evacuate, Evacuated, FailoverPlan, SiteFailover, Standby, Standbys};
use crate::base::names::{Host, NodeName};
use crate::base::sizes::human;
use crate::cli::client::{Write, path, read};
use crate::cli::failure::Failure;
use crate::cli::output::{clean, or_dash};
use crate::cli::session::Session;
use crate::cli::tree::{WriteArgs, one_of};

#[derive(Debug, Args)]
pub(crate) struct StandbyArgs {
    /// Node that keeps a copy of its files and takes over when the home is gone; may be repeated, the first one goes first. Or how many of
    /// them the cluster is to choose
    #[arg(long = "standby", value_name = "NODE|NUMBER", value_parser = wanted)]
    standbys: Vec<Wanted>,
    /// Who decides that a standby takes over [default: automatic]
    #[arg(long, value_parser = one_of::<Failover>(&["automatic", "manual"]))]
    pub(crate) failover: Option<Failover>,
}

#[derive(Debug, Clone)]
enum Wanted {
    Node(NodeName),
    Number(u8),
}

fn wanted(text: &str) -> Result<Wanted, String> {
    match text.parse() {
        Ok(0) => Err("to have none say --no-standby".into()),
        Ok(number) => Ok(Wanted::Number(number)),
        Err(_) => NodeName::parse(text).map(Wanted::Node).map_err(|error| error.to_string()),
    }
}

impl StandbyArgs {
    pub(crate) fn is_named(&self) -> bool {
        self.standbys.iter().any(|wanted| matches!(wanted, Wanted::Node(_)))
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let named = |wanted: &Wanted| if let Wanted::Node(name) = wanted { Some(name.to_string()) } else { None };
        self.standbys.iter().filter_map(named).collect()
    }

    /// How many the cluster is to choose.
    pub(crate) fn number(&self, doing: &str) -> Result<Option<u8>, Failure> {
        match self.standbys[..] {
            [Wanted::Number(number)] => Ok(Some(number)),
            _ if self.standbys.iter().all(|wanted| matches!(wanted, Wanted::Node(_))) => Ok(None),
            _ => Err(Failure::usage(
                doing,
                "--standby was given a number and more",
                "Name the nodes, or give one number.",
            )),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct FailoverArgs {
    host: Host,
    /// The new home [default: the standby with the best copy]
    #[arg(long, value_name = "NODE")]
    to: Option<NodeName>,
    /// Tell what would be done, and what may be lost
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    write: WriteArgs,
}

pub(crate) async fn fail_over(session: &Session, args: FailoverArgs) -> Result<(), Failure> {
    let host = args.host.to_unicode();
    let doing = format!("fail the site {host} over");
    let path = path(&["sites", args.host.as_str(), "failover"]);
    let mut body = SiteFailover { to: args.to.map(|to| to.to_string()), dry_run: true, accept_loss: false };
    let asked = Write::new(doing.clone(), Method::POST, path.clone(), &WriteArgs::default()).body(&body);
    let answer = session.api.write(asked).await?;
    let plan: FailoverPlan = read(&doing, &answer.body)?;
    if args.dry_run {
        return if session.out.json { session.print_json(&answer.body) } else { session.out.print(&shown(&plan)) };
    }
    if !plan.objections.is_empty() {
        return Err(Failure::ended(&doing, &plan.objections.join("; ")));
    }
    let to = plan.to.clone().unwrap_or_default();
    for loss in &plan.loses {
        session.out.note(&format!("May be lost: {}.", clean(loss)));
    }
    session.confirm(&doing, &format!("Make {to} the home of {host} instead of {}?", plan.from))?;
    (body.dry_run, body.accept_loss, body.to) = (false, true, Some(to.clone()));
    let done = session.api.write(Write::new(doing.clone(), Method::POST, path, &args.write).body(&body)).await?;
    if session.out.json {
        return session.print_json(&done.body);
    }
    session.out.print(&format!("{host} is at home on {to}.\n"))
}

fn shown(plan: &FailoverPlan) -> String {
    let to = plan.to.as_deref().unwrap_or("none of the nodes");
    let mut lines = vec![format!("{} would go from {} to {to}.", plan.site, plan.from)];
    lines.extend(plan.loses.iter().map(|loss| format!("May be lost: {loss}.")));
    lines.extend(plan.objections.iter().map(|objection| format!("It cannot be done now: {objection}.")));
    lines.iter().map(|line| clean(line).to_string() + "\n").collect()
}

pub(crate) async fn evacuate(session: &Session, node: &NodeName, args: &WriteArgs) -> Result<(), Failure> {
    let doing = format!("evacuate the node {node}");
    let question = format!("Make standbys the homes of all sites of {node}? What they do not have may be lost.");
    session.confirm(&doing, &question)?;
    let path = path(&["nodes", node.as_str(), "evacuate"]);
    let write = Write::new(doing.clone(), Method::POST, path, args).body(&Evacuate { accept_loss: true });
    let done = session.api.write(write).await?;
    let evacuated: Evacuated = read(&doing, &done.body)?;
    if session.out.json {
        session.print_json(&done.body)?;
    } else {
        evacuated.sites.iter().for_each(|site| session.out.note(&format!("{site} has another home")));
    }
    for stays in &evacuated.refused {
        session.out.note(&format!("{} waits for {node}: {}", stays.site, clean(&stays.reason)));
    }
    if !evacuated.refused.is_empty() {
        return Err(Failure::ended(&doing, &format!("{} of its sites wait for it", evacuated.refused.len())));
    }
    if session.out.json {
        return Ok(());
    }
    session.out.print(&format!("{} sites of {node} have other homes.\n", evacuated.sites.len()))
}

/// What `site show` tells of the copies.
pub(crate) async fn brief(session: &Session, doing: &str, site: &Site) -> Vec<(&'static str, Option<String>)> {
    if site.standbys.is_empty() && site.standbys_wanted == 0 {
        return Vec::new();
    }
    let failover = match site.failover {
        Failover::Automatic => "automatic",
        Failover::Manual => "by an administrator",
    };
    let mut fields = vec![("failover", Some(failover.to_owned()))];
    // An older node does not tell of them.
    let body = session.api.get(doing, &path(&["sites", &site.host, "standbys"])).await;
    let Ok(known) = body.and_then(|body| read::<Standbys>(doing, &body)) else {
        fields.push(("standbys", Some(site.standbys.join(", "))));
        return fields;
    };
    fields.extend(known.standbys.iter().map(|standby| ("standby", Some(one(standby)))));
    fields.extend(known.standbys.iter().filter_map(|standby| {
        let folder = standby.recovered.as_ref()?;
        Some(("recovered", Some(format!("{folder} on {}: what a new home did not have", standby.node))))
    }));
    fields.extend(known.notes.into_iter().map(|note| ("mind", Some(note))));
    fields
}

fn one(standby: &Standby) -> String {
    let as_of = or_dash(standby.as_of.clone());
    let how = match standby {
        Standby { up: false, .. } => "down".to_owned(),
        Standby { reached: false, .. } => "does not answer".to_owned(),
        Standby { fetched: Some(fetched), total: Some(total), .. } => {
            format!("is being copied, {} of {}", human(*fetched), human(*total))
        }
        Standby { whole: false, .. } => "has not everything yet".to_owned(),
        Standby { behind: Some(seconds), .. } => format!("behind for {seconds} s, as of {as_of}"),
        Standby { .. } => format!("has everything, last fetched {as_of}"),
    };
    let fault = standby.fault.as_ref().map(|fault| format!("; {}", clean(fault)));
    let chosen = standby.chosen.as_ref().map(|reason| format!("; chosen: {}", clean(reason)));
    format!("{}: {how}{}{}", standby.node, fault.unwrap_or_default(), chosen.unwrap_or_default())
}
