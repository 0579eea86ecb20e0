//! `ruche zone`: DNS zones whose records are kept here. Never answers a query.
use clap::Subcommand;
use http::Method;

use crate::api::zones::{Zone, ZoneCreate};
use crate::base::names::{AccountName, Host, ZoneName};
use crate::cli::client::{Write, of_account, path, read};
use crate::cli::failure::Failure;
use crate::cli::output::{Out, Tone, clean, or_dash, unicode};
use crate::cli::session::Session;
use crate::cli::tree::WriteArgs;
use crate::cli::zone_files;

const IMPORT_HELP: &str = "\
The zone is the one the file is of: the owner of its SOA, or its first $ORIGIN. Its sets take the place of those with the same
name and type; with --replace the zone has nothing else afterwards. A serial later than the zone's own is taken over.

Examples:
  ruche zone import example.org.zone --dry-run
  dig @192.0.2.53 example.org AXFR | ruche zone import - example.org --replace";

#[derive(Debug, Subcommand)]
pub(crate) enum ZoneCommand {
    /// Create a zone
    #[command(after_help = "Example:
  ruche zone create example.org --nameserver ns1.example.net --nameserver ns2.example.net")]
    Create {
        /// Apex of the zone, in Unicode or as A-labels
        name: ZoneName,
        /// Owner of the zone
        #[arg(long)]
        account: Option<AccountName>,
        /// Seconds that records given without a TTL may be kept by resolvers [default: 3600]
        #[arg(long, value_name = "S")]
        ttl: Option<u32>,
        /// Host for the NS records of the apex; may be repeated
        #[arg(long = "nameserver", value_name = "H")]
        nameservers: Vec<Host>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// List the zones
    Ls {
        /// Only those of this account
        #[arg(long)]
        account: Option<AccountName>,
    },
    /// Show one zone; its records are shown by `ruche record ls`
    Show { name: ZoneName },
    /// Put all records of a zone file into a zone, or none of them; a zone that is not there is made
    #[command(after_help = IMPORT_HELP)]
    Import(zone_files::ImportArgs),
    /// Write a zone as a zone file
    Export { name: ZoneName },
    /// Remove a zone with all its records
    Rm {
        name: ZoneName,
        #[command(flatten)]
        write: WriteArgs,
    },
}

pub(crate) async fn run(session: &Session, command: ZoneCommand) -> Result<(), Failure> {
    match command {
        ZoneCommand::Create { name, account, ttl, nameservers, write } => {
            let body = ZoneCreate {
                name: name.to_string(),
                account: account.map(|name| name.to_string()),
                ttl,
                nameservers: nameservers.iter().map(ToString::to_string).collect(),
            };
            let doing = format!("create the zone {}", unicode(name.as_str()));
            let write = Write::new(doing, Method::POST, path(&["zones"]), &write).body(&body);
            let done = session.write("Created", write).await?;
            if let Ok(zone) = read::<Zone>("create the zone", &done.body) {
                zone.warnings.iter().for_each(|warning| session.out.note(&clean(warning)));
            }
            Ok(())
        }
        ZoneCommand::Import(args) => zone_files::import(session, args).await,
        ZoneCommand::Export { name } => zone_files::export(session, &name).await,
        ZoneCommand::Ls { account } => {
            session.list("zones", &of_account(path(&["zones"]), account.as_ref()), table).await
        }
        ZoneCommand::Show { name } => {
            session.show(&format!("show the zone {}", unicode(name.as_str())), &one(&name), fields).await
        }
        ZoneCommand::Rm { name, write } => {
            let what = format!("the zone {}", unicode(name.as_str()));
            session.remove(&what, " All its records go with it.", one(&name), &write).await
        }
    }
}

fn one(name: &ZoneName) -> String {
    path(&["zones", name.as_str()])
}

fn table(out: &Out, zones: Vec<Zone>) -> String {
    let rows = zones.into_iter().map(|zone| {
        let (records, serial, ttl) = (zone.records.to_string(), zone.serial.to_string(), zone.ttl.to_string());
        [unicode(&zone.name), or_dash(zone.account), records, serial, ttl]
    });
    out.table(["ZONE", "ACCOUNT", "RECORD SETS", "SERIAL", "TTL"], rows)
}

fn fields(out: &Out, zone: &Zone) -> String {
    let shown = unicode(&zone.name);
    let fields = out.fields(&[
        ("zone", Some(shown.clone())),
        ("in the DNS", (shown != zone.name).then(|| zone.name.clone())),
        ("account", zone.account.clone()),
        ("name servers", (!zone.nameservers.is_empty()).then(|| zone.nameservers.join(", "))),
        ("record sets", Some(zone.records.to_string())),
        ("serial", Some(zone.serial.to_string())),
        ("ttl", Some(format!("{} s", zone.ttl))),
        ("created", Some(out.time(&zone.created))),
        ("revision", Some(zone.revision.to_string())),
    ]);
    let warnings = zone.warnings.iter().map(|warning| format!("{}\n", out.paint(Tone::Warning, &clean(warning))));
    warnings.fold(fields, |text, warning| text + &warning)
}
