//! What certbot keeps in its directory: for each certificate a file of `renewal/`, links in `live/` to the newest of its files in
//! `archive/`, and an account at each issuer in `accounts/`. Reads only.
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::base::limits::{CERTBOT_ACCOUNTS_MAX, CERTBOT_ENTRIES_MAX, CERTBOT_FILE_MAX};

/// The files of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lineage {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    /// The directory of the issuer it came from, where that is known.
    pub(crate) server: Option<String>,
    /// The account it is renewed by, as certbot names it.
    account: Option<String>,
}

/// An account at an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) url: String,
    /// Of the issuer.
    pub(crate) directory: String,
    /// Where its files are.
    folder: PathBuf,
}

impl Account {
    /// Its private key, a JWK.
    pub(crate) fn key(&self) -> io::Result<Zeroizing<String>> {
        read(&self.folder.join("private_key.json")).map(Zeroizing::new)
    }
}

/// All of a directory, by their names. One without files is there with those that would be read.
pub(crate) fn lineages(dir: &Path) -> io::Result<Vec<Lineage>> {
    let mut names: Vec<String> = Vec::new();
    for folder in entries(&dir.join("live")).unwrap_or_default() {
        names.extend(folder.is_dir().then(|| text(folder.file_name())));
    }
    // What was copied without its links is known by its settings alone.
    match entries(&dir.join("renewal")) {
        Ok(files) => {
            let settings = files.iter().filter(|file| file.extension().is_some_and(|end| end == "conf"));
            names.extend(settings.map(|file| text(file.file_stem())));
        }
        Err(error) if names.is_empty() => return Err(error),
        Err(_) => {}
    }
    names.sort();
    names.dedup();
    Ok(names.iter().map(|name| lineage(dir, name)).collect())
}

fn lineage(dir: &Path, name: &str) -> Lineage {
    let settings = Settings(read(&dir.join("renewal").join(format!("{name}.conf"))).unwrap_or_default());
    let named = |name: &str| settings.named(name).map(str::to_owned);
    let (server, account) = (named("server"), named("account"));
    let of = |dir: &Path, number: &str| {
        (dir.join(format!("fullchain{number}.pem")), dir.join(format!("privkey{number}.pem")))
    };
    let archive = dir.join("archive").join(name);
    let named = settings.named("fullchain").zip(settings.named("privkey"));
    let known = [
        Some(of(&dir.join("live").join(name), "")),
        newest(&archive).map(|number| of(&archive, &number.to_string())),
        named.map(|(chain, key)| (PathBuf::from(chain), PathBuf::from(key))),
    ];
    let first = of(&dir.join("live").join(name), "");
    let (chain, key) = known.into_iter().flatten().find(|(chain, key)| chain.exists() && key.exists()).unwrap_or(first);
    Lineage { chain, key, server, account }
}

/// The highest number of which a chain is there.
fn newest(archive: &Path) -> Option<u32> {
    let files = entries(archive).ok()?;
    let number = |file: &PathBuf| file.file_stem()?.to_str()?.strip_prefix("fullchain")?.parse().ok();
    files.iter().filter_map(number).max()
}

/// Accounts at issuers: those that certificates are renewed by come first.
pub(crate) fn accounts(dir: &Path, lineages: &[Lineage]) -> Vec<Account> {
    let top = dir.join("accounts");
    let mut left = vec![(top.clone(), 0)];
    let mut found = Vec::new();
    // `accounts/HOST/…/directory/ID/regr.json`: as deep as the path of the issuer's directory is.
    while let Some((folder, depth)) = left.pop() {
        let registered = read(&folder.join("regr.json"));
        if let Ok(account) = registered.and_then(|text| Ok(serde_json::from_str::<Registration>(&text)?)) {
            let at = folder.parent().and_then(|above| above.strip_prefix(&top).ok()).unwrap_or(Path::new(""));
            let directory = format!("https://{}", of_today(&at.to_string_lossy()));
            found.push(Account { url: account.uri, directory, folder: folder.clone() });
        }
        if depth < ACCOUNTS_DEPTH {
            let inner = entries(&folder).unwrap_or_default().into_iter();
            // Links lead to accounts that are there.
            left.extend(inner.filter(|inner| inner.is_dir() && !inner.is_symlink()).map(|inner| (inner, depth + 1)));
        }
        if found.len() >= CERTBOT_ACCOUNTS_MAX || left.len() >= CERTBOT_ENTRIES_MAX {
            break;
        }
    }
    let is_used = |account: &Account| {
        let name = text(account.folder.file_name());
        lineages.iter().any(|lineage| lineage.account.as_ref() == Some(&name))
    };
    found.sort_by_cached_key(|account| (!is_used(account), account.url.clone()));
    found
}

/// Let's Encrypt's accounts of ACME's first version are good in its second: certbot has but a link to them there.
fn of_today(directory: &str) -> &str {
    match directory {
        "acme-v01.api.letsencrypt.org/directory" => "acme-v02.api.letsencrypt.org/directory",
        "acme-staging.api.letsencrypt.org/directory" => "acme-staging-v02.api.letsencrypt.org/directory",
        newer => newer,
    }
}

/// Directories between `accounts` and an account.
const ACCOUNTS_DEPTH: usize = 8;

#[derive(Debug, Deserialize)]
struct Registration {
    uri: String,
}

/// `name = value` in lines, in whatever section.
struct Settings(String);

impl Settings {
    fn named(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.lines().filter_map(|line| line.split_once('='));
        pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().trim_matches(['"', '\'']))
    }
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let all = std::fs::read_dir(dir)?.take(CERTBOT_ENTRIES_MAX);
    all.map(|entry| entry.map(|entry| entry.path())).collect()
}

fn read(file: &Path) -> io::Result<String> {
    use io::Read;
    let mut text = String::new();
    std::fs::File::open(file)?.take(CERTBOT_FILE_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn text(name: Option<&std::ffi::OsStr>) -> String {
    name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_wherever_they_are_left() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let file = dir.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        assert!(lineages(dir.path()).is_err());
        for file in ["live/a/fullchain.pem", "live/a/privkey.pem", "elsewhere/c.pem", "elsewhere/k.pem", "live/README"]
        {
            put(file, "");
        }
        for number in [9, 10] {
            put(&format!("archive/b/fullchain{number}.pem"), "");
            put(&format!("archive/b/privkey{number}.pem"), "");
        }
        put(
            "renewal/b.conf",
            "fullchain = /nowhere/b\nprivkey = /nowhere/b\n[renewalparams]\naccount = 7f\nserver = https://ca/dir\n",
        );
        let outside = dir.path().join("elsewhere").display().to_string();
        put("renewal/c.conf", &format!("fullchain = {outside}/c.pem\nprivkey = {outside}/k.pem\n"));
        put("renewal/d.conf", "");
        put("accounts/ca/dir/0/regr.json", r#"{"body": {}, "uri": "https://ca/acct/1"}"#);
        put("accounts/ca/dir/7f/regr.json", r#"{"body": {}, "uri": "https://ca/acct/2"}"#);
        put("accounts/ca/dir/7f/private_key.json", "{}");
        let file = |name: &str| dir.path().join(name);
        let of = |chain: &str, key: &str, server: Option<&str>| Lineage {
            chain: file(chain),
            key: file(key),
            server: server.map(str::to_owned),
            account: server.map(|_| "7f".to_owned()),
        };
        let wanted = [
            of("live/a/fullchain.pem", "live/a/privkey.pem", None),
            of("archive/b/fullchain10.pem", "archive/b/privkey10.pem", Some("https://ca/dir")),
            of("elsewhere/c.pem", "elsewhere/k.pem", None),
            of("live/d/fullchain.pem", "live/d/privkey.pem", None),
        ];
        assert_eq!(lineages(dir.path()).unwrap(), wanted);
        // The one that is used comes first.
        let found = accounts(dir.path(), &wanted);
        let told: Vec<_> = found.iter().map(|account| (&*account.url, &*account.directory)).collect();
        assert_eq!(told, [("https://ca/acct/2", "https://ca/dir"), ("https://ca/acct/1", "https://ca/dir")]);
        assert!(found[0].key().unwrap().as_str() == "{}" && found[1].key().is_err());
    }

    /// Older than ACME's second version, under which certbot has a link to it.
    #[test]
    fn an_account_of_the_first_version_is_one_of_the_second() {
        let dir = tempfile::tempdir().unwrap();
        let of = |version: &str| dir.path().join(format!("accounts/acme-{version}.api.letsencrypt.org"));
        let account = of("v01").join("directory/7f");
        std::fs::create_dir_all(&account).unwrap();
        std::fs::create_dir_all(of("v02")).unwrap();
        let url = "https://acme-v01.api.letsencrypt.org/acme/reg/7";
        std::fs::write(account.join("regr.json"), format!(r#"{{"body": {{}}, "uri": "{url}"}}"#)).unwrap();
        std::os::unix::fs::symlink(of("v01").join("directory"), of("v02").join("directory")).unwrap();
        let found = accounts(dir.path(), &[]);
        let told: Vec<_> = found.iter().map(|account| (&*account.url, &*account.directory)).collect();
        assert_eq!(told, [(url, "https://acme-v02.api.letsencrypt.org/directory")]);
    }
}
