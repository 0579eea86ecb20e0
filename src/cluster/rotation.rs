//! After a node was lost with its disk the leader replaces what that disk could open, one bounded change after the other: what comes
//! next follows from the state alone, so whoever leads goes on. Every node follows the keys: a new one is on every node that is up
//! before anything is sealed with it, and one that was away fetches it when it is back.
use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::sleep;

use crate::base::clock::Time;
use crate::base::ids::NodeId;
use crate::base::limits::peers::{PEER_LOOK_WAIT, PEER_RPC_WAIT};
use crate::base::limits::{OLD_KEY_KEPT, ROTATION_EVERY, ROTATION_STEPS};
use crate::cluster::certificates::{EquipError, founded, lacking};
use crate::cluster::cookies;
use crate::cluster::door::random;
use crate::cluster::member::Member;
use crate::cluster::peer::messages::{Ask, Said};
use crate::files::atomic;
use crate::model::certificates::{Certificate, IMPORTED};
use crate::model::change::Change;
use crate::model::cluster::{AcmeKeyPut, Cluster};
use crate::model::issuers::Issuer;
use crate::model::operations::OperationProgress;
use crate::model::orders::{Order, Stage};
use crate::model::rotation::{Holder, Rekey, Reseal, Rotation, RotationEnd};
use crate::model::state::State;
use crate::model::tokens::{Token, TokenRemove};
use crate::ops::blocking::Blocking;
use crate::ops::stop::Stop;
use crate::seal::keyring::{KeyId, Keyring};
use crate::seal::{Place, SealError, Sealed, open, seal};
use crate::tls::sealed::{self, open_at, seal_at};

/// What the founding seals; a keyring that opens it is the cluster's.
const CHECK: &[u8] = b"ruche";
/// Names that are told where something is left to people.
const NAMES_TOLD: usize = 10;

/// The keyring and its file.
#[derive(Debug, Clone)]
pub struct Keys {
    pub keyring: Arc<Keyring>,
    pub path: PathBuf,
}

/// What is to be done next.
#[derive(Debug)]
enum Step {
    /// Only others, or time, bring it on; said to who looks at the operation.
    Wait(String),
    /// A key that opens, and does not seal yet.
    Add,
    Rekey,
    Revoke(Arc<Token>),
    Certify,
    Certificate(Arc<Certificate>),
    Issuer(Arc<Issuer>),
    Order(Arc<Order>),
    AcmeKey,
    /// Nothing is sealed with the old keys any more.
    Drop,
    End(Option<String>),
}

/// The next step of a rotation. `is_member`: raft still knows the lost node. `ids`: of the leader's keyring.
fn next(state: &State, cluster: &Cluster, rotation: &Rotation, is_member: bool, ids: &[KeyId]) -> Step {
    let current = cluster.key_check.key_id;
    let Some(rekeyed) = rotation.rekeyed else {
        return match ids.last() {
            _ if is_member => Step::Wait("the lost node is taken out".into()),
            Some(newest) if *newest > current => Step::Rekey,
            _ => Step::Add,
        };
    };
    if let Some(token) = state.tokens.values().find(|token| token.revision < rotation.since) {
        return Step::Revoke(Arc::clone(token));
    }
    if !lacking(state).is_empty() {
        return Step::Certify;
    }
    let obtained = || state.certificates.values().filter(|held| !held.is_internal());
    if let Some(old) = obtained().find(|held| held.key.key_id != current) {
        return Step::Certificate(Arc::clone(old));
    }
    if let Some(old) = state.issuers.values().find(|issuer| is_old(issuer, current)) {
        return Step::Issuer(Arc::clone(old));
    }
    if let Some(old) = state.orders.values().find(|order| key_of(order).is_some_and(|key| key.key_id != current)) {
        return Step::Order(Arc::clone(old));
    }
    let known =
        |issuer: &&Arc<Issuer>| issuer.task.is_some() || issuer.account().is_some_and(|account| account.key.is_none());
    if rotation.thumbprint.is_some() {
        return match state.issuers.values().find(known) {
            Some(issuer) => Step::Wait(format!("the account at {} gets another key", issuer.name)),
            None => Step::AcmeKey,
        };
    }
    let (imported, suspect): (Vec<_>, Vec<_>) =
        obtained().filter(|held| held.suspect).partition(|held| held.issuer.as_str() == IMPORTED);
    if !suspect.is_empty() {
        return Step::Wait(format!("{} certificates are replaced and revoked", suspect.len()));
    }
    match ids.iter().any(|id| *id != current) {
        true if rekeyed.plus(OLD_KEY_KEPT) > state.time.max(Time::now()) => {
            Step::Wait("old changes come to their end".into())
        }
        true => Step::Drop,
        false => Step::End(left(&imported)),
    }
}

/// What the cluster cannot replace.
fn left(imported: &[&Arc<Certificate>]) -> Option<String> {
    let names: Vec<&str> = imported.iter().filter_map(|held| held.names.first()).map(String::as_str).collect();
    let shown = names[..names.len().min(NAMES_TOLD)].join(", ");
    (!names.is_empty()).then(|| {
        format!("all was replaced but {} imported certificates, whose keys were there as well: bring others and have these revoked ({shown})", names.len())
    })
}

fn is_old(issuer: &Issuer, current: KeyId) -> bool {
    let binding = issuer.binding.as_ref().map(|binding| &binding.key);
    let account = issuer.account.as_ref().and_then(|account| account.key.as_ref());
    binding.into_iter().chain(account).any(|key| key.key_id != current)
}

fn key_of(order: &Order) -> Option<&Sealed> {
    match &order.stage {
        Stage::Placed(placed) => Some(&placed.key),
        _ => None,
    }
}

/// The text that shows whose a keyring is, sealed.
pub fn key_check(keyring: &Keyring, cluster: crate::base::ids::ClusterId) -> Sealed {
    let mut nonce = [0; 24];
    nonce[..16].copy_from_slice(&random());
    nonce[8..].copy_from_slice(&random());
    seal(keyring, &place(cluster), CHECK, nonce)
}

/// Whether a keyring is the cluster's.
pub fn prove(keyring: &Keyring, cluster: &Cluster) -> Result<bool, SealError> {
    Ok(**open(keyring, &place(cluster.sealed_for()), &cluster.key_check)? == *CHECK)
}

fn place(cluster: crate::base::ids::ClusterId) -> Place<'static> {
    Place { cluster, table: "cluster", row: "cluster", field: "key_check" }
}

impl Keys {
    /// Seals with what the cluster seals with, and keeps that.
    fn follow(&self, cluster: &Cluster) -> Result<(), EquipError> {
        let wanted = cluster.key_check.key_id;
        if self.keyring.current().0 != wanted && self.keyring.key(wanted).is_some() {
            self.keyring.make_current(wanted)?;
            self.keep()?;
        }
        Ok(())
    }

    fn keep(&self) -> Result<(), EquipError> {
        Ok(atomic::replace(&self.path, 0o600, &self.keyring.to_bytes())?)
    }
}

impl Member {
    /// Follows the cluster's keys, and leads what follows the loss of a node, until the node stops.
    pub async fn keep_keys(&self, keys: &Keys, blocking: &Blocking, stop: &Stop) {
        let mut snapshot = self.snapshot();
        loop {
            let seen = self.now().cluster.clone();
            let quiet = seen
                .as_ref()
                .is_none_or(|cluster| cluster.rotation.is_none() && prove(&keys.keyring, cluster).unwrap_or_default());
            let turn = async {
                if let Err(error) = self.turn_of_keys(keys, blocking).await {
                    tracing::warn!("the keys of the cluster are looked after again: failed to {error}");
                }
            };
            let changed = async {
                let same = |now: &State| match (&now.cluster, &seen) {
                    (Some(now), Some(seen)) => Arc::ptr_eq(now, seen),
                    (now, seen) => now.is_none() && seen.is_none(),
                };
                snapshot.wait_for(|now| !same(now)).await.is_ok()
            };
            tokio::select! {
                () = turn => {}
                () = stop.give_up() => return,
            }
            tokio::select! {
                there = changed => if !there { return },
                () = sleep(ROTATION_EVERY), if !quiet => {}
                () = stop.give_up() => return,
            }
        }
    }

    async fn turn_of_keys(&self, keys: &Keys, blocking: &Blocking) -> Result<(), EquipError> {
        let now = self.now();
        let Some(cluster) = &now.cluster else { return Ok(()) };
        keys.follow(cluster)?;
        if self.leads() {
            return if cluster.rotation.is_some() { self.rotate(keys, blocking).await } else { Ok(()) };
        }
        if cluster.rotation.is_some() || !prove(&keys.keyring, cluster).unwrap_or_default() {
            self.fetch_keys(keys).await?;
            keys.follow(cluster)?;
        }
        Ok(())
    }

    /// Takes the leader's keyring, where it is another one.
    async fn fetch_keys(&self, keys: &Keys) -> Result<(), EquipError> {
        let Some(leader) = self.leader() else { return Ok(()) };
        let Some(theirs) = self.fingerprint_of(leader).await else { return Ok(()) };
        if theirs == keys.keyring.fingerprint() {
            return Ok(());
        }
        let Ok(Said::Keyring(bytes)) = self.peers().ask(leader, &Ask::Keyring, PEER_RPC_WAIT).await else {
            return Ok(());
        };
        let fetched = Keyring::from_bytes(&zeroize::Zeroizing::new(bytes.into_vec()))?;
        // It is on the disk before it is counted on.
        atomic::replace(&keys.path, 0o600, &fetched.to_bytes())?;
        keys.keyring.take_up(&fetched);
        tracing::info!(keyring = %fetched.fingerprint(), "took up the keyring of the leader");
        Ok(())
    }

    async fn fingerprint_of(&self, node: NodeId) -> Option<String> {
        match self.peers().ask(node, &Ask::Look, PEER_LOOK_WAIT).await {
            Ok(Said::Look(look)) => Some(look.keyring).filter(|keyring| !keyring.is_empty()),
            Ok(_) | Err(_) => None,
        }
    }

    /// Whether every node that is up has this node's keyring.
    async fn is_spread(&self, keys: &Keys) -> bool {
        let (now, own) = (self.now(), keys.keyring.fingerprint());
        for node in now.nodes.values().filter(|node| node.id != self.node() && !node.down) {
            if self.fingerprint_of(node.id).await.as_ref() != Some(&own) {
                return false;
            }
        }
        true
    }

    /// Goes on with what follows a loss.
    async fn rotate(&self, keys: &Keys, blocking: &Blocking) -> Result<(), EquipError> {
        for _ in 0..ROTATION_STEPS {
            let now = self.now();
            let cluster = founded(&now)?;
            let Some(rotation) = &cluster.rotation else { return Ok(()) };
            keys.follow(cluster)?;
            let status = self.status();
            let is_member = status.voters.iter().chain(&status.learners).any(|node| *node == rotation.node);
            let step = next(&now, cluster, rotation, is_member, &keys.keyring.ids());
            let stage = match &step {
                Step::Wait(stage) => stage,
                Step::Rekey | Step::End(_) if !self.is_spread(keys).await => "every node that is up gets the keyring",
                _ => {
                    self.make_step(step, keys, blocking).await?;
                    continue;
                }
            };
            return self.tell_stage(&now, rotation, stage).await;
        }
        Ok(())
    }

    async fn tell_stage(&self, now: &State, rotation: &Rotation, stage: &str) -> Result<(), EquipError> {
        let shown = now.operations.get(&rotation.operation).filter(|shown| shown.stage != stage);
        let Some(shown) = shown else { return Ok(()) };
        let told = OperationProgress { id: shown.id, stage: stage.into(), done: shown.done, total: shown.total };
        Ok(self.first_wins(Change::OperationProgress(told), Some(shown.revision)).await?)
    }

    async fn make_step(&self, step: Step, keys: &Keys, blocking: &Blocking) -> Result<(), EquipError> {
        let now = self.now();
        let cluster = founded(&now)?;
        let ring = &keys.keyring;
        let again = |place: (&str, &str, &str), key: &Sealed| {
            let clear = open_at(ring, cluster.sealed_for(), place, key)?;
            seal_at(ring, cluster.sealed_for(), place, &clear)
        };
        let (change, expect) = match step {
            Step::Wait(_) => return Ok(()),
            Step::Add => {
                let mut key = zeroize::Zeroizing::new([0; 32]);
                getrandom::fill(&mut *key)?;
                ring.add(*key)?;
                return keys.keep();
            }
            Step::Drop => {
                let current = cluster.key_check.key_id;
                ring.ids().into_iter().filter(|id| *id != current).try_for_each(|id| ring.drop_key(id))?;
                return keys.keep();
            }
            Step::Certify => return self.certify_sites(ring, blocking).await,
            Step::Rekey => (Change::Rekey(Box::new(self.rekey(cluster, ring, now.time)?)), cluster.revision),
            Step::Revoke(token) => (Change::TokenRemove(TokenRemove { name: token.name.clone() }), token.revision),
            Step::Certificate(held) => {
                let key = again(("certificates", &held.id.to_string(), "key"), &held.key)?;
                (Change::Reseal(Reseal { holder: Holder::Certificate { id: held.id, key } }), held.revision)
            }
            Step::Issuer(issuer) => {
                let name = issuer.name.as_str();
                let binding = issuer.binding.as_ref().map(|held| again(("issuers", name, "binding"), &held.key));
                let account = issuer.account.as_ref().and_then(|held| held.key.as_ref());
                let account = account.map(|key| again(("issuers", name, "account"), key));
                let (name, binding, account) = (issuer.name.clone(), binding.transpose()?, account.transpose()?);
                (Change::Reseal(Reseal { holder: Holder::Issuer { name, binding, account } }), issuer.revision)
            }
            Step::Order(order) => {
                let Some(key) = key_of(&order) else { return Ok(()) };
                let key = again(("orders", &order.id.to_string(), "key"), key)?;
                (Change::Reseal(Reseal { holder: Holder::Order { id: order.id, key } }), order.revision)
            }
            Step::AcmeKey => {
                let after = cluster.acme_key.as_ref().map(|held| held.thumbprint.clone());
                let key = sealed::make_acme_key(cluster.sealed_for(), ring)?;
                (Change::AcmeKeyPut(AcmeKeyPut { after, key }), cluster.revision)
            }
            Step::End(left) => {
                let shown = cluster.rotation.as_ref().and_then(|rotation| now.operations.get(&rotation.operation));
                let expect = shown.map_or(cluster.revision, |shown| shown.revision);
                (Change::RotationEnd(RotationEnd { left }), expect)
            }
        };
        Ok(self.first_wins(change, Some(expect)).await?)
    }

    fn rekey(&self, cluster: &Cluster, ring: &Keyring, now: Time) -> Result<Rekey, EquipError> {
        // Here it seals already; everywhere else it does once this is committed.
        let newest = ring.ids().into_iter().max().unwrap_or(cluster.key_check.key_id);
        let next = Keyring::from_bytes(&ring.to_bytes())?;
        next.make_current(newest)?;
        let place = ("cluster", "cluster", "acme_key");
        let acme_key = cluster.acme_key.as_ref().map(|held| {
            let clear = open_at(ring, cluster.sealed_for(), place, &held.key)?;
            seal_at(&next, cluster.sealed_for(), place, &clear)
        });
        Ok(Rekey {
            key_check: key_check(&next, cluster.sealed_for()),
            sites_ca: sealed::make_sites_ca(cluster.sealed_for(), &next, now)?,
            ticket_keys: vec![sealed::make_ticket_key(cluster.sealed_for(), &next, now)?],
            cookie_key: cookies::make(cluster.sealed_for(), &next)?,
            acme_key: acme_key.transpose()?,
        })
    }

    /// For a member that lacks a key. Who was removed is none, whatever raft still says.
    pub(crate) fn give_keyring(&self, to: NodeId) -> Said {
        match self.keyring() {
            Some(keyring) if self.now().nodes.contains_key(&to) => {
                Said::Keyring(serde_bytes::ByteBuf::from(keyring.to_bytes().to_vec()))
            }
            _ => Said::Failed("be given the keyring: it is for members".into()),
        }
    }
}
