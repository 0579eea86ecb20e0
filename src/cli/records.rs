//! `ruche record`: record sets of a zone, each set or removed as a whole. The data is judged by the node, not here.
use clap::Subcommand;
use http::Method;

use crate::api::records::{RecordPut, RecordSet};
use crate::base::names::ZoneName;
use crate::cli::client::{Write, path};
use crate::cli::failure::Failure;
use crate::cli::output::Out;
use crate::cli::session::Session;
use crate::cli::tree::WriteArgs;

const SET_EXAMPLES: &str = "\
Examples:
  ruche record set example.org @ MX '10 mail.example.org.' '20 backup.example.net.'
  ruche record set example.org www AAAA 2001:db8::1 --ttl 300
  ruche record set example.org @ TXT '\"v=spf1 mx -all\"'

A name without a final dot is relative to the zone; `@` is the zone itself.";

#[derive(Debug, Subcommand)]
pub(crate) enum RecordCommand {
    /// Set all records of one name and type
    #[command(after_help = SET_EXAMPLES)]
    Set {
        zone: ZoneName,
        /// Relative to the zone, `@` for the zone itself
        name: String,
        /// Such as A, AAAA, MX, TXT or TYPE65280
        #[arg(value_name = "TYPE")]
        rtype: String,
        /// Data as in a zone file, one argument a record
        #[arg(value_name = "VALUE", required = true)]
        values: Vec<String>,
        /// Seconds that resolvers may keep them [default: the TTL of the zone]
        #[arg(long, value_name = "S")]
        ttl: Option<u32>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Remove all records of one name and type
    Rm {
        zone: ZoneName,
        /// Relative to the zone, `@` for the zone itself
        name: String,
        /// Such as A, AAAA, MX or TXT
        #[arg(value_name = "TYPE")]
        rtype: String,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// List the records of a zone
    Ls { zone: ZoneName },
}

pub(crate) async fn run(session: &Session, command: RecordCommand) -> Result<(), Failure> {
    match command {
        RecordCommand::Set { zone, name, rtype, values, ttl, write } => {
            let doing = format!("set {}", label(&zone, &name, &rtype));
            let put = Write::new(doing, Method::PUT, one(&zone, &name, &rtype), &write);
            session.write("Set", put.body(&RecordPut { ttl, values })).await.map(drop)
        }
        RecordCommand::Rm { zone, name, rtype, write } => {
            session.remove(&label(&zone, &name, &rtype), "", one(&zone, &name, &rtype), &write).await
        }
        RecordCommand::Ls { zone } => {
            session.list(&format!("records of {zone}"), &path(&["zones", zone.as_str(), "records"]), table).await
        }
    }
}

fn label(zone: &ZoneName, name: &str, rtype: &str) -> String {
    format!("the record set {name} {} of {zone}", rtype.to_uppercase())
}

fn one(zone: &ZoneName, name: &str, rtype: &str) -> String {
    path(&["zones", zone.as_str(), "records", name, &rtype.to_uppercase()])
}

/// One line a record, as in a zone file.
fn table(out: &Out, sets: Vec<RecordSet>) -> String {
    let rows = sets.into_iter().flat_map(|set| {
        let (name, rtype, ttl) = (set.name, set.rtype, set.ttl.to_string());
        set.values.into_iter().map(move |value| [name.clone(), rtype.clone(), ttl.clone(), value])
    });
    out.table(["NAME", "TYPE", "TTL", "VALUE"], rows)
}
