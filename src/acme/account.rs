//! Our account at an issuer: found again, or made, with the key that all share or one of its own. What an issuer's contract binds
//! has a key of its own.
use instant_acme::{Account, AccountBuilder, ExternalAccountKey, Key, NewAccount};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::acme::fault::{AcmeError, patiently};
use crate::acme::wire::Wire;
use crate::acme::{Ground, Obtaining};
use crate::base::ids::ClusterId;
use crate::base::limits::acme::SKEW_MAX;
use crate::fetch::trust::Trust;
use crate::model::cluster::Cluster;
use crate::model::issuers::{Issuer, IssuerAccount, IssuerAccountPut, Task};
use crate::tls::parse::pem;
use crate::tls::sealed::{open_at, seal_at};

/// An account that answers, and how it is talked to.
pub(crate) struct Held {
    pub(crate) account: Account,
    pub(crate) wire: Wire,
}

const OPEN: &str = "reach the issuer";

/// The account at an issuer; one that is new is written down before anything is done with it.
pub(crate) async fn open(ground: &Ground, issuer: &Issuer) -> Result<Held, AcmeError> {
    // One account is made, however many orders want one.
    let _turn = ground.accounts.lock().await;
    let snapshot = ground.now();
    let cluster = snapshot.cluster.as_deref().ok_or(AcmeError::NoKey)?;
    let newest = snapshot.issuer(&issuer.name);
    let issuer = newest.as_deref().unwrap_or(issuer);
    let wire = Wire::new(trust(ground, issuer).await?);
    let held = match issuer.account() {
        Some(known) => {
            let key = key_of(ground, cluster, issuer, known)?;
            let key = || PrivatePkcs8KeyDer::from(&key[..]);
            patiently!(OPEN, builder(&wire).from_parts(known.url.clone(), key(), issuer.directory.clone()))?
        }
        None => make(ground, cluster, issuer, &wire).await?,
    };
    match wire.heard().skew {
        Some(skew) if skew > SKEW_MAX => Err(AcmeError::Clock(skew)),
        _ => Ok(Held { account: held, wire }),
    }
}

/// Does what an administrator wants done to the account.
pub(crate) async fn attend(ground: &Ground, issuer: &Issuer, task: Task) -> Result<(), AcmeError> {
    let Held { mut account, .. } = open(ground, issuer).await?;
    let account = match task {
        Task::Deactivate => {
            account.deactivate().await.map_err(AcmeError::of("deactivate the account"))?;
            None
        }
        Task::Rollover => {
            let made = patiently!("change the key of the account", account.update_key())?;
            let cluster = ground.now().cluster.as_ref().ok_or(AcmeError::NoKey)?.id;
            let key = sealed(ground, cluster, issuer, made.private_key().secret_pkcs8_der())?;
            Some(described(issuer, &account, Some(key)))
        }
    };
    write(ground, issuer, account).await
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
        Some(own) => Ok(open_at(&ground.keyring, cluster.id, ("issuers", issuer.name.as_str(), "account"), own)?),
        None => shared_key(ground, cluster),
    }
}

fn shared_key(ground: &Ground, cluster: &Cluster) -> Result<Zeroizing<Vec<u8>>, AcmeError> {
    let shared = cluster.acme_key.as_ref().ok_or(AcmeError::NoKey)?;
    Ok(open_at(&ground.keyring, cluster.id, ("cluster", "cluster", "acme_key"), &shared.key)?)
}

async fn make(ground: &Ground, cluster: &Cluster, issuer: &Issuer, wire: &Wire) -> Result<Account, AcmeError> {
    const MAKE: &str = "make an account";
    let contacts: Vec<String> = issuer.contacts.iter().map(|mail| format!("mailto:{mail}")).collect();
    let contact: Vec<&str> = contacts.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let (account, key) = match &issuer.binding {
        None if issuer.own_key => {
            let (account, made) = patiently!(MAKE, builder(wire).create(&new, issuer.directory.clone(), None))?;
            let key = sealed(ground, cluster.id, issuer, made.private_key().secret_pkcs8_der())?;
            (account, Some(key))
        }
        Some(binding) => {
            let place = ("issuers", issuer.name.as_str(), "binding");
            let secret = open_at(&ground.keyring, cluster.id, place, &binding.key)?;
            let bound = ExternalAccountKey::new(binding.key_id.clone(), &secret);
            let (account, made) = patiently!(MAKE, builder(wire).create(&new, issuer.directory.clone(), Some(&bound)))?;
            let key = sealed(ground, cluster.id, issuer, made.private_key().secret_pkcs8_der())?;
            (account, Some(key))
        }
        None => {
            let secret = shared_key(ground, cluster)?;
            let key = || {
                let key = Key::from_pkcs8_der(PrivatePkcs8KeyDer::from(&secret[..])).map_err(AcmeError::of(MAKE))?;
                Ok::<_, AcmeError>((key, PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(secret.to_vec()))))
            };
            let (account, _) = patiently!(MAKE, builder(wire).create_from_key(key()?, issuer.directory.clone()))?;
            if !contact.is_empty() {
                patiently!("tell the issuer whom to write to", account.update_contacts(&contact))?;
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
