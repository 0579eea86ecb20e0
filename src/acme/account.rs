//! Our account at an issuer: found again, or made, with the key that all share or one of its own. What an issuer's contract binds
//! has a key of its own.
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use instant_acme::{Account, AccountBuilder, ExternalAccountKey, Key, NewAccount};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::{OwnedRwLockReadGuard, RwLock};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::acme::fault::{AcmeError, patiently};
use crate::acme::wire::Wire;
use crate::acme::{Ground, Obtaining};
use crate::base::ids::ClusterId;
use crate::base::limits::acme::{SKEW_MAX, VALIDATE_WAIT};
use crate::fetch::trust::Trust;
use crate::model::cluster::Cluster;
use crate::model::issuers::{Issuer, IssuerAccount, IssuerAccountPut, IssuerTold, Task};
use crate::tls::jose::AccountKey;
use crate::tls::order::fresh_key;
use crate::tls::parse::pem;
use crate::tls::sealed::{open_at, seal_at};

/// An account that answers, and how it is talked to.
pub(crate) struct Held {
    pub(crate) account: Account,
    pub(crate) wire: Wire,
}

/// An issuer that does not let itself be spoken to, and when it said it would.
#[derive(Debug)]
pub(crate) struct Unopened {
    pub(crate) error: AcmeError,
    pub(crate) retry: Option<Duration>,
}

impl From<Unopened> for AcmeError {
    fn from(unopened: Unopened) -> Self {
        unopened.error
    }
}

const OPEN: &str = "reach the issuer";
const CHANGE: &str = "change the key of the account";
const TELL: &str = "tell the issuer whom to write to";

/// The account at an issuer; one that is new is written down before anything is done with it.
pub(crate) async fn open(ground: &Ground, issuer: &Issuer) -> Result<Held, Unopened> {
    let wire = wire(ground, issuer).await?;
    let opened = found(ground, issuer, &wire).await.and_then(|account| match wire.heard().skew {
        Some(skew) if skew > SKEW_MAX => Err(AcmeError::Clock(skew)),
        _ => Ok(account),
    });
    match opened {
        Ok(account) => Ok(Held { account, wire }),
        Err(error) => Err(Unopened { error, retry: wire.heard().retry }),
    }
}

/// The account at an issuer, which has this key as long as the guard is held: an issuer hears only who signs with the key of the hour,
/// and holds proofs against that one.
pub(crate) async fn open_to_order(
    ground: &Ground,
    issuer: &Issuer,
) -> Result<(Held, OwnedRwLockReadGuard<()>), Unopened> {
    let known = || newest(ground, issuer).account().map(|account| (account.url.clone(), account.thumbprint.clone()));
    loop {
        let before = known();
        let held = open(ground, issuer).await?;
        let guard = turn(ground, issuer).read_owned().await;
        if before.is_some() && known() == before {
            return Ok((held, guard));
        }
    }
}

/// By which domains an issuer knows itself in CAA records.
pub(crate) async fn identities(ground: &Ground, issuer: &Issuer) -> Result<Vec<String>, Unopened> {
    let wire = wire(ground, issuer).await?;
    let said = wire.identities(&issuer.directory).await.map_err(AcmeError::of("read the issuer's directory"));
    said.map_err(|error| Unopened { error, retry: wire.heard().retry })
}

async fn wire(ground: &Ground, issuer: &Issuer) -> Result<Wire, Unopened> {
    let trust = trust(ground, &newest(ground, issuer)).await;
    trust.map(Wire::new).map_err(|error| Unopened { error, retry: None })
}

/// As the state has it now.
fn newest(ground: &Ground, issuer: &Issuer) -> Issuer {
    ground.now().issuer(&issuer.name).map_or_else(|| issuer.clone(), |newest| Issuer::clone(&newest))
}

async fn found(ground: &Ground, issuer: &Issuer, wire: &Wire) -> Result<Account, AcmeError> {
    if newest(ground, issuer).account().is_some() && !is_foreign(ground, issuer)? {
        return known(ground, issuer, wire).await;
    }
    // One account is made, however many orders want one.
    let _turn = turn(ground, issuer).write_owned().await;
    if is_foreign(ground, issuer)? {
        rollover(ground, issuer, wire).await?;
    }
    let issuer = newest(ground, issuer);
    if issuer.account().is_some() {
        return known(ground, &issuer, wire).await;
    }
    let snapshot = ground.now();
    make(ground, snapshot.cluster.as_deref().ok_or(AcmeError::NoKey)?, &issuer, wire).await
}

/// Held by who makes an account or changes it, shared by who orders with it.
fn turn(ground: &Ground, issuer: &Issuer) -> Arc<RwLock<()>> {
    let mut turns = ground.accounts.lock().unwrap_or_else(PoisonError::into_inner);
    turns.entry(issuer.name.clone()).or_default().clone()
}

/// Whether the account was brought along with a key of a kind that ours are not: nothing is said with it but that it is changed.
fn is_foreign(ground: &Ground, issuer: &Issuer) -> Result<bool, AcmeError> {
    let (snapshot, issuer) = (ground.now(), newest(ground, issuer));
    let Some((cluster, account)) = snapshot.cluster.as_deref().zip(issuer.account()) else { return Ok(false) };
    Ok(account.key.is_some() && !AccountKey::read(&key_of(ground, cluster, &issuer, account)?)?.is_ours())
}

async fn known(ground: &Ground, issuer: &Issuer, wire: &Wire) -> Result<Account, AcmeError> {
    let (snapshot, issuer) = (ground.now(), newest(ground, issuer));
    let cluster = snapshot.cluster.as_deref().ok_or(AcmeError::NoKey)?;
    let account = issuer.account().ok_or(AcmeError::NoKey)?;
    let key = key_of(ground, cluster, &issuer, account)?;
    let key = || PrivatePkcs8KeyDer::from(&key[..]);
    patiently!(OPEN, builder(wire).from_parts(account.url.clone(), key(), issuer.directory.clone()))
}

/// Tells the issuer whom it may write to now (RFC 8555 section 7.3.2). One that takes none of them is not asked again
/// until they change.
pub(crate) async fn tell(ground: &Ground, issuer: &Issuer) -> Result<(), AcmeError> {
    let Held { account, .. } = open(ground, issuer).await?;
    let issuer = newest(ground, issuer);
    let contacts = urls(&issuer);
    let contacts: Vec<&str> = contacts.iter().map(String::as_str).collect();
    match patiently!(TELL, account.update_contacts(&contacts)) {
        Err(error) if error.is_refusal() && !error.is_of_the_issuer() => {
            tracing::warn!(issuer = %issuer.name, "failed to {error}");
        }
        Err(error) => return Err(error),
        Ok(()) => tracing::info!(issuer = %issuer.name, "it was told whom to write to"),
    }
    let told = IssuerTold { name: issuer.name, account: account.id().to_owned(), contacts: issuer.contacts };
    ground.write(Obtaining::Told(told)).await?;
    Ok(())
}

fn urls(issuer: &Issuer) -> Vec<String> {
    issuer.contacts.iter().map(|mail| format!("mailto:{mail}")).collect()
}

/// Does what an administrator wants done to the account, between orders.
pub(crate) async fn attend(ground: &Ground, issuer: &Issuer, task: Task) -> Result<(), AcmeError> {
    let turn = async |doing| {
        let free = timeout(VALIDATE_WAIT, turn(ground, issuer).write_owned()).await;
        free.map_err(|_| AcmeError::Busy { doing })
    };
    match task {
        Task::Deactivate => {
            const DEACTIVATE: &str = "deactivate the account";
            let Held { account, .. } = open(ground, issuer).await?;
            let _turn = turn(DEACTIVATE).await?;
            account.deactivate().await.map_err(AcmeError::of(DEACTIVATE))?;
            write(ground, issuer, None).await
        }
        Task::Rollover => {
            let wire = wire(ground, issuer).await?;
            let _turn = turn(CHANGE).await?;
            match newest(ground, issuer).task {
                Some(Task::Rollover) => rollover(ground, issuer, &wire).await,
                // An order needed it sooner.
                _ => Ok(()),
            }
        }
    }
}

/// Gives the account another key. That key is written down before the issuer hears of it: whoever goes on after a crash has it, whether
/// the issuer said yes or not.
async fn rollover(ground: &Ground, issuer: &Issuer, wire: &Wire) -> Result<(), AcmeError> {
    let mut taken = false;
    loop {
        let (snapshot, issuer) = (ground.now(), newest(ground, issuer));
        let cluster = snapshot.cluster.as_deref().ok_or(AcmeError::NoKey)?;
        let account = issuer.account().ok_or(AcmeError::NoKey)?;
        let old = AccountKey::read(&key_of(ground, cluster, &issuer, account)?)?;
        let secret = match &account.next {
            Some(next) if !taken => open_at(&ground.keyring, cluster.sealed_for(), next_of(&issuer), next)?,
            _ => announce(ground, cluster, &issuer, account, taken || old.is_ours()).await?,
        };
        let new = AccountKey::read(&secret)?;
        match patiently!(CHANGE, wire.change_key(account, &old, &new)) {
            Err(error) if error.is_refusal() => match patiently!(CHANGE, wire.account_of(&account.directory, &new)) {
                // It was changed before, and we ended before that was written down.
                Ok(url) if url == account.url => {}
                // The key that all share has another account there: this one gets a key of its own.
                Ok(_) if !taken => {
                    taken = true;
                    continue;
                }
                Ok(_) => return Err(error),
                Err(unknown) if !unknown.is_refusal() => return Err(unknown),
                Err(_) => match patiently!(CHANGE, wire.account_of(&account.directory, &old)) {
                    Ok(_) if old.is_ours() => return Err(error),
                    Err(unknown) if !unknown.is_refusal() => return Err(unknown),
                    // Nobody can speak for it with what we have.
                    _ => {
                        tracing::warn!(issuer = %issuer.name, "the account is given up, and the next order makes another one: failed to {error}");
                        return forget(ground, &issuer).await;
                    }
                },
            },
            changed => changed?,
        }
        let shared = cluster.acme_key.as_ref().is_some_and(|shared| shared.thumbprint == new.thumbprint());
        let key = if shared { None } else { Some(sealed(ground, cluster.sealed_for(), &issuer, &secret)?) };
        let changed = IssuerAccount { key, thumbprint: new.thumbprint(), next: None, ..account.clone() };
        return write(ground, &issuer, Some(changed)).await;
    }
}

/// Writes down the key that an account is to have, and gives it: one of its own, or the one that all share.
async fn announce(
    ground: &Ground,
    cluster: &Cluster,
    issuer: &Issuer,
    account: &IssuerAccount,
    own: bool,
) -> Result<Zeroizing<Vec<u8>>, AcmeError> {
    let own = own || issuer.own_key || issuer.binding.is_some();
    let next = if own { fresh_key()? } else { shared_key(ground, cluster)? };
    let sealed = seal_at(&ground.keyring, cluster.sealed_for(), next_of(issuer), &next)?;
    write(ground, issuer, Some(IssuerAccount { next: Some(sealed), ..account.clone() })).await?;
    Ok(next)
}

fn next_of(issuer: &Issuer) -> (&'static str, &str, &'static str) {
    ("issuers", issuer.name.as_str(), "next")
}

fn key_pair(secret: &[u8], doing: &'static str) -> Result<(Key, PrivateKeyDer<'static>), AcmeError> {
    let key = Key::from_pkcs8_der(PrivatePkcs8KeyDer::from(secret)).map_err(AcmeError::of(doing))?;
    Ok((key, PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(secret.to_vec()))))
}

fn builder(wire: &Wire) -> AccountBuilder {
    Account::builder_with_http(Box::new(wire.clone()))
}

async fn trust(ground: &Ground, issuer: &Issuer) -> Result<Trust, AcmeError> {
    if issuer.roots.is_empty() {
        // The list of the machine is some hundred files.
        let listed = ground.blocking.run(|| Trust::system_and(None)).await;
        return Ok(listed.map_err(|error| AcmeError::Talk { doing: OPEN, reason: error.to_string() })??);
    }
    let roots: String = issuer.roots.iter().map(|der| pem(der)).collect();
    Ok(Trust::only(roots.as_bytes())?)
}

fn key_of(
    ground: &Ground,
    cluster: &Cluster,
    issuer: &Issuer,
    account: &IssuerAccount,
) -> Result<Zeroizing<Vec<u8>>, AcmeError> {
    match &account.key {
        Some(own) => {
            Ok(open_at(&ground.keyring, cluster.sealed_for(), ("issuers", issuer.name.as_str(), "account"), own)?)
        }
        None => shared_key(ground, cluster),
    }
}

fn shared_key(ground: &Ground, cluster: &Cluster) -> Result<Zeroizing<Vec<u8>>, AcmeError> {
    let shared = cluster.acme_key.as_ref().ok_or(AcmeError::NoKey)?;
    Ok(open_at(&ground.keyring, cluster.sealed_for(), ("cluster", "cluster", "acme_key"), &shared.key)?)
}

async fn make(ground: &Ground, cluster: &Cluster, issuer: &Issuer, wire: &Wire) -> Result<Account, AcmeError> {
    const MAKE: &str = "make an account";
    let contacts = urls(issuer);
    let contact: Vec<&str> = contacts.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let (account, key) = match &issuer.binding {
        None if issuer.own_key => {
            let (account, made) = patiently!(MAKE, builder(wire).create(&new, issuer.directory.clone(), None))?;
            let key = sealed(ground, cluster.sealed_for(), issuer, made.private_key().secret_pkcs8_der())?;
            (account, Some(key))
        }
        Some(binding) => {
            let place = ("issuers", issuer.name.as_str(), "binding");
            let secret = open_at(&ground.keyring, cluster.sealed_for(), place, &binding.key)?;
            let bound = ExternalAccountKey::new(binding.key_id.clone(), &secret);
            let (account, made) = patiently!(MAKE, builder(wire).create(&new, issuer.directory.clone(), Some(&bound)))?;
            let key = sealed(ground, cluster.sealed_for(), issuer, made.private_key().secret_pkcs8_der())?;
            (account, Some(key))
        }
        None => {
            let secret = shared_key(ground, cluster)?;
            let made =
                patiently!(MAKE, builder(wire).create_from_key(key_pair(&secret, MAKE)?, issuer.directory.clone()));
            let (account, _) = made?;
            if !contact.is_empty() {
                patiently!(TELL, account.update_contacts(&contact))?;
            }
            (account, None)
        }
    };
    write(ground, issuer, Some(described(issuer, &account, key))).await?;
    Ok(account)
}

fn described(issuer: &Issuer, account: &Account, key: Option<crate::seal::Sealed>) -> IssuerAccount {
    IssuerAccount {
        url: account.id().to_owned(),
        key,
        thumbprint: account.key_thumbprint().to_owned(),
        directory: issuer.directory.clone(),
        next: None,
        told: issuer.contacts.clone(),
    }
}

fn sealed(ground: &Ground, cluster: ClusterId, issuer: &Issuer, key: &[u8]) -> Result<crate::seal::Sealed, AcmeError> {
    Ok(seal_at(&ground.keyring, cluster, ("issuers", issuer.name.as_str(), "account"), key)?)
}

async fn write(ground: &Ground, issuer: &Issuer, account: Option<IssuerAccount>) -> Result<(), AcmeError> {
    let change = IssuerAccountPut { name: issuer.name.clone(), account };
    ground.write(Obtaining::Account(change)).await?;
    Ok(())
}

/// The account is none of theirs: the next order makes another one.
pub(crate) async fn forget(ground: &Ground, issuer: &Issuer) -> Result<(), AcmeError> {
    write(ground, issuer, None).await
}
