//! `ruche zone import` and `ruche zone export`: zone files to the API and from it. The node judges the file; only whose zone it is
//! is read here.
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use http::Method;

use crate::api::zone_files::{MEDIA_TYPE, RecordAction, ZoneImported};
use crate::base::limits::ADMIN_BODY_MAX;
use crate::base::names::{AccountName, ZoneName};
use crate::cli::client::{Write, path, read, with};
use crate::cli::failure::Failure;
use crate::cli::output::{clean, unicode};
use crate::cli::session::Session;
use crate::cli::tree::WriteArgs;
use crate::rr::zonefile;

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Zone file, `-` for standard input
    file: PathBuf,
    /// Zone it is for [default: the one the file is of]
    zone: Option<ZoneName>,
    /// Remove what is not in the file
    #[arg(long)]
    replace: bool,
    /// Show what would change and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Owner of the zone, if it is new
    #[arg(long)]
    account: Option<AccountName>,
    #[command(flatten)]
    write: WriteArgs,
}

pub(crate) async fn import(session: &Session, args: ImportArgs) -> Result<(), Failure> {
    let doing = format!("read {}", args.file.display());
    let file = contents(&args.file).map_err(|cause| Failure::io(&doing, cause))?;
    if file.len() > ADMIN_BODY_MAX {
        let remedy = "Cut the file in several, and import them one after the other without --replace.";
        return Err(Failure::usage(&doing, &format!("it is larger than {ADMIN_BODY_MAX} bytes"), remedy));
    }
    let own = || zonefile::apex(&file).and_then(|apex| ZoneName::parse(apex.to_string().trim_end_matches('.')).ok());
    let Some(zone) = args.zone.or_else(own) else {
        let remedy = "Name the zone after the file: `ruche zone import FILE example.org`.";
        return Err(Failure::usage(&doing, "it does not say which zone it is of", remedy));
    };
    let mut target = path(&["zones", zone.as_str(), "file"]);
    if args.replace {
        target = with(target, "replace", "true");
    }
    if args.dry_run {
        target = with(target, "dry_run", "true");
    }
    if let Some(account) = &args.account {
        target = with(target, "account", account.as_str());
    }
    let doing = format!("import the zone {}", unicode(zone.as_str()));
    let write = Write::new(&doing, Method::PUT, target, &args.write).file(MEDIA_TYPE, file);
    let done = session.api.write(write).await?;
    if session.out.json {
        return session.print_json(&done.body);
    }
    let imported: ZoneImported = read(&doing, &done.body)?;
    session.out.print(&shown(&imported, &zone, done.repeated))?;
    let notes = imported.notes.iter().chain(&imported.zone.warnings);
    notes.for_each(|note| session.out.note(&clean(note)));
    Ok(())
}

/// One line for each record set that is another one now, and one that sums up.
fn shown(imported: &ZoneImported, zone: &ZoneName, repeated: bool) -> String {
    let mut text = String::new();
    let mut counts = [0; 3];
    for change in &imported.changes {
        let (sign, count) = match change.action {
            RecordAction::Added => ('+', &mut counts[0]),
            RecordAction::Changed => ('~', &mut counts[1]),
            RecordAction::Removed => ('-', &mut counts[2]),
        };
        *count += 1;
        for value in &change.values {
            let line = format!("{sign} {} {} {} {value}", change.name, change.ttl, change.rtype);
            text += &format!("{}\n", clean(&line));
        }
    }
    let [added, changed, removed] = counts;
    let past = if imported.dry_run { "Would import" } else { "Imported" };
    let when = match (imported.dry_run, repeated) {
        (true, _) => "nothing was changed".to_owned(),
        (_, true) => format!("before, serial {}", imported.zone.serial),
        _ => format!("serial {}", imported.zone.serial),
    };
    let zone = unicode(zone.as_str());
    text + &format!("{past} the zone {zone}: {added} added, {changed} changed, {removed} removed; {when}.\n")
}

pub(crate) async fn export(session: &Session, zone: &ZoneName) -> Result<(), Failure> {
    let doing = format!("export the zone {}", unicode(zone.as_str()));
    let body = session.api.get(&doing, &path(&["zones", zone.as_str(), "file"])).await?;
    session.out.print(&String::from_utf8_lossy(&body))
}

/// A byte more than may be sent is enough to know that it is too much.
fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = ADMIN_BODY_MAX as u64 + 1;
    if path == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
