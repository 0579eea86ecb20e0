//! Certificates that come from elsewhere and go elsewhere: what certbot has, pairs of files, other services of the network. A key is
//! read and written as a file of its owner alone.
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use http::Method;

use crate::api::certificates::{Certificate, Imported, Pair, Plan, Planned, Renew, Step};
use crate::api::issuers::{Account, Issuer, IssuerPatch};
use crate::base::limits::acme::CERTIFICATE_EVERY;
use crate::cli::certbot::{self, Lineage};
use crate::cli::client::{Write, path, read, with};
use crate::cli::failure::Failure;
use crate::cli::hook;
use crate::cli::issuers::{FILE_MAX, text};
use crate::cli::output::{Out, unicodes};
use crate::cli::passwords;
use crate::cli::session::Session;
use crate::cli::tree::WriteArgs;
use crate::files::atomic;
use crate::tls::sealed::key_pem;
use crate::tls::{parse, pfx};

pub(crate) async fn renew(session: &Session, names: Vec<String>, write: &WriteArgs) -> Result<(), Failure> {
    let doing = format!("renew the certificates of {}", names.join(", "));
    let write = Write::new(doing, Method::POST, path(&["certificates", "renew"]), write).body(&Renew { names });
    let done = session.api.write(write).await?;
    if session.out.json {
        return session.print_json(&done.body);
    }
    session.out.print("It is on its way: `ruche cert plan` shows how it stands.\n")
}

pub(crate) async fn plan(session: &Session) -> Result<(), Failure> {
    session.show("show what is planned for certificates", &path(&["certificates", "plan"]), planned).await
}

fn planned(out: &Out, plan: &Plan) -> String {
    if plan.items.is_empty() {
        return "No name wants a certificate of an issuer.\n".to_owned();
    }
    let rows = plan.items.iter().map(|item| {
        let Planned { wish, names, issuer, step, at, reason } = item;
        let step = match step {
            Step::Good => "renews",
            Step::Check => "is looked at",
            Step::Order => "is ordered",
            Step::UnderWay => "is under way",
            Step::Wait => "waits",
            Step::Blocked => "is blocked",
        };
        let at = at.as_deref().map(|at| out.time(at)).unwrap_or_default();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        [unicodes(names), text(issuer), step.to_owned(), at, text(wish), text(reason)]
    });
    out.table(["NAMES", "ISSUER", "STEP", "AT", "ASKED FOR AS", "WHY"], rows)
}

pub(crate) async fn import(session: &Session, chain: &Path, key: &Path, write: &WriteArgs) -> Result<(), Failure> {
    let doing = format!("import {}", chain.display());
    let imported = send(session, &doing, chain, key, write).await?;
    said(session, &imported)
}

/// What a PFX file holds.
pub(crate) async fn import_pfx(
    session: &Session,
    file: &Path,
    with_password: bool,
    write: &WriteArgs,
) -> Result<(), Failure> {
    let doing = format!("import {}", file.display());
    let password = if with_password { passwords::read(io::stdin())?.0 } else { String::new() };
    let bytes = bytes(file).map_err(|error| Failure::io(&doing, error))?;
    let unpacked = pfx::unpack(&bytes, &password);
    let unpacked = unpacked.map_err(|error| Failure::io(&doing, io::Error::other(format!("failed to {error}"))))?;
    let chain = unpacked.chain.iter().map(|der| parse::pem(der)).collect();
    let imported = hand_in(session, &doing, Pair { chain, key: key_pem(&unpacked.key) }, write).await?;
    said(session, &imported)
}

fn bytes(file: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|error| io::Error::new(error.kind(), format!("read {}: {error}", file.display())))
}

/// All that certbot has.
pub(crate) async fn import_tree(
    session: &Session,
    dir: &Path,
    with_accounts: bool,
    write: &WriteArgs,
) -> Result<(), Failure> {
    let doing = format!("import {}", dir.display());
    let lineages = certbot::lineages(dir).map_err(|error| {
        let cause = format!("read it: {error}; expected a directory of certbot, with `renewal` and `live` in it");
        Failure::io(&doing, io::Error::new(error.kind(), cause))
    })?;
    let (mut taken, mut left) = (0, 0);
    for lineage in &lineages {
        let doing = format!("import {}", lineage.chain.display());
        match send(session, &doing, &lineage.chain, &lineage.key, write).await {
            Ok(imported) => {
                taken += 1;
                said(session, &imported)?;
            }
            // One that has ended keeps no other from coming.
            Err(failure) => {
                left += 1;
                session.out.note(&failure.to_string());
            }
        }
    }
    if taken > 0 && left > 0 {
        session.out.note(&format!("{left} of {} were left out.", taken + left));
    }
    let issuers = session.api.list("list the issuers", &path(&["issuers"]), usize::MAX).await.unwrap_or_default();
    let mut known: Vec<Issuer> = issuers.iter().filter_map(|item| read("list", item.get().as_bytes()).ok()).collect();
    tell_of_issuers(session, &lineages, &known);
    for account in certbot::accounts(dir, &lineages) {
        match with_accounts {
            true => take_over(session, &account, &mut known, write).await?,
            false => session.out.note(&format!(
                "The account {} stays certbot's: `--accounts` takes it over; else, where CAA records are bound to it (`accounturi`), name the new one of `ruche issuer show`.",
                account.url
            )),
        }
    }
    match taken {
        0 => {
            Err(Failure::io(&doing, io::Error::new(io::ErrorKind::NotFound, "no certificate in it could be taken up")))
        }
        _ => Ok(()),
    }
}

/// Issuers that are not known here.
fn tell_of_issuers(session: &Session, lineages: &[Lineage], known: &[Issuer]) {
    let servers: BTreeSet<&String> = lineages.iter().filter_map(|lineage| lineage.server.as_ref()).collect();
    for server in servers.into_iter().filter(|server| !known.iter().any(|issuer| issuer.directory == **server)) {
        session.out.note(&format!(
            "Some came from {server}, which is no issuer here: what follows them comes from the preferred ones, unless `ruche issuer create` names it."
        ));
    }
}

/// Has an account be ours, where its issuer is known here and we have none there yet.
async fn take_over(
    session: &Session,
    account: &certbot::Account,
    known: &mut [Issuer],
    write: &WriteArgs,
) -> Result<(), Failure> {
    let url = &account.url;
    let Some(issuer) = known.iter_mut().find(|issuer| issuer.directory == account.directory) else {
        let directory = &account.directory;
        session.out.note(&format!("The account {url} stays certbot's: {directory} is no issuer here."));
        return Ok(());
    };
    if let Some(ours) = &issuer.account {
        let name = &issuer.name;
        session.out.note(&format!("The account {url} stays certbot's: we have one at {name} already, {ours}."));
        return Ok(());
    }
    let doing = format!("take over the account {url}");
    let key = account.key().map_err(|error| Failure::io(&doing, error))?;
    let account = Some(Account { url: url.clone(), key: key.to_string() });
    let patch = IssuerPatch { account, ..IssuerPatch::default() };
    session.api.write(Write::new(doing, Method::PATCH, path(&["issuers", &issuer.name]), write).body(&patch)).await?;
    session.out.note(&format!(
        "Took over the account {url} at {}: its key is changed to ours, and certbot cannot renew by it any more.",
        issuer.name
    ));
    issuer.account = Some(url.clone());
    Ok(())
}

async fn send(
    session: &Session,
    doing: &str,
    chain: &Path,
    key: &Path,
    write: &WriteArgs,
) -> Result<Imported, Failure> {
    hand_in(session, doing, Pair { chain: text(doing, chain)?, key: text(doing, key)? }, write).await
}

async fn hand_in(session: &Session, doing: &str, pair: Pair, write: &WriteArgs) -> Result<Imported, Failure> {
    let write = Write::new(doing, Method::POST, path(&["certificates", "import"]), write).body(&pair);
    read(doing, &session.api.write(write).await?.body)
}

fn said(session: &Session, imported: &Imported) -> Result<(), Failure> {
    if session.out.json {
        let json = serde_json::to_vec(imported).map_err(|error| Failure::io("print", io::Error::other(error)))?;
        return session.print_json(&json);
    }
    let (names, until) = (unicodes(&imported.names), session.out.time(&imported.not_after));
    session.out.print(&format!("Took up {names}, good until {until}.\n"))
}

/// Writes a certificate and its key, and again each time they change.
pub(crate) async fn export(
    session: &Session,
    name: &str,
    dir: &Path,
    follow: bool,
    run: Option<&str>,
) -> Result<(), Failure> {
    let doing = format!("export the certificate of {name}");
    let mut written = None;
    loop {
        match newest(session, &doing, name).await {
            Ok(newest) if written.as_ref() != Some(&newest.fingerprint) => {
                match put(session, &doing, dir, &newest).await {
                    Err(failure) if follow => {
                        session.out.note(&failure.to_string());
                        tokio::time::sleep(CERTIFICATE_EVERY).await;
                        continue;
                    }
                    done => done?,
                }
                session.out.note(&format!("Wrote the certificate of {name} to {}.", dir.display()));
                written = Some(newest.fingerprint);
                if let Some(run) = run {
                    after(session, &doing, run, follow)?;
                }
            }
            Ok(_) => {}
            // Whoever stays waits for the first one, and for the node to come back.
            Err(failure) if follow => session.out.note(&failure.to_string()),
            Err(failure) => return Err(failure),
        }
        if !follow {
            return Ok(());
        }
        tokio::time::sleep(CERTIFICATE_EVERY).await;
    }
}

/// The one that lasts longest of those for a name.
pub(crate) async fn newest(session: &Session, doing: &str, name: &str) -> Result<Certificate, Failure> {
    let bare = name.strip_prefix("*.").unwrap_or(name);
    let all = session.api.list(doing, &with(path(&["certificates"]), "host", bare), usize::MAX).await?;
    let all = all.iter().map(|item| read(doing, item.get().as_bytes())).collect::<Result<Vec<Certificate>, _>>()?;
    let wanted = all.into_iter().filter(|one| bare.len() == name.len() || one.names.iter().any(|held| held == name));
    // The cluster's own last longest, and are for nobody outside.
    let newest = wanted.max_by(|one, other| {
        let rank = |one: &Certificate| (one.issuer != "internal", one.not_after.clone());
        rank(one).cmp(&rank(other))
    });
    newest.ok_or_else(|| Failure::io(doing, io::Error::new(io::ErrorKind::NotFound, "there is none yet")))
}

async fn put(session: &Session, doing: &str, dir: &Path, newest: &Certificate) -> Result<(), Failure> {
    let body = session.api.get(doing, &path(&["certificates", &newest.id, "export"])).await?;
    let pair: Pair = read(doing, &body)?;
    let failed = |error: io::Error| Failure::io(doing, error);
    std::fs::create_dir_all(dir).map_err(failed)?;
    // The key first: whoever reads the chain finds its key.
    let replace = |name: &str, mode, text: &str| {
        atomic::replace(&dir.join(name), mode, text.as_bytes()).map_err(|error| failed(io::Error::other(error)))
    };
    replace("privkey.pem", 0o600, &pair.key)?;
    replace("fullchain.pem", 0o644, &pair.chain)
}

fn after(session: &Session, doing: &str, run: &str, follow: bool) -> Result<(), Failure> {
    match hook::run(doing, run, &[]) {
        Err(failure) if follow => {
            session.out.note(&failure.to_string());
            Ok(())
        }
        done => done,
    }
}
