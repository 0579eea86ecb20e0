//! `ruche cert`: what sites are served with, and the CA that visitors of internal certificates trust. Never sees a key.
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Subcommand;
use http::Method;

use crate::api::certificates::{Certificate, Issue, Plan, Planned, Shown, Step};
use crate::base::ids::CertificateId;
use crate::base::names::{Host, IssuerName, NameError};
use crate::cli::client::{Write, path, read};
use crate::cli::failure::Failure;
use crate::cli::handover;
use crate::cli::output::{Out, unicodes};
use crate::cli::session::Session;
use crate::cli::tree::WriteArgs;
use crate::files::atomic;

#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// List the certificates, when they are renewed, and what went wrong last
    Ls,
    /// Show the certificate a site is served with, or what an id of `cert ls` or `cert plan` stands for
    Show {
        #[arg(value_name = "HOST|ID")]
        what: What,
    },
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
    /// Take up certificates with their keys: what a directory of certbot holds, a pair of files, or a PFX file
    ///
    /// They are served as they are, nothing is ordered for them while they are good, and what follows them is ordered here.
    #[command(after_help = "Examples:
  ruche cert import /etc/letsencrypt
  ruche cert import --chain fullchain.pem --key privkey.pem
  ruche cert import --pfx www.pfx --password-stdin <password")]
    Import {
        /// Directory of certbot, with `renewal/` and `live/` in it
        #[arg(value_name = "DIR", required_unless_present_any = ["chain", "pfx"], conflicts_with_all = ["chain", "key", "pfx"])]
        dir: Option<PathBuf>,
        /// The certificate and those between it and its root, PEM
        #[arg(long, value_name = "FILE", requires = "key")]
        chain: Option<PathBuf>,
        /// Its private key, PEM
        #[arg(long, value_name = "FILE", requires = "chain")]
        key: Option<PathBuf>,
        /// A PFX (PKCS#12) file with both
        #[arg(long, value_name = "FILE", conflicts_with_all = ["chain", "key"])]
        pfx: Option<PathBuf>,
        /// Read the password of the PFX file from the standard input [default: it has none]
        #[arg(long, requires = "pfx")]
        password_stdin: bool,
        /// Take over certbot's accounts too: their keys are changed, and certbot cannot use them any more
        #[arg(long, requires = "dir")]
        accounts: bool,
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
    ///
    /// `ruche cert ls` and `ruche cert plan` show the ids. A name that is still wanted gets another one.
    Rm {
        id: String,
        #[command(flatten)]
        write: WriteArgs,
    },
}

/// What a certificate is found by.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Host(Host),
    Id(CertificateId),
}

impl FromStr for What {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        text.parse().map(Self::Id).or_else(|_| text.parse().map(Self::Host))
    }
}

pub(crate) async fn run(session: &Session, command: CertCommand) -> Result<(), Failure> {
    match command {
        CertCommand::Ls => list(session).await,
        CertCommand::Show { what } => show(session, &what).await,
        CertCommand::Issue { names, issuer, write } => {
            let body = Issue { names, issuer: issuer.map(|issuer| issuer.to_string()) };
            let doing = format!("ask for a certificate for {}", body.names.join(", "));
            let issue = Write::new(doing, Method::POST, path(&["certificates"]), &write).body(&body);
            session.write("Asked", issue).await.map(drop)
        }
        CertCommand::Renew { names, write } => handover::renew(session, names, &write).await,
        CertCommand::Plan => handover::plan(session).await,
        CertCommand::Import { dir: Some(dir), accounts, write, .. } => {
            handover::import_tree(session, &dir, accounts, &write).await
        }
        CertCommand::Import { pfx: Some(pfx), password_stdin, write, .. } => {
            handover::import_pfx(session, &pfx, password_stdin, &write).await
        }
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

/// The certificates, each with what is planned for its names; what has no certificate yet stands at the end.
async fn list(session: &Session) -> Result<(), Failure> {
    let doing = "show what is planned for certificates";
    // Who is limited to an account is not told; the list does without.
    let plan = match session.out.json {
        true => None,
        false => session.api.get(doing, &path(&["certificates", "plan"])).await.ok(),
    };
    let plan = plan.and_then(|plan| read(doing, &plan).ok()).unwrap_or(Plan { items: Vec::new() });
    session.list("certificates", &path(&["certificates"]), |out, all| table(out, all, &plan)).await
}

async fn show(session: &Session, what: &What) -> Result<(), Failure> {
    let (doing, id) = match what {
        What::Id(id) => (format!("show {id}"), id.to_string()),
        What::Host(host) => {
            let doing = format!("show the certificate of {}", host.to_unicode());
            let served = handover::newest(session, &doing, host.as_str()).await?;
            (doing, served.id)
        }
    };
    session.show(&doing, &one(&id), shown).await
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

fn table(out: &Out, mut certificates: Vec<Certificate>, plan: &Plan) -> String {
    certificates.sort_by(|one, other| one.names.cmp(&other.names));
    let of: HashMap<&String, &Planned> =
        plan.items.iter().flat_map(|item| item.names.iter().map(move |name| (name, item))).collect();
    let next = |item: &Planned| item.at.as_deref().map(|at| out.time(at)).unwrap_or_default();
    let mut rows = Vec::new();
    let mut told = HashSet::new();
    for certificate in certificates {
        let item = certificate.names.iter().find_map(|name| of.get(name)).filter(|item| {
            // What is well with another one is nothing to the cluster's own.
            item.step != Step::Good || certificate.issuer != "internal"
        });
        told.extend(item.map(|item| &item.names));
        let until = out.time(&certificate.not_after);
        let why = item.and_then(|item| item.reason.clone()).unwrap_or_default();
        let next = item.map(|item| next(item)).unwrap_or_default();
        rows.push([unicodes(&certificate.names), certificate.issuer, until, next, certificate.id, why]);
    }
    for item in plan.items.iter().filter(|item| item.wish.is_some() && !told.contains(&item.names)) {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let until = "none yet".to_owned();
        rows.push([unicodes(&item.names), text(&item.issuer), until, next(item), text(&item.wish), text(&item.reason)]);
    }
    out.table(["NAMES", "ISSUER", "UNTIL", "NEXT", "ID", "WHY"], rows)
}

fn shown(out: &Out, shown: &Shown) -> String {
    match shown {
        Shown::Certificate(certificate) => fields(out, certificate),
        Shown::Wish(wish) => out.fields(&[
            ("asked for", Some(unicodes(&wish.names))),
            ("issuer", Some(wish.issuer.clone().unwrap_or_else(|| "the preferred ones".to_owned()))),
            ("since", Some(out.time(&wish.created))),
            ("id", Some(wish.id.clone())),
            ("revision", Some(wish.revision.to_string())),
        ]),
    }
}

fn fields(out: &Out, certificate: &Certificate) -> String {
    out.fields(&[
        ("names", Some(unicodes(&certificate.names))),
        ("issuer", Some(certificate.issuer.clone())),
        ("from", Some(out.time(&certificate.not_before))),
        ("until", Some(out.time(&certificate.not_after))),
        ("SHA-256", Some(certificate.fingerprint.clone())),
        ("id", Some(certificate.id.clone())),
        ("revision", Some(certificate.revision.to_string())),
    ])
}
