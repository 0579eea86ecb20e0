//! `ruche issuer`: the authorities certificates are asked of.
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use http::Method;

use crate::api::issuers::{Eab, Issuer, IssuerCreate, IssuerPatch, Standing, Task};
use crate::base::names::IssuerName;
use crate::cli::client::{Write, path};
use crate::cli::failure::Failure;
use crate::cli::output::Out;
use crate::cli::session::Session;
use crate::cli::tree::WriteArgs;

/// The largest file of certificates or keys that is read.
pub(crate) const FILE_MAX: u64 = 256 << 10;

#[derive(Debug, Subcommand)]
pub(crate) enum IssuerCommand {
    /// Create an issuer: any ACME directory beside Let's Encrypt, which is there from the first
    #[command(after_help = "Examples:
  ruche issuer create zerossl --directory https://acme.zerossl.com/v2/DV90 --eab-kid K --eab-key-file eab.key
  ruche issuer create home --directory https://ca.home.arpa/acme/directory --ca-cert root.pem --prefer")]
    Create {
        name: IssuerName,
        /// URL of its ACME directory
        #[arg(long, value_name = "URL")]
        directory: String,
        #[command(flatten)]
        facts: Facts,
        /// Ask it before the others
        #[arg(long, conflicts_with = "by_name")]
        prefer: bool,
        /// Ask it only where a site or a command names it
        #[arg(long)]
        by_name: bool,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// List the issuers
    Ls,
    /// Show one issuer
    Show { name: IssuerName },
    /// Change an issuer, or have our account there get another key or end
    Set {
        name: IssuerName,
        /// URL of its ACME directory
        #[arg(long, value_name = "URL")]
        directory: Option<String>,
        #[command(flatten)]
        facts: Facts,
        /// Its server is certified by who this machine trusts
        #[arg(long, conflicts_with = "ca_cert")]
        no_ca_cert: bool,
        /// Ask it before the others
        #[arg(long, conflicts_with_all = ["last", "by_name"])]
        prefer: bool,
        /// Ask it after the others
        #[arg(long, conflicts_with = "by_name")]
        last: bool,
        /// Ask it only where a site or a command names it
        #[arg(long)]
        by_name: bool,
        /// Give our account there another key
        #[arg(long, conflicts_with = "deactivate")]
        rollover: bool,
        /// End our account there; the next certificate makes another one
        #[arg(long)]
        deactivate: bool,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Remove an issuer that nothing names
    Rm {
        name: IssuerName,
        #[command(flatten)]
        write: WriteArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Facts {
    /// Who certifies its server, PEM [default: whom the node's machine trusts]
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
    /// Key id of the external account binding it gave you
    #[arg(long, value_name = "K", requires = "eab_key_file")]
    eab_kid: Option<String>,
    /// File with the key of the binding, base64url
    #[arg(long, value_name = "FILE", requires = "eab_kid")]
    eab_key_file: Option<PathBuf>,
    /// Mail address it may write to; may be repeated
    #[arg(long = "contact", value_name = "MAIL")]
    contacts: Vec<String>,
}

impl Facts {
    fn ca_cert(&self, doing: &str) -> Result<Option<String>, Failure> {
        self.ca_cert.as_deref().map(|file| text(doing, file)).transpose()
    }

    fn eab(&self, doing: &str) -> Result<Option<Eab>, Failure> {
        let (Some(kid), Some(file)) = (&self.eab_kid, &self.eab_key_file) else { return Ok(None) };
        Ok(Some(Eab { kid: kid.clone(), key: text(doing, file)?.trim().to_owned() }))
    }
}

pub(crate) async fn run(session: &Session, command: IssuerCommand) -> Result<(), Failure> {
    match command {
        IssuerCommand::Create { name, directory, facts, prefer, by_name, write } => {
            let doing = format!("create the issuer {name}");
            let body = IssuerCreate {
                name: name.to_string(),
                directory,
                ca_cert: facts.ca_cert(&doing)?,
                eab: facts.eab(&doing)?,
                contacts: facts.contacts,
                standing: standing(prefer, by_name).unwrap_or_default(),
            };
            let create = Write::new(doing, Method::POST, path(&["issuers"]), &write).body(&body);
            session.write("Created", create).await.map(drop)
        }
        IssuerCommand::Ls => session.list("issuers", &path(&["issuers"]), table).await,
        IssuerCommand::Show { name } => session.show(&format!("show the issuer {name}"), &one(&name), fields).await,
        IssuerCommand::Set {
            name,
            directory,
            facts,
            no_ca_cert,
            prefer,
            last,
            by_name,
            rollover,
            deactivate,
            write,
        } => {
            let doing = format!("change the issuer {name}");
            let task = if rollover { Some(Task::Rollover) } else { deactivate.then_some(Task::Deactivate) };
            let patch = IssuerPatch {
                directory,
                ca_cert: if no_ca_cert { Some(None) } else { facts.ca_cert(&doing)?.map(Some) },
                eab: facts.eab(&doing)?.map(Some),
                contacts: (!facts.contacts.is_empty()).then_some(facts.contacts),
                standing: standing(prefer, by_name).or(last.then_some(Standing::Last)),
                task,
                account: None,
            };
            session.patch("Changed", doing, one(&name), &patch, &write).await
        }
        IssuerCommand::Rm { name, write } => {
            session.remove(&format!("the issuer {name}"), "", one(&name), &write).await
        }
    }
}

fn standing(prefer: bool, by_name: bool) -> Option<Standing> {
    if by_name { Some(Standing::ByName) } else { prefer.then_some(Standing::First) }
}

fn one(name: &IssuerName) -> String {
    path(&["issuers", name.as_str()])
}

/// A small text file.
pub(crate) fn text(doing: &str, file: &Path) -> Result<String, Failure> {
    use std::io::Read;
    let mut text = String::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(FILE_MAX).read_to_string(&mut text));
    read.map_err(|error| {
        Failure::io(doing, std::io::Error::new(error.kind(), format!("read {}: {error}", file.display())))
    })?;
    Ok(text)
}

fn table(out: &Out, issuers: Vec<Issuer>) -> String {
    let rows = issuers.into_iter().map(|issuer| {
        let place = issuer.place.map_or_else(|| "by name".to_owned(), |place| place.to_string());
        let account = if issuer.account.is_some() { "yes" } else { "not yet" }.to_owned();
        [issuer.name, place, account, issuer.directory]
    });
    out.table(["ISSUER", "ASKED", "ACCOUNT", "DIRECTORY"], rows)
}

fn fields(out: &Out, issuer: &Issuer) -> String {
    let place = issuer.place.map_or_else(|| "only by name".to_owned(), |place| place.to_string());
    let trusted = if issuer.own_ca { "by its own authority" } else { "by whom the machine trusts" };
    out.fields(&[
        ("issuer", Some(issuer.name.clone())),
        ("directory", Some(issuer.directory.clone())),
        ("certified", Some(trusted.to_owned())),
        ("asked", Some(place)),
        ("contacts", (!issuer.contacts.is_empty()).then(|| issuer.contacts.join(", "))),
        ("binding", issuer.eab_kid.clone()),
        ("account", issuer.account.clone()),
        ("thumbprint", issuer.thumbprint.clone()),
        ("to be done", issuer.task.clone()),
        ("revision", Some(issuer.revision.to_string())),
    ])
}
