//! `ruche cert`: what sites are served with, and the CA that visitors of internal certificates trust. Never sees a key.
use std::io;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use http::Method;

use crate::api::certificates::{Certificate, Issue};
use crate::base::names::{Host, IssuerName};
use crate::cli::client::{Write, path, read};
use crate::cli::failure::Failure;
use crate::cli::handover;
use crate::cli::output::{Out, unicode};
use crate::cli::session::Session;
use crate::cli::tree::WriteArgs;
use crate::files::atomic;

#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// List the certificates
    Ls,
    /// Show the certificate a site is served with
    Show { host: Host },
    /// Ask for a certificate that no site has, such as for a mail machine; it is kept renewed
    ///
    /// The names must lead here, or their zone must be on this cluster; a wildcard needs its zone here.
    #[command(after_help = "Examples:
  ruche cert issue mail.example.org imap.example.org
  ruche cert issue '*.example.org' example.org")]
    Issue {
        /// Names it is for, `*.` allowed
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Who is to issue it [default: the preferred ones]
        #[arg(long)]
        issuer: Option<IssuerName>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Renew the certificates of these names now, due or not
    Renew {
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Show what will be ordered, when and why
    Plan,
    /// Take up certificates with their keys: what a directory of certbot holds, or a pair of files
    ///
    /// They are served as they are, nothing is ordered for them while they are good, and what follows them is ordered here.
    #[command(after_help = "Examples:
  ruche cert import /etc/letsencrypt
  ruche cert import --chain fullchain.pem --key privkey.pem")]
    Import {
        /// Directory of certbot, with `live/` in it
        #[arg(value_name = "DIR", required_unless_present = "chain", conflicts_with_all = ["chain", "key"])]
        dir: Option<PathBuf>,
        /// The certificate and those between it and its root, PEM
        #[arg(long, value_name = "FILE", requires = "key")]
        chain: Option<PathBuf>,
        /// Its private key, PEM
        #[arg(long, value_name = "FILE", requires = "chain")]
        key: Option<PathBuf>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Write a certificate with its key for another service, or the CA that signs internal certificates
    ///
    /// With --follow it is written again each time it is renewed, and the command of --run is run after it.
    #[command(after_help = "Examples:
  ruche cert export mail.example.org --dir /etc/ssl/mail
  ruche cert export mail.example.org --dir /etc/ssl/mail --follow --run 'systemctl reload postfix dovecot'
  ruche cert export --ca --out ruche-ca.pem
  curl --cacert ruche-ca.pem https://example.org/")]
    Export {
        /// A name the certificate is for
        #[arg(value_name = "NAME", required_unless_present = "ca", conflicts_with = "ca", requires = "dir")]
        name: Option<String>,
        /// Directory that gets fullchain.pem and privkey.pem
        #[arg(long, value_name = "DIR", conflicts_with = "ca")]
        dir: Option<PathBuf>,
        /// Stay, and write it again when it is renewed
        #[arg(long, requires = "name")]
        follow: bool,
        /// Command that is run by the shell after each writing
        #[arg(long, value_name = "COMMAND", requires = "name")]
        run: Option<String>,
        /// The CA of the internal certificates
        #[arg(long)]
        ca: bool,
        /// File the CA is written to; one of that name is replaced [default: the standard output]
        #[arg(long, value_name = "FILE", requires = "ca")]
        out: Option<PathBuf>,
    },
    /// Remove a certificate that was obtained or brought along, or withdraw one that was asked for
    Rm {
        id: String,
        #[command(flatten)]
        write: WriteArgs,
    },
}

pub(crate) async fn run(session: &Session, command: CertCommand) -> Result<(), Failure> {
    match command {
        CertCommand::Ls => session.list("certificates", &path(&["certificates"]), table).await,
        CertCommand::Show { host } => show(session, &host).await,
        CertCommand::Issue { names, issuer, write } => {
            let body = Issue { names, issuer: issuer.map(|issuer| issuer.to_string()) };
            let doing = format!("ask for a certificate for {}", body.names.join(", "));
            let issue = Write::new(doing, Method::POST, path(&["certificates"]), &write).body(&body);
            session.write("Asked", issue).await.map(drop)
        }
        CertCommand::Renew { names, write } => handover::renew(session, names, &write).await,
        CertCommand::Plan => handover::plan(session).await,
        CertCommand::Import { dir: Some(dir), write, .. } => handover::import_tree(session, &dir, &write).await,
        CertCommand::Import { chain, key, write, .. } => match (chain, key) {
            (Some(chain), Some(key)) => handover::import(session, &chain, &key, &write).await,
            _ => Ok(()),
        },
        CertCommand::Export { name: Some(name), dir: Some(dir), follow, run, .. } => {
            handover::export(session, &name, &dir, follow, run.as_deref()).await
        }
        CertCommand::Export { out, .. } => export(session, out.as_deref()).await,
        CertCommand::Rm { id, write } => session.remove(&format!("the certificate {id}"), "", one(&id), &write).await,
    }
}

async fn show(session: &Session, host: &Host) -> Result<(), Failure> {
    let doing = format!("show the certificate of {}", host.to_unicode());
    let served = handover::newest(session, &doing, host.as_str()).await?;
    session.show(&doing, &one(&served.id), fields).await
}

/// The certificate a site is served with, in a line.
pub(crate) async fn brief(session: &Session, doing: &str, id: &str) -> Result<String, Failure> {
    let certificate: Certificate = read(doing, &session.api.get(doing, &one(id)).await?)?;
    Ok(format!("{}, until {}", certificate.issuer, session.out.time(&certificate.not_after)))
}

async fn export(session: &Session, out: Option<&Path>) -> Result<(), Failure> {
    const DOING: &str = "export the CA of the internal certificates";
    let pem = session.api.get(DOING, &path(&["certificates", "ca"])).await?;
    let Some(file) = out else { return session.out.print(&String::from_utf8_lossy(&pem)) };
    atomic::replace(file, 0o644, &pem).map_err(|error| Failure::io(DOING, io::Error::other(error)))?;
    session.out.note(&format!("Wrote the CA of the internal certificates to {}.", file.display()));
    Ok(())
}

fn one(id: &str) -> String {
    path(&["certificates", id])
}

fn names(certificate: &Certificate) -> String {
    certificate.names.iter().map(|name| unicode(name)).collect::<Vec<_>>().join(", ")
}

fn table(out: &Out, mut certificates: Vec<Certificate>) -> String {
    certificates.sort_by(|one, other| one.names.cmp(&other.names));
    let rows = certificates.into_iter().map(|certificate| {
        let until = out.time(&certificate.not_after);
        [names(&certificate), certificate.issuer, until, certificate.id]
    });
    out.table(["NAMES", "ISSUER", "UNTIL", "ID"], rows)
}

fn fields(out: &Out, certificate: &Certificate) -> String {
    out.fields(&[
        ("names", Some(names(certificate))),
        ("issuer", Some(certificate.issuer.clone())),
        ("from", Some(out.time(&certificate.not_before))),
        ("until", Some(out.time(&certificate.not_after))),
        ("SHA-256", Some(certificate.fingerprint.clone())),
        ("id", Some(certificate.id.clone())),
        ("revision", Some(certificate.revision.to_string())),
    ])
}
