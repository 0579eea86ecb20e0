//! `ruche cert`: what sites are served with, and the CA that visitors of internal certificates trust. Never sees a key.
use std::io;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::api::certificates::Certificate;
use crate::api::sites::Site;
use crate::base::names::Host;
use crate::cli::client::{path, read};
use crate::cli::failure::Failure;
use crate::cli::output::{Out, unicode};
use crate::cli::session::Session;
use crate::files::atomic;

#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// List the certificates
    Ls,
    /// Show the certificate a site is served with
    Show { host: Host },
    /// Write the CA that signs internal certificates, as PEM
    ///
    /// A browser or a program that trusts it accepts the internal certificates of all sites of this cluster.
    #[command(after_help = "Examples:
  ruche cert export --ca --out ruche-ca.pem
  curl --cacert ruche-ca.pem https://example.org/")]
    Export {
        /// The CA of the internal certificates
        #[arg(long, required = true)]
        ca: bool,
        /// File it is written to; one of that name is replaced [default: the standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

pub(crate) async fn run(session: &Session, command: CertCommand) -> Result<(), Failure> {
    match command {
        CertCommand::Ls => session.list("certificates", &path(&["certificates"]), table).await,
        CertCommand::Show { host } => show(session, &host).await,
        CertCommand::Export { out, .. } => export(session, out.as_deref()).await,
    }
}

async fn show(session: &Session, host: &Host) -> Result<(), Failure> {
    let doing = format!("show the certificate of {}", host.to_unicode());
    let site: Site = read(&doing, &session.api.get(&doing, &path(&["sites", host.as_str()])).await?)?;
    match site.certificate {
        Some(id) => session.show(&doing, &one(&id), fields).await,
        None => Err(Failure::io(doing, io::Error::new(io::ErrorKind::NotFound, "it has none yet"))),
    }
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
